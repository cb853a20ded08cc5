"""Embedding all rows of a source into one Parquet file."""

import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import jax
import numpy as np
import polars as pl
from jax.experimental import multihost_utils

from mmcl_jax import __version__
from mmcl_jax.border import parse, to_json
from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.heads.encoded import IDS
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.blocks import BLOCK
from mmcl_jax.export.embeddings.chunk import Chunk, Lost, Reasons, RowSource, drawn_ahead
from mmcl_jax.export.embeddings.encoders import Output, Reader
from mmcl_jax.export.embeddings.parts import Part, Parts
from mmcl_jax.export.embeddings.predictions import array_column, class_names, prediction_columns
from mmcl_jax.progress import Bar
from mmcl_jax.training.processes import is_primary
from mmcl_jax.versions import versions

DTYPES: dict[str, type[np.floating]] = {"float32": np.float32, "float16": np.float16}
CHUNK_BYTES, MOST_ROWS = 2**27, 2**14  # of the inputs of a chunk


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embedding:
    """How rows become the rows of the file.

    Attributes:
      readers: what is embedded.
      output: "features" or "projection", the name of the column.
      dtype: of the embeddings in the file.
      head: whose predictions are added; None for none.
      head_reader: the features that the head reads, if it is on frozen features; else None.
      with_split: whether the file has a column `split`.
    """

    readers: tuple[Reader, ...]
    output: Output
    dtype: Literal["float32", "float16"]
    head: KeptHead | None
    head_reader: Reader | None
    with_split: bool

    @property
    def inputs(self) -> tuple[str, ...]:
        """All inputs of the run that are read."""
        head = () if self.head is None else self.head.source.inputs_of(self.head.trained.reads)
        return tuple(dict.fromkeys([*(name for reader in self.readers for name in reader.inputs), *head]))

    def width(self, specs: Mapping[str, InputSpec]) -> int:
        """Return the width of the embeddings, for the specifications of all inputs.

        Raises:
          UserError: two names have embeddings of different widths.
        """
        row = {name: np.zeros((1, *spec.shape), spec.dtype) for name, spec in specs.items()}
        row[IDS] = np.zeros(1, np.uint32)
        widths = {reader.name: reader(row).shape[1] for reader in self.readers}
        names = " and ".join(f"{name} {width}" for name, width in widths.items())
        check(
            len(set(widths.values())) == 1,
            f"--input: the {self.output} have different widths ({names}), which one column cannot hold; write them "
            "into files of their own, with a command each.",
        )
        return next(iter(widths.values()))

    def empty(self, width: int) -> pl.DataFrame:
        """Return a frame without rows, with the columns of the file."""
        nothing = np.zeros((0, width), np.float32)
        frame = self._frame(_no_rows(), self.readers[0].name, nothing, np.zeros(0, int))
        if self.head is not None:
            outputs = np.zeros((0, self.head.trained.task.outputs), np.float32)
            frame = frame.with_columns(**prediction_columns(self.head)(outputs))
        return frame

    def part(self, chunk: Chunk, empty: pl.DataFrame) -> Part:
        """Return the rows of the file for a chunk: in the order of the rows and, for each row, of the names."""
        frames, unembedded = [], []
        encoded: dict[Reader, np.ndarray] = {}
        predicted, without_prediction = self._predicted(chunk, encoded)
        for reader in self.readers:
            reasons = {**without_prediction, **chunk.reasons(reader.inputs, reader.spare)}
            kept = np.setdiff1d(np.arange(len(chunk.rows)), list(reasons)).astype(int)
            if len(kept):
                values = encoded[reader] if reader in encoded else reader(chunk.given(reader.spare))
                reasons = {**self._lost(values), **reasons}
                kept = np.setdiff1d(kept, list(reasons)).astype(int)
                frame = self._frame(chunk, reader.name, values[kept], kept)
                frames.append((kept, frame.with_columns(**{name: column[kept] for name, column in predicted.items()})))
            unembedded += [
                Lost(int(chunk.rows[row]), chunk.keys[row], chunk.split, reader.name, reason)
                for row, reason in sorted(reasons.items())
            ]
        frame = pl.concat([one for _, one in frames]) if frames else empty
        if len(frames) > 1:
            frame = frame[np.argsort(np.concatenate([kept for kept, _ in frames]), kind="stable")]
        return Part(
            frame=frame, unembedded=unembedded, rows=len(chunk.rows), unseen=chunk.unseen, outside=chunk.outside
        )

    def _predicted(self, chunk: Chunk, encoded: dict[Reader, np.ndarray]) -> tuple[dict[str, pl.Series], Reasons]:
        """Return the columns of the head for all rows of a chunk, and why rows cannot be predicted.

        Features that the head reads are put into `encoded`.
        """
        if self.head is None:
            return {}, {}
        source, reads = self.head.source, self.head.trained.reads
        inputs, spare = source.inputs_of(reads), source.spare_inputs(reads)
        given = chunk.given(spare)
        if self.head_reader is None:
            outputs = self.head.outputs(given)
        else:
            encoded[self.head_reader] = self.head_reader(given)
            outputs = self.head.of_features(encoded[self.head_reader])
        lost = np.flatnonzero(~np.isfinite(outputs).all(axis=1)).tolist()
        reasons = {**dict.fromkeys(lost, "The prediction of the head is not finite."), **chunk.reasons(inputs, spare)}
        return prediction_columns(self.head)(np.nan_to_num(outputs)), reasons

    def _lost(self, values: np.ndarray) -> Reasons:
        """Return why embeddings `[n, D]` cannot be written."""
        infinite = ~np.isfinite(values).all(axis=1)
        reasons = dict.fromkeys(np.flatnonzero(infinite).tolist(), f"Its {self.output} are not finite.")
        largest = np.finfo(DTYPES[self.dtype]).max
        large = ~infinite & (np.abs(values) > largest).any(axis=1)
        sentence = f"Its {self.output} exceed {largest:g}, the largest {self.dtype}; choose --dtype float32."
        return reasons | dict.fromkeys(np.flatnonzero(large).tolist(), sentence)

    def _frame(self, chunk: Chunk, name: str, values: np.ndarray, kept: np.ndarray) -> pl.DataFrame:
        columns = {
            "key": pl.Series([chunk.keys[row] for row in kept], dtype=pl.String),
            "row": pl.Series(chunk.rows[kept], dtype=pl.Int64),
            "split": pl.Series([chunk.split] * len(kept), dtype=pl.String),
            "modality": pl.Series([name] * len(kept), dtype=pl.String),
            self.output: array_column(values, DTYPES[self.dtype]),
        }
        return pl.DataFrame({column: of for column, of in columns.items() if column != "split" or self.with_split})


