"""The contract of a term, and the registry."""

import dataclasses
from collections.abc import Callable, Mapping

from jaxtyping import Array, Float

from mmcl_jax.registry import Registry

TERMS = Registry("term")

Metrics = dict[str, Array]
# (embeddings of the first view [B, d], of the second [B, d], the batch) -> (scalar, metrics by short name)
TermLoss = Callable[[Array, Array, Mapping[str, Array]], tuple[Float[Array, ""], Metrics]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """A loss between two views, its weight in the objective, and its name in the logs."""

    name: str
    between: tuple[str, str]
    weight: float
    loss: TermLoss


def check_term(*, temperature: float, weight: float) -> None:
    """Raises `ValueError` unless the temperature is positive and the weight not negative."""
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    if weight < 0:
        raise ValueError(f"weight must not be negative, as {weight} is")
