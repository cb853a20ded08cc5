"""The results file: every score, what it was made with, and what was made of it."""

import dataclasses
import math
from typing import Any

from mmcl_jax.evaluation.results.provenance import provenance
from mmcl_jax.reproduce import ledger
from mmcl_jax.reproduce.grid import Spread
from mmcl_jax.reproduce.outcome import TableOutcome
from mmcl_jax.reproduce.reading import against, judge
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run


def to_json(outcome: TableOutcome, command: str) -> dict[str, Any]:
    """Return the results as JSON values. Percent in `cells` and `differences`; `scores` are as measured."""
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
        "evaluation": dataclasses.asdict(plan.how),
        "spread": outcome.spread_is_over,
        "published_target": outcome.target if outcome.has_published else None,
        **judged(outcome),
        "runs": {one.directory.name: {**(ledger.read(one.record) or {}), "seed": one.seed} for one in plan.trainings},
        "configs": {one.directory.name: to_plain(Run.open(one.directory).config) for one in plan.trainings},
        "scores": [
            {"row": row, "column": column, **score.to_json()}
            for (row, column), scores in outcome.scores.items()
            for score in scores
        ],
        "evaluation_seconds": {
            f"{row}-{seed} {column}": seconds for (row, column, seed), seconds in outcome.seconds.items()
        },
    }


def judged(outcome: TableOutcome) -> dict[str, Any]:
    """Return what is made of the scores: cells and differences in percent, and the verdicts."""
    return {
        "test": dataclasses.asdict(outcome.test),
        "cells": _cells(outcome),
        "differences": _differences(outcome),
        "claims": [
            {
                "text": finding.claim.text,
                "of": "ours" if finding.claim.ours else "the paper",
                "verdict": finding.verdict,
                "differences": {label: _spread(one) for label, one in finding.differences},
                "not_asked_for": list(finding.left_out),
            }
            for finding in judge(outcome)
        ],
        "above_the_reference": against(outcome),
    }


def _cells(outcome: TableOutcome) -> list[dict[str, Any]]:
    cells = []
    for row in outcome.plan.rows:
        for column in outcome.plan.table.columns:
            ours, theirs = outcome.spread(row, column), row.published
            if ours is None:
                continue
            published = {
                target: {"mean": number.mean, "sd": number.sd, "note": number.note}
                for target, by_column in theirs.items()
                for key, number in by_column.items()
                if key == column.key
            }
            seeds = {str(seed): _number(one) for seed, one in outcome.cells[row.key, column.key].percent.items()}
            cells.append(
                {"row": row.key, "column": column.key, "by_seed": seeds, **_spread(ours), "published": published}
            )
    return cells


def _differences(outcome: TableOutcome) -> list[dict[str, Any]]:
    return [
        {"row": row.key, "column": column.key, "minus": outcome.plan.table.reference, **_spread(one)}
        for column in outcome.plan.table.columns
        for row in outcome.plan.rows
        if (one := outcome.to_reference(row, column)) is not None
    ]


def _spread(one: Spread) -> dict[str, Any]:
    raw = dataclasses.asdict(one)
    return {key: _number(value) if isinstance(value, float) else value for key, value in raw.items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
