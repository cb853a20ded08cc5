"""Schedules and optimizers against PyTorch's."""

import functools
import warnings
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.training.optim.optimizer import OPTIMIZERS
from mmcl_jax.training.optim.schedules import SCHEDULES, Schedule
from mmcl_jax.training.state.control import after_pass, first_control
from mmcl_jax.training.state.train_state import TrainState
from mmcl_jax.training.step.finite_step import skipped

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.core, pytest.mark.foreign]

EPOCHS, STEPS = 6, 7  # of an epoch


def build(name: str, **options: object) -> Schedule:
    return SCHEDULES.build(SCHEDULES.spec(name, **options), "config.schedule", epochs=EPOCHS, steps_per_epoch=STEPS)


def torchs(schedule: Callable, *, per: int = 1, steps: int = EPOCHS * STEPS) -> Iterator[tuple[float, float]]:
    """Rate and first decay of every step, of a scheduler that is stepped every `per` steps."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    scheduler = schedule(optimizer)
    for step in range(steps):
        yield optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]
        optimizer.step()
        if (step + 1) % per == 0 and step + 1 < steps:
            scheduler.step()


CASES: dict[str, tuple[Schedule, Iterator[tuple[float, float]]]] = {
    "one cycle": (
        build("one_cycle", learning_rate=0.02),
        torchs(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.02, total_steps=EPOCHS * STEPS)),
    ),
    "one cycle, its numbers": (
        build("one_cycle", learning_rate=0.02, rise=0.5, start=0.1, end=0.01, b1=(0.8, 0.9)),
        torchs(
            lambda o: torch.optim.lr_scheduler.OneCycleLR(
                o, 0.02, total_steps=EPOCHS * STEPS, pct_start=0.5, div_factor=10, final_div_factor=10,
                base_momentum=0.8, max_momentum=0.9,
            )
        ),
    ),
    "cosine cycles, LoVT": (
        build("cosine_cycles", learning_rate=0.02),
        torchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS)),
    ),
    "cosine cycles, ContIG": (
        build("cosine_cycles", learning_rate=0.02, fall_epochs=4, per="epoch"),
        torchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 4), per=STEPS),
    ),
    "cosine cycles, ContIG's length": (  # as many epochs as an epoch has steps
        build("cosine_cycles", learning_rate=0.02, fall_epochs=None, per="epoch"),
        torchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS), per=STEPS),
    ),
    "steps": (
        build("steps", learning_rate=0.02, milestones=(2, 3, 5), factor=0.3),
        torchs(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 3, 5], gamma=0.3), per=STEPS),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_schedule_is_pytorchs(name: str) -> None:
    schedule, expected = CASES[name]
    rates, decays = zip(*expected, strict=True)
    found = jax.vmap(schedule.at)(jnp.arange(EPOCHS * STEPS))
    np.testing.assert_allclose(found["learning_rate"], rates, rtol=1e-4, atol=1e-8)
    assert ("b1" in found) == name.startswith("one cycle")
    if "b1" in found:
        np.testing.assert_allclose(found["b1"], decays, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "decay"), [("radam", 0.0), ("radam", 0.1), ("adam_l2", 0.1), ("adamw", 0.1), ("amsgrad", 0.1)]
)
def test_an_optimizer_with_a_cycled_momentum_is_pytorchs(name: str, decay: float) -> None:
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=5), rng.normal(size=(EPOCHS * STEPS, 5))
    parameter = torch.nn.Parameter(torch.tensor(start))
    made = {"radam": torch.optim.RAdam, "adam_l2": torch.optim.Adam, "adamw": torch.optim.AdamW}
    made["amsgrad"] = functools.partial(torch.optim.Adam, amsgrad=True)
    theirs = made[name]([parameter], lr=1.0, weight_decay=decay)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.02, total_steps=EPOCHS * STEPS + 1)
    schedule = SCHEDULES.build(
        SCHEDULES.spec("one_cycle", learning_rate=0.02), "config.schedule", epochs=EPOCHS * STEPS + 1, steps_per_epoch=1
    )
    ours = OPTIMIZERS.build(OPTIMIZERS.spec(name, weight_decay=decay), "config.optimizer", schedule=schedule)
    params = jnp.asarray(start, jnp.float32)
    state = ours.init(params)

    @jax.jit
    def update(params, state, gradient):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = ours.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        theirs.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler.step()
        params, state = update(params, state, jnp.asarray(gradient, jnp.float32))
        np.testing.assert_allclose(params, parameter.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_a_cycled_momentum_goes_on_in_a_skipped_step(name: str) -> None:
    """As the rate does; Adam's own count, of updates, stays. Optimizers without moments have the rate alone."""
    optimizer = OPTIMIZERS.build(OPTIMIZERS.spec(name), "config.optimizer", schedule=build("one_cycle"))
    params = {"weight": jnp.ones(2)}
    state = TrainState(
        step=jnp.int32(0), params=params, model_state={}, optimizer_state=optimizer.init(params), target={}, queues={}
    )
    after = skipped(state).optimizer_state
    counts = jax.tree_util.tree_leaves_with_path(after)
    moved = sorted(int(count) for path, count in counts if jax.tree_util.keystr(path).endswith("count"))
    assert moved == ([0, 1, 1] if "b1" in OPTIMIZERS.options(name) else [1])


