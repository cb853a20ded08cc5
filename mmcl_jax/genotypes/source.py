"""What the readers of the formats have in common: a file that is open, without its calls."""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.genotypes.variants import Variants


@dataclasses.dataclass(frozen=True)
class Source:
    """One open file of genotypes.

    Attributes:
      path: the file.
      people: identifiers (IID) in the order of the file.
      families: identifiers of the families (FID), "0" where the file has none.
      sexes: int8 `[N]`: 1 male, 2 female, 0 unknown; None if the file has none.
      variants: in the order of the file.
      dosages: whether the calls are dosages.
      read: returns the calls `[people, variants]` of people and variants by ascending index: int8 with -127 for missing
        calls, or float32 with NaN.
    """

    path: Path
    people: tuple[str, ...]
    families: tuple[str, ...]
    sexes: np.ndarray | None
    variants: Variants
    dosages: bool
    read: Callable[[np.ndarray, np.ndarray], np.ndarray]


def sibling(path: Path, suffixes: Sequence[str], where: str, holds: str) -> Path:
    """Return the first file beside `path` with one of these suffixes in place of its own.

    Raises:
      UserError: there is none.
    """
    candidates = [path.with_suffix(suffix) for suffix in suffixes]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = " or ".join(candidate.name for candidate in candidates)
    raise UserError(f"{where}: {path} needs {names} beside it, with {holds}; there is none.")


def library(name: str, where: str, holds: str) -> Any:
    """Return a module of the extra `genetics`.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        sentence = f'{where}: {name}, which reads {holds}, is not installed; run pip install "mmcl_jax[genetics]".'
        raise UserError(sentence) from error


def check_counts(path: Path, other: Path, found: int, listed: int, what: str, where: str) -> None:
    """Raise `UserError` unless a file has as many people or variants as the file beside it lists."""
    check(
        found == listed,
        f"{where}: {path} has {found:,} {what} and {other} lists {listed:,}; they do not belong together.",
    )


def blocks(variants: np.ndarray, people: int, bytes_per_call: int) -> list[np.ndarray]:
    """Return the indices of variants in blocks whose calls take at most 64 MiB."""
    size = max(1, 2**26 // max(1, people * bytes_per_call))
    return [variants[start : start + size] for start in range(0, len(variants), size)]
