"""The contract of a term, and the registry."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.registry import Registry

TERMS = Registry("term")

Metrics = dict[str, Array]
Learned = Mapping[str, Float[Array, ""]]
# (embeddings of the first view [B, d], of the second [B, d], the batch, the term's learned scalars)
#   -> (scalar, metrics by short name)
TermLoss = Callable[[Array, Array, Mapping[str, Array], Learned], tuple[Float[Array, ""], Metrics]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """A loss between two views, its weight in the objective, and its name in the logs.

    `learned` are the scalars that are trained with the model, and where they start; `needs` are entries of the batch
    without which there is no such term.
    """

    name: str
    between: tuple[str, str]
    weight: float
    loss: TermLoss
    learned: Mapping[str, float] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()


def check_term(*, temperature: float, weight: float) -> None:
    """Raises `ValueError` unless the temperature is positive and the weight not negative."""
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    check_weights(weight=weight)


def check_weights(**weights: float) -> None:
    """Raises `ValueError` naming the first weight that is negative."""
    for name, value in weights.items():
        if value < 0:
            raise ValueError(f"{name} must not be negative, as {value} is")


def learned_scale(temperature: float) -> dict[str, float]:
    """The scalar that a term learns in place of a fixed temperature: the logarithm of its inverse."""
    return {"log_scale": -math.log(temperature)}


def scale_of(learned: Learned, temperature: float) -> float | Float[Array, ""]:
    """1 / temperature, as learned if it is; then at most 100, as in CLIP."""
    if "log_scale" not in learned:
        return 1 / temperature
    return jnp.exp(jnp.minimum(learned["log_scale"], math.log(100)))
