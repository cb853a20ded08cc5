"""The method `ablation`: what changes when a column, or a group of columns, is replaced."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jaxtyping import Array, Bool, Float

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.explain.base import METHODS, Result, Subject
from mmcl_jax.explain.integrate import Path, RowFunction, over_rows
from mmcl_jax.explain.outputs import Explained, Outputs, paths
from mmcl_jax.explain.ranking import draw_ranking
from mmcl_jax.explain.result import ATTRIBUTIONS
from mmcl_jax.progress import Bar
from mmcl_jax.tasks import Task

_MOST_COLUMNS = 1000  # that are replaced one at a time
_MOST_OUTPUTS = 10  # that are listed for each group
_TINY = float(np.finfo(np.float32).tiny)


@METHODS.register("ablation", takes=("table", "vector"))
def ablation(subject: Subject, folder: FilePath) -> Result:
    """Replace every column, and every group of columns, and measure how much the outputs change.

    The columns are replaced in what the encoder embeds: by the mean over training rows, by zeros, or by the values of
    another explained row (all columns of a group by those of the same row). The change of an embedding f is

        |f(x) - f(replaced x)| / |f(x)|

    with the Euclidean norm; that of a head is the mean absolute change of its outputs. The importance of a column or
    group is the mean over rows. Each group also lists the outputs that change most and, for a head, the metrics that
    are left on the explained rows that have a label. Of more than 1,000 columns only groups are replaced.

    Raises:
      UserError: there are more than 1,000 columns and no groups, or the encoder or the head cannot be explained.
    """
    columns, options, explained = subject.columns, subject.options, Outputs(subject)
    assert columns is not None
    columns = columns.with_noise(explained.embedded.width - len(columns.names))
    single = len(columns.names) <= _MOST_COLUMNS
    check(
        single or len(columns.colours) > 1,
        f"--method ablation: {subject.input!r} has {len(columns.names):,} columns, of which only groups are replaced; "
        "give --groups.",
    )
    sets = [np.array([index]) for index in range(len(columns.names))] if single else []
    sets += [columns.members(group) for group in columns.colours]
    scored = None if subject.head is None else Scored.of(subject, subject.head)
    rows = Replaceable.of(subject, explained)
    intact, replaced = rows.outputs(np.zeros(len(explained.embedded.columns), bool)), []
    with Bar("Ablation: columns and groups", len(sets)) as bar:
        for index, members in enumerate(sets):
            outputs = rows.outputs(np.isin(explained.embedded.columns, members))
            change = _change(intact, outputs, relative=subject.head is None)
            by_output = np.abs(outputs - intact).mean(axis=0)
            of_group = scored is not None and index >= len(sets) - len(columns.colours)
            replaced.append((change, by_output, scored.metrics(outputs) if scored and of_group else {}))
            bar.advance(1)
    count = len(columns.names) if single else 0
    changes = np.stack([change for change, *_ in replaced], axis=1)
    ranked = columns.ranked(changes[:, :count].mean(axis=0, dtype=np.float64)) if single else []
    groups = _groups(columns.colours, [len(members) for members in sets[count:]], changes[:, count:].mean(axis=0))
    if single:
        lists = pl.Series(changes[:, :count], dtype=pl.Array(pl.Float32, count))
        pl.DataFrame({"key": list(subject.keys), "attributions": lists}).write_parquet(folder / ATTRIBUTIONS)
    bars = ranked or [
        {
            **group,
            "group": group["name"],
            "rank": 1 + sum(other["importance"] > group["importance"] for other in groups),
        }
        for group in groups
    ]
    details: dict[str, Any] = {"additive": False, "groups": {}}
    for name, (change, by_output, metrics) in zip(columns.colours, replaced[count:], strict=True):
        order = np.argsort(-by_output)[:_MOST_OUTPUTS]
        details["groups"][name] = {
            "change": float(change.mean()),
            "outputs": [{"index": int(index), "change": float(by_output[index])} for index in order],
            "metrics": metrics,
        }
    notes = []
    if scored is not None:
        details["metrics"] = scored.metrics(intact)
        notes = [scored.note(intact, name, entry["metrics"]) for name, entry in details["groups"].items()]
    title = f"Change of {explained.of} when a column is replaced ({options.replacement})"
    return Result(
        of=explained.of,
        settings={"replacement": options.replacement, "output": options.output},
        columns=ranked,
        groups=groups,
        pictures=draw_ranking(
            bars, groups, folder, title=title, rows=len(subject.rows), top=options.top, axis="mean change", shares=False
        ),
        details=details,
        notes=notes,
    )


@dataclasses.dataclass(frozen=True)
class Replaceable:
    """Embedded rows, in blocks, with what replaces them.

    Attributes:
      function: that is explained.
      blocks: of the rows, as `outputs.paths` yields them.
      sources: per block, the replacement, `[E]` or `[R, E]`.
    """

    function: RowFunction
    blocks: Sequence[tuple[slice, Path]]
    sources: Sequence[Array]

    @classmethod
    def of(cls, subject: Subject, explained: Explained) -> "Replaceable":
        """Return the explained rows with the replacement that the options name."""
        replacement = subject.options.replacement
        blocks = list(paths(subject, explained, "mean" if replacement == "mean" else "zero"))
        if replacement != "permuted":
            return cls(explained.function, blocks, [path.baseline[None] for _, path in blocks])
        rows = np.concatenate([np.asarray(path.rows[: block.stop - block.start]) for block, path in blocks])
        other = rows[np.random.default_rng(0).permutation(len(rows))]
        sources = []
        for block, path in blocks:
            source = np.zeros(path.rows.shape, np.float32)
            source[: block.stop - block.start] = other[block]
            sources.append(jax.device_put(source, path.rows.sharding))
        return cls(explained.function, blocks, sources)

    def outputs(self, mask: Bool[np.ndarray, "E"]) -> np.ndarray:
        """Return the outputs `[N, K]` for rows that are replaced where the mask is true."""
        parts = []
        for (block, path), source in zip(self.blocks, self.sources, strict=True):
            outputs = _outputs(self.function, path.arrays, path.rows, source, mask, path.context)
            parts.append(np.asarray(outputs[: block.stop - block.start]))
        return np.concatenate(parts)


@functools.partial(jax.jit, static_argnums=0)
def _outputs(
    function: RowFunction, arrays: Any, rows: Float[Array, "R E"], source: Array, mask: Array, context: Any
) -> Float[Array, "R K"]:
    values = jnp.where(mask[None], source, rows)
    return over_rows(lambda row, own: function(arrays, row, own), values, context)


@dataclasses.dataclass(frozen=True)
class Scored:
    """The labels of the explained rows that have one: their indices among these rows, and the targets."""

    task: Task
    rows: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, subject: Subject, head: KeptHead) -> "Scored | None":
        """Return the labels of the explained rows; None if no row has one, or one output alone is explained."""
        targets = (entry for entry in subject.store.schema.entries.values() if entry.role == "target")
        named = {column.name for entry in targets for column in entry.columns}
        if subject.options.output is not None or subject.options.split not in SPLITS or not set(head.labels) <= named:
            return None
        data = LabelledStore.of(subject.store, head.score.label, head.score.task, fold=subject.source.run.inputs.fold)
        labelled = data.rows[subject.options.split]
        _, rows, of = np.intersect1d(subject.rows, labelled, return_indices=True)
        return cls(head.trained.task, rows, data.targets[subject.options.split][of]) if len(rows) else None

    def metrics(self, outputs: np.ndarray) -> dict[str, float]:
        """Return the metrics of the outputs of all explained rows."""
        return self.task.metrics(outputs[self.rows], self.targets)

    def note(self, intact: np.ndarray, group: str, metrics: dict[str, float]) -> str:
        """Return a sentence on the primary metric without a group."""
        primary = self.task.primary
        return f"{primary} {self.metrics(intact)[primary]:.3f}; without {group} {metrics[primary]:.3f}"


def _change(intact: np.ndarray, outputs: np.ndarray, *, relative: bool) -> np.ndarray:
    """Return the change `[N]` of outputs `[N, K]`: of embeddings relative to their norm, of heads in their units."""
    if not relative:
        return np.abs(outputs - intact).mean(axis=1)
    return np.linalg.norm(outputs - intact, axis=1) / np.maximum(np.linalg.norm(intact, axis=1), _TINY)


def _groups(colours: dict[str, str], sizes: Sequence[int], importance: np.ndarray) -> list[dict[str, Any]]:
    total = float(importance.sum())
    return [
        {
            "name": name,
            "colour": colour,
            "columns": size,
            "importance": float(value),
            "share": float(value) / total if total > 0 else 0.0,
        }
        for (name, colour), size, value in zip(colours.items(), sizes, importance, strict=True)
    ]
