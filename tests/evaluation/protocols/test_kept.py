"""Heads that are kept predict again what was scored."""

from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.protocols import scoring
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.kept import load_head
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.training.runs.run import Run
from tests.evaluation.protocols.test_cohort import quiet, run, store

__all__ = ["run", "store"]  # fixtures

CASES = {
    "probe": {"label": "grade", "budgets": (Budget(fraction=0.5),), "baselines": ("random", "pixels", "features")},
    "mask": {"inputs": ("image",), "label": "disc"},
    "trained": {"protocols": ("augmented_probe", "finetune"), "label": "pressure", "inputs": ("image",), "draws": 1},
}
TEXTS = {"grade": ("none", "mild", "severe"), "disc": ("background", "disc"), "pressure": ()}
FAST = {"inputs": ("image+pgs",), "learning_rates": [1e-2], "max_epochs": 1, "draws": 2, "baselines": ()}


def rows_of(head, store: Store) -> dict:
    """The rows that were scored, as the encoders take them."""
    data = LabelledStore.of(store, head.score.label, head.score.task, fold=head.score.fold)
    names = head.source.inputs_of(head.trained.reads)
    data = data.having([head.source.spec(name).of for name in names])
    return {name: np.asarray(head.source.inputs(store, "test", name)[data.rows["test"]]) for name in names}


@pytest.mark.parametrize("kind", CASES)
def test_a_kept_head_predicts_what_was_scored(
    kind: str, run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, parts = [], scoring.parts
    monkeypatch.setattr(scoring, "parts", lambda task, outputs, _: scored.append(outputs) or parts(task, outputs, _))
    options = EvaluationOptions(keep=tmp_path / "mine", **{**FAST, **CASES[kind]})
    scores = evaluate_runs([run], store, options, log=quiet)
    heads = [load_head(folder) for folder in (tmp_path / "mine").iterdir()]
    assert len(heads) == len(scores) == len(scored)  # every seed, draw and budget has a folder of its own
    by_score = {(head.score.method, head.score.protocol, head.score.draw): head for head in heads}
    kept = [by_score[score.method, score.protocol, score.draw] for score in scores]
    assert [head.score for head in kept] == scores
    kept.sort(key=lambda head: ("run", "random", "raw").index(head.source.kind))  # the order of computation
    for head, outputs in zip(kept, scored, strict=True):
        np.testing.assert_allclose(head.outputs(rows_of(head, store)), outputs, rtol=1e-6, atol=1e-6)
        assert (head.trained.encoder is not None) == (head.score.protocol == "finetune")
        assert head.labels == {head.score.label: TEXTS[head.score.label]}
