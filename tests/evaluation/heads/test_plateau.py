"""Rates that fall on a plateau, against those of PyTorch."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.evaluation.heads.engine import Search, optimise
from mmcl_jax.evaluation.heads.plateau import Plateau
from mmcl_jax.evaluation.heads.programs import Weights


@pytest.mark.foreign
@pytest.mark.parametrize("by", ["loss", "metric"])
def test_rates_fall_as_in_pytorch(by: str) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(1, 0.2, 60).cumsum() / np.arange(1, 61) ** 1.2 + 0.1
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    mode = "min" if by == "loss" else "max"
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=3, eps=0)
    ours = Plateau(by=by).start((1, 1))  # type: ignore[arg-type]
    for value in values if by == "loss" else values[::-1]:
        reference.step(value)
        shares = ours.follow(**{by: np.full((1, 1), value)})
        assert float(shares[0, 0]) == optimizer.param_groups[0]["lr"]
    assert float(ours.now[0, 0]) <= 0.5


def test_every_head_falls_by_itself() -> None:
    shares = Plateau(by="metric", patience=0).start((1, 2))
    for metric in ([0.1, 0.1], [0.2, 0.1], [np.nan, 0.1]):
        shares.follow(metric=np.array([metric]))
    assert shares.now.tolist() == [[0.5, 0.25]]


def test_the_rate_of_the_warm_up_does_not_fall() -> None:
    """Six steps of the head alone on a plateau, one per epoch; then the plateau counts anew."""
    rates = list[float]()

    def step(weights: Weights, moments: Any, fixed: Any, batch: Any, now: Any, *rest: Any) -> tuple[Any, Any, Any]:
        rates.append(float(now[0, 0]))
        return weights, moments, jnp.zeros(())

    programs: Any = SimpleNamespace(
        recipe=SimpleNamespace(encoders=object(), task=SimpleNamespace(on_host=False), select="loss"),
        everywhere=jax.devices()[0], first_moments=lambda weights: jnp.zeros(()), held_step=step, step=step,
        measure=lambda *features: (jnp.ones((1, 1)), jnp.ones((1, 1))),
        follow=lambda progress, best, *measured: (progress, best),
    )  # fmt: skip
    feed: Any = SimpleNamespace(
        steps=1, fixed={}, round=lambda number: [{}], val_targets=jnp.zeros(1), val_features=lambda weights: None
    )
    weights = Weights(heads={"bias": jnp.zeros((1, 1))}, encoder=None)
    search = Search(
        reads=(), rates=[0.5], seed=0, max_rounds=12, ties="first", plateau=Plateau(), held_steps=6, held_rate=0.125
    )
    optimise(programs, feed, weights, np.array([[0.5]], np.float32), search)
    assert rates == [0.125] * 6 + [0.5] * 5 + [0.25]
