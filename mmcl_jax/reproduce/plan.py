"""The pretrainings and evaluations of a table, and the JSON records of the finished ones."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

from ml_collections import ConfigDict

from mmcl_jax.border import AtLeast, Open, Real, checksum, read_summed, to_json
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check_name
from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.files import reading, write_text
from mmcl_jax.reproduce.analyses.raw import Raw
from mmcl_jax.reproduce.spec import COLUMNS_USED, PaperTable, TableColumn, TableRow
from mmcl_jax.training.runs.config_file import read_plain
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run

_ANEW = "remove it, and the same command makes it again"
DRAWS = {"probe": 3, "finetune": 1}  # of labels, per pretraining seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """The settings that all evaluations of a table share.

    Attributes:
      label: the label column to predict; empty if the columns of the table name theirs.
      draws: of labels, per pretraining seed; None for `DRAWS`.
      learning_rates: to choose from; None for those of the protocol.
      max_epochs: the longest training of a head; None for that of the protocol.
      trials: settings of each rival to choose from; None for the default of the protocols.
    """

    label: str
    draws: int | None = None
    learning_rates: tuple[float, ...] | None = None
    max_epochs: int | None = None
    trials: int | None = None

    def draws_of(self, protocol: str, budget: Budget) -> int:
        """Return how many draws of labels, and random starts of fine-tuning, each pretraining seed gets.

        A probe has one solution, so a probe with all labels, or with a named subset, runs once; so does a rival, whose
        trials are drawn.
        """
        once = protocol not in ("finetune", "augmented_probe") and (budget.drawn_once or budget.subset is not None)
        return 1 if once else self.draws or DRAWS.get(protocol, 1)

    def label_of(self, column: TableColumn) -> str:
        """Return the label that a column predicts."""
        return column.label or self.label

    def rates_of(self, column: TableColumn) -> tuple[float, ...] | None:
        """Return the learning rates to choose from in a column; None for those of the protocol."""
        return column.learning_rates if self.learning_rates is None else self.learning_rates

    def epochs_of(self, column: TableColumn) -> int | None:
        """Return the longest training of a column; None for that of the protocol."""
        return column.max_epochs if self.max_epochs is None else self.max_epochs


@dataclasses.dataclass(frozen=True)
class Training:
    """One pretraining, in `out/runs/KEY-SEED`, or `KEY-SEED-foldK`; all tables of the same `out` share it."""

    row: TableRow
    seed: int
    config: ConfigDict
    directory: Path
    fold: int | None = None

    @property
    def record(self) -> Path:
        """The JSON file that is written when the pretraining is finished."""
        return self.directory.parent.parent / "trainings" / f"{self.directory.name}.json"

    @property
    def done(self) -> bool:
        """Whether the pretraining is finished and its run still exists."""
        return Run.exists(self.directory) and self.record.is_file()

    def check(self, store: Store) -> None:
        """Raise `UserError` if the run's folder holds another experiment, or the same experiment on other data."""
        if Run.exists(self.directory):
            try:
                Run.begin(self.directory, self.config, store, Run.open(self.directory).inputs)
            except UserError as error:
                raise UserError(str(error).replace("--workdir", "--out")) from error

    def settings(self) -> dict[str, Any]:
        """Return the run's resolved config (before there is a run, the planned one) without the path of the data."""
        exists = Run.exists(self.directory)
        plain = read_plain(self.directory) if exists else to_plain(self.config)
        return {key: value for key, value in plain.items() if key != "data"}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The evaluation of one row at one seed, on one fold, in one column.

    Attributes:
      row: the method.
      column: the protocol, input and share of labels.
      budget: the labels in use.
      training: the pretraining to evaluate; of a baseline, the pretraining that lends it its encoder and seed.
      identity: everything that can change the score; its digest is part of the file name.
      path: the JSON file of the scores.
    """

    row: TableRow
    column: TableColumn
    budget: Budget
    training: Training
    identity: dict[str, Any]
    path: Path

    @property
    def seed(self) -> int:
        """The seed of the pretraining."""
        return self.training.seed

    @property
    def protocol(self) -> str:
        """The protocol of `mmcl evaluate`."""
        return self.row.protocol(self.column)

    @property
    def input(self) -> str:
        """The input of `mmcl evaluate`."""
        return self.row.input(self.column)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All pretrainings and evaluations of a table, in the order of work: seed by seed, and fold by fold.

    Attributes:
      table: to reproduce.
      rows: of the table.
      store: to train and evaluate on.
      settings: of the evaluations.
      trainings: finished and missing.
      evaluations: finished and missing.
      folds: of the store, which are trained and tested on; 0 for the store's own splits.
      downstream: the stores of columns that name one.
      raw: the files beside a store that analyses read; None without analyses.
    """

    table: PaperTable
    rows: tuple[TableRow, ...]
    store: Store
    settings: EvaluationSettings
    trainings: tuple[Training, ...]
    evaluations: tuple[Evaluation, ...]
    folds: int = 0
    downstream: Mapping[str, Store] = dataclasses.field(default_factory=dict)
    raw: Raw | None = None

    def store_of(self, column: TableColumn) -> Store:
        """Return the store that a column is trained and tested on."""
        return self.downstream[column.store] if column.store else self.store

    def labelled(self, column: TableColumn, fold: int | None) -> LabelledStore:
        """Return the store of a column with the label that it predicts."""
        return LabelledStore.of(
            self.store_of(column),
            self.settings.label_of(column),
            column.task or self.table.task,
            fold=None if column.store else fold,
        )

    @property
    def fold_numbers(self) -> tuple[int | None, ...]:
        """The folds, or None for the store's own splits."""
        return tuple(range(self.folds)) or (None,)

    def describe(self) -> str:
        """Return the counts of finished and missing pretrainings and evaluations, in words."""
        trained = sum(training.done for training in self.trainings)
        evaluated = sum(evaluation.path.is_file() for evaluation in self.evaluations)
        return (
            f"{len(self.trainings)} pretrainings: {trained} done, {len(self.trainings) - trained} missing\n"
            f"{len(self.evaluations)} evaluations: {evaluated} done, {len(self.evaluations) - evaluated} missing"
        )


