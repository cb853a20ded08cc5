"""What a kind of entry is to the rest of the program."""

import abc
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.errors import check

_CHUNK_BYTES = 64 * 2**20


class Kind(abc.ABC):
    """One kind of entry: what it stores, and what is fitted on its training rows.

    Attributes:
      name: in `Entry.kind`.
      axes: of one stored row, in words.
      dtypes: names of the types it stores.
      baseline: what evaluating the raw values themselves is called.
      named: what the names are that a file beside the entry holds, in words; "" for a kind without such a file.
    """

    name: ClassVar[str]
    axes: ClassVar[tuple[str, ...]]
    dtypes: ClassVar[tuple[str, ...]]
    baseline: ClassVar[str]
    named: ClassVar[str] = ""

    def check(self, name: str, schema: Schema, names: Sequence[str]) -> None:
        """Raise `UserError` unless the entry `name` of the schema, with its names, is one that this kind stores."""
        entry = schema.entries[name]
        where = f"The entry {name!r}"
        check(
            entry.dtype in self.dtypes,
            f"{where} is of the type {entry.dtype}; {self.a} is stored as {' or '.join(self.dtypes)}.",
        )
        check(
            len(entry.shape) == len(self.axes) and all(length > 0 for length in entry.shape[:-1]),
            f"{where} has rows of the shape {entry.shape}; {self.a} has [{', '.join(self.axes)}].",
        )
        check(not names or self.named != "", f"{where} has names, and {self.a} has none; leave them.")
        check(
            len(set(names)) == len(names) and not any(text == "" or "\n" in text or "\r" in text for text in names),
            f"{where}: a name is empty, given twice, or has a line break in it; names of {self.named} are one a line.",
        )

    @property
    def a(self) -> str:
        """The kind's name behind its article."""
        return f"an {self.name}" if self.name[0] in "aeiou" else f"a {self.name}"

    @abc.abstractmethod
    def fill(self, dtype: np.dtype) -> float | int:
        """Return the value of every cell of a row that is absent."""

    def inspects(self, entry: Entry) -> bool:
        """Return whether stored rows of the entry can be `wrong`."""
        return True

    def wrong(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first of stored rows `[n, *shape]` that is not as the kind stores it and why; None if all are."""
        return None

    @abc.abstractmethod
    def fit(self, rows: Any, name: str, schema: Schema, names: Sequence[str]) -> Any:
        """Return what the training rows (as `Store.read` gives them) say, for `encode`; rows are read in chunks."""

    @abc.abstractmethod
    def encode(self, rows: np.ndarray, fitted: Any) -> np.ndarray:
        """Return stored rows `[n, *shape]` as a view takes them, by what `fit` returned."""

    def describe(self, name: str, schema: Schema, names: Sequence[str]) -> list[str]:
        """Return what the data card says of the entry, in lines without a full stop."""
        entry = schema.entries[name]
        several = f", up to {entry.pictures} of a row" if entry.pictures > 1 else ""
        of = f", of {entry.of}" if entry.of else ""
        fit = f", {entry.fit}" if entry.fit else ""
        return [f"{' x '.join(map(str, entry.shape))} {entry.dtype}{several}{of}{fit}"]


def chunks(rows: Any, *, most: int = _CHUNK_BYTES) -> Iterator[np.ndarray]:
    """Yield the rows that are there, `[n, *shape]`, some at a time; several pictures of a row one after the other.

    Args:
      rows: an array, or what `Store.read` returns.
      most: bytes of one chunk, which has one row at least.
    """
    entry = getattr(rows, "entry_shape", rows.shape[1:])
    present = getattr(rows, "present", None)
    wanted = np.arange(len(rows)) if present is None else np.flatnonzero(present)
    size = max(1, most // max(1, int(np.prod(rows.shape[1:])) * rows.dtype.itemsize))
    counts = getattr(rows, "counts", None)
    for start in range(0, len(wanted), size):
        here = wanted[start : start + size]
        values = np.asarray(rows[here])
        if counts is not None:
            values = values[np.arange(values.shape[1]) < counts[here][:, None]]
        yield values.reshape(-1, *entry)


def first_of(bad: np.ndarray) -> int | None:
    """Return the first row of `[n, ...]` booleans in which one is true; None if none is."""
    rows = bad.reshape(len(bad), -1).any(axis=1)
    return int(rows.argmax()) if rows.any() else None
