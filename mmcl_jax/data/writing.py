"""A store's files, made of its content."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmcl_jax.data.content import Content
from mmcl_jax.data.schema import Schema


def write(
    directory: Path,
    content: Content,
    *,
    description: str,
    workers: int = 1,
    progress: Callable[[int], object] = lambda rows: None,
) -> Schema:
    """Write the arrays, the shards and what describes them into the folder of a store.

    It is no store before `finish` is called.

    Args:
      directory: the folder; what an earlier call that was stopped left in it is written again.
      content: of the store.
      description: one sentence on the data set, for TFDS.
      workers: processes that write the shards.
      progress: is told the number of rows that are in the shards, as they come.

    Returns:
      The schema as it is stored.

    Raises:
      UserError: an entry does not fit its kind, its rows, or the image it belongs to.
    """
    raise NotImplementedError


def finish(directory: Path, *, made_by: Mapping[str, Any]) -> None:
    """Write the checksums and, last, `store.json`: the folder is a store now.

    Args:
      directory: of the store; files that were added beside those of `write`, such as the card, get a checksum too.
      made_by: what `store.json` says beside the format and version: `request`, `recipe`.
    """
    raise NotImplementedError