def test_adamw_keeps_what_optax_keeps() -> None:
    """So that checkpoints of before are restored."""
    ours = OPTIMIZERS.build(OPTIMIZERS.spec("adamw"), "config.optimizer", schedule=build("constant"))
    theirs = optax.adamw(lambda count: jnp.float32(1))
    params = {"weight": jnp.ones(2)}
    assert jax.tree.structure(ours.init(params)) == jax.tree.structure(theirs.init(params))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("patience", [0, 2])
def test_the_plateau_is_pytorchs(sign: int, patience: int) -> None:
    """For losses above 0; of those below 0, PyTorch takes a loss for better that is a little higher."""
    rng = np.random.default_rng(patience)
    losses = sign * (2 + np.exp(-np.arange(40) / 8) + 0.02 * rng.normal(size=40))
    schedule = build("plateau", learning_rate=0.02, factor=0.5, patience=patience, threshold=1e-3, lowest=0.002)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=1e-3, min_lr=0.002, eps=0
    )
    control = first_control(schedule.plateau)
    after = jax.jit(lambda control, loss, step: after_pass(control, loss, step, plateau=schedule.plateau, min_delta=0))
    rates = []
    for step, loss in enumerate(losses):
        control = after(control, jnp.float32(loss), jnp.int32(step))
        rates.append(0.02 * float(control["plateau"]["factor"]))
        scheduler.step(loss)
        if sign > 0:
            assert rates[-1] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
    assert len(set(rates)) > 2
    assert int(control["best"]["step"]) == np.argmin(losses)


def test_patience_counts_losses_that_are_not_enough_better() -> None:
    control = first_control(None)
    waited = []
    for step, loss in enumerate([3.0, 2.95, 2.5, 2.45, np.nan, 2.44]):
        control = after_pass(control, jnp.float32(loss), jnp.int32(step), plateau=None, min_delta=0.1)
        waited.append(int(control["stop"]["waited"]))
    assert waited == [0, 1, 0, 1, 2, 3]
    assert int(control["best"]["step"]) == 5


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("one_cycle", {"rise": 1.0}, "rise must lie between 0 and 1, not 1.0"),
        ("one_cycle", {"b1": (0.9, 1.0)}, r"b1 must lie in \[0, 1\)"),
        ("one_cycle", {"start": 2.0}, "start and end must be shares of the peak"),
        ("cosine_cycles", {"fall_epochs": 0}, "fall_epochs must be positive, not 0"),
        ("steps", {"milestones": (3, 2)}, r"milestones must be rising epochs above 0, not \(3, 2\)"),
        ("steps", {"factor": 0.0}, "factor must be positive"),
        ("plateau", {"factor": 1.0}, "factor must lie between 0 and 1"),
        ("plateau", {"patience": -1}, "patience and threshold must not be negative"),
        ("plateau", {"lowest": 1.0}, "lowest must lie between 0 and learning_rate"),
        *((name, {"learning_rate": 0.0}, "learning_rate must be positive") for name in SCHEDULES.names()),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=f"config.schedule: {sentence}"):
        build(name, **options)
