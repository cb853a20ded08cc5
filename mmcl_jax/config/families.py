"""Config files that stand for several experiments each, such as all unions of edges of the taxonomy.

The name of such a file is a placeholder in capitals: `configs/taxonomy/UNION.py` has every `taxonomy/CR-XX`. Beside
`get_config`, which takes the name as its keyword `union`, the file has

- `NAMES`, the names that it stands for, and
- `name_of`, a function of a text: the name that is meant, such as "CR-XX" by "xx-cr", or None for another file's. It
  raises a `UserError` that says how to write the name.
"""

import dataclasses
import functools
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Family:
    """The experiments of one file."""

    path: Path
    names: tuple[str, ...]
    name_of: Callable[[str], str | None]
    get_config: Callable[..., Any]

    def of(self, name: str) -> Callable[..., Any]:
        """Return the `get_config` of one experiment."""
        return functools.partial(self.get_config, **{self.path.stem.lower(): name})


def is_family(path: Path) -> bool:
    """Return whether a config file stands for several experiments."""
    return path.stem.isupper()


def family(path: Path) -> Family:
    """Run such a file, and return its experiments."""
    found = runpy.run_path(str(path))
    return Family(path, tuple(found["NAMES"]), found["name_of"], found["get_config"])
