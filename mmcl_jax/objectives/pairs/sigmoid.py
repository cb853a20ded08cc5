"""Sigmoid contrast of all pairs: every pair is a binary classification."""

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh

from mmcl_jax.arrays import ArrayLike
from mmcl_jax.objectives.pairs.arguments import ExecutionLike, MetadataLike, Number, Presence, read_pairs, read_scale
from mmcl_jax.objectives.pairs.losses import AnchorLosses, PairLosses, ScoredSums, pair_losses
from mmcl_jax.objectives.pairs.rules import PairRule
from mmcl_jax.objectives.pairs.sums import LOWEST, Mask, Sums, Tile, highest, matches


def sigmoid_contrast(
    x: ArrayLike,
    y: ArrayLike,
    *,
    rule: PairRule | None = None,
    metadata: MetadataLike | None = None,
    x_metadata: MetadataLike | None = None,
    y_metadata: MetadataLike | None = None,
    present: Presence = None,
    temperature: Number | None = None,
    scale: Number | None = None,
    bias: Number = -10.0,
    normalise: bool = True,
    clip: float | None = None,
    execution: ExecutionLike = None,
    mesh: Mesh | AbstractMesh | None = None,
) -> PairLosses:
    r"""Return SigLIP's loss (Zhai et al., ICCV 2023, equation 1), per anchor of both sides.

    With $s_{ij} = t \cos(x_i, y_j) + b$ and $z_{ij}$ = 1 for positives and -1 for other valid pairs, the loss of row
    $i$ is $\sum_j -\log \sigma(z_{ij} s_{ij})$; the paper's loss is the mean over rows, which equals the mean over
    columns when A = B.

    With `normalise=False`, $s_{ij} = t \langle x_i, y_j \rangle + b$; with a `clip` $c$, $c \tanh(s_{ij} / c)$ takes
    the place of $s_{ij}$, bias included. There is no denominator.

    Arguments, errors, memory and cost are those of `softmax.contrast`. `scale` is t, 10 by default, and `bias` is b;
    both may be learned. An anchor is valid if any of its pairs is.

    Example:
      >>> import numpy as np
      >>> losses = sigmoid_contrast(np.eye(4), np.eye(4))
      >>> print(f"{losses.forward.mean():.4f}")
      0.6933
    """
    pairs = read_pairs(
        x,
        y,
        rule=rule,
        metadata=metadata,
        x_metadata=x_metadata,
        y_metadata=y_metadata,
        present=present,
        execution=execution,
        mesh=mesh,
    )
    scale, bias = read_scale(temperature, scale), jnp.asarray(bias, jnp.float32)
    return pair_losses(SigmoidSums(), pairs, scale=scale, normalise=normalise, clip=clip, bias=bias)


class SigmoidSums(ScoredSums):
    """Per anchor: the sum of the pairs' losses."""

    def empty(self, anchors: int) -> Sums:
        """See `PairSums`."""
        nothing, lowest = jnp.zeros(anchors), jnp.full(anchors, LOWEST)
        return {"loss": nothing, "positives": nothing, "best": lowest, "strongest": lowest}

    def reduce(self, logits: Tile, positive: Mask, valid: Mask, axis: int) -> Sums:
        """See `PairSums`."""
        losses = jax.nn.softplus(jnp.where(positive, -logits, logits))
        return {
            "loss": jnp.sum(jnp.where(valid, losses, 0), axis=axis),
            "positives": matches(positive, axis),
            "best": highest(logits, positive, axis),
            "strongest": highest(logits, valid, axis),
        }

    def merge(self, a: Sums, b: Sums) -> Sums:
        """See `PairSums`."""
        added = {name: a[name] + b[name] for name in ("loss", "positives")}
        return {**added, **{name: jnp.maximum(a[name], b[name]) for name in ("best", "strongest")}}

    def residuals(self, sums: Sums, cotangents: Sums) -> Sums:
        """See `PairSums`."""
        return {"loss": cotangents["loss"]}

    def dlogits(self, logits: Tile, positive: Mask, valid: Mask, residuals: Sums) -> Tile:
        """See `PairSums`."""
        probability = jax.nn.sigmoid(logits)
        return jnp.where(valid, probability - positive.astype(jnp.float32), 0) * residuals["loss"]

    def losses(self, sums: Sums) -> AnchorLosses:
        """See `ScoredSums`."""
        valid = ~(sums["strongest"] <= LOWEST)  # NaN is valid, so that it shows in the loss
        hit = (sums["positives"] > 0) & (sums["best"] >= sums["strongest"])
        return AnchorLosses(loss=sums["loss"], top1=hit, valid=valid)
