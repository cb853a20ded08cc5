"""The base class of all kinds of entries, and helpers to read rows."""

import abc
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.errors import check

_CHUNK_BYTES = 64 * 2**20


class Kind(abc.ABC):
    """One kind of entry: its stored form, and the statistics that are fitted on its training rows.

    Attributes:
      name: value of `Entry.kind`.
      axes: names of the axes of one stored row.
      dtypes: names of the types that the kind can store.
      baseline: name of the baseline that evaluates the raw values.
      named: what the names in the file `NAME.names.txt` stand for, such as "features"; "" for a kind without that file.
    """

    name: ClassVar[str]
    axes: ClassVar[tuple[str, ...]]
    dtypes: ClassVar[tuple[str, ...]]
    baseline: ClassVar[str]
    named: ClassVar[str] = ""

    def check(self, name: str, schema: Schema, names: Sequence[str]) -> None:
        """Raise `UserError` unless this kind can store the entry `name` of the schema with its `names`."""
        subject = f"The entry {name!r}"
        self.check_rows(name, schema.entries[name])
        check(not names or self.named != "", f"{subject} has names, and {self.with_article} has none; remove them.")
        check(
            len(set(names)) == len(names) and not any(text == "" or "\n" in text or "\r" in text for text in names),
            f"{subject}: a name of its {self.named} is empty, appears twice, or has a line break; correct it.",
        )

    def check_rows(self, name: str, entry: Entry) -> None:
        """Raise `UserError` unless this kind can store rows of the entry's type and shape."""
        subject = f"The entry {name!r}"
        check(
            entry.dtype in self.dtypes,
            f"{subject} is of the type {entry.dtype}; {self.with_article} is stored as {' or '.join(self.dtypes)}.",
        )
        check(
            len(entry.shape) == len(self.axes) and all(length > 0 for length in entry.shape[:-1]),
            f"{subject} has rows of the shape {entry.shape}; {self.with_article} has [{', '.join(self.axes)}].",
        )

    @property
    def with_article(self) -> str:
        """The kind's name with its article, for messages."""
        return f"an {self.name}" if self.name[0] in "aeiou" else f"a {self.name}"

    @abc.abstractmethod
    def fill(self, dtype: np.dtype) -> float | int:
        """Return the value that fills a row which lacks the entry."""

    def can_have_faults(self, entry: Entry) -> bool:
        """Return whether rows of the entry can have a `fault`; if not, they are not inspected."""
        return True

    def fault(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the index of the first invalid row of `[n, *shape]` and the reason, or None if all rows are valid."""
        return None

    @abc.abstractmethod
    def fit(self, rows: Any, name: str, schema: Schema, names: Sequence[str]) -> Any:
        """Return statistics of the training rows for `encode`; `rows` are as `Store.read` returns them."""

    @abc.abstractmethod
    def encode(self, rows: np.ndarray, fitted: Any) -> np.ndarray:
        """Return stored rows `[n, *shape]` in the form that views take, using the statistics that `fit` returned."""

    def describe(self, name: str, schema: Schema, names: Sequence[str]) -> list[str]:
        """Return the description of the entry on the data card: phrases without a full stop."""
        entry = schema.entries[name]
        several = f", up to {entry.pictures} per row" if entry.pictures > 1 else ""
        of = f", of {entry.of}" if entry.of else ""
        fit = f", {entry.fit}" if entry.fit else ""
        return [f"{' x '.join(map(str, entry.shape))} {entry.dtype}{several}{of}{fit}"]


def chunks(rows: Any, *, most: int = _CHUNK_BYTES) -> Iterator[np.ndarray]:
    """Yield the present rows in chunks `[n, *shape]`; the images of one row follow one another.

    Args:
      rows: an array, or rows that `Store.read` returns.
      most: largest size of a chunk in bytes; a chunk has at least one row.
    """
    entry = getattr(rows, "entry_shape", rows.shape[1:])
    present = getattr(rows, "present", None)
    indices = np.arange(len(rows)) if present is None else np.flatnonzero(present)
    size = max(1, most // max(1, int(np.prod(rows.shape[1:])) * rows.dtype.itemsize))
    counts = getattr(rows, "counts", None)
    for start in range(0, len(indices), size):
        chunk = indices[start : start + size]
        values = np.asarray(rows[chunk])
        if counts is not None:
            values = values[np.arange(values.shape[1]) < counts[chunk][:, None]]
        yield values.reshape(-1, *entry)


def first_true_row(flags: np.ndarray) -> int | None:
    """Return the index of the first row of booleans `[n, ...]` with a true value, or None."""
    rows = flags.reshape(len(flags), -1).any(axis=1)
    return int(rows.argmax()) if rows.any() else None
