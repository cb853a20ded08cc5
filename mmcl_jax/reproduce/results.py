"""The results file of a table: the scores, the configs and versions that made them, and the conclusions from them."""

import dataclasses
import math
from typing import Any

from mmcl_jax.evaluation.results.provenance import provenance
from mmcl_jax.reproduce.beside import beside
from mmcl_jax.reproduce.grid import Repeat, Spread
from mmcl_jax.reproduce.outcome import TableOutcome
from mmcl_jax.reproduce.plan import plain_options, read_training
from mmcl_jax.reproduce.reading import above_reference, judge
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run


def to_json(outcome: TableOutcome, command: str) -> dict[str, Any]:
    """Return the results as JSON values: `cells` and `differences` in percent, `scores` as they were measured."""
    plan = outcome.plan
    return {
        "table": plan.table.name,
        "source": plan.table.source,
        "title": outcome.title,
        **provenance(command),
        "store": {
            "directory": str(plan.store.directory.absolute()),
            "fingerprint": plan.store.fingerprint,
            "rows": plan.store.sizes,
        },
        "variant": outcome.variant,
        "metric": outcome.metric,
        **({"folds": plan.folds} if plan.folds else {}),
        "evaluation": dataclasses.asdict(plan.settings),
        **({"columns": _tested(outcome)} if outcome.tested else {}),
        "spread": outcome.spread_note,
        "published_target": outcome.target if outcome.has_published else None,
        **conclusions(outcome),
        **({"beside": tables} if (tables := {one.title: one.rows for one in beside(outcome)}) else {}),
        **({"trials": [trial.to_json() for trial in outcome.trials]} if outcome.trials else {}),
        "runs": {
            training.directory.name: {
                **(read_training(training) or {}),
                "seed": training.seed,
                **({} if training.fold is None else {"fold": training.fold}),
            }
            for training in plan.trainings
        },
        "configs": {
            training.directory.name: to_plain(Run.open(training.directory).config) for training in plan.trainings
        },
        "scores": [
            {"row": row, "column": column, **score.to_json()}
            for (row, column), scores in outcome.scores.items()
            for score in scores
        ],
        "evaluation_seconds": {
            f"{row}-{_repeat(repeat)} {column}": seconds for (row, column, repeat), seconds in outcome.seconds.items()
        },
    }


def conclusions(outcome: TableOutcome) -> dict[str, Any]:
    """Return what follows from the scores: cells and differences in percent, and the verdicts on the claims."""
    return {
        "test": outcome.test and dataclasses.asdict(outcome.test),
        "cells": _cells(outcome),
        "differences": _differences(outcome),
        "claims": [
            {
                "text": judged.claim.text,
                "of": "ours" if judged.claim.ours else "the paper",
                "verdict": judged.verdict,
                "differences": {label: _spread(spread) for label, spread in judged.differences},
                **({"published": judged.published} if judged.published else {}),
                "not_asked_for": list(judged.left_out),
            }
            for judged in judge(outcome)
        ],
        "above_the_reference": above_reference(outcome),
    }


def _tested(outcome: TableOutcome) -> dict[str, Any]:
    """Return by column what it predicts, on which store, by which metric, and how its heads are trained."""
    plan = outcome.plan
    return {
        column.key: {
            "label": plan.settings.label_of(column),
            "metric": outcome.measure(column).metric,
            "chosen_by": outcome.tested[column.key].metric,
            "test": (test := outcome.tested[column.key].test) and dataclasses.asdict(test),
            "store": {
                "directory": str(plan.store_of(column).directory.absolute()),
                "fingerprint": plan.store_of(column).fingerprint,
                "rows": plan.store_of(column).sizes,
            },
            "learning_rates": plan.settings.rates_of(column),
            "max_epochs": plan.settings.epochs_of(column),
            "options": plain_options(column.options),
        }
        for column in plan.table.columns
    }


def _cells(outcome: TableOutcome) -> list[dict[str, Any]]:
    cells = []
    for row in outcome.plan.rows:
        for column in outcome.plan.table.columns:
            spread = outcome.spread(row, column)
            if spread is None:
                continue
            published = {
                target: {"mean": number.mean, "sd": number.sd, "note": number.note}
                for target, by_column in row.published.items()
                for key, number in by_column.items()
                if key == column.key
            }
            # Numbers of the label's own unit may be small.
            digits = "" if outcome.measure(column).percent else ".6g"
            values = outcome.cells[row.key, column.key].values
            seeds = {_repeat(repeat): _number(value, digits) for repeat, value in values.items()}
            cells.append(
                {"row": row.key, "column": column.key, "by_seed": seeds, **_spread(spread, digits),
                 "published": published}
            )  # fmt: skip
    return cells


def _differences(outcome: TableOutcome) -> list[dict[str, Any]]:
    return [
        {"row": row.key, "column": column.key, "minus": outcome.plan.table.reference, **_spread(spread)}
        for column in outcome.plan.table.columns
        for row in outcome.plan.rows
        if (spread := outcome.to_reference(row, column)) is not None
    ]


def _repeat(repeat: Repeat) -> str:
    """Return a seed as text, or a seed and a fold such as `0-fold2`."""
    return f"{repeat[0]}-fold{repeat[1]}" if isinstance(repeat, tuple) else str(repeat)


def _spread(spread: Spread, digits: str = "") -> dict[str, Any]:
    raw = dataclasses.asdict(spread)
    return {key: _number(value, digits) if isinstance(value, float) else value for key, value in raw.items()}


def _number(value: float, digits: str = "") -> float | None:
    return None if math.isnan(value) else float(format(value, digits)) if digits else round(value, 4)
