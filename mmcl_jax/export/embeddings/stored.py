"""Rows of a store, or of arrays that were prepared like one, to be embedded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.format.unchanged import Unchanged
from mmcl_jax.data.inputs import with_columns
from mmcl_jax.data.kinds.vector import is_missing
from mmcl_jax.data.schema import SPLITS, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.encoded import EncodedRows
from mmcl_jax.evaluation.sources.checks import check_rows
from mmcl_jax.export.embeddings.chunk import Cells, Chunk, Lost, Reasons, Skip, encode_table, unusual_cells
from mmcl_jax.training.runs.run import Run


class StoredRows:
    """The rows of splits of a store, in the order of the store: those of the first split, then of the next.

    A chunk has rows of one split alone, so that each is in the block in which `mmcl evaluate` encodes it.
    """

    refused: Sequence[Lost] = ()
    remarks: Sequence[str] = ()

    def __init__(self, run: Run, store: Store, inputs: Sequence[str], *, split: str | None, size: int) -> None:
        """Open the rows.

        Args:
          run: whose encoders read them.
          store: that has them.
          inputs: that are read.
          split: of the store, or of the run's fold; None for all.
          size: rows of a chunk.

        Raises:
          UserError: the store has no such split, or other images or columns than the run was trained on.
        """
        for name in inputs:
            check_rows(run, store, name)
        self._run, self._store, self._inputs, self.size = run, store, inputs, size
        self._watch = Unchanged(store.directory)
        fold = run.inputs.fold
        self._members = {name: store.rows_of(name, fold) for name in ((split,) if split is not None else SPLITS)}
        self.rows = sum(map(len, self._members.values()))

    def unchanged(self) -> None:
        """Check that the store has not changed since it was opened."""
        self._watch.check(
            "nothing is written: put the store back as it was, or run the command again to embed the changed store"
        )

    def chunks(self, skip: Skip) -> Iterator[tuple[int, Chunk]]:
        """Yield the chunks by index, from 0, except those to skip."""
        index, store, fold = 0, self._store, self._run.inputs.fold
        of = dict.fromkeys(self._run.inputs.specs[name].of for name in self._inputs)
        for split, members in self._members.items():
            entries = store.read(split, list(of), fold=fold)
            label = store.labels(split, fold=fold).get("label")
            keys: list[str] = []
            for start in range(0, len(members), self.size):
                part = np.arange(start, min(start + self.size, len(members)))
                if not skip(index):
                    keys = keys or store.keys(split, fold)
                    yield (
                        index,
                        chunk_of(
                            self._run,
                            store.schema,
                            entries,
                            self._inputs,
                            part,
                            keys=[keys[row] for row in part],
                            ids=store.lists.id[members[part]],
                            label=label,
                            split=split,
                        ),
                    )
                index += 1


def chunk_of(
    run: Run,
    schema: Schema,
    entries: Mapping[str, Any],
    inputs: Sequence[str],
    part: np.ndarray,
    *,
    keys: Sequence[str],
    ids: np.ndarray,
    label: np.ndarray | None = None,
    split: str = "",
    why: Mapping[tuple[int, str], str] | None = None,
) -> Chunk:
    """Return a chunk of rows of entries as they are stored.

    Args:
      run: whose encoders read them.
      schema: of the entries.
      entries: by name, as `Store.read` returns them.
      inputs: of the run, that are read.
      part: `[n]`, the indices of the rows.
      keys: of these rows.
      ids: `[n]`, the numbers of these rows in the raw table.
      label: codes `[N]` of the first class label, for runs that have the label as a column.
      split: of the rows.
      why: by number and entry, why rows lack an entry.
    """
    arrays, refused, lacking, unseen, outside = {}, {}, {}, Cells(), Cells()
    for name in inputs:
        spec = run.inputs.specs[name]
        entry, reasons = entries[spec.of], Reasons()
        if spec.kind == "table":
            encoding = run.inputs.tables[name]
            raw = EncodedRows(entry, with_columns(schema, spec.of), encoding, label).raw(part)
            arrays[name], reasons = encode_table(encoding, raw)
            rare, far = unusual_cells(encoding, raw, name)
            unseen, outside = unseen + rare, outside + far
        else:
            arrays[name] = np.asarray(entry[part])
        if spec.kind == "vector" and spec.missing == "refuse":
            missing = np.flatnonzero(is_missing(arrays[name]).any(axis=1))
            reasons = dict.fromkeys(missing.tolist(), f"A value of {name!r} is missing, which the run refuses.")
        absent = [] if entry.present is None else np.flatnonzero(~entry.present[part]).tolist()
        known = why or {}
        for row in absent:
            reasons[row] = known.get((int(ids[row]), spec.of), f"The row has no {spec.of!r}.")
        refused[name], lacking[name] = reasons, [row for row in absent if (int(ids[row]), spec.of) not in known]
    return Chunk(
        keys=keys,
        rows=np.asarray(ids, np.int64),
        inputs=arrays,
        refused=refused,
        unseen=unseen,
        outside=outside,
        split=split,
        absent=lacking,
    )
