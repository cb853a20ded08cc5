"""Rates that fall on a plateau, against those of PyTorch."""

import numpy as np
import pytest

from mmcl_jax.evaluation.heads.plateau import Plateau


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
