"""The evaluation of runs and baselines by every protocol, from every input, with every label budget."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmcl_jax.data.format.unchanged import Unchanged
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import parse_key
from mmcl_jax.encoders.fusions import inputs_of, needed_inputs
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.boosting import TABULAR, check_tabular
from mmcl_jax.evaluation.protocols.jobs import Job, JobSettings, jobs_of, so_far
from mmcl_jax.evaluation.protocols.kept import heads_of, is_kept
from mmcl_jax.evaluation.protocols.logistic import LOGISTIC, check_logistic
from mmcl_jax.evaluation.protocols.options import TRAINING, EvaluationOptions
from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.protocols.scoring import score_job
from mmcl_jax.evaluation.protocols.shares import score_in_shares
from mmcl_jax.evaluation.results.file import NoRecords, ResultRecords
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.checks import (
    check_choice,
    check_dense,
    check_distinct,
    check_ensemble,
    check_inputs,
    check_pictured,
    check_reads_holes,
    check_rows,
)
from mmcl_jax.evaluation.sources.confounders import confounders_of
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.missingness import Hiding, check_missing, tables_of
from mmcl_jax.evaluation.sources.overlap import check_overlap
from mmcl_jax.evaluation.sources.pairs import Pair, compared, lacking, pairs_of
from mmcl_jax.evaluation.sources.reads import check_names, input_name, is_ensemble, modalities_of
from mmcl_jax.evaluation.sources.remarks import left_out, missing_folds, remarks_on
from mmcl_jax.evaluation.sources.source import Source, sources
from mmcl_jax.progress import Bar
from mmcl_jax.training.processes import is_primary, others
from mmcl_jax.training.runs.run import Run


def evaluate_runs(
    runs: Sequence[Run],
    store: Store,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 - it is frozen
    *,
    records: ResultRecords | None = None,
    log: Callable[[str], None] = print,
) -> list[Score]:
    """Evaluate every run, and every baseline at the seeds and folds of the runs.

    All methods get the same draws of labels at the same seed, so differences between methods can be paired by seed. The
    primary metric of the task chooses settings on validation; only the chosen settings are tested.

    Args:
      runs: of one or several experiments; runs of the same experiment differ by seed or fold.
      store: with a label column, unless every protocol is one of `options.UNLABELLED`.
      options: of the evaluation.
      records: finished scores, which are not computed again and to which new scores are added.
      log: called with remarks on the scores, such as classes without rows, or test rows that a run has seen.

    Returns:
      The scores, baselines first.

    Raises:
      UserError: the store lacks the label, or the label is no such task; the test split has rows that a run has seen;
        the store has other images or columns than a run; a run lacks an encoder, or its weights are not finite; a name
        is unknown; or two runs are the same.
    """
    check_distinct(runs)
    predicting = options.predicting
    rivals = [name for name in predicting if name in RIVALS]
    inputs = [] if rivals == list(options.protocols) else _inputs(runs, options.inputs)  # rivals read columns alone
    for input in inputs:
        check_ensemble(input, [name for name in options.protocols if name not in RIVALS])
    labelled = _labelled(store, options, runs) if predicting else []
    labelled_inputs, columns = [], []
    for data in labelled:
        for protocol in set(predicting) & {*TABULAR, *RIVALS}:
            check_tabular(protocol, data.task, store)
        if LOGISTIC in predicting:
            check_logistic(data.task)
        check(
            not options.balanced or data.task.per_class,
            f"--balanced: {data.task.label!r} has no classes to draw as often; leave it out, or predict a class.",
        )
        if rivals:
            tables = tables_of(store)
            columns.append((data.having(tables), "+".join(tables)))
        on_fold = [run for run in runs if run.inputs.fold == data.fold]
        for input in inputs:
            for run in on_fold:
                check_inputs(run, data, input)
                check_pictured(run, data, input)
            check_dense(data, input, predicting, options.tuning.head, options.tuning.anchors)
            run = on_fold[0]
            names = [name for key in modalities_of(input) for name in needed_inputs(run.config.views, key)]
            part = data.having(list(dict.fromkeys(run.inputs.specs[name].of for name in names)))
            labelled_inputs.append((part, input))
    for part, _ in (*labelled_inputs, *columns):
        for budget in options.budgets:
            part.draws(budget, seed=0, count=1)  # a bad budget must fail before anything is computed
    retrieving, confounding = ("retrieval" in options.protocols), ("confounding" in options.protocols)
    pairs = {run.directory: _pairs(run, store, inputs, options) if retrieving or confounding else [] for run in runs}
    confounders = {
        fold: confounders_of(store, options.confounders, fold=fold)
        for fold in ({run.inputs.fold for run in runs} if confounding else ())
    }
    remarks = [line for data in labelled for line in remarks_on(data, options.budgets)]
    parts = (*labelled_inputs, *columns)
    remarks += [line for part, input in parts for data in labelled for line in left_out(data, part, input)]
    remarks += missing_folds(runs, store)
    remarks += [line for _, lines in confounders.values() for line in lines]
    remarks += [line for run in runs for pair in pairs[run.directory] for line in lacking(run, store, pair)]
    for line in dict.fromkeys([*check_overlap(runs, store, allow=options.allow_overlap), *remarks]):
        log(line)
    records = NoRecords() if records is None else records
    baselines = list(dict.fromkeys([*options.baselines, *(["columns"] if rivals else [])]))
    every = sources(runs, baselines, only_baselines=options.only_baselines)
    hidings: dict[str, Hiding] = {}
    unchanged = Unchanged(store.directory)

    def hiding(source: Source, data: LabelledStore) -> Hiding:
        of = repr([data.task.label, data.fold, {table: sorted(names) for table, names in source.columns.items()}])
        return hidings.setdefault(of, Hiding(data, source.columns))

    jobs = {
        index: list(
            jobs_of(
                source,
                labelled_inputs,
                options,
                hiding,
                pairs[source.run.directory],
                columns,
                confounders.get(source.run.inputs.fold, ([], []))[0],
                [input for input in inputs if not is_ensemble(input)],
            )
        )
        for index, source in enumerate(every)
    }
    _check_missing([job for of_source in jobs.values() for job in of_source], options, hiding)
    scores: dict[int, list[Score]] = {index: [] for index in jobs}
    done = 0
    # Runs come first: raw pixels, which have the most features, take as long as all others together.
    order = sorted(jobs, key=lambda index: ("run", "random", "raw").index(every[index].kind))
    count = sum(job.count for of_source in jobs.values() for job in of_source)
    with Bar("evaluation", count, quiet=not is_primary()) as bar:
        settings = JobSettings(
            learning_rates=options.rates,
            max_epochs=options.epochs,
            log=lambda text: bar.update(done, text),
            cycle=options.cycle,
            plateau=options.plateau,
            tuning=options.tuning,
            trials=options.trials,
            optimizer=options.optimizer,
            balanced=options.balanced,
            keep=(lambda run: heads_of(run, options.keep)) if options.keep else None,
            unchanged=lambda: unchanged.check(
                "these scores are not kept: put the store back as it was, and the same command continues; to evaluate "
                "the changed store, run it again"
            ),
        )

        def find(job: Job, numbers: list[int]) -> list[Score] | None:
            of = job.of(store, settings)
            return records.find(of, numbers) if _has_heads(job, of, numbers, settings) else None

        watch, known = others(), None
        if watch is not None:
            shares = [(job, numbers) for index in order for job in jobs[index] for numbers in job.parts()]
            known = score_in_shares(shares, store, settings, find=find, records=records, watch=watch)
        for index in order:
            for job in jobs.pop(index):
                of, of_job = job.of(store, settings), list[Score]()
                for numbers in job.parts():
                    part_scores = known.find(of, numbers) if known is not None else find(job, numbers)
                    if part_scores is None:
                        part_scores = score_job(job, store, numbers, settings)
                        records.keep(of, part_scores)
                    of_job += part_scores
                    done += len(numbers)
                    bar.update(done, so_far(job, of_job))
                scores[index] += of_job
            every[index].forget()
    return [score for index in sorted(scores) for score in scores[index]]


def _check_missing(
    jobs: Sequence[Job], options: EvaluationOptions, hiding: Callable[[Source, LabelledStore], Hiding]
) -> None:
    """Raise `UserError` if no job reads a table whose cells are to be hidden, or a job cannot read hidden cells."""
    asked = [missing for missing in options.missingness if missing.rate]
    check(
        not asked or any(job.missing.rate for job in jobs),
        f"--missing: {' and '.join(options.inputs)} read no table, so there is nothing to hide; add --input table or "
        "image+table.",
    )
    for job in jobs:
        if job.data is not None and job.missing.rate:
            check_missing(job.missing, hiding(job.source, job.data), job.tables)
            if not job.columns_alone:
                check_reads_holes(job.source.run, job.source.inputs_of(modalities_of(job.input)))


def _pairs(run: Run, store: Store, inputs: Sequence[str], options: EvaluationOptions) -> list[Pair]:
    """Return the pairs of retrieval.

    For `confounding` alone there may be none, and an input that joins two names need not be a pair.

    Raises:
      UserError: as `pairs_of` does; or the store lacks an input that confounders are predicted from.
    """
    for name in [name for input in inputs for key in modalities_of(input) for name in inputs_of(run.config.views, key)]:
        check_rows(run, store, name)
    if "retrieval" in options.protocols:
        return pairs_of(run, store, inputs)
    every = [{parse_key(key).modality for key in pair} for pair in compared(run.config, run.inputs)]
    return pairs_of(run, store, [input for input in inputs if set(modalities_of(input)) in every]) if every else []


def _has_heads(job: Job, of: Mapping[str, Any], numbers: Sequence[int], settings: JobSettings) -> bool:
    """Return whether no head of these draws is still to be saved."""
    if settings.keep is None or job.protocol not in TRAINING:
        return True
    folder = settings.keep(job.source.run)
    return all(is_kept(folder, of, number) for number in numbers)


def _inputs(runs: Sequence[Run], inputs: Sequence[str]) -> list[str]:
    """Return the inputs by their names in scores; raise `UserError` if one is unknown or named twice."""
    check(len(inputs) > 0, f"--input: name at least one of {', '.join(runs[0].config.encoders)}.")
    for input in inputs:
        check_names(input, [name for run in runs for name in run.config.encoders])
    named = [input_name(input) for input in inputs]
    check_choice("--input", "input", named, named)
    return named


def _labelled(store: Store, options: EvaluationOptions, runs: Sequence[Run]) -> list[LabelledStore]:
    """Return the store with each of the labels, on every fold that a run was trained on."""
    folds = list(dict.fromkeys(run.inputs.fold for run in runs))
    labelled = [LabelledStore.of(store, name, options.task, fold=fold) for name in options.labels for fold in folds]
    names = [data.task.label for data in labelled if data.fold == folds[0]]
    check_choice("--label", "label", names, names)
    return labelled
