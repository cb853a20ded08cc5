"""One command per table: plan the work, do what is missing seed by seed, and write the files."""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from mmcl_jax import border
from mmcl_jax.border.checksum import with_checksum
from mmcl_jax.compilation import use_cache
from mmcl_jax.config import OwnData, explain
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.files import write_text, writing
from mmcl_jax.lock import locked
from mmcl_jax.reproduce.analyses.analyse import ANALYSES
from mmcl_jax.reproduce.analyses.raw import Raw
from mmcl_jax.reproduce.columns_used import examine
from mmcl_jax.reproduce.configure import check_configs, check_evaluations, check_overrides, configure
from mmcl_jax.reproduce.outcome import gather
from mmcl_jax.reproduce.page import render_page
from mmcl_jax.reproduce.plan import (
    Evaluation,
    EvaluationSettings,
    Plan,
    PlanRequest,
    Training,
    choose_columns,
    choose_rows,
    digest,
    make_plan,
    write_record,
    write_scores,
)
from mmcl_jax.reproduce.results import to_json
from mmcl_jax.reproduce.spec import COLUMNS_USED, PaperTable, TableRow
from mmcl_jax.reproduce.tables import TABLES, VARIANTS, find
from mmcl_jax.reproduce.text import render_text
from mmcl_jax.reproduce.work.given import check_folds, check_tag, downstream_of, label_of, raw_of
from mmcl_jax.reproduce.work.share import Job, share
from mmcl_jax.reproduce.work.tune import Grid, Trial, choose, chosen_rows, only_judging, read_grid, trial_rows
from mmcl_jax.targets import check_folder
from mmcl_jax.text import visible
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run