def choose_rows(table: PaperTable, methods: Sequence[str]) -> tuple[TableRow, ...]:
    """Return the rows of these methods and the reference row, in the table's order; all rows if `methods` is empty.

    Raises:
      UserError: the table has no such method.
    """
    keys = [row.key for row in table.rows]
    for method in methods:
        check_name(method, keys, f"--methods: {table.name} has no method", "it has")
    return tuple(row for row in table.rows if not methods or row.key in (*methods, table.reference))


def choose_columns(table: PaperTable, columns: Sequence[str]) -> PaperTable:
    """Return the table with these columns, in its order; all columns if `columns` is empty.

    Raises:
      UserError: the table has no such column.
    """
    keys = [column.key for column in table.columns]
    for column in columns:
        check_name(column, keys, f"--columns: {table.name} has no column", "it has")
    kept = tuple(column for column in table.columns if not columns or column.key in columns)
    return dataclasses.replace(table, columns=kept)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """The choices that a plan is made from.

    Attributes:
      table: to reproduce.
      rows: of the table, with the reference row.
      configs: of the rows that have a config, by key.
      store: to train and evaluate on.
      out: folder of all tables of this store.
      seeds: number of pretraining seeds: 0 to `seeds - 1`.
      settings: of the evaluations.
      balanced: whether to use the store's balanced subsets for fine-tuning.
      folds: of the store to train and test on, for every seed; 0 for the store's own splits.
      downstream: the stores of columns that name one.
      raw: the files beside a store that analyses read; None without analyses.
    """

    table: PaperTable
    rows: Sequence[TableRow]
    configs: dict[str, ConfigDict]
    store: Store
    out: Path
    seeds: int
    settings: EvaluationSettings
    balanced: bool
    folds: int = 0
    downstream: Mapping[str, Store] = dataclasses.field(default_factory=dict)
    raw: Raw | None = None


def make_plan(request: PlanRequest) -> Plan:
    """Return the work to be done; write nothing.

    Raises:
      UserError: a run in `out` is of another experiment, or the store lacks a subset.
    """
    table, store = request.table, request.store
    trainings: list[Training] = []
    evaluations: list[Evaluation] = []
    for seed, fold in itertools.product(range(request.seeds), range(request.folds) if request.folds else (None,)):
        by_row = {}
        for row in request.rows:
            if row.config:
                by_row[row.key] = _training(request, row, seed, fold)
                by_row[row.key].check(store)
        trainings += by_row.values()
        for row in request.rows:
            for column in filter(row.has, table.columns):
                budget = column.budget(balanced=request.balanced)
                if budget.subset:
                    store.subset(budget.subset, fold=fold)
                training = by_row.get(row.key) or by_row[table.reference]
                evaluations.append(_evaluation(request, row, column, budget, training))
    return Plan(
        table=table,
        rows=tuple(request.rows),
        store=store,
        settings=request.settings,
        trainings=tuple(trainings),
        evaluations=tuple(evaluations),
        folds=request.folds,
        downstream=request.downstream,
        raw=request.raw,
    )


