"""Keys in canonical form, which can be compared, and a phrase that names the first few."""

from collections.abc import Iterable, Sequence

import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.page.wording import count
from mmcl_jax.prepare.table.cells import canonical_integers, nameless, text_of, usable

_NAMED = 3


def canonical(cells: pl.Series) -> list[str]:
    """Return the key of every cell: `1` for 1, 1.0 and "1.00"; "" for an empty cell.

    Raises:
      UserError: the cells are of a type that cannot be a key, such as lists.
    """
    check(usable(cells.dtype), f"Column {cells.name!r} is of the type {cells.dtype}, which cannot be a key.")
    return canonical_integers(text_of(nameless(cells))).fill_null("").to_list()


def first_rows(keys: Iterable[str]) -> dict[str, int]:
    """Return the first index of every key that is not empty."""
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key:
            first.setdefault(key, row)
    return first


def some(keys: Sequence[str]) -> str:
    """Return a phrase that names the first few keys.

    >>> some(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    named = ", ".join(map(repr, keys[:_NAMED]))
    return f"{named} and {count(len(keys) - _NAMED)} more" if len(keys) > _NAMED else named
