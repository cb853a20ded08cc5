"""The losses of anchors from sums over their pairs: the code that every contrast shares."""

import abc
import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmcl_jax.arrays import ArrayError
from mmcl_jax.objectives.pairs.arguments import Number, Pairs
from mmcl_jax.objectives.pairs.execution import pair_sums
from mmcl_jax.objectives.pairs.rules import zero_absent_rows
from mmcl_jax.objectives.pairs.sums import PairSums, Sums
from mmcl_jax.objectives.unit import unit


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class AnchorLosses:
    """Per anchor of one side: its `loss`, and whether no valid pair scores above its best positive (`top1`).

    An anchor without a positive, or with an empty denominator, is not `valid`; its loss and gradient are 0.
    """

    loss: Float[Array, "n"]
    top1: Bool[Array, "n"]
    valid: Bool[Array, "n"]

    def mean(self) -> Float[Array, ""]:
        """Return the mean loss of the valid anchors, 0 if none is valid."""
        return self._mean(self.loss)

    def sum(self) -> Float[Array, ""]:
        """Return the sum of the losses of the valid anchors, 0 if none is valid."""
        return jnp.sum(jnp.where(self.valid, self.loss, 0))

    def accuracy(self) -> Float[Array, ""]:
        """Return the share of the valid anchors whose best valid pair is a positive."""
        return self._mean(self.top1.astype(jnp.float32))

    def _mean(self, values: Float[Array, "n"]) -> Float[Array, ""]:
        count = jnp.sum(self.valid, dtype=jnp.float32)
        return jnp.sum(jnp.where(self.valid, values, 0)) / jnp.maximum(count, 1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PairLosses:
    """The losses of each row against all columns (`forward`), and of each column against all rows (`backward`)."""

    forward: AnchorLosses
    backward: AnchorLosses

    def mean(self) -> Float[Array, ""]:
        """Return the average of both directions' mean losses: CLIP's loss."""
        return (self.forward.mean() + self.backward.mean()) / 2


class ScoredSums(PairSums):
    """The sums of a contrast, with the losses that follow from them."""

    @abc.abstractmethod
    def losses(self, sums: Sums) -> AnchorLosses:
        """Return the losses of anchors that have these sums."""


def pair_losses(
    loss: ScoredSums,
    pairs: Pairs,
    *,
    scale: Number,
    normalise: bool,
    bias: Float[Array, ""] | None = None,
    clip: float | None,
) -> PairLosses:
    """Return the losses of all anchors of both sides; the arguments are those of `softmax.contrast`."""
    check_clip(clip)
    rows, columns = pair_sums(
        loss,
        scaled(zero_absent_rows(pairs.x, pairs.rule, pairs.x_metadata), scale, normalise=normalise),
        scaled(zero_absent_rows(pairs.y, pairs.rule, pairs.y_metadata), normalise=normalise),
        rule=pairs.rule,
        x_metadata=pairs.x_metadata,
        y_metadata=pairs.y_metadata,
        bias=bias,
        clip=clip,
        execution=pairs.execution,
    )
    return PairLosses(forward=loss.losses(rows), backward=loss.losses(columns))


def check_clip(clip: float | None) -> None:
    """Raise `ArrayError` unless the bound of the logits is positive or None."""
    if clip is not None and not clip > 0:
        raise ArrayError(f"clip must be positive, not {clip}")


def scaled(x: Float[Array, "*n d"], scale: Number = 1.0, *, normalise: bool = True) -> Float[Array, "*n d"]:
    """Return the rows scaled to the length `scale`, or, without normalisation, times `scale`; in the dtype of `x`."""
    return unit(x, scale) if normalise else (x.astype(jnp.float32) * scale).astype(x.dtype)
