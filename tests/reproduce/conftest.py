"""Made-up scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.reproduce.grid import Sample
from mmcl_jax.reproduce.outcome import TableOutcome
from mmcl_jax.reproduce.plan import EvaluationSettings, Plan, Training
from mmcl_jax.reproduce.spec import PaperTable


@pytest.fixture
def made_up(digits_store: Store):
    """An outcome with these top-1 accuracies: `made_up(table, {row: {column: [one per seed]}}, variant)`."""

    def make(
        table: PaperTable,
        values: Mapping[str, Mapping[str, Sequence[float]]],
        variant: str = "digits",
        label: str = "digit",
        test_rows: int = 100_000,
    ) -> TableOutcome:
        rows = tuple(row for row in table.rows if row.key in values)
        seeds = range(max(len(per_seed) for by_column in values.values() for per_seed in by_column.values()))
        trainings = tuple(Training(row, seed, ConfigDict(), Path("none")) for row in rows for seed in seeds)
        plan = Plan(
            table=table,
            rows=rows,
            store=digits_store,
            settings=EvaluationSettings(label=label),
            trainings=trainings,
            evaluations=(),
        )
        scores = {
            (row, column): [
                Score(
                    method=row,
                    seed=seed,
                    protocol="probe",
                    input="image",
                    label=label,
                    budget="all",
                    draw=0,
                    metrics={"top1": value},
                    chosen={},
                )
                for seed, value in enumerate(per_seed)
            ]
            for row, by_column in values.items()
            for column, per_seed in by_column.items()
        }
        return TableOutcome(
            plan=plan,
            variant=variant,
            title="Made <up>",
            metric="top1",
            test=Sample(rows=test_rows, smallest=test_rows),
            scores=scores,
            seconds={},
        )

    return make
