"""A chunk of rows on its way to the encoders, with the rows of it that cannot be embedded."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np

from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.encoded import IDS, PRESENT

Reasons = dict[int, str]  # by the position of a row in its chunk
Cells = Counter[tuple[str, str]]  # number of cells by input and column
Skip = Callable[[int], bool]  # tells of the index of a chunk whether it is passed over

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Lost:
    """A row that could not be embedded.

    Attributes:
      row: its number, from 0, in the table; None for a row of another file.
      key: of the row, None for none.
      split: of the store; "" for new rows.
      modality: that is not embedded; "" for all.
      reason: a sentence.
    """

    row: int | None
    key: str | None
    split: str
    modality: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """Consecutive rows, in the form that encoders read.

    Attributes:
      keys: of the rows; None for a row without a key.
      rows: `[n]` int64, their numbers, from 0, in the table that they come from.
      inputs: arrays `[n, ...]` by input.
      refused: by input, why a row has no usable value of it; "" for a record that cannot be read at all.
      unseen: cells that hold categories without a training row, which are missing values.
      outside: cells that hold numbers outside the range of the training rows.
      absent: by input, the rows that have no value of it; of these, `refused` says so too.
      split: of the store that the rows come from; "" for new rows.
    """

    keys: Sequence[str | None]
    rows: np.ndarray
    inputs: Mapping[str, np.ndarray]
    refused: Mapping[str, Reasons]
    unseen: Cells = dataclasses.field(default_factory=Counter)
    outside: Cells = dataclasses.field(default_factory=Counter)
    split: str = ""
    absent: Mapping[str, Collection[int]] = dataclasses.field(default_factory=dict)

    def reasons(self, inputs: Sequence[str], spare: Sequence[str] = ()) -> Reasons:
        """Return why rows cannot be embedded from these inputs; the first reason counts.

        Rows may have no value of the `spare` inputs.
        """
        reasons: Reasons = {}
        for name in ("", *inputs):
            excused = self.absent.get(name, ()) if name in spare else ()
            refused = {row: why for row, why in self.refused.get(name, {}).items() if row not in excused}
            reasons = {**refused, **reasons}
        return reasons

    def given(self, spare: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the arrays by input, with `present/NAME` of the `spare` inputs, and the rows' `id`."""
        rows = np.arange(len(self.rows))
        present = {PRESENT + name: ~np.isin(rows, list(self.absent.get(name, ()))) for name in spare}
        return {**self.inputs, **present, IDS: self.rows.astype(np.uint32)}


class RowSource(Protocol):
    """Rows to embed: of a store, or new ones.

    Attributes:
      rows: their number, or a larger one.
      size: rows of a chunk.
      refused: rows that are in no chunk, since they cannot be read.
      remarks: sentences that a user should read.
    """

    rows: int
    size: int
    refused: Sequence[Lost]
    remarks: Sequence[str]

    def chunks(self, skip: Skip) -> Iterator[tuple[int, Chunk]]:
        """Yield the chunks by index, from 0, except those to skip."""
        ...


def encode_table(encoding: Encoding, raw: np.ndarray) -> tuple[np.ndarray, Reasons]:
    """Return raw rows `[n, F]` encoded as float32 `[n, F]`, and why some of them cannot be (these are 0)."""
    refuses = encoding.missing == "refuse"
    lenient = dataclasses.replace(encoding, missing="indicator") if refuses else encoding
    encoded, reasons = np.zeros((len(raw), len(encoding.schema.columns)), np.float32), Reasons()
    parts = [np.arange(len(raw))]
    while parts:  # a part with a bad row is halved until the row is alone
        part = parts.pop()
        try:
            encoded[part] = lenient.encode(raw[part])
        except UserError as error:
            if len(part) == 1:
                reasons[int(part[0])] = str(error)
            else:
                parts += np.array_split(part, 2)
    if refuses:
        for row in np.flatnonzero(np.isnan(encoded).any(axis=1)).tolist():
            column = encoding.schema.columns[int(np.isnan(encoded[row]).argmax())].name
            reasons[row] = f"Column {column!r} has no value that the run knows, and the run refuses missing values."
            encoded[row] = 0
    return encoded, reasons


def unusual_cells(encoding: Encoding, raw: np.ndarray, input: str) -> tuple[Cells, Cells]:
    """Return how many cells of raw rows `[n, F]` are unseen categories, and how many lie outside the training range."""
    names = [column.name for column in encoding.schema.columns]
    unseen = encoding.statistics.unseen(raw, encoding.schema).sum(axis=0)
    outside = encoding.statistics.outside(raw, encoding.schema).sum(axis=0)
    return tuple(  # type: ignore[return-value]
        Counter({(input, name): int(count) for name, count in zip(names, counts, strict=True) if count})
        for counts in (unseen, outside)
    )


def drawn_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yield the items; a thread draws the next item while the caller works on the last."""
    with ThreadPoolExecutor(1, "embed") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
