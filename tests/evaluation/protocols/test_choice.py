"""What is chosen, a rate or an epoch, is chosen on validation, and test is measured afterwards."""

from types import SimpleNamespace

import numpy as np
import pytest

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.evaluation.protocols import scoring
from mmcl_jax.evaluation.protocols.finetune import FinetuneSettings, finetune
from mmcl_jax.evaluation.protocols.jobs import JobSettings
from mmcl_jax.tasks import Class
from tests.evaluation.protocols.test_finetune import BRIGHT, config, model_of, toy

__all__ = ["config"]  # a fixture

FEATURES = {"train": 0.0, "val": 1.0, "test": 2.0}


@pytest.mark.core
def test_the_probe_is_chosen_on_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the training of heads is given, and what is measured, by features that say which split they are of."""
    task = Class(label="kind", classes=3)
    parts = {split: np.full((9, 2), value) + np.eye(9, 2) for split, value in FEATURES.items()}
    targets = {split: np.roll(np.arange(9) % 3, place) for place, split in enumerate(SPLITS)}
    given, measured = [], []

    def train_heads(train, val, *_, **__):
        given.extend([train, val])
        return [
            SimpleNamespace(outputs=lambda features: measured.append(features) or np.eye(3)[np.arange(9) % 3], rate=0.1)
        ]

    monkeypatch.setattr(scoring, "train_heads", train_heads)
    as_they_are = SimpleNamespace(apply=lambda features: features)
    monkeypatch.setattr(scoring, "Standard", SimpleNamespace(of=lambda _: as_they_are))
    source = SimpleNamespace(run=SimpleNamespace(config=SimpleNamespace(seed=0)), features=lambda *_, **__: parts)
    data = SimpleNamespace(task=task, targets=targets, people=lambda split: None)
    how = JobSettings(learning_rates=(0.1,), max_epochs=1, log=lambda line: None, unchanged=lambda: None)
    (result,) = scoring._probe(source, data, "image", np.arange(9)[None], how)
    for split, labelled in zip(("train", "val"), given, strict=True):
        np.testing.assert_array_equal(labelled.features, parts[split])
        np.testing.assert_array_equal(labelled.targets, targets[split])
    assert [float(features[8, 0]) for features in measured] == [FEATURES["val"], FEATURES["test"]]
    assert result.metrics["val_top1"] == (targets["val"] == np.arange(9) % 3).mean()


def test_fine_tuning_is_chosen_on_validation(config) -> None:
    """Validation labels that are those of the next class: what is reached there is not what is reached on test."""
    train, val, test = (toy(rows, seed) for seed, rows in enumerate((44, 30, 33)))
    val.targets[:] = (val.targets + 1) % 3
    settings = FinetuneSettings(
        task=BRIGHT, modalities=("image",), frozen=True, learning_rates=[0.3], seeds=[(0, 0)], max_epochs=30,
        batch_size=44, augment_probability=0.0, patience=30,
    )  # fmt: skip
    splits = {"train": train, "val": val, "test": test}
    (outcome,) = finetune(model_of(config), config, splits, settings)
    (right,) = finetune(model_of(config), config, {**splits, "val": toy(30, 1)}, settings)
    assert right.metrics["top1"] > 0.8
    assert right.metrics["val_top1"] > 0.8
    assert outcome.metrics["top1"] < right.metrics["top1"]  # the epoch that suits wrong labels best