Log = Callable[[str], None]
_ANEW = "remove it, and the same command makes it again"
_OWN = "own.json"  # the description that the configs of the variant "own" are chosen from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A table to reproduce, and the data and settings to reproduce it with.

    Attributes:
      table: name of a table.
      data: store.
      out: folder of all tables of this store; they share its runs and evaluations.
      variant: of the configs: "digits", "cars", "dvm" or "cardiac", or "own", chosen from the store and the devices;
        those of ContIG are "fundus" and "ukb".
      seeds: of pretraining.
      methods: rows to restrict the table to; the reference row always stays. Empty for all.
      columns: columns to restrict the table to. Empty for all.
      epochs: of every pretraining, instead of the configs' own.
      overrides: texts `key.path=value`, on the config of every pretraining that has the key.
      tune: a TOML file of trials of pretraining, of which validation chooses one per method; see `work.tune`.
      label: to predict; by default the store's first label that is a class. Some tables have labels of their own.
      downstream: the stores that some columns of a table are trained and tested on, by name; a column whose store is
        not named is left out.
      raw: the folder of files that analyses read beside a store, see `analyses`.
      folds: of the store to train and test on, for every seed; 0 for the store's own splits.
      draws, learning_rates, max_epochs, trials: see `plan.EvaluationSettings`.
      title: of the page.
      command: the command line, written into the results.
    """

    table: str
    data: Path
    out: Path
    variant: str = "digits"
    seeds: int = 5
    folds: int = 0
    methods: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    epochs: int | None = None
    overrides: tuple[str, ...] = ()
    tune: Path | None = None
    label: str | None = None
    downstream: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    raw: Path | None = None
    draws: int | None = None
    learning_rates: tuple[float, ...] | None = None
    max_epochs: int | None = None
    trials: int | None = None
    title: str = ""
    command: str = ""


def reproduce(request: Reproduction, *, log: Log = print) -> bool:
    """Reproduce a table and write it under `out`; called again with the same request, continue.

    Several processes may do this at once, for one table or for several tables of one folder: they share the work.

    Returns:
      False if a signal stopped a training before its end: nothing is lost, and the same request continues.

    Raises:
      UserError: the input is bad; this is raised before anything is trained.
    """
    table = choose_columns(find(request.table), request.columns)
    check_name(request.variant, VARIANTS, "--variant: there is no variant")
    check(
        not table.variants or request.variant in table.variants,
        f"--variant {request.variant}: {table.name} has no such settings; choose --variant "
        f"{' or --variant '.join(table.variants)}.",
    )
    check_folder(request.out, "--out")
    store = Store.open(request.data)
    label = label_of(store, request.label, table)
    table, downstream, without = downstream_of(store, table, request.downstream, folds=request.folds)
    table, raw, lacking = raw_of(table, request.raw)
    check_tag(store, table)
    check_folds(store, request.folds)
    use_cache()  # seeds share one compiled program per method
    rows, left_out = installed(choose_rows(table, request.methods), request.methods)
    rows, blank = _with_weights(rows, request, store)
    left_out += blank
    described = _described(request, store) if request.variant == "own" else None
    planned = functools.partial(_planned, request, table, store, downstream, raw, label, described)
    grid: Grid = {}
    if request.tune is not None:
        check(not request.folds, "--tune: one fold's validation rows are another's test rows; leave --folds or it out.")
        grid = read_grid(request.tune, rows, [row.key for one in TABLES.values() for row in one.rows])
        for row in rows:
            for overrides in grid.get(row.key, ()):
                check_overrides([row], overrides, request.epochs)
        tried, notes = planned(trial_rows(rows, grid), seeds=1)
        tried = only_judging(tried)
    # Of trials, the first stands for the one to be chosen, so that every mistake is found before anything is trained.
    plan, remarks = planned(chosen_rows(rows, grid, dict.fromkeys(grid, 0)))
    for line in (
        f"{table.name} on {visible(store.directory)}" + (f", label {visible(label)}" if label else ""),
        *([f"trials, with the first seed: {tried.describe()}", *notes] if grid else []),
        plan.describe(),
        *without,
        *lacking,
        *left_out,
        *remarks,
    ):
        log(line)
    claims = request.out / "claims"
    with writing(request.out):
        if described is not None:
            _agree(described, request.out)
        trials: tuple[Trial, ...] = ()
        if grid:
            if not do_missing_work(tried, claims, log):
                return False
            trials = choose(tried, rows, grid)
            log(f"chosen: {', '.join(f'trial {one.number} of {one.method}' for one in trials if one.chosen)}")
            plan, _ = planned(chosen_rows(rows, grid, {one.method: one.number for one in trials if one.chosen}))
        if not do_missing_work(plan, claims, log):
            return False
        with _alone(request.out):
            _write(plan, request, trials, log)
    return True


def _planned(
    request: Reproduction,
    table: PaperTable,
    store: Store,
    downstream: Mapping[str, Store],
    raw: Raw | None,
    label: str,
    described: OwnData | None,
    rows: Sequence[TableRow],
    seeds: int | None = None,
) -> tuple[Plan, list[str]]:
    """Return the plan of these rows, after all checks, with remarks on its settings and scores."""
    configs, notes = configure(
        [row for row in rows if row.config],
        variant=request.variant,
        store=store,
        epochs=request.epochs,
        overrides=request.overrides,
        described=described,
    )
    if request.variant == "own" and table.reference in configs:
        length = [f"epochs={request.epochs}"] if request.epochs else []
        notes = [*explain(configs[table.reference], [*request.overrides, *length]), *notes]
    plan = make_plan(
        PlanRequest(
            table=table,
            rows=rows,
            configs=configs,
            store=store,
            out=request.out,
            seeds=seeds or request.seeds,
            settings=EvaluationSettings(
                label=label,
                draws=request.draws,
                learning_rates=request.learning_rates,
                max_epochs=request.max_epochs,
                trials=request.trials,
            ),
            balanced=request.variant == "cardiac",
            folds=request.folds,
            downstream=downstream,
            raw=raw,
        )
    )
    remarks = check_evaluations(plan, configs)
    missing = {training.row.key for training in plan.trainings if not training.done}
    check_configs({key: config for key, config in configs.items() if key in missing}, store)
    return plan, [*notes, *remarks]


def do_missing_work(plan: Plan, claims: Path, log: Log) -> bool:
    """Pretrain and evaluate what is missing, seed by seed and fold by fold, beside other processes that do the same.

    Returns:
      False if a signal stopped a training: finished work stays, and the same plan continues.
    """
    return share(_jobs(plan, log), claims, log)


def _jobs(plan: Plan, log: Log) -> list[Job]:
    """Return the pretrainings and evaluations that are missing, in the order of the plan."""
    missing = [training for training in plan.trainings if not training.done]

    def trainer(number: int, training: Training) -> Job:
        def do() -> bool:
            log(f"pretraining {number} of {len(missing)}: {training.directory.name}")
            return train(training, log)

        return Job(name=training.directory.name, done=lambda: training.done, ready=lambda: True, do=do)

    def evaluator(group: Sequence[Evaluation], key: Sequence[str]) -> Job:
        def left() -> list[Evaluation]:
            return [one for one in group if not one.path.is_file()]

        def do() -> bool:
            evaluate(left(), plan, log)
            return True

        training = group[0].training
        name = f"{training.directory.name}-evaluation-{digest(list(key))}"
        return Job(name=name, done=lambda: not left(), ready=lambda: training.done, do=do)

    jobs = []
    for seed, fold in dict.fromkeys((training.seed, training.fold) for training in plan.trainings):
        jobs += [trainer(number, one) for number, one in enumerate(missing, 1) if (one.seed, one.fold) == (seed, fold)]
        mine = [one for one in plan.evaluations if (one.training.seed, one.training.fold) == (seed, fold)]
        jobs += [evaluator(group, key) for key, group in _groups(mine).items()]
    return jobs


def train(training: Training, log: Log) -> bool:
    """Train to the end and write the record of the training; return False if a signal stopped it before.

    The run of a baseline is not trained: only its untrained encoders are used.
    """
    training.record.unlink(missing_ok=True)  # the record of a run that was deleted since
    if training.row.baseline:
        store = Store.open(training.config.data)
        Run.begin(training.directory, training.config, store, fit_inputs(training.config, store))
        write_record(training.record, {"steps": 0, "seconds": 0.0, "device": jax.devices()[0].device_kind})
        return True
    try:
        result = pretrain(training.config, training.directory, log=log)
    except UserError as error:
        raise UserError(f"{training.directory.name}: {error}") from error
    log(result.describe())
    if not result.finished:
        return False
    record = {
        "steps": result.step,
        "seconds": round(result.seconds, 2),
        "collapsed": list(result.collapsed),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cores": os.cpu_count(),
    }
    write_record(training.record, record)
    return True


def _groups(evaluations: Sequence[Evaluation]) -> dict[tuple[str, ...], list[Evaluation]]:
    """Group the evaluations that share one encoder's features; fine-tuning and rivals also by budget."""
    groups: dict[tuple[str, ...], list[Evaluation]] = {}
    for one in {one.path: one for one in evaluations}.values():  # columns that differ by their metric share a record
        budget = str(one.budget) if one.protocol == "finetune" or one.row.rival else ""
        options = repr(sorted(one.row.options(one.column).items()))
        of = one.training.directory.name, one.protocol, one.input, str(one.identity["draws"])
        column = one.column
        tested = (column.store, column.label, repr((column.learning_rates, column.max_epochs))) if column.label else ()
        use = one.row.key if one.column.metric == COLUMNS_USED else ""
        groups.setdefault((*of, *tested, budget, options, use), []).append(one)
    return groups


