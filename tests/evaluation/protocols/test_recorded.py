"""What the linear probe, the augmented probe and fine-tuning gave before one engine trained all heads.

The outputs of fine-tuning are those of JAX 0.10's old code generator, which the tests use there (see `conftest`): the
new one rounds otherwise, which three epochs of training make 5e-4 of the outputs. Those of "trained" are of the own
gradient of batch normalisation and of 1x1 convolutions as products, which round otherwise, too (1.4e-3 and 3e-4). The
metrics are the same.
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.evaluation.protocols.probe import ProbeSettings, train_heads
from tests.evaluation.protocols.test_finetune import PRICE, config, model_of, run
from tests.evaluation.protocols.test_probe import Labelled, blobs, classes

__all__ = ["config"]  # a fixture

OLD = importlib.metadata.version("jaxlib").startswith("0.10.")
RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())


def probed(kind: str) -> list[dict]:
    """Per draw, what a probe of three draws and two rates gave; 600 rows are two minibatches."""
    train, val, test = blobs(700, 0, noise=5), blobs(100, 1, noise=5), blobs(50, 2, noise=5)
    task = classes(3)
    if kind == "number":
        task = PRICE
        train, val, test = (
            Labelled(x.features, 7 + 3 * x.features[:, 0] + x.features[:, 6]) for x in (train, val, test)
        )
    count = 30 if kind == "few" else 600
    rows = np.stack([np.random.default_rng(draw).permutation(700)[:count] for draw in range(3)])
    heads = train_heads(
        train,
        val,
        rows,
        ProbeSettings(task=task, learning_rates=[1e-3, 1e-2], max_epochs=6),
        seeds=[(4, draw) for draw in range(3)],
    )
    return [
        {
            "metrics": task.metrics(head.outputs(test.features), test.targets),
            "rate": head.rate,
            "outputs": head.outputs(test.features)[:5].tolist(),
        }
        for head in heads
    ]


TUNED = {
    "frozen": {"frozen": True, "seeds": [(0, 0), (0, 1)], "learning_rates": [1e-2, 3e-2], "max_epochs": 4},
    "frozen number": {
        "frozen": True, "task": PRICE, "modalities": ("table",), "max_epochs": 4, "learning_rates": [1e-2, 3e-2]
    },
    "trained": {"frozen": False, "seeds": [(0, 0), (0, 1)], "modalities": ("image", "table"), "learning_rates": [1e-3]},
}  # fmt: skip


def tuned(config, kind: str) -> list[dict]:
    """Per seed, what fine-tuning, or the augmented probe, gave."""
    return [
        {"metrics": one.metrics, "chosen": one.chosen, "outputs": one.outputs[:5].tolist()}
        for one in run(model_of(config), config, **TUNED[kind])
    ]


def same(found: list[dict], kind: str, rel: float) -> None:
    for one, expected in zip(found, RECORDED[kind], strict=True):
        for name in expected.keys() - {"outputs", "metrics"}:
            assert one[name] == expected[name]
        assert {name: one["metrics"][name] for name in expected["metrics"]} == pytest.approx(
            expected["metrics"], rel=rel
        )
        np.testing.assert_allclose(one["outputs"], expected["outputs"], rtol=rel, atol=rel)


@pytest.mark.core
@pytest.mark.parametrize("kind", ["many", "few", "number"])
def test_the_linear_probe(kind: str) -> None:
    same(probed(kind), f"probe {kind}", 1e-4)


@pytest.mark.parametrize("kind", TUNED)
def test_fine_tuning(config, eight_devices: None, kind: str) -> None:
    same(tuned(config, kind), kind, 1e-4 if OLD else 1e-3)
