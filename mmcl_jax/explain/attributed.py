"""The attributions of all explained rows to columns: steps are chosen by the error, and results are written."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jaxtyping import Array, Float, Int

from mmcl_jax.explain.base import Result, Subject
from mmcl_jax.explain.embedded import padded
from mmcl_jax.explain.integrate import FIRST_STEPS, Noise, Path
from mmcl_jax.explain.outputs import Explained, paths
from mmcl_jax.explain.ranking import draw_ranking
from mmcl_jax.explain.result import ATTRIBUTIONS
from mmcl_jax.page.wording import counted, share
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
    noise: Noise | None = None,
    ids: np.ndarray | None = None,
    bar: Bar | None = None,
) -> Attributed:
    """Return the attributions of blocks of rows (see `outputs.paths`).

    Args:
      blocks: of rows.
      columns: the column `[E]` of each differentiated float.
      width: number of columns F.
      steps: of the quadrature.
      chunk: steps that are computed together; it changes nothing but rounding.
      noise: over whose draws the results are averaged; of a single output.
      ids: the number `[N]` of each row, on which its noise depends.
      bar: counts the rows.
    """
    parts = []
    for block, path in blocks:
        rows, outputs = block.stop - block.start, path.change.shape[1]
        sums = (jnp.zeros((len(path.rows), width)), jnp.zeros(len(path.rows)), jnp.zeros(len(path.rows)))
        draws: Iterable[Path] = [path]
        if noise is not None and ids is not None:
            assert outputs == 1
            draws = noise.on(path, jnp.asarray(padded(ids[block], len(path.rows))))
        for draw in draws:
            for chosen, part in draw.attributions(steps, chunk=chunk):
                sums = _summed(sums, part, draw.change[:, chosen], jnp.asarray(columns), width, outputs == 1)
        count = outputs * (1 if noise is None else noise.samples)
        parts.append([np.asarray(array[:rows]) / np.float32(count) for array in sums])
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
    """Return the number of steps, and whether it reaches the tolerance; None if the number was given.

    Powers of two are tried on some of the rows, from `FIRST_STEPS` to the largest that is allowed.
    """
    options = subject.options
    if explained.steps is not None:
        return explained.steps, None
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
    """Write the attributions of all rows and the ranked plot into the folder, and return the result.

    Rows that lack the input have no attributions (null), and enter no average.
    """
    options, columns, whole, subject = subject.options, subject.columns, subject, subject.having()
    assert columns is not None
    if subject.spec.kind == "vector":
        columns = columns.with_noise(explained.embedded.width - len(columns.names))
    steps, reached = chosen_steps(subject, explained)
    with Bar(f"{title}, {steps} steps: rows", len(subject.rows)) as bar:
        blocks = paths(subject, explained, options.baseline)
        embedded, noise = explained.embedded, explained.noise
        rows = attributed(blocks, embedded.columns, embedded.width, steps, noise=noise, ids=subject.rows, bar=bar)
    by_column = rows.attributions
    if subject.spec.kind == "text":
        by_column = _by_token(by_column, np.asarray(subject.inputs(subject.input)[subject.rows]), len(columns.names))
    importance = np.abs(by_column).mean(axis=0, dtype=np.float64)
    signed = explained.outputs == 1
    ranked = columns.ranked(importance, by_column.mean(axis=0, dtype=np.float64) if signed else None)
    groups = columns.summed(ranked)
    lists = pl.Series(rows.attributions, dtype=pl.Array(pl.Float32, rows.attributions.shape[1]))
    frame = {"key": list(subject.keys), "attributions": lists, "change": rows.change, "error": rows.error}
    of_every_row(whole, frame).write_parquet(folder / ATTRIBUTIONS)
    modality = of_modality(rows.attributions) if signed else None
    notes = [
        f"With {steps} steps, attributions leave {share(rows.relative, 1)} of the change of the outputs.",
        *notes_of(whole, modality),
    ]
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
        details={
            "completeness": completeness,
            "signed": signed,
            "absent": int((~whole.present).sum()),
            **({"modality": modality} if modality else {}),
        },
        notes=notes,
    )


def of_every_row(subject: Subject, frame: Mapping[str, Any]) -> pl.DataFrame:
    """Return a frame of the rows that have an attribution as one of all explained rows, null for the others."""
    at = pl.DataFrame({"key": list(subject.keys), "at": np.arange(len(subject.keys))})
    having = pl.DataFrame({**frame, "at": np.flatnonzero(subject.present)}).drop("key")
    return at.join(having, on="at", how="left", maintain_order="left").drop("at")


def of_modality(attributions: np.ndarray) -> dict[str, float]:
    """Return the attribution to a whole input: the mean over rows of the sum, and of the mean, of absolute values."""
    summed = float(np.abs(attributions).sum(axis=1, dtype=np.float64).mean())
    return {"summed": summed, "mean": summed / attributions.shape[1]}


def notes_of(subject: Subject, modality: Mapping[str, float] | None) -> list[str]:
    """Return sentences on the attribution to the whole input, and on the rows without one."""
    notes, absent = [], int((~subject.present).sum())
    if modality:
        notes.append(
            f"Absolute attributions of a row to {subject.input} sum to {modality['summed']:.3g} on average, a mean of "
            f"{modality['mean']:.3g} per feature."
        )
    if absent:
        notes.append(
            f"{counted(absent, 'row')} of {counted(len(subject.rows), 'explained row')} without {subject.input}, or "
            "without a partner in its terms: the attribution is absent there, not 0."
        )
    return notes


def _by_token(attributions: np.ndarray, texts: np.ndarray, vocabulary: int) -> np.ndarray:
    """Return the attributions of positions `[N, T]` summed by token `[N, V]`."""
    tokens = texts[..., 0]
    by_token = np.zeros((len(tokens), vocabulary), np.float32)
    rows = np.broadcast_to(np.arange(len(tokens))[:, None], tokens.shape)
    np.add.at(by_token, (rows[tokens >= 0], tokens[tokens >= 0]), attributions[tokens >= 0])
    return by_token