def evaluate(evaluations: Sequence[Evaluation], plan: Plan, log: Log) -> None:
    """Evaluate rows of one run, protocol, input and label, and write a file for each."""
    first, settings = evaluations[0], plan.settings
    run = Run.open(first.training.directory)
    names = ", ".join(dict.fromkeys(one.row.key for one in evaluations))
    on_fold = "" if first.training.fold is None else f", fold {first.training.fold}"
    by, rate = first.column.hidden
    hidden = f", {100 * rate:g} % hidden by {by}" if rate else ""
    of = f" of {first.column.label}" if first.column.label else ""
    on = f" on {first.column.store}" if first.column.store else ""
    log(f"{first.protocol} on {first.input}: {names}{of}{on}{hidden}, seed {first.seed}{on_fold}")
    start = time.monotonic()
    if first.column.analysis:
        for one in evaluations:
            start = time.monotonic()
            score, found = ANALYSES[one.protocol](one, run, plan.store_of(one.column), plan.raw)
            write_scores(one, [score], time.monotonic() - start, **found)
        return
    more: dict[str, Any] = first.row.options(first.column)
    if first.row.rival and settings.trials:
        more["trials"] = settings.trials
    options = EvaluationOptions(
        protocols=(first.protocol,),
        inputs=(first.input,),
        budgets=tuple(dict.fromkeys(one.budget for one in evaluations)),
        draws=first.identity["draws"],
        baselines=tuple(dict.fromkeys(one.row.lent for one in evaluations if one.row.lent)),
        only_baselines=all(one.row.lent for one in evaluations),
        label=settings.label_of(first.column),
        task=first.column.task or plan.table.task,
        learning_rates=settings.rates_of(first.column),
        max_epochs=settings.epochs_of(first.column),
        **more,
    )
    if first.column.metric == COLUMNS_USED:
        for one in evaluations:
            score, used = examine(run, plan.store, options, method=one.row.key)
            write_scores(one, [score], time.monotonic() - start, columns=used)
        return
    scores = evaluate_runs([run], plan.store_of(first.column), options, log=_drop)
    seconds = (time.monotonic() - start) / len(evaluations)
    for one in evaluations:
        own = [
            score
            for score in scores
            if _baseline(score, run.config.name) == one.row.lent and score.budget == str(one.budget)
        ]
        assert own, (one.identity, scores)
        write_scores(one, own, seconds)


