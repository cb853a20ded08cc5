"""The registered schedules: hyper-parameters as functions of the step."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmcl_jax.registry import Registry
from mmcl_jax.training.state.control import Plateau

SCHEDULES = Registry("schedule")

ByStep = Callable[[Int[Array, ""]], Float[Array, ""]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """The hyper-parameters that change while a model is trained.

    Attributes:
      learning_rate: by step.
      b1: Adam's decay of the first moment, by step; None for the optimizer's option.
      plateau: the rule by which validation passes lower the rate.
    """

    learning_rate: ByStep
    b1: ByStep | None = None
    plateau: Plateau | None = None

    def at(self, step: Int[Array, ""]) -> dict[str, Float[Array, ""]]:
        """Return the hyper-parameters of a step by name."""
        functions = {"learning_rate": self.learning_rate, "b1": self.b1}
        return {name: function(step) for name, function in functions.items() if function is not None}


@SCHEDULES.register("constant")
def constant(*, learning_rate: float = 1e-3) -> Schedule:
    """Return a constant rate, as in MMCL's supervised baselines and evaluation.

    Raises:
      ValueError: the rate is not positive.

    Example:
      >>> float(constant(learning_rate=0.5).learning_rate(jnp.int32(7)))
      0.5
    """
    _check_rate(learning_rate)
    return Schedule(learning_rate=lambda step: jnp.full((), learning_rate, jnp.float32))


@SCHEDULES.register("warmup_cosine")
def warmup_cosine(
    *,
    epochs: int,
    steps_per_epoch: int,
    learning_rate: float = 3e-4,
    warmup_epochs: int = 10,
    per: Literal["step", "epoch"] = "step",
) -> Schedule:
    """Return a linear rise to `learning_rate`, then half a cosine down to 0.

    Args:
      epochs: length of the training.
      steps_per_epoch: optimizer steps in an epoch.
      learning_rate: the peak.
      warmup_epochs: length of the rise.
      per: "step" changes the rate at every step, and starts above 0. "epoch" follows MMCL's released code
        (lightning-bolts 0.5.0): the rate is constant within an epoch, and 0 throughout the first epoch.

    Raises:
      ValueError: a number is out of range, or the rise is as long as the training.

    Example:
      >>> schedule = warmup_cosine(epochs=4, steps_per_epoch=1, learning_rate=1.0, warmup_epochs=2)
      >>> [round(float(schedule.learning_rate(jnp.int32(step))), 2) for step in range(4)]
      [0.5, 1.0, 1.0, 0.5]
    """
    _check_rate(learning_rate)
    if not 0 <= warmup_epochs < epochs:
        raise ValueError(f"warmup_epochs must lie in [0, {epochs}), the training's epochs, not {warmup_epochs}")
    unit = 1 if per == "step" else steps_per_epoch
    rise, total = warmup_epochs * steps_per_epoch // unit, epochs * steps_per_epoch // unit
    first, last = (1, rise) if per == "step" else (0, rise - 1)  # the rise's numerator at time 0, and its denominator

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        time = jnp.asarray(step // unit, jnp.float32)
        rising = (time + first) / max(last, 1)
        falling = _falling(time - rise, total - rise)
        return learning_rate * jnp.where(time < rise, rising, falling)

    return Schedule(learning_rate=rate)


@SCHEDULES.register("one_cycle")
def one_cycle(
    *,
    epochs: int,
    steps_per_epoch: int,
    learning_rate: float = 0.01,
    rise: float = 0.3,
    start: float = 0.04,
    end: float = 4e-6,
    b1: tuple[float, float] | None = (0.85, 0.95),
) -> Schedule:
    """Return half a cosine up and half a cosine down; the momentum moves inversely (Smith and Topin, 2018).

    The defaults are those of `torch.optim.lr_scheduler.OneCycleLR`, with the taxonomy paper's peak.

    Args:
      epochs: length of the training.
      steps_per_epoch: optimizer steps in an epoch.
      learning_rate: the peak.
      rise: the share of the steps until the peak.
      start: the first rate, as a share of the peak.
      end: the last rate, as a share of the peak.
      b1: Adam's decay of the first moment at the peak of the rate, and at both ends; it replaces the optimizer's
        option. None leaves that option in force.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> schedule = one_cycle(epochs=1, steps_per_epoch=5, learning_rate=1.0, rise=0.6, start=0.5, end=0.0)
      >>> [round(float(schedule.learning_rate(jnp.int32(step))), 2) for step in range(5)]
      [0.5, 0.75, 1.0, 0.5, 0.0]
      >>> {name: round(float(value), 2) for name, value in schedule.at(jnp.int32(2)).items()}
      {'learning_rate': 1.0, 'b1': 0.85}
    """
    _check_rate(learning_rate)
    if not 0 < rise < 1:
        raise ValueError(f"rise must lie between 0 and 1, not {rise}")
    if not (0 < start <= 1 and 0 <= end <= 1):
        raise ValueError(
            f"start and end must be shares of the peak, at most 1 and start above 0, not {start} and {end}"
        )
    if b1 is not None and not all(0 <= decay < 1 for decay in b1):
        raise ValueError(f"b1 must lie in [0, 1), not {b1}")
    total = epochs * steps_per_epoch
    peak = rise * total - 1  # in steps, not necessarily an integer

    def between(first: float, middle: float, last: float) -> ByStep:
        def value(step: Int[Array, ""]) -> Float[Array, ""]:
            time = jnp.asarray(step, jnp.float32)
            up = middle + (first - middle) * _falling(time, max(peak, 1))
            down = last + (middle - last) * _falling(time - peak, total - 1 - peak)
            return jnp.where(time <= peak, up, down)

        return value

    rate = between(learning_rate * start, learning_rate, learning_rate * end)
    return Schedule(learning_rate=rate, b1=None if b1 is None else between(b1[1], b1[0], b1[1]))


@SCHEDULES.register("cosine_cycles")
def cosine_cycles(
    *,
    steps_per_epoch: int,
    learning_rate: float = 1e-4,
    fall_epochs: int | None = 1,
    per: Literal["step", "epoch"] = "step",
) -> Schedule:
    """Return a cosine that falls from `learning_rate` to 0 in `fall_epochs`, rises back in as many, and repeats.

    The defaults are LoVT's schedule. ContIG's code steps it once per epoch (`per="epoch"`), but counts its length in
    steps: it falls in as many epochs as an epoch has steps (`fall_epochs=None`). With the 1,704 steps of its data, the
    rate of the last of 101 epochs is 99.2 % of the first; `warmup_cosine` with `warmup_epochs=0` is the cosine meant.

    Args:
      steps_per_epoch: optimizer steps in an epoch.
      learning_rate: the peak.
      fall_epochs: length of the fall; None for as many epochs as an epoch has steps.
      per: "step" changes the rate at every step, "epoch" at every epoch.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> schedule = cosine_cycles(steps_per_epoch=2, learning_rate=1.0)
      >>> [round(float(schedule.learning_rate(jnp.int32(step))), 2) for step in range(5)]
      [1.0, 0.5, 0.0, 0.5, 1.0]
      >>> schedule = cosine_cycles(steps_per_epoch=1704, learning_rate=1.0, fall_epochs=None, per="epoch")
      >>> round(float(schedule.learning_rate(jnp.int32(100 * 1704))), 4)  # in the last of ContIG's 101 epochs
      0.9915
    """
    _check_rate(learning_rate)
    fall_epochs = steps_per_epoch if fall_epochs is None else fall_epochs
    if fall_epochs < 1:
        raise ValueError(f"fall_epochs must be positive, not {fall_epochs}")
    unit, fall = (1, fall_epochs * steps_per_epoch) if per == "step" else (steps_per_epoch, fall_epochs)

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        time = jnp.asarray(step // unit % (2 * fall), jnp.float32)
        return learning_rate * _falling(time, fall)

    return Schedule(learning_rate=rate)


@SCHEDULES.register("steps")
def steps(
    *, steps_per_epoch: int, learning_rate: float = 1e-3, milestones: tuple[int, ...] = (60, 80), factor: float = 0.1
) -> Schedule:
    """Return a rate that is multiplied by `factor` at the beginning of each of the epochs `milestones`, counted from 0.

    Raises:
      ValueError: a number is out of range, or the milestones do not rise.

    Example:
      >>> schedule = steps(steps_per_epoch=10, learning_rate=1.0, milestones=(2, 3))
      >>> [round(float(schedule.learning_rate(jnp.int32(step))), 3) for step in (0, 19, 20, 30)]
      [1.0, 1.0, 0.1, 0.01]
    """
    _check_rate(learning_rate)
    if list(milestones) != sorted({epoch for epoch in milestones if epoch > 0}):
        raise ValueError(f"milestones must be rising epochs above 0, not {milestones}")
    if factor <= 0:
        raise ValueError(f"factor must be positive, not {factor}")

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        passed = sum(jnp.asarray(step >= epoch * steps_per_epoch, jnp.float32) for epoch in milestones)
        return learning_rate * jnp.power(jnp.float32(factor), passed)

    return Schedule(learning_rate=rate)


@SCHEDULES.register("plateau")
def plateau(
    *,
    learning_rate: float = 1e-4,
    factor: float = 0.5,
    patience: int = 12,
    threshold: float = 1e-4,
    lowest: float = 0.0,
) -> Schedule:
    """Return a rate that falls when the validation loss stops falling (`control.Plateau`); defaults of LoVT's ConVIRT.

    Args:
      learning_rate: the initial rate.
      factor: factor by which the rate falls.
      patience: number of validation passes without a better loss before the next such pass lowers the rate.
      threshold: least improvement that counts as better, as a share of the best loss.
      lowest: lower bound of the rate.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> schedule = plateau(learning_rate=0.5, factor=0.1)
      >>> float(schedule.learning_rate(jnp.int32(1000))), schedule.plateau.factor  # validation passes lower the rate
      (0.5, 0.1)
    """
    _check_rate(learning_rate)
    if not 0 < factor < 1:
        raise ValueError(f"factor must lie between 0 and 1, not {factor}")
    if patience < 0 or threshold < 0:
        raise ValueError(f"patience and threshold must not be negative, not {patience} and {threshold}")
    if not 0 <= lowest <= learning_rate:
        raise ValueError(f"lowest must lie between 0 and learning_rate, which is {learning_rate}, not {lowest}")
    rule = Plateau(factor=factor, patience=patience, threshold=threshold, lowest=lowest / learning_rate)
    return dataclasses.replace(constant(learning_rate=learning_rate), plateau=rule)


def _falling(time: Float[Array, ""], length: float) -> Float[Array, ""]:
    """Return half a cosine, from 1 at time 0 to 0 at the end of `length`."""
    # cos^2(x / 2) equals (1 + cos x) / 2, without the cancellation that rounds this to 0 near the end.
    return jnp.square(jnp.cos(jnp.pi / 2 * time / length))


def _check_rate(learning_rate: float) -> None:
    if learning_rate <= 0:
        raise ValueError(f"learning_rate must be positive, not {learning_rate}")
