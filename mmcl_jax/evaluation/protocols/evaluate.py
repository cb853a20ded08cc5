"""Runs and baselines, by every protocol, from every input, with every budget of labels: one list of scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmcl_jax.data.store import Store
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.jobs import Job, Settings, jobs_of, so_far
from mmcl_jax.evaluation.protocols.kept import heads_of, is_kept
from mmcl_jax.evaluation.protocols.options import TRAINING, EvaluationOptions
from mmcl_jax.evaluation.protocols.scoring import score_job
from mmcl_jax.evaluation.results.file import NoRecords, ResultRecords
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.checks import check_choice, check_dense, check_distinct, check_inputs
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.overlap import check_overlap
from mmcl_jax.evaluation.sources.pairs import lacking, pairs_of
from mmcl_jax.evaluation.sources.reads import check_names, input_name, modalities_of
from mmcl_jax.evaluation.sources.remarks import left_out, missing_folds, remarks_on
from mmcl_jax.evaluation.sources.source import sources
from mmcl_jax.progress import Bar
from mmcl_jax.training.runs.run import Run


def evaluate_runs(
    runs: Sequence[Run],
    store: Store,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 - it is frozen
    *,
    records: ResultRecords | None = None,
    log: Callable[[str], None] = print,
) -> list[Score]:
    """Evaluate every run and then, at every seed that occurs, every baseline.

    All methods get the same draws of labels at the same seed, so differences between methods can be paired by seed.
    Settings are chosen by the task's primary metric on validation, and only then tested.

    Args:
      runs: of one or several experiments; those of one experiment differ by seed or fold.
      store: with a label column, unless retrieval is all that is asked for.
      options: what is evaluated, and how.
      records: where scores are found that are there already, and kept as they come.
      log: is told what to know about the scores: classes without rows, rows that a run has seen.

    Returns:
      The scores, those of the baselines first.

    Raises:
      UserError: the store lacks the label, or it is no such task; the store has rows in its test split that a run has
        seen, or has other images or columns than a run; a run lacks an encoder, or its weights are not finite; a name
        is unknown; or two runs are the same.
    """
    check_distinct(runs)
    predicting = options.predicting
    inputs = _inputs(runs, options.inputs)
    labelled = _labelled(store, options, runs) if predicting else []
    asked = []
    for data in labelled:
        on_fold = [run for run in runs if run.inputs.fold == data.fold]
        for given in inputs:
            for run in on_fold:
                check_inputs(run, data, given)
            check_dense(data, given, predicting)
            behind = [name for one in modalities_of(given) for name in inputs_of(on_fold[0].config.views, one)]
            entries = list(dict.fromkeys(on_fold[0].inputs.specs[name].of for name in behind))
            asked.append((data.having(entries), given))
            for budget in options.budgets:
                asked[-1][0].draws(budget, seed=0, count=1)  # what is wrong with a budget is said now
    retrieving = "retrieval" in options.protocols
    pairs = {run.directory: pairs_of(run, store, inputs) if retrieving else [] for run in runs}
    remarks = [line for data in labelled for line in remarks_on(data, options.budgets)]
    remarks += [line for part, given in asked for data in labelled for line in left_out(data, part, given)]
    remarks += missing_folds(runs, store)
    remarks += [line for run in runs for pair in pairs[run.directory] for line in lacking(run, store, pair)]
    for line in dict.fromkeys([*check_overlap(runs, store, allow=options.allow_overlap), *remarks]):
        log(line)
    records = NoRecords() if records is None else records
    every = sources(runs, options.baselines, only_baselines=options.only_baselines)
    jobs = {
        place: list(jobs_of(source, asked, options, pairs[source.run.directory])) for place, source in enumerate(every)
    }
    scores: dict[int, list[Score]] = {place: [] for place in jobs}
    done = 0
    with Bar("evaluation", sum(job.count for some in jobs.values() for job in some)) as bar:
        how = Settings(
            learning_rates=options.rates,
            max_epochs=options.epochs,
            log=lambda text: bar.update(done, text),
            keep=(lambda run: heads_of(run, options.keep)) if options.keep else None,
        )
        # Runs first: raw pixels, which have the most features, take as long as all others together.
        for place in sorted(jobs, key=lambda place: ("run", "random", "raw").index(every[place].kind)):
            for job in jobs.pop(place):
                of, mine = job.of(store, how), list[Score]()
                for numbers in job.parts():
                    found = records.find(of, numbers) if _kept(job, of, numbers, how) else None
                    if found is None:
                        found = score_job(job, store, numbers, how)
                        records.keep(of, found)
                    mine += found
                    done += len(numbers)
                    bar.update(done, so_far(job, mine))
                scores[place] += mine
            every[place].forget()
    return [score for place in sorted(scores) for score in scores[place]]


def _kept(job: Job, of: Mapping[str, Any], numbers: Sequence[int], how: Settings) -> bool:
    """Return whether every head of these draws that shall be kept is kept already."""
    if how.keep is None or job.protocol not in TRAINING:
        return True
    folder = how.keep(job.source.run)
    return all(is_kept(folder, of, number) for number in numbers)


def _inputs(runs: Sequence[Run], inputs: Sequence[str]) -> list[str]:
    """Return the inputs by the names that scores have, each once."""
    check(len(inputs) > 0, f"--input: name at least one of {', '.join(runs[0].config.encoders)}.")
    for given in inputs:
        check_names(given, [name for run in runs for name in run.config.encoders])
    named = [input_name(given) for given in inputs]
    check_choice("--input", "input", named, named)
    return named


def _labelled(store: Store, options: EvaluationOptions, runs: Sequence[Run]) -> list[LabelledStore]:
    """Return the store with each of the labels, of every fold that a run was trained on."""
    folds = list(dict.fromkeys(run.inputs.fold for run in runs))
    labelled = [LabelledStore.of(store, name, options.task, fold=fold) for name in options.labels for fold in folds]
    said = [data.task.label for data in labelled if data.fold == folds[0]]
    check_choice("--label", "label", said, said)
    return labelled