def _training(request: PlanRequest, row: TableRow, seed: int, fold: int | None) -> Training:
    config = ConfigDict(request.configs[row.key])
    config.seed = seed
    on_fold = ""
    if fold is not None:
        config.fold, on_fold = fold, f"-fold{fold}"
    return Training(row, seed, config, request.out / "runs" / f"{row.name}-{seed}{on_fold}", fold)


def _evaluation(
    request: PlanRequest, row: TableRow, column: TableColumn, budget: Budget, training: Training
) -> Evaluation:
    settings, protocol = request.settings, row.protocol(column)
    identity = {
        "method": row.name,
        "seed": training.seed,
        "protocol": protocol,
        "input": row.input(column),
        "budget": str(budget),
        "draws": settings.draws_of(protocol, budget),
        "label": settings.label_of(column),
        "learning_rates": settings.rates_of(column),
        "max_epochs": settings.epochs_of(column),
        "store": request.store.fingerprint,
        "config": digest(training.settings()),
        # Only where they are set, so that records of tables without them keep their names.
        **({"trials": settings.trials} if row.rival and settings.trials else {}),
        **({"task": column.task or request.table.task} if (column.task or request.table.task) != "class" else {}),
        **({"metric": column.metric} if column.metric == COLUMNS_USED else {}),
        **({"options": plain_options(options)} if (options := row.options(column)) else {}),
        **({"downstream": request.downstream[column.store].fingerprint} if column.store else {}),
        **({"raw": request.raw.fingerprint} if column.analysis and request.raw else {}),
    }
    name = f"{protocol}-{row.input(column)}-{str(budget).replace(' ', '')}-{digest(identity)}.json"
    on_fold = "" if training.fold is None else f"-fold{training.fold}"
    path = request.out / "evaluations" / f"{row.name}-{training.seed}{on_fold}" / name
    return Evaluation(row, column, budget, training, identity, path)


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of an evaluation as JSON values; of how heads are trained, those that are not the defaults."""
    return {name: value.changed if isinstance(value, Tuning) else value for name, value in options.items()}


def digest(value: Any) -> str:
    """Return eight characters that identify JSON values."""
    return checksum.digest(value)[:8]


class TrainingRecord(TypedDict):
    """The record of a finished pretraining; a run that is evaluated untrained has 0 steps."""

    steps: Annotated[int, AtLeast(0)]
    seconds: Annotated[float, AtLeast(0)]
    device: str
    collapsed: NotRequired[list[str]]
    devices: NotRequired[int]
    cores: NotRequired[int | None]


class EvaluationRecord(NamedTuple):
    """The record of a finished evaluation.

    Of a table of the columns that are used, it has the use of each by name; of attributions, the importance of every
    feature by name, and further details.
    """

    scores: tuple[Score, ...]
    seconds: float
    columns: dict[str, float] | None
    details: dict[str, Any] | None = None


class _Evaluation(TypedDict):
    seconds: Annotated[float, AtLeast(0)]
    scores: Annotated[list[dict[str, Any]], AtLeast(1)]
    columns: NotRequired[dict[str, Real]]
    details: NotRequired[dict[str, Any]]


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record atomically, so that a file that exists is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, to_json(checksum.with_checksum(record), indent=2) + "\n")


def read_training(training: Training) -> TrainingRecord | None:
    """Return the record of a pretraining; None if it is not finished.

    Raises:
      UserError: the record is damaged.
    """
    path = training.record
    return read_summed(path, Annotated[TrainingRecord, Open], _ANEW) if path.exists() else None


def read_evaluation(evaluation: Evaluation) -> EvaluationRecord | None:
    """Return the record of an evaluation; None if it is not finished.

    Raises:
      UserError: the record is damaged.
    """
    path = evaluation.path
    if not path.exists():
        return None
    record: _Evaluation = read_summed(path, Annotated[_Evaluation, Open], _ANEW)
    with reading(path, _ANEW):
        scores = tuple(map(Score.from_json, record["scores"]))
    return EvaluationRecord(scores, record["seconds"], record.get("columns"), record.get("details"))


def write_scores(evaluation: Evaluation, scores: Sequence[Score], seconds: float, **more: Any) -> None:
    """Write the record of a finished evaluation, with `more` JSON values."""
    record = {
        "settings": evaluation.identity,
        "seconds": round(seconds, 2),
        **more,
        "scores": [score.to_json() for score in scores],
    }
    write_record(evaluation.path, record)