def _drop(line: str) -> None:
    """Drop a remark on scores: all remarks were printed before the first pretraining."""


def _baseline(score: Score, trained: str) -> str:
    """Return the baseline of a score ("random" for an encoder trained with labels), "" for the run itself."""
    if score.method == trained:
        return ""
    return score.method if score.method in ("pixels", "columns") else "random"


def _write(plan: Plan, request: Reproduction, trials: tuple[Trial, ...], log: Log) -> None:
    """Write the three files; they are made from the records alone."""
    folder = request.out / plan.table.name
    title = request.title or f"{plan.table.title}: {plan.store.directory.name}"
    outcome = gather(plan, variant=request.variant, title=title, trials=trials)
    text = render_text(outcome)
    contents = {
        "table.txt": text,
        "table.html": render_page(outcome, request.command),
        "results.json": border.to_json(with_checksum(to_json(outcome, request.command)), indent=2) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_text(folder / name, content)
    log(f"\n{text}")
    log(f"Written to {visible(folder)}:")
    log("  table.html    the table as a page, with charts; open it in a browser, without a network")
    log("  table.txt     the table as text")
    log("  results.json  every score, config and version")
    log(f"Other tables with the same --out use the runs in {request.out / 'runs'} and their evaluations again.")


def _alone(out: Path) -> contextlib.AbstractContextManager[None]:
    """Wait until no other process writes the files that all processes of a folder write."""
    return locked(out / "lock.json", what=f"writes in {out}", wait=True)


def _described(request: Reproduction, store: Store) -> OwnData:
    """Return the description of the data that the first process of the folder wrote, so that all its runs agree."""
    path = request.out / _OWN
    if path.is_file():
        return border.read_summed(path, OwnData, _ANEW)
    descriptions = (OwnData.of_run(run) for run in sorted((request.out / "runs").glob("*")))
    return next((description for description in descriptions if description is not None), OwnData.of(store))


def _agree(described: OwnData, out: Path) -> None:
    """Write the description of the data.

    Raises:
      UserError: another process, which started at the same moment with other devices, wrote another one.
    """
    with _alone(out):
        fields = dataclasses.asdict(described)
        if not (out / _OWN).is_file():
            write_text(out / _OWN, border.to_json(with_checksum(fields), indent=2) + "\n")
        written: OwnData = border.read_summed(out / _OWN, OwnData, _ANEW)
        check(
            written == described,
            f"{out / _OWN}: another process has just chosen settings for other devices; run the command again.",
        )


def _with_weights(
    rows: Sequence[TableRow], request: Reproduction, store: Store
) -> tuple[tuple[TableRow, ...], list[str]]:
    """Return the rows without those whose file of initial weights is missing, and a line on each of the latter.

    A row that was named stays, so that the error on its file is shown.
    """
    kept, lines = [], []
    for row in rows:
        if row.needs_weights and row.key not in request.methods:
            options: dict[str, Any] = {"variant": request.variant, "store": store, "epochs": None}
            configs, _ = configure([row], **options, overrides=request.overrides)
            files = [part.weights for part in configs[row.key].encoders.values() if part.get("weights")]
            missing = next((file for file in files if not Path(file).exists()), None)
            if missing is not None:
                lines.append(f"{row.label} is left out: the file of its initial weights, {missing}, does not exist")
                continue
        kept.append(row)
    return tuple(kept), lines


def installed(rows: Sequence[TableRow], methods: Sequence[str]) -> tuple[tuple[TableRow, ...], list[str]]:
    """Return the rows without the rivals whose package is not installed, and a line on each of those.

    Raises:
      UserError: such a rival is among the methods that were named.
    """
    kept, lines = [], []
    for row in rows:
        try:
            if row.rival:
                RIVALS[row.rival].check_installed(row.rival)
            kept.append(row)
        except UserError as error:
            if row.key in methods:
                raise
            lines.append(f"{row.label} is left out: {error}")
    return tuple(kept), lines
