"""Heads with a cycled rate are trained as PyTorch's Adam with OneCycleLR trains them."""

import jax
import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.adam import Optimizer
from mmcl_jax.evaluation.heads.cycle import NEVER, OneCycle
from mmcl_jax.evaluation.heads.engine import Search, fit
from mmcl_jax.evaluation.heads.feeds import FeatureFeed, Labelled
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.programs import HeadRecipe, programs_of
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.tasks import Number
from mmcl_jax.training.mesh import local_mesh


@pytest.mark.foreign
@pytest.mark.parametrize("momentum", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 25])
def test_a_cycle_is_pytorchs_at_any_length(steps: int, momentum: bool) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, cycle_momentum=momentum)
    expected = []
    for step in range(steps):
        expected.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]))
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    paces = OneCycle(momentum).paces(steps)
    np.testing.assert_allclose(paces["share"], [rate for rate, _ in expected], rtol=1e-4, atol=1e-7)
    assert ("b1" in paces) == momentum
    if momentum:
        np.testing.assert_allclose(paces["b1"], [decay for _, decay in expected], rtol=1e-5)


@pytest.mark.foreign
@pytest.mark.parametrize(("momentum", "name"), [(True, "adam"), (False, "adam"), (True, "radam")])
def test_a_head_is_trained_as_pytorch_does(momentum: bool, name: Optimizer) -> None:
    """One round of 25 full-batch steps, whose weights are those after the last step."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(40, 3)).astype(np.float32), rng.normal(size=40)
    data, task, head = Labelled(features, targets), Number(label="y"), LinearHead()
    recipe = HeadRecipe(head=head, task=task, optimizer=name, patience=NEVER, min_delta=0.0, mesh=local_mesh(1))
    programs = programs_of(recipe)
    feed = FeatureFeed(programs, data, data, np.arange(40)[None], seeds=[(0, 0)], batch_size=40, least_steps=25)
    search = Search(reads=(), rates=[0.05], seed=0, max_rounds=1, ties="first", cycle=OneCycle(momentum))
    start = head.new(3, 1, seeds=[0])
    (trained,) = fit(programs, feed, start, None, search)
    assert trained is not None
    layer = torch.nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight[0] = torch.tensor(np.array(start["kernel"][0, :, 0]))
        layer.bias[0] = float(start["bias"][0, 0])
    optimizer = {"adam": torch.optim.Adam, "radam": torch.optim.RAdam}[name](layer.parameters())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=25, cycle_momentum=momentum)
    y = torch.tensor((targets - targets.mean()) / targets.std(), dtype=torch.float32)
    for step in range(25):
        optimizer.zero_grad()
        (layer(torch.tensor(features))[:, 0] - y).square().mean().backward()
        optimizer.step()
        if step < 24:
            scheduler.step()
    kernel, bias = (np.asarray(jax.device_get(trained.params[name])) for name in ("kernel", "bias"))
    # The length of the rectification, a difference of two numbers near 2,000, has four digits in float32 at first.
    most = {"rtol": 1e-4, "atol": 1e-6} if name == "adam" else {"rtol": 5e-4, "atol": 5e-5}
    np.testing.assert_allclose(kernel[:, 0], layer.weight[0].detach().numpy(), **most)
    np.testing.assert_allclose(bias, layer.bias.detach().numpy(), **most)


def test_a_cycle_has_defaults_of_its_own() -> None:
    options = EvaluationOptions(schedule="one_cycle")
    assert (options.rates, options.epochs, options.cycle) == ((1e-2,), 100, OneCycle())
    assert EvaluationOptions(schedule="one_cycle", cycle_momentum=False, max_epochs=7).cycle == OneCycle(momentum=False)
    assert EvaluationOptions().cycle is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"schedule": "cosine"}, "--schedule: there is no schedule 'cosine'"),
        ({"schedule": "one_cycle", "protocols": ("knn",)}, "--schedule one_cycle: no head is trained by knn"),
        ({"cycle_momentum": False}, "--cycle-momentum: constant rates have no cycle"),
    ],
)
def test_a_schedule_that_cannot_be_is_one_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        EvaluationOptions(**options)
