"""The parts of an embedding that is being made: a file per chunk, so that a call that was stopped continues.

.NAME.embedding/        beside the file to make
  arguments.json        of the call that began it
  000000.parquet, ...   the embedded rows of every chunk
  000000.json, ...      its rows that could not be embedded, and counts; written after the rows, so the chunk is done

The arguments and the notes have checksums of their own, and the metadata of the file has one of all its rows.
"""

import contextlib
import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import polars as pl

from mmcl_jax.border import AtLeast, Open, as_type, read_lines, read_summed, to_json, written
from mmcl_jax.border.checksum import Sums, check_checksum, with_checksum
from mmcl_jax.errors import UserError, check
from mmcl_jax.export.embeddings.chunk import Cells, Lost
from mmcl_jax.export.embeddings.content import content_of, content_of_file
from mmcl_jax.files import Recorded, atomic, leads_out, sha256, write_text
from mmcl_jax.lock import locked
from mmcl_jax.prepare.table.table import UNREADABLE
from mmcl_jax.training.processes import broadcast_from_primary, is_primary

ARGUMENTS = "arguments.json"
_LOST = {"row": pl.Int64, "key": pl.String, "split": pl.String, "modality": pl.String, "reason": pl.String}
_KEY = "mmcl_jax"  # of the metadata in the Parquet file


_Count = Annotated[int, AtLeast(0)]
_Lost = tuple[int | None, str | None, str, str, str]  # the fields of `Lost`
_Cell = tuple[str, str, _Count]  # the input, the column, and the number of cells


class _Note(TypedDict):
    """The note on a part that is complete."""

    bytes: _Count
    sha256: str
    rows: _Count
    unembedded: list[_Lost]
    unseen: list[_Cell]
    outside: list[_Cell]


class _Cells(TypedDict):
    input: str
    column: str
    cells: _Count


class _Summary(TypedDict):
    rows: _Count
    unembedded: dict[str, _Count]
    unseen: list[_Cells]
    outside: list[_Cells]


class _Metadata(TypedDict):
    """What is shown of the metadata of a file."""

    summary: _Summary
    outside: dict[str, Literal["keep", "clip", "missing"]]
    remarks: list[str]
    output: str
    input: list[str]
    width: _Count
    arguments: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """What was made of a chunk.

    Attributes:
      frame: the embedded rows.
      unembedded: the rows that could not be embedded.
      rows: number of rows of the chunk.
      unseen: cells that hold categories without a training row.
      outside: cells that hold numbers outside the range of the training rows.
    """

    frame: pl.DataFrame
    unembedded: Sequence[Lost]
    rows: int
    unseen: Cells
    outside: Cells


