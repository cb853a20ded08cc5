"""Equal effort: every method is pretrained with as many settings, and the best on validation makes its numbers."""

import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.reproduce.measure import Measure
from mmcl_jax.reproduce.plan import Plan, read_evaluation
from mmcl_jax.reproduce.spec import COLUMNS_USED, PaperTable, TableColumn, TableRow

Grid = Mapping[str, tuple[tuple[str, ...], ...]]  # by method, the overrides of each of its trials


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting of a method that was tried.

    Attributes:
      method: key of the row.
      label: of the row.
      number: of the trial, from 0.
      overrides: of the method's config.
      column: key of the column whose protocol judged it.
      metric: by which it was judged, on validation.
      score: the mean over the draws of labels, of the first seed; NaN if it diverged.
      chosen: whether it makes the method's numbers.
    """

    method: str
    label: str
    number: int
    overrides: tuple[str, ...]
    column: str
    metric: str
    score: float
    chosen: bool

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; NaN becomes None."""
        return {**dataclasses.asdict(self), "score": None if math.isnan(self.score) else self.score}


def tuned(row: TableRow) -> bool:
    """Return whether a row is a method that is pretrained, and so has settings to choose."""
    return bool(row.config) and not row.baseline


def read_grid(path: Path, rows: Sequence[TableRow], known: Sequence[str]) -> Grid:
    """Return the trials of these rows from a TOML file, which lists for every method lists of `key.path=value`.

    Args:
      path: the file; it may have methods of other tables, too.
      rows: of the table.
      known: the keys of the rows of all tables.

    Raises:
      UserError: the file cannot be read, lacks a method, repeats a trial, or gives methods different numbers of trials.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--tune: {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UserError(f"--tune: {path} is not a TOML file ({error}).") from error
    for method, trials in content.items():
        check_name(method, known, f"--tune: {path}: there is no method", "they are")
        proper = isinstance(trials, list) and all(
            isinstance(trial, list) and all(isinstance(text, str) and "=" in text for text in trial) for trial in trials
        )
        check(
            proper and len(trials) > 0,
            f'--tune: {path}: {method} must be a list of trials, each a list of overrides such as ["batch_size=64"].',
        )
        again = [trial for number, trial in enumerate(trials) if trial in trials[:number]]
        check(not again, f"--tune: {path}: {method} has the trial {again[:1]} twice; every trial must be another one.")
    for row in filter(tuned, rows):
        check(row.key in content, f"--tune: {path} has no trials of {row.key}; add them, or leave it out by --methods.")
    grid = {row.key: tuple(map(tuple, content[row.key])) for row in rows if tuned(row)}
    counts = {key: len(trials) for key, trials in grid.items()}
    check(
        len(set(counts.values())) == 1,
        f"--tune: {path}: every method must have as many trials, and the numbers are "
        f"{', '.join(f'{count} of {key}' for key, count in counts.items())}.",
    )
    return grid


def trial_rows(rows: Sequence[TableRow], grid: Grid) -> tuple[TableRow, ...]:
    """Return a row for every trial of every method; its key is that of its run."""
    return tuple(
        _trial(row, grid, number, key=_run(row, number)) for row in rows for number in range(_count(row, grid))
    )


def chosen_rows(rows: Sequence[TableRow], grid: Grid, chosen: Mapping[str, int]) -> tuple[TableRow, ...]:
    """Return the rows with the settings of the chosen trials; their runs of the first seed are those of the trials."""
    return tuple(
        _trial(row, grid, chosen[row.key], run=_run(row, chosen[row.key])) if row.key in grid else row for row in rows
    )


def judged_by(row: TableRow, table: PaperTable) -> TableColumn:
    """Return the column whose protocol judges the trials of a row: the table's first that the row has.

    Raises:
      UserError: the row has no column with a score on validation.
    """
    columns = (column for column in table.columns if row.has(column) and column.metric != COLUMNS_USED)
    column = next(columns, None)
    if column is None:
        raise UserError(f"--tune: {table.name} has no score of {row.key} on validation; leave --tune out.")
    return column


def only_judging(plan: Plan) -> Plan:
    """Return a plan of trials without the evaluations that do not judge."""
    judging = {row.key: judged_by(row, plan.table).key for row in plan.rows}
    kept = tuple(one for one in plan.evaluations if one.column.key == judging[one.row.key])
    return dataclasses.replace(plan, evaluations=kept)


def choose(plan: Plan, rows: Sequence[TableRow], grid: Grid) -> tuple[Trial, ...]:
    """Return the trials of a finished plan with their scores; the best of each method, or the first such, is chosen.

    Args:
      plan: of the trials.
      rows: of the table.
      grid: the trials.

    Raises:
      UserError: no trial of a method has a score.
    """
    records = {one.row.key: read_evaluation(one) for one in plan.evaluations}
    by_run = {key: [score.metrics for score in record.scores] for key, record in records.items() if record}
    metric = next(name for metrics in by_run.values() for name in metrics[0] if name.startswith("val_"))
    best_of = min if Measure(metric.removeprefix("val_")).lower else max
    trials = []
    for row in filter(tuned, rows):
        scores = [_mean(by_run[_run(row, number)], metric) for number in range(_count(row, grid))]
        known = [score for score in scores if not math.isnan(score)]
        check(len(known) > 0, f"--tune: no trial of {row.key} has a score on validation; change its settings.")
        best, column = scores.index(best_of(known)), judged_by(row, plan.table).key
        trials += [
            Trial(method=row.key, label=row.label, number=number, overrides=grid[row.key][number], column=column,
                  metric=metric.removeprefix("val_"), score=score, chosen=number == best)
            for number, score in enumerate(scores)
        ]  # fmt: skip
    return tuple(trials)


def _mean(metrics: Sequence[Mapping[str, float]], name: str) -> float:
    """Return the mean of a metric, NaN if one of them is."""
    return float(np.mean([one[name] for one in metrics]))


def _count(row: TableRow, grid: Grid) -> int:
    return len(grid.get(row.key, ()))


def _run(row: TableRow, number: int) -> str:
    return f"{row.key}-trial{number}"


def _trial(row: TableRow, grid: Grid, number: int, **changes: Any) -> TableRow:
    return dataclasses.replace(row, overrides=(*row.overrides, *grid[row.key][number]), **changes)