def _no_rows() -> Chunk:
    return Chunk(keys=[], rows=np.zeros(0, np.int64), inputs={}, refused={})


def rows_of_chunk(specs: Mapping[str, InputSpec]) -> int:
    """Return the rows of a chunk: whole blocks, for eight devices if `CHUNK_BYTES` suffice.

    It does not depend on the devices, so that a call that was stopped may continue on others.
    """
    row = sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in specs.values())
    most = min(MOST_ROWS, CHUNK_BYTES // max(1, row))
    unit = 8 * BLOCK if most >= 8 * BLOCK else BLOCK
    return max(1, most // unit) * unit


def write_embeddings(
    source: RowSource,
    embedding: Embedding,
    parts: Parts,
    empty: pl.DataFrame,
    about: Mapping[str, Any],
    *,
    unchanged: Callable[[], None] | None = None,
) -> None:
    """Embed the rows that are not embedded yet, and write the file.

    Of several processes of a job, each embeds every n-th chunk, and the first one writes the file.

    Args:
      source: the rows.
      embedding: how they are embedded.
      parts: of the file, begun.
      empty: a frame without rows, with the columns of the file.
      about: the metadata of the file, beside its summary.
      unchanged: raises `UserError` if what the rows are read from has changed since the command began.
    """
    processes, process = jax.process_count(), jax.process_index()
    error: Exception | None = None
    try:
        with Bar("rows", source.rows, quiet=not is_primary()) as bar, ThreadPoolExecutor(1, "write") as writer:
            skip, writing = _Skip(parts, source, processes, process, bar), Future[None]()
            writing.set_result(None)
            for index, chunk in drawn_ahead(source.chunks(skip)):
                part = embedding.part(chunk, empty)
                if unchanged is not None:
                    unchanged()
                writing.result()  # the last part is written while the devices compute this one
                writing = writer.submit(parts.write, index, part)
                bar.advance(len(chunk.rows))
            writing.result()
    except (UserError, OSError) as raised:
        error = raised
    failed = _anywhere(error is not None)
    if error is not None:
        raise error
    check(not failed, "Another process has failed; see its message.")
    if is_primary():
        parts.join(empty, source.refused, {**about, "remarks": list(source.remarks)})
    _anywhere(False)  # the others wait until the file is there


class _Skip:
    """Tells which chunks are embedded already, or belong to another process, and counts the former as done."""

    def __init__(self, parts: Parts, source: RowSource, processes: int, process: int, bar: Bar) -> None:
        self._parts, self._source, self._processes, self._process, self._bar = parts, source, processes, process, bar

    def __call__(self, index: int) -> bool:
        if index % self._processes != self._process:
            self._bar.advance(self._source.size)
            return True
        done = self._parts.done(index)
        if done:
            self._bar.advance(self._source.size)
        return done


def _anywhere(happened: bool) -> bool:
    """Return whether something happened in any of the processes, which wait for one another."""
    if jax.process_count() == 1:
        return happened
    return bool(np.any(multihost_utils.process_allgather(np.array(happened))))


def about_file(run: Any, embedding: Embedding, width: int) -> dict[str, Any]:
    """Return the metadata of the file: what made it, and what its lists hold."""
    about: dict[str, Any] = {
        "mmcl_jax": __version__,
        "versions": versions(),
        "device": jax.devices()[0].device_kind,
        "experiment": run.config.name,
        "seed": run.config.seed,
        "step": run.step(),
        "store": run.fingerprint,
        "output": embedding.output,
        "input": [reader.name for reader in embedding.readers],
        "width": width,
        "dtype": embedding.dtype,
        "outside": {name: run.inputs.tables[name].outside for name in embedding.inputs if name in run.inputs.tables},
    }
    if embedding.head is not None:
        head = embedding.head
        about["head"] = {"label": head.score.label, "task": head.trained.task.name, "classes": class_names(head)}
    return parse(to_json(about))