@dataclasses.dataclass(frozen=True)
class Parts:
    """The folder of the parts of the file `out`."""

    out: Path

    @property
    def folder(self) -> Path:
        """The folder."""
        return self.out.with_name(f".{self.out.name}.embedding")

    @property
    def _lock(self) -> Path:
        """The lock file of the folder."""
        return self.out.with_name(f".{self.out.name}.embedding.lock")

    @property
    def unembedded(self) -> Path:
        """The file of the rows that could not be embedded."""
        return self.out.with_name(f"{self.out.stem}.unembedded.csv")

    @contextlib.contextmanager
    def making(self, arguments: Mapping[str, Any]) -> Iterator[bool]:
        """Claim the file for this call within the block; give whether it is complete already.

        The parts are removed if the block raises a `UserError`, and stay if it is interrupted.

        Raises:
          UserError: another process makes the file; it exists and was made by another call; or its parts were begun
            with other arguments.
        """
        with contextlib.ExitStack() as resources:

            def begin() -> bool:
                resources.enter_context(locked(self._lock, what=f"makes {self.out}"))
                return self._begin(arguments)

            complete = broadcast_from_primary(begin)
            try:
                yield complete
            except UserError:
                if is_primary():
                    shutil.rmtree(self.folder, ignore_errors=True)
                raise

    def _begin(self, arguments: Mapping[str, Any]) -> bool:
        """Make the folder, or continue in it; return whether the file is complete already."""
        if self.out.exists():
            made = metadata_of(self.out)
            check(
                made is not None and made.get("arguments") == arguments,
                f"{self.out} exists already; choose another --out, or remove it first.",
            )
            check(
                made is None or made.get("content") in (None, _content(self.out)),
                f"The content of {self.out} has changed since it was written; remove it, and the same command makes "
                f"it again.",
            )
            shutil.rmtree(self.folder, ignore_errors=True)
            return True
        path = self.folder / ARGUMENTS
        if not path.is_file():  # a kill came before the arguments were written
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_text(path, to_json(with_checksum(arguments), indent=1) + "\n")
            return False
        begun: dict[str, Any] = read_summed(path, dict[str, Any], f"remove {self.folder} to begin anew")
        for name in dict.fromkeys((*begun, *arguments)):
            old, new = begun.get(name), arguments.get(name)
            check(
                old == new,
                f"{self.out} was begun with another {name} ({old!r}, now {new!r}); give the same arguments as then, "
                f"choose another --out, or remove {self.folder} to begin anew.",
            )
        return False

    def done(self, index: int) -> bool:
        """Return whether the part of a chunk is complete and undamaged; a damaged part is made again."""
        note, rows = self._path(index, "json"), self._path(index, "parquet")
        if not note.is_file() or leads_out(note, self.folder):
            return False
        with contextlib.suppress(UserError):
            recorded = _read(note)
            return Recorded(recorded["bytes"], recorded["sha256"]).fault(rows, root=self.folder) is None
        return False

    def write(self, index: int, part: Part) -> None:
        """Write the part of a chunk."""
        rows = self._path(index, "parquet")
        with atomic(rows) as partial, partial.open("wb") as file:
            part.frame.write_parquet(file, compression="uncompressed")
            file.flush()
            os.fsync(file.fileno())
        note: _Note = {
            "bytes": rows.stat().st_size,
            "sha256": sha256(rows),
            "rows": part.rows,
            "unembedded": [dataclasses.astuple(lost) for lost in part.unembedded],
            "unseen": [(*cell, count) for cell, count in part.unseen.items()],
            "outside": [(*cell, count) for cell, count in part.outside.items()],
        }
        write_text(self._path(index, "json"), Sums().seal(to_json(note)) + "\n")

    def join(self, empty: pl.DataFrame, known: Sequence[Lost], about: Mapping[str, Any]) -> None:
        """Join the parts into the file, list the rows that could not be embedded, and remove the folder.

        The file appears last, and complete.

        Args:
          empty: a frame without rows, with the columns of the file.
          known: rows that could not be embedded and are in no chunk.
          about: the metadata of the file, beside its summary.
        """
        counts: dict[str, Cells] = {"unseen": Counter(), "outside": Counter()}
        rows, unembedded, files = sum(lost.row is not None for lost in known), list(known), list[Path]()
        for path, note in self._notes():
            check(
                sha256(path) == note["sha256"],
                f"{path} has changed since it was written; remove it, and the same command makes it again.",
            )
            files.append(path)
            rows += note["rows"]
            unembedded += [Lost(*values) for values in note["unembedded"]]
            for name, listed in (("unseen", note["unseen"]), ("outside", note["outside"])):
                counts[name].update({(of, column): count for of, column, count in listed})
        refused = Counter(lost.modality for lost in unembedded)
        summary: dict[str, Any] = {"rows": rows, "unembedded": dict(sorted(refused.items()))}
        for name, cells in counts.items():
            numbered = sorted(cells.items())
            summary[name] = [{"input": of, "column": column, "cells": count} for (of, column), count in numbered]
        table = pl.DataFrame([dataclasses.astuple(lost) for lost in unembedded], schema=_LOST, orient="row")
        table = table.sort("row", nulls_last=True, maintain_order=True)
        with atomic(self.unembedded) as partial:
            table.write_csv(partial)
        content = content_of(map(pl.read_parquet, files) if files else [empty])
        metadata = with_checksum({**about, "summary": summary, "content": content})
        group = max(256, _GROUP_BYTES // (4 * about["width"]))
        lazy = pl.scan_parquet(files) if files else empty.lazy()
        with atomic(self.out) as partial:
            lazy.sink_parquet(partial, row_group_size=group, metadata={_KEY: to_json(metadata)})
        shutil.rmtree(self.folder)

    def _notes(self) -> Iterator[tuple[Path, _Note]]:
        for note in sorted(self.folder.glob("[0-9]*.json")):
            yield note.with_suffix(".parquet"), _read(note)

    def _path(self, index: int, suffix: str) -> Path:
        return self.folder / f"{index:08}.{suffix}"


_GROUP_BYTES = 2**26  # of the embeddings in a row group of the file


def _read(note: Path) -> _Note:
    """Return the note on a part; raise `UserError` if it is damaged."""
    remedy = "remove it, and the same command makes the part again"
    notes = list(read_lines(note, _Note, remedy))
    check(len(notes) == 1, f"{note} is damaged (it has {len(notes)} lines, not 1); {remedy}.")
    return notes[0]


def _content(out: Path) -> str:
    """Return the checksum of the rows of a file; "" if they cannot be read."""
    try:
        return content_of_file(out)
    except UNREADABLE:
        return ""


def metadata_of(out: Path) -> dict[str, Any] | None:
    """Return the metadata of a file that `Parts.join` wrote; None for any other file, or if they have changed."""
    try:
        metadata = check_checksum(written(dict[str, Any], pl.read_parquet_metadata(out)[_KEY]))
        as_type(Annotated[_Metadata, Open], metadata)
    except (*UNREADABLE, ValueError, KeyError):
        return None
    return metadata
