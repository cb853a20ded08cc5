"""Bounds of f-divergences by Fenchel duality, between pairs of one sample and pairs of two samples."""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Float

from mmcl_jax.arrays import ArrayError, ArrayLike
from mmcl_jax.objectives.pairs.arguments import ExecutionLike, MetadataLike, Number
from mmcl_jax.objectives.pairs.locations import best_of, mean_of, read_locations
from mmcl_jax.objectives.pairs.losses import AnchorLosses, PairLosses
from mmcl_jax.objectives.pairs.rules import PairRule
from mmcl_jax.objectives.pairs.sums import LOWEST, Mask, PairSums, Sums, Tile, highest
from mmcl_jax.text import listed, nearest

Measure = Literal["jsd", "gan", "nwj", "reverse_kl", "hellinger", "wasserstein"]
Function = Callable[[Float[Array, "..."]], Float[Array, "..."]]


class _Dual(NamedTuple):
    """The functions of a logit whose means over positives and over negatives are compared, and the second's slope."""

    positive: Function
    negative: Function
    slope: Function


_LOG2 = math.log(2)
_DUALS: dict[str, _Dual] = {
    "jsd": _Dual(lambda s: _LOG2 - jax.nn.softplus(-s), lambda s: jax.nn.softplus(s) - _LOG2, jax.nn.sigmoid),
    "gan": _Dual(lambda s: -jax.nn.softplus(-s), jax.nn.softplus, jax.nn.sigmoid),
    "nwj": _Dual(lambda s: s, lambda s: jnp.exp(s - 1), lambda s: jnp.exp(s - 1)),
    "reverse_kl": _Dual(lambda s: -jnp.exp(-s), lambda s: s - 1, jnp.ones_like),
    "hellinger": _Dual(lambda s: 1 - jnp.exp(-s), lambda s: jnp.exp(s) - 1, jnp.exp),
    "wasserstein": _Dual(lambda s: s, lambda s: s, jnp.ones_like),
}


def fenchel_contrast(
    x: ArrayLike,
    y: ArrayLike,
    *,
    measure: str = "jsd",
    rule: PairRule | None = None,
    metadata: MetadataLike | None = None,
    present: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    scale: Number | None = None,
    normalise: bool = False,
    clip: float | None = 20.0,
    execution: ExecutionLike = None,
    mesh: Mesh | AbstractMesh | None = None,
) -> PairLosses:
    r"""Return the negative bound of a divergence between pairs of one sample and pairs of two (Deep InfoMax).

    With the logits $s_{ijl}$, own locations and negatives $N_i$ of `local_contrast`, the loss of row $i$ is the mean of
    $g(s_{ijl'})$ over $N_i$ less the mean of $f(s_{iil})$ over $l$:

    | measure | f | g |
    |---|---|---|
    | `jsd` (Jensen-Shannon) | $\log 2 - \log(1 + e^{-s})$ | $\log(1 + e^s) - \log 2$ |
    | `gan` | $-\log(1 + e^{-s})$ | $\log(1 + e^s)$ |
    | `nwj` (Nguyen, Wainwright and Jordan; Kullback-Leibler) | $s$ | $e^{s - 1}$ |
    | `reverse_kl` | $-e^{-s}$ | $s - 1$ |
    | `hellinger` (squared) | $1 - e^{-s}$ | $e^s - 1$ |
    | `wasserstein` | $s$ | $s$ |

    The means over rows are the estimators of the taxonomy's code (Fedorov et al.), which trains with `local_contrast`
    alone. Its Pearson measure has no lower bound, and its Donsker-Varadhan measure raises an error, so neither is here.

    Arguments, errors, memory and cost are those of `local_contrast`. An anchor without negatives is not valid.

    Raises:
      ArrayError: (a `UserError`) there is no such measure, or for the reasons of `local_contrast`.

    Example:
      >>> import jax.numpy as jnp
      >>> losses = fenchel_contrast(jnp.eye(2), jnp.eye(2)[:, None], measure="nwj", scale=1.0, clip=None)
      >>> [round(float(loss), 4) for loss in losses.forward.loss]  # exp(0 - 1) - 1
      [-0.6321, -0.6321]
    """
    if measure not in _DUALS:
        hint = nearest(measure, get_args(Measure))
        raise ArrayError(f"there is no measure {measure!r}{hint}; choose from {listed(get_args(Measure))}.")
    pairs = read_locations(
        x,
        y,
        rule=rule,
        metadata=metadata,
        present=present,
        mask=mask,
        scale=scale,
        normalise=normalise,
        clip=clip,
        execution=execution,
        mesh=mesh,
    )

    def losses(sums: Sums) -> AnchorLosses:
        own, positive = pairs.positives_of(len(sums["total"]))
        valid = positive.any(axis=1) & (sums["negatives"] > 0)
        repulsion = sums["total"] / jnp.maximum(sums["negatives"], 1)
        # Logits behind a mask take no part, and must not overflow.
        attraction = mean_of(_DUALS[measure].positive(jnp.where(positive, own, 0)), positive)
        hits = valid & (best_of(own, positive) >= sums["strongest"])
        return AnchorLosses(loss=jnp.where(valid, repulsion - attraction, 0), top1=hits, valid=valid)

    forward, backward = map(losses, pairs.sums(NegativeSums(measure)))
    return PairLosses(forward=forward, backward=backward)


@dataclasses.dataclass(frozen=True)
class NegativeSums(PairSums):
    """Per anchor: the sum of a measure's g over the negatives, `total`, and their number."""

    measure: str

    def empty(self, anchors: int) -> Sums:
        """See `PairSums`."""
        nothing = jnp.zeros(anchors)
        return {"total": nothing, "negatives": nothing, "strongest": jnp.full(anchors, LOWEST)}

    def reduce(self, logits: Tile, positive: Mask, valid: Mask, axis: int) -> Sums:
        """See `PairSums`."""
        negative = valid & ~positive
        return {
            "total": jnp.sum(jnp.where(negative, _DUALS[self.measure].negative(logits), 0), axis=axis),
            "negatives": jnp.sum(negative, axis=axis, dtype=jnp.float32),
            "strongest": highest(logits, negative, axis),
        }

    def merge(self, a: Sums, b: Sums) -> Sums:
        """See `PairSums`."""
        added = {name: a[name] + b[name] for name in ("total", "negatives")}
        return {**added, "strongest": jnp.maximum(a["strongest"], b["strongest"])}

    def residuals(self, sums: Sums, cotangents: Sums) -> Sums:
        """See `PairSums`."""
        return {"total": cotangents["total"]}

    def dlogits(self, logits: Tile, positive: Mask, valid: Mask, residuals: Sums) -> Tile:
        """See `PairSums`."""
        slope = jnp.where(valid & ~positive, _DUALS[self.measure].slope(logits), 0)
        return slope * residuals["total"]
