"""Doing what is missing, seed by seed: first the pretrainings, then their evaluations."""

import os
import time
from collections.abc import Callable, Sequence

import jax

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.reproduce import ledger
from mmcl_jax.reproduce.plan import Evaluation, Plan, Training
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run

Log = Callable[[str], None]


def work(plan: Plan, log: Log) -> bool:
    """Do the missing work. False if it was asked to stop: finished work stays, and the same plan continues."""
    missing = [one for one in plan.trainings if not one.done]
    number = 0
    for seed in sorted({one.seed for one in plan.trainings}):
        for training in plan.trainings:
            if training.seed == seed and not training.done:
                number += 1
                log(f"pretraining {number} of {len(missing)}: {training.directory.name}")
                if not train(training, log):
                    return False
        for jobs in _jobs([one for one in plan.evaluations if one.seed == seed and not one.path.is_file()]):
            evaluate(jobs, plan, log)
    return True


def train(training: Training, log: Log) -> bool:
    """Train to the end and keep a record of it; False if it was asked to stop before."""
    training.record.unlink(missing_ok=True)  # of a run that was removed since
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
    ledger.write(training.record, record)
    return True


def _jobs(evaluations: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Return the evaluations that are done in one go: of one encoder's features; fine-tuning budget by budget."""
    jobs: dict[tuple[str, ...], list[Evaluation]] = {}
    for one in evaluations:
        apart = str(one.budget) if one.column.protocol == "finetune" else ""
        key = one.training.directory.name, one.column.protocol, one.column.input, str(one.settings["draws"]), apart
        jobs.setdefault(key, []).append(one)
    return list(jobs.values())


def evaluate(evaluations: Sequence[Evaluation], plan: Plan, log: Log) -> None:
    """Evaluate rows of one run, protocol and input, and write a file for each."""
    first, how = evaluations[0], plan.how
    run = Run.open(first.training.directory)
    names = ", ".join(dict.fromkeys(one.row.key for one in evaluations))
    log(f"{first.column.protocol} on {first.column.input}: {names}, seed {first.seed}")
    began = time.monotonic()
    options = EvaluationOptions(
        protocols=(first.column.protocol,),
        inputs=(first.column.input,),
        budgets=tuple(dict.fromkeys(one.budget for one in evaluations)),
        draws=first.settings["draws"],
        baselines=tuple(dict.fromkeys(one.row.baseline for one in evaluations if one.row.baseline)),
        only_baselines=all(one.row.baseline for one in evaluations),
        label=how.label,
        task="class",
        learning_rates=how.learning_rates,
        max_epochs=how.max_epochs,
    )
    scores = evaluate_runs([run], plan.store, options, log=_nothing)
    seconds = (time.monotonic() - began) / len(evaluations)
    for one in evaluations:
        mine = [
            score
            for score in scores
            if _source(score, run.config.name) == one.row.baseline and score.budget == str(one.budget)
        ]
        assert mine, (one.settings, scores)
        ledger.write_scores(one.path, one.settings, mine, seconds)


def _nothing(line: str) -> None:
    """Drop a line about scores: they were described before the first pretraining."""


def _source(score: Score, trained: str) -> str:
    """Return the baseline of a score ("random" for an encoder trained with labels), "" for the run itself."""
    if score.method == trained:
        return ""
    return score.method if score.method in ("pixels", "columns") else "random"
