"""Adam with one second moment per weight or per head, and rectified Adam."""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from mmcl_jax.evaluation.heads.linear import Params, per_head

SecondMoment = Literal["weight", "head"]
Optimizer = Literal["adam", "radam"]
OPTIMIZERS = ("adam", "radam")
FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8


def adam(
    second_moment: SecondMoment, first_decay: float | Array = FIRST_DECAY, *, rectified: bool = False
) -> optax.GradientTransformation:
    """Return Adam's update directions for `(heads [G, L, ...], parameters of encoders)`, before the learning rate.

    The second moment per "head" is the mean over its kernel, and supports no trained encoder. With a second moment per
    weight, weights of noise move as fast as weights of signal, and with few labels such a head falls points behind
    logistic regression. The decay of the first moment may differ from step to step; its bias is corrected by the decay
    of the step, as PyTorch does. If `rectified`, they are those of rectified Adam with a second moment per weight, as
    of `torch.optim.RAdam` (Liu et al., ICLR 2020), by which Fedorov et al. train their probes.
    """
    if rectified:
        return optax.scale_by_radam(b1=first_decay, b2=SECOND_DECAY, eps=EPSILON)
    if second_moment == "weight":
        return optax.scale_by_adam(b1=first_decay, b2=SECOND_DECAY, eps=EPSILON)
    return optax.GradientTransformation(_first, functools.partial(_update, first_decay=first_decay))


class _Moments(NamedTuple):
    steps: Array
    first: Params
    second: Array  # [G, L]


def _first(trained: tuple[Params, Any]) -> _Moments:
    heads, _ = trained
    return _Moments(jnp.float32(0), jax.tree.map(jnp.zeros_like, heads), jnp.zeros(heads["kernel"].shape[:2]))


def _update(
    gradients: tuple[Params, Any], moments: Any, params: Any = None, *, first_decay: float | Array
) -> tuple[tuple[Params, Any], _Moments]:
    heads, encoder = gradients
    steps = moments.steps + 1
    first = jax.tree.map(lambda m, g: first_decay * m + (1 - first_decay) * g, moments.first, heads)
    now = jnp.square(heads["kernel"]).mean(axis=(2, 3))
    second = SECOND_DECAY * moments.second + (1 - SECOND_DECAY) * now
    size = 1 / (1 - first_decay**steps) / (jnp.sqrt(second / (1 - SECOND_DECAY**steps)) + EPSILON)
    return (jax.tree.map(lambda m: per_head(size, m) * m, first), encoder), _Moments(steps, first, second)
