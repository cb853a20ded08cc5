"""The contract of a term, and the registry."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.registry import Registry

TERMS = Registry("term")

Metrics = dict[str, Array]
Learned = Mapping[str, Float[Array, ""]]
# (what the term reads of each of its views, the batch, the term's learned scalars) -> (scalar, metrics by short name)
TermLoss = Callable[..., tuple[Float[Array, ""], Metrics]]
Read = Literal["embedding", "prediction", "target", "head", "view"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """A loss between two views (or of one), its weight in the objective, and its name in the logs.

    `loss` gets every entry of `reads`, each for every view, then the queue if there is one, the batch, and the learned
    scalars. A contrastive term reads embeddings alone: `loss(first, second, batch, learned)`.

    Attributes:
      reads: of each view, "embedding" [B, d] (features after the projector), "prediction" [B, d] (that after the
        predictor), "target" [B, d] (the embedding by the target network, a moving average, without gradient), "head"
        [B, head] (a linear layer of the term's own on the features), or "view" (what the encoder saw).
      learned: scalars that are trained with the model, and where they start.
      needs: entries of the batch without which there is no such term.
      head: outputs of the term's own layer on the features of each view.
      queue: how many embeddings of its first view, of earlier steps, the term is given, `[queue, d]` of unit length.
    """

    name: str
    between: tuple[str, ...]
    weight: float
    loss: TermLoss
    learned: Mapping[str, float] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    reads: tuple[Read, ...] = ("embedding",)
    head: int = 0
    queue: int = 0


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
