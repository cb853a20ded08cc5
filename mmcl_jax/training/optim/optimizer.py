"""The registered optimizers."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

from mmcl_jax.registry import Registry
from mmcl_jax.training.optim.masks import Arrays, decayed
from mmcl_jax.training.optim.schedules import Schedule

OPTIMIZERS = Registry("optimizer")


@OPTIMIZERS.register("adam_l2")
def adam_l2(
    *,
    schedule: Schedule,
    weight_decay: float = 1e-4,
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-8,
    decay: Arrays = "all",
) -> optax.GradientTransformation:
    """Return Adam with coupled L2 decay: the decay of every parameter is added to its gradient, before the moments.

    This is `torch.optim.Adam(weight_decay=...)`, the optimizer of MMCL and its baselines. `decay` says which arrays
    decay: "all" or "matrices" (see `masks.is_matrix`), here and in the other optimizers.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> from mmcl_jax.training.optim.schedules import constant
      >>> optimizer = adam_l2(schedule=constant(learning_rate=0.1))
      >>> weights, gradient = jnp.array([1.0, -1.0]), jnp.array([0.5, -2.0])
      >>> updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
      >>> [round(weight, 3) for weight in optax.apply_updates(weights, updates).tolist()]
      [0.9, -0.9]
    """
    return with_coupled_decay(
        optax.scale_by_adam, schedule, weight_decay=weight_decay, b1=b1, b2=b2, epsilon=epsilon, decay=decay
    )


@OPTIMIZERS.register("adamw")
def adamw(
    *,
    schedule: Schedule,
    weight_decay: float = 1e-4,
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-8,
    decay: Arrays = "all",
) -> optax.GradientTransformation:
    """Return Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019, algorithm 2).

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> from mmcl_jax.training.optim.schedules import constant
      >>> optimizer = adamw(weight_decay=0.5, schedule=constant(learning_rate=0.1))
      >>> weights, gradient = jnp.array([1.0, -1.0]), jnp.array([0.5, -2.0])
      >>> updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
      >>> [round(weight, 3) for weight in optax.apply_updates(weights, updates).tolist()]
      [0.85, -0.85]
    """
    check_adam(weight_decay=weight_decay, b1=b1, b2=b2, epsilon=epsilon)
    return optax.chain(
        scaled_by_moments(optax.scale_by_adam, schedule, b1=b1, b2=b2, eps=epsilon),
        decayed(weight_decay, decay),
        optax.scale_by_learning_rate(schedule.learning_rate),
    )


@OPTIMIZERS.register("radam")
def radam(
    *,
    schedule: Schedule,
    weight_decay: float = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-8,
    decay: Arrays = "all",
) -> optax.GradientTransformation:
    """Return rectified Adam (Liu et al., ICLR 2020, algorithm 2) with coupled L2 decay, as `torch.optim.RAdam`.

    This is the optimizer of the taxonomy paper.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> from mmcl_jax.training.optim.schedules import constant
      >>> optimizer = radam(schedule=constant(learning_rate=0.1))
      >>> weights, gradient = jnp.array([1.0, -1.0]), jnp.array([0.5, -2.0])
      >>> updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
      >>> [round(weight, 3) for weight in optax.apply_updates(weights, updates).tolist()]
      [0.95, -0.8]
    """
    return with_coupled_decay(
        optax.scale_by_radam, schedule, weight_decay=weight_decay, b1=b1, b2=b2, epsilon=epsilon, decay=decay
    )


@OPTIMIZERS.register("sgd")
def sgd(
    *,
    schedule: Schedule,
    weight_decay: float = 1e-4,
    momentum: float = 0.9,
    nesterov: bool = False,
    decay: Arrays = "all",
) -> optax.GradientTransformation:
    r"""Return gradient descent with momentum and coupled L2 decay, as `torch.optim.SGD`.

    $v \leftarrow \mu v + g + \lambda w$, then $w \leftarrow w - \eta v$ or, with Nesterov's momentum,
    $w \leftarrow w - \eta (g + \lambda w + \mu v)$.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> from mmcl_jax.training.optim.schedules import constant
      >>> optimizer = sgd(weight_decay=0.0, schedule=constant(learning_rate=0.1))
      >>> weights, gradient = jnp.array([1.0, -1.0]), jnp.array([0.5, -2.0])
      >>> state = optimizer.init(weights)
      >>> for _ in range(2):
      ...     updates, state = optimizer.update(gradient, state, weights)
      ...     weights = optax.apply_updates(weights, updates)
      >>> [round(weight, 3) for weight in weights.tolist()]
      [0.855, -0.42]
    """
    check_momentum(weight_decay=weight_decay, momentum=momentum)
    return optax.chain(
        decayed(weight_decay, decay),
        optax.trace(momentum, nesterov=nesterov),
        optax.scale_by_learning_rate(schedule.learning_rate),
    )


def with_coupled_decay(
    moments: Callable[..., optax.GradientTransformation],
    schedule: Schedule,
    *,
    weight_decay: float,
    b1: float,
    b2: float,
    epsilon: float,
    decay: Arrays,
) -> optax.GradientTransformation:
    """Return a form of Adam, that of `moments`, with the decay added to the gradient before the moments.

    Raises:
      ValueError: a number is out of range.
    """
    check_adam(weight_decay=weight_decay, b1=b1, b2=b2, epsilon=epsilon)
    return optax.chain(
        decayed(weight_decay, decay),
        scaled_by_moments(moments, schedule, b1=b1, b2=b2, eps=epsilon),
        optax.scale_by_learning_rate(schedule.learning_rate),
    )


def scaled_by_moments(
    moments: Callable[..., optax.GradientTransformation], schedule: Schedule, *, b1: float, **options: Any
) -> optax.GradientTransformation:
    """Return the part of Adam that scales by moments, with the schedule's `b1` if it has one."""
    b1_at = schedule.b1
    if b1_at is None:
        return moments(b1=b1, **options)

    # The position in the schedule is not Adam's count of updates: a skipped step advances the position, as of the rate.
    def init(params: optax.Params) -> Any:
        return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)), moments(b1=b1, **options).init(params)

    def update(updates: optax.Updates, state: Any, params: optax.Params | None = None) -> Any:
        position, inner = state
        updates, inner = moments(b1=b1_at(position.count), **options).update(updates, inner, params)
        return updates, (position._replace(count=position.count + 1), inner)

    return optax.GradientTransformation(init, update)


def check_momentum(*, weight_decay: float, momentum: float) -> None:
    """Raise `ValueError` if a number is out of range."""
    if weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, as {weight_decay} is")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), not {momentum}")


def check_adam(*, weight_decay: float, b1: float, b2: float, epsilon: float) -> None:
    """Raise `ValueError` if a number is out of range."""
    if weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, as {weight_decay} is")
    if not (0 <= b1 < 1 and 0 <= b2 < 1):
        raise ValueError(f"b1 and b2 must lie in [0, 1), not {b1} and {b2}")
    if epsilon <= 0:
        raise ValueError(f"epsilon must be positive, not {epsilon}")
