"""The attributions of all explained rows to columns: steps are chosen by the error, and results are written."""

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path as FilePath

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jaxtyping import Array, Float, Int

from mmcl_jax.explain.base import Result, Subject
from mmcl_jax.explain.integrate import FIRST_STEPS, Path
from mmcl_jax.explain.outputs import Explained, paths
from mmcl_jax.explain.ranking import draw_ranking
from mmcl_jax.explain.result import ATTRIBUTIONS
from mmcl_jax.page.wording import share
from mmcl_jax.progress import Bar

_PILOT = 64  # rows by which the number of steps is chosen
_ROUNDING, _TINY = 1e-6, float(np.finfo(np.float32).tiny)  # of float32


@dataclasses.dataclass(frozen=True)
class Attributed:
    """The attributions of rows; with several outputs, the means of absolute values over the outputs.

    Attributes:
      attributions: `[N, F]`.
      change: `[N]`, f(x) - f(baseline).
      error: `[N]`, the part of it that the attributions leave.
    """

    attributions: np.ndarray
    change: np.ndarray
    error: np.ndarray

    @property
    def relative(self) -> float:
        """The completeness error: the mean absolute error over the mean absolute change."""
        return float(np.abs(self.error).mean(dtype=np.float64) / self._change)

    @property
    def worst(self) -> float:
        """The largest absolute error of a row over the mean absolute change."""
        return float(np.abs(self.error).max() / self._change)

    @property
    def _change(self) -> float:
        # Where attributions cancel, the change may be nothing but rounding.
        rounding = _ROUNDING * float(np.abs(self.attributions).sum(axis=1, dtype=np.float64).mean())
        return max(float(np.abs(self.change).mean(dtype=np.float64)), rounding, _TINY)


def attributed(
    blocks: Iterable[tuple[slice, Path]],
    columns: np.ndarray,
    width: int,
    steps: int,
    *,
    chunk: int | None = None,
    bar: Bar | None = None,
) -> Attributed:
    """Return the attributions of blocks of rows (see `outputs.paths`).

    Args:
      blocks: of rows.
      columns: the column `[E]` of each differentiated float.
      width: number of columns F.
      steps: of the quadrature.
      chunk: steps that are computed together; it changes nothing but rounding.
      bar: counts the rows.
    """
    parts = []
    for block, path in blocks:
        rows, outputs = block.stop - block.start, path.change.shape[1]
        sums = (jnp.zeros((len(path.rows), width)), jnp.zeros(len(path.rows)), jnp.zeros(len(path.rows)))
        for chosen, part in path.attributions(steps, chunk=chunk):
            sums = _summed(sums, part, path.change[:, chosen], jnp.asarray(columns), width, outputs == 1)
        parts.append([np.asarray(array[:rows]) / np.float32(outputs) for array in sums])
        if bar is not None:
            bar.advance(rows)
    return Attributed(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


Sums = tuple[Float[Array, "R F"], Float[Array, "R"], Float[Array, "R"]]


@functools.partial(jax.jit, static_argnums=(4, 5))
def _summed(
    sums: Sums,
    part: Float[Array, "R k E"],
    change: Float[Array, "R k"],
    columns: Int[Array, "E"],
    width: int,
    signed: bool,
) -> Sums:
    """Add the attributions, changes and errors of some outputs, or their absolute values, to the sums."""
    by_column = jnp.zeros((*part.shape[:2], width)).at[:, :, columns].add(part)
    error = change - part.sum(axis=2)
    values = (by_column, change, error)
    if not signed:
        values = jax.tree.map(jnp.abs, values)
    return jax.tree.map(lambda total, value: total + value.sum(axis=1), sums, values)


def chosen_steps(subject: Subject, explained: Explained) -> tuple[int, bool | None]:
    """Return the number of steps, and whether it reaches the tolerance; None if the user gave the number.

    Powers of two are tried on some of the rows, from `FIRST_STEPS` to the largest that is allowed.
    """
    options = subject.options
    if options.steps is not None:
        return options.steps, None
    few = np.unique(np.linspace(0, len(subject.rows) - 1, _PILOT).astype(int))
    pilot = dataclasses.replace(subject, rows=subject.rows[few])
    blocks = list(paths(pilot, explained, options.baseline))
    tries = [min(FIRST_STEPS, options.max_steps)]
    while tries[-1] < options.max_steps:
        tries.append(min(2 * tries[-1], options.max_steps))
    with Bar("Choosing the number of steps", len(tries)) as bar:
        for steps in tries:
            tried = attributed(blocks, explained.embedded.columns, explained.embedded.width, steps)
            reached = tried.relative <= options.tolerance
            bar.update(tries.index(steps) + 1, text=f"{steps} steps leave {share(tried.relative, 1)}")
            if reached:
                break
    return steps, reached


def explained_columns(subject: Subject, explained: Explained, folder: FilePath, *, title: str) -> Result:
    """Write the attributions of all rows and the ranked plot into the folder, and return the result."""
    options, columns = subject.options, subject.columns
    assert columns is not None
    steps, reached = chosen_steps(subject, explained)
    with Bar(f"{title}, {steps} steps: rows", len(subject.rows)) as bar:
        blocks = paths(subject, explained, options.baseline)
        rows = attributed(blocks, explained.embedded.columns, explained.embedded.width, steps, bar=bar)
    by_column = rows.attributions
    if subject.spec.kind == "text":
        by_column = _by_token(by_column, np.asarray(subject.inputs(subject.input)[subject.rows]), len(columns.names))
    importance = np.abs(by_column).mean(axis=0, dtype=np.float64)
    signed = explained.outputs == 1
    ranked = columns.ranked(importance, by_column.mean(axis=0, dtype=np.float64) if signed else None)
    groups = columns.summed(ranked)
    lists = pl.Series(rows.attributions, dtype=pl.Array(pl.Float32, rows.attributions.shape[1]))
    frame = {"key": list(subject.keys), "attributions": lists, "change": rows.change, "error": rows.error}
    pl.DataFrame(frame).write_parquet(folder / ATTRIBUTIONS)
    notes = [f"With {steps} steps, attributions leave {share(rows.relative, 1)} of the change of the outputs."]
    if reached is False:
        notes.append(
            f"This is the most steps that were tried, and the tolerance is {share(options.tolerance, 1)}; raise "
            "--max-steps."
        )
    completeness = {"error": rows.relative, "worst_row": rows.worst, "tolerance": options.tolerance, "reached": reached}
    return Result(
        of=explained.of,
        settings={"baseline": options.baseline, "steps": steps, **explained.settings},
        columns=ranked,
        groups=groups,
        pictures=draw_ranking(
            ranked, groups, folder, title=f"{title} of {explained.of}", rows=len(subject.rows), top=options.top
        ),
        details={"completeness": completeness, "signed": signed},
        notes=notes,
    )


def _by_token(attributions: np.ndarray, texts: np.ndarray, vocabulary: int) -> np.ndarray:
    """Return the attributions of positions `[N, T]` summed by token `[N, V]`."""
    tokens = texts[..., 0]
    by_token = np.zeros((len(tokens), vocabulary), np.float32)
    rows = np.broadcast_to(np.arange(len(tokens))[:, None], tokens.shape)
    np.add.at(by_token, (rows[tokens >= 0], tokens[tokens >= 0]), attributions[tokens >= 0])
    return by_token
