"""Optimizers and learning-rate schedules, by the name a config gives them."""

from typing import Literal

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mmcl_jax.registry import Registry

OPTIMIZERS = Registry("optimizer")
SCHEDULES = Registry("schedule")


@OPTIMIZERS.register("adam_l2")
def adam_l2(
    *, schedule: optax.Schedule, weight_decay: float = 1e-4, b1: float = 0.9, b2: float = 0.999, epsilon: float = 1e-8
) -> optax.GradientTransformation:
    """Adam with coupled L2: the decay is added to the gradient, before the moments, on every parameter.

    This is `torch.optim.Adam(weight_decay=...)`, which MMCL and its baselines were trained with.
    """
    _check(weight_decay=weight_decay, b1=b1, b2=b2, epsilon=epsilon)
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_adam(b1=b1, b2=b2, eps=epsilon),
        optax.scale_by_learning_rate(schedule),
    )


@OPTIMIZERS.register("adamw")
def adamw(
    *, schedule: optax.Schedule, weight_decay: float = 1e-4, b1: float = 0.9, b2: float = 0.999, epsilon: float = 1e-8
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), on every parameter."""
    _check(weight_decay=weight_decay, b1=b1, b2=b2, epsilon=epsilon)
    return optax.adamw(schedule, b1=b1, b2=b2, eps=epsilon, weight_decay=weight_decay)


@SCHEDULES.register("constant")
def constant(*, learning_rate: float = 1e-3) -> optax.Schedule:
    """The same rate at every step, as in MMCL's supervised baselines and evaluation.

    Raises:
      ValueError: it is not positive.
    """
    if learning_rate <= 0:
        raise ValueError(f"learning_rate must be positive, not {learning_rate}")
    return lambda step: jnp.full((), learning_rate, jnp.float32)


@SCHEDULES.register("warmup_cosine")
def warmup_cosine(
    *,
    epochs: int,
    steps_per_epoch: int,
    learning_rate: float = 3e-4,
    warmup_epochs: int = 10,
    per: Literal["step", "epoch"] = "step",
) -> optax.Schedule:
    """A linear rise to `learning_rate`, then half a cosine down to 0.

    Args:
      epochs: of the whole training.
      steps_per_epoch: optimizer steps in an epoch.
      learning_rate: the peak.
      warmup_epochs: length of the rise.
      per: "step" changes the rate at every step, the first one being above 0. "epoch" is what MMCL's released code does
        (lightning-bolts 0.5.0): the rate is constant within an epoch, and 0 throughout the first one.

    Raises:
      ValueError: a number is out of range, or the rise is as long as the training.
    """
    if learning_rate <= 0:
        raise ValueError(f"learning_rate must be positive, not {learning_rate}")
    if not 0 <= warmup_epochs < epochs:
        raise ValueError(f"warmup_epochs must lie in [0, {epochs}), the training's epochs, not {warmup_epochs}")
    unit = 1 if per == "step" else steps_per_epoch
    rise, total = warmup_epochs * steps_per_epoch // unit, epochs * steps_per_epoch // unit
    first, last = (1, rise) if per == "step" else (0, rise - 1)  # the rise's numerator at time 0, and its denominator

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        time = jnp.asarray(step // unit, jnp.float32)
        rising = (time + first) / max(last, 1)
        # cos^2(x / 2) is (1 + cos x) / 2, without the cancellation that makes it 0 near the end.
        falling = jnp.square(jnp.cos(jnp.pi / 2 * (time - rise) / (total - rise)))
        return learning_rate * jnp.where(time < rise, rising, falling)

    return rate


def _check(*, weight_decay: float, b1: float, b2: float, epsilon: float) -> None:
    if weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, as {weight_decay} is")
    if not (0 <= b1 < 1 and 0 <= b2 < 1):
        raise ValueError(f"b1 and b2 must lie in [0, 1), not {b1} and {b2}")
    if epsilon <= 0:
        raise ValueError(f"epsilon must be positive, not {epsilon}")
