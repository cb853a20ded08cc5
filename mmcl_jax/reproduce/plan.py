"""What a table takes: pretrainings and evaluations, and which of them are done."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.reproduce import ledger
from mmcl_jax.reproduce.tables.spec import PaperTable, TableColumn, TableRow
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run

DRAWS = {"probe": 3, "finetune": 1}  # of labels, per pretraining seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class How:
    """How evaluations are done: `draws` of labels per seed (None: `DRAWS`), and the heads' options (None: theirs)."""

    label: str
    draws: int | None = None
    learning_rates: tuple[float, ...] | None = None
    max_epochs: int | None = None

    def draws_of(self, protocol: str, budget: Budget) -> int:
        """Return the draws of labels, and random starts of fine-tuning, per pretraining seed.

        A probe has one solution, so where all labels or a named subset are used, it is done once.
        """
        once = protocol == "probe" and (budget.takes_all or budget.subset is not None)
        return 1 if once else self.draws or DRAWS[protocol]


@dataclasses.dataclass(frozen=True)
class Training:
    """One pretraining, in `out/runs/KEY-SEED`; all tables of the same `out` share it."""

    row: TableRow
    seed: int
    config: ConfigDict
    directory: Path

    @property
    def record(self) -> Path:
        """What is kept of it when it is finished."""
        return self.directory.parent.parent / "trainings" / f"{self.directory.name}.json"

    @property
    def done(self) -> bool:
        """Whether it is finished and still there."""
        return Run.exists(self.directory) and self.record.is_file()

    def check(self, store: Store) -> None:
        """Raise `UserError` if the run's folder holds another experiment, or the same on other data."""
        if Run.exists(self.directory):
            try:
                Run.begin(self.directory, self.config, store, Run.open(self.directory).inputs)
            except UserError as error:
                raise UserError(str(error).replace("--workdir", "--out")) from error

    def settings(self) -> dict[str, Any]:
        """Return the resolved config without the path of the data: of the run if it exists, else as it will be."""
        there = Run.exists(self.directory)
        plain = json.loads((self.directory / "config.json").read_text()) if there else to_plain(self.config)
        return {key: value for key, value in plain.items() if key != "data"}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One row at one seed in one column. A baseline's `training` is the one whose encoder and seed it takes."""

    row: TableRow
    column: TableColumn
    budget: Budget
    training: Training
    settings: dict[str, Any]
    path: Path

    @property
    def seed(self) -> int:
        """The seed of the pretraining."""
        return self.training.seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All of it, in the order it is done: seed by seed."""

    table: PaperTable
    rows: tuple[TableRow, ...]
    store: Store
    how: How
    trainings: tuple[Training, ...]
    evaluations: tuple[Evaluation, ...]

    def describe(self) -> str:
        """Return the counts of finished and missing pretrainings and evaluations, in words."""
        trained = sum(one.done for one in self.trainings)
        evaluated = sum(one.path.is_file() for one in self.evaluations)
        return (
            f"{len(self.trainings)} pretrainings: {trained} done, {len(self.trainings) - trained} missing\n"
            f"{len(self.evaluations)} evaluations: {evaluated} done, {len(self.evaluations) - evaluated} missing"
        )


def choose_rows(table: PaperTable, methods: Sequence[str]) -> tuple[TableRow, ...]:
    """Return the table's rows, or the rows asked for and the reference row that differences are taken to.

    Raises:
      UserError: there is no such row.
    """
    known = [row.key for row in table.rows]
    for method in methods:
        check(method in known, f"--methods: {table.name} has no method {method!r}; it has {', '.join(known)}.")
    return tuple(row for row in table.rows if not methods or row.key in (*methods, table.reference))


def make_plan(
    table: PaperTable,
    rows: Sequence[TableRow],
    configs: dict[str, ConfigDict],
    *,
    store: Store,
    out: Path,
    seeds: int,
    how: How,
    balanced: bool,
) -> Plan:
    """List the work to be done; write nothing.

    Args:
      table: to reproduce.
      rows: of it, with the reference row.
      configs: of the rows that have one, by key.
      store: to train and evaluate on.
      out: folder of all tables of this store.
      seeds: of pretraining: 0 to `seeds - 1`.
      how: evaluations are done.
      balanced: whether to use the store's balanced subsets for fine-tuning.

    Raises:
      UserError: a run in `out` is of another experiment, or the store lacks a subset.
    """
    trainings: list[Training] = []
    evaluations: list[Evaluation] = []
    for seed in range(seeds):
        of = {}
        for row in rows:
            if row.config:
                config = ConfigDict(configs[row.key])
                config.seed = seed
                of[row.key] = Training(row, seed, config, out / "runs" / f"{row.key}-{seed}")
                of[row.key].check(store)
        trainings += of.values()
        for row in rows:
            for column in filter(row.has, table.columns):
                budget = column.budget(balanced=balanced)
                if budget.subset:
                    store.subset(budget.subset)
                training = of.get(row.key) or of[table.reference]
                evaluations.append(_evaluation(row, column, budget, training, store, out, how))
    return Plan(
        table=table,
        rows=tuple(rows),
        store=store,
        how=how,
        trainings=tuple(trainings),
        evaluations=tuple(evaluations),
    )


def _evaluation(
    row: TableRow, column: TableColumn, budget: Budget, training: Training, store: Store, out: Path, how: How
) -> Evaluation:
    # Whatever can change the number is in the name of the file, so that other settings are another file.
    settings = {
        "method": row.key,
        "seed": training.seed,
        "protocol": column.protocol,
        "input": column.input,
        "budget": str(budget),
        "draws": how.draws_of(column.protocol, budget),
        "label": how.label,
        "learning_rates": how.learning_rates,
        "max_epochs": how.max_epochs,
        "store": store.fingerprint,
        "config": ledger.digest(training.settings()),
    }
    name = f"{column.protocol}-{column.input}-{str(budget).replace(' ', '')}-{ledger.digest(settings)}.json"
    path = out / "evaluations" / f"{row.key}-{training.seed}" / name
    return Evaluation(row, column, budget, training, settings, path)
