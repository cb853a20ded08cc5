"""Optimizers and schedules against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.training.optim.optimizer import OPTIMIZERS
from mmcl_jax.training.optim.schedules import SCHEDULES, Schedule

pytestmark = pytest.mark.core


def schedule(**options: object):
    return SCHEDULES.build(
        SCHEDULES.spec("warmup_cosine", **options), "config.schedule", epochs=500, steps_per_epoch=138
    ).learning_rate


def test_per_epoch_is_the_released_schedule() -> None:
    rate = schedule(learning_rate=3e-3, warmup_epochs=10, per="epoch")
    for epoch, expected in {
        0: 0.0,
        1: 3e-3 / 9,
        9: 3e-3,
        10: 3e-3,
        255: 0.5 * 3e-3 * (1 + np.cos(np.pi * 245 / 490)),
        499: 0.5 * 3e-3 * (1 + np.cos(np.pi * 489 / 490)),
    }.items():
        for step in (0, 137):
            np.testing.assert_allclose(rate(jnp.int32(epoch * 138 + step)), expected, rtol=1e-4, atol=1e-9)


def test_per_step_rises_from_the_first_step_and_falls_to_almost_nothing() -> None:
    rate = schedule(learning_rate=1.0, warmup_epochs=10)
    rise, total = 1380, 69_000
    np.testing.assert_allclose(rate(jnp.int32(0)), 1 / rise, rtol=1e-5)
    np.testing.assert_allclose(rate(jnp.int32(rise - 1)), 1.0, rtol=1e-5)
    np.testing.assert_allclose(rate(jnp.int32(rise)), 1.0, rtol=1e-5)
    np.testing.assert_allclose(rate(jnp.int32((rise + total) // 2)), 0.5, rtol=1e-4)
    assert 0 < rate(jnp.int32(total - 1)) < 1e-6


def test_no_warmup_starts_at_the_peak() -> None:
    for per in ("step", "epoch"):
        np.testing.assert_allclose(schedule(learning_rate=0.5, warmup_epochs=0, per=per)(jnp.int32(0)), 0.5)


def updates(name: str, gradient: np.ndarray, parameters: np.ndarray) -> list[np.ndarray]:
    optimizer = OPTIMIZERS.build(
        OPTIMIZERS.spec(name, weight_decay=0.1),
        "config.optimizer",
        schedule=Schedule(learning_rate=lambda step: jnp.float32(0.01)),
    )
    params = jnp.asarray(parameters)
    state, seen = optimizer.init(params), []
    for _ in range(3):
        with jax.numpy_dtype_promotion("standard"):
            update, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, update)
        seen.append(np.asarray(params))
    return seen


@pytest.mark.parametrize("coupled", [True, False])
def test_decay_is_coupled_in_adam_l2_and_decoupled_in_adamw(coupled: bool) -> None:
    gradient = np.array([0.5, -2.0, 0.0], np.float32)
    p = np.array([1.0, -3.0, 2.0])
    m = v = np.zeros(3)
    for step, seen in enumerate(updates("adam_l2" if coupled else "adamw", gradient, p.astype(np.float32)), start=1):
        g = gradient + 0.1 * p if coupled else gradient
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        change = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        p = p - 0.01 * (change if coupled else change + 0.1 * p)
        np.testing.assert_allclose(seen, p, rtol=1e-5)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match=r"config.schedule: warmup_epochs must lie in \[0, 500\)"):
        schedule(warmup_epochs=500)
    with pytest.raises(UserError, match=r"config.schedule: learning_rate must be positive"):
        schedule(learning_rate=0.0)
    with pytest.raises(UserError, match=r"config.optimizer: weight_decay must not be negative"):
        OPTIMIZERS.build(
            OPTIMIZERS.spec("adamw", weight_decay=-1.0),
            "config.optimizer",
            schedule=Schedule(learning_rate=lambda s: s),
        )
