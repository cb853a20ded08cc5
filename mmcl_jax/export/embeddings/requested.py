"""New rows of any kinds of entries, which a request names as for `mmcl prepare`, to be embedded.

They are read by the functions of `prepare`, as later data of the run: images and volumes are decoded into files, which
lie in a folder until all rows are embedded.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.data.engines.engine import Processes
from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import check
from mmcl_jax.export.embeddings.chunk import Chunk, Lost, Skip
from mmcl_jax.export.embeddings.stored import chunk_of
from mmcl_jax.prepare.assemble import Assembler
from mmcl_jax.prepare.gather import GatheredEntries, check_left, gather
from mmcl_jax.prepare.images.entries import image_sources
from mmcl_jax.prepare.images.pixels import Pixels, decode_rows
from mmcl_jax.prepare.inspection import Inspected
from mmcl_jax.prepare.like import Like, open_like
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import matrix
from mmcl_jax.training.processes import is_primary
from mmcl_jax.training.runs.run import Run


class RequestedRows:
    """The rows of a request, in the order of its main table; then the keys that other entries alone have."""

    def __init__(
        self,
        run: Run,
        request: Request,
        inputs: Sequence[str],
        folder: Path,
        *,
        size: int,
        workers: int,
    ) -> None:
        """Read all tables, and decode all images into `folder`.

        Args:
          run: whose encoders read the rows.
          request: names the files.
          inputs: of the run, that are read.
          folder: for decoded images; work that an earlier call left there is resumed.
          size: rows of a chunk.
          workers: processes that decode.

        Raises:
          UserError: a file, entry or column is missing or wrong.
        """
        request, like = open_like(_lenient(request, run))
        assert like is not None
        (folder / "flat").mkdir(parents=True, exist_ok=True)
        self._run, self._inputs, self.size = run, inputs, size
        quarantine = request.quarantine()
        gathered = gather(request, None, quarantine, like)
        pixels: dict[str, Pixels] = {}
        for source in image_sources(request, None, gathered.join, like.schema):
            pixels[source.name] = decode_rows(
                source, request, gathered.rows, quarantine, folder, engine=Processes(workers), progress=is_primary()
            )
            like.check_images(source.name, pixels[source.name].entry)
        if gathered.join.entries:
            gathered = gathered.usable(quarantine)
        rows = check_left(gathered.rows, quarantine)
        assembled = Assembler(gathered, _inspected(gathered, rows, like), pixels, {}, folder, like).content()
        content = assembled.content
        self.remarks: Sequence[str] = assembled.warnings
        self._schema = Schema({name: part.entry for name, part in content.parts.items()})
        self._entries = {
            name: MappedRows(
                part.values,
                np.arange(len(content.id)) if part.at is None else part.at,
                fill=KINDS[part.entry.kind].fill(part.values.dtype),
                optional=True,
            )
            for name, part in content.parts.items()
        }
        for name in inputs:
            of = run.inputs.specs[name].of
            check(of in self._entries, f"--request: no row has {of!r}, which the encoder reads.")
        self._keys, self._ids, self.rows = content.keys, content.id, len(content.id)
        self._why = {(entry.row - 1, entry.entry): entry.reason for entry in quarantine.entries if entry.entry}
        self.refused: Sequence[Lost] = _refused(quarantine, gathered)

    def chunks(self, skip: Skip) -> Iterator[tuple[int, Chunk]]:
        """Yield the chunks by index, from 0, except those to skip."""
        for index, start in enumerate(range(0, self.rows, self.size)):
            if not skip(index):
                part = np.arange(start, min(start + self.size, self.rows))
                keys = self._keys[start : start + self.size]
                yield index, chunk_of(
                    self._run, self._schema, self._entries, self._inputs, part, keys=keys, ids=self._ids[part],
                    why=self._why,
                )  # fmt: skip


def _lenient(request: Request, run: Run) -> Request:
    """Return the request as later data of the run, without what leaves out rows or divides them."""
    entries = {
        name: dataclasses.replace(
            one, required=False, duplicates="keep" if one.kind in ("image", "volume") else one.duplicates
        )
        for name, one in request.entries.items()
    }
    return dataclasses.replace(
        request,
        like=run.directory,
        entries=entries,
        targets={},
        cohort="outer",
        max_bad=1.0,
        duplicates="keep",
        split_column=None,
        split_ids=(),
        group_near_duplicates=False,
    )


def _inspected(gathered: GatheredEntries, rows: np.ndarray, like: Like) -> Inspected:
    """Return the rows as they are, all in one split, with the columns of the run and without labels."""
    columns = like.columns
    features = like.ordered(gathered.rows.named("feature"), columns)
    table, _ = matrix(features, columns, rows, unknown=-1.0)
    schema, none = Schema(columns=columns), np.zeros(0, int)
    return Inspected(
        rows=rows,
        schema=schema,
        table=table,
        labels=np.zeros((len(rows), 0)),
        splits={"train": np.arange(len(rows)), "val": none, "test": none},
        subsets={},
        folds=(),
        statistics=Statistics.fit(table[:0], schema),
        left_out={},
        balance={},
        warnings=like.warn(features, columns, table, rows),
    )


def _refused(quarantine: Quarantine, gathered: GatheredEntries) -> list[Lost]:
    """Return every row that is left out altogether."""
    keys = dict(zip(gathered.rows.numbers.tolist(), gathered.rows.keys, strict=True))
    return [
        Lost(None, None, "", "", f"{entry.file}, row {entry.row}: {entry.reason}")
        if entry.file
        else Lost(entry.row - 1, keys.get(entry.row), "", "", entry.reason)
        for entry in quarantine.entries
        if not entry.entry or entry.row not in keys
    ]
