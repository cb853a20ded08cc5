"""Softmax contrast of all pairs: the InfoNCE family."""

import dataclasses
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Float

from mmcl_jax.arrays import ArrayError, ArrayLike
from mmcl_jax.objectives.pairs.arguments import ExecutionLike, MetadataLike, Number, Presence, read_pairs, read_scale
from mmcl_jax.objectives.pairs.losses import AnchorLosses, PairLosses, ScoredSums, pair_losses
from mmcl_jax.objectives.pairs.rules import PairRule
from mmcl_jax.objectives.pairs.sums import LOWEST, Mask, Sums, Tile, highest, matches
from mmcl_jax.text import listed, nearest

Denominator = Literal["all", "negatives"]


def contrast(
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
    denominator: str = "all",
    normalise: bool = True,
    clip: float | None = None,
    execution: ExecutionLike = None,
    mesh: Mesh | AbstractMesh | None = None,
) -> PairLosses:
    r"""Return the softmax contrast of all pairs, in both directions from one sweep over the similarities.

    With $s_{ij} = \cos(x_i, y_j) / \tau$, positives $P_i$ and the set $D_i$ of valid pairs (denominator "all") or of
    valid pairs that are not positives ("negatives"), the loss of row $i$ is

    $$\ell_i = \log \sum_{j \in D_i} e^{s_{ij}} - \frac{1}{|P_i|} \sum_{j \in P_i} s_{ij}.$$

    With `normalise=False`, $s_{ij} = \langle x_i, y_j \rangle / \tau$; with a `clip` $c$, $c \tanh(s_{ij} / c)$ takes
    the place of $s_{ij}$.

    Rows are scaled to unit length in float32 and rounded to the dtype of the input, in which they are sent to other
    devices and multiplied; logits, sums and losses are float32.

    Cost per device, for A = B rows on n devices, b = B/n, s bytes per element and U = 2 b B d FLOPs:

    | execution | matrix FLOPs, forward + gradient | temporary memory | sent and received |
    |---|---|---|---|
    | dense | 1 U + 2 U | several arrays of 4 b B bytes | as the compiler decides |
    | gathered | 1 U + 3 U | B d (s + 4) + a few arrays of b d and of tile x tile | B d (s + 4) + 36 B bytes |
    | ring | 1 U + 3 U | a few arrays of b d and of tile x tile | 2 B d s + 4 B d + 40 B bytes |

    The two tiled executions compute the similarities twice in place of storing them: their memory grows with B, not
    with its square. The measured bytes are in `benchmarks/results/compiled-*.json`.

    Args:
      x: embeddings of the rows, `[A, d]` in float32 or bfloat16; other floats become float32. Outside of `jax.jit` and
        `jax.grad`, this and the other arrays may be of any library that speaks DLPack.
      y: embeddings of the columns, `[B, d]`, of the same dtype.
      rule: decides which pairs are positives and which are valid; see `rules`. By default row i and column i are a
        positive pair, and all other pairs are negatives.
      metadata: arrays `[A]` for the rule, for both sides, where A = B.
      x_metadata: arrays `[A]` for the rule, for the rows alone.
      y_metadata: arrays `[B]` for the rule, for the columns alone.
      present: bool `[A]`, True where a sample has both sides, where A = B; else a pair of arrays, `[A]` and `[B]`.
        Absent rows are in no pair, whatever the rule; they may hold anything, NaN included, and their losses and
        gradients are exactly 0.
      temperature: tau; 0.1 by default, as in MMCL. May be learned.
      scale: 1 / tau, in place of the temperature; may be learned.
      denominator: "all" includes the positives, as released code does; "negatives" excludes them, as the papers'
        equations do (MMCL equation 2, decoupled contrastive learning).
      normalise: scale the rows to unit length; without it, logits are scaled products.
      clip: the bound of a soft clip of the logits, as in AMDIM and in the taxonomy of Fedorov et al.
      execution: how the pairs are computed, an `Execution` or its name: "gathered" by default, "dense" or "ring".
      mesh: the devices that share the rows; by default the mesh over which the arrays' rows are sharded. Under
        `jax.jit` and `jax.grad`, arrays show only meshes with explicit axes; give any other mesh.

    Returns:
      Losses and hits per anchor, sharded as the embeddings are.

    Raises:
      ArrayError: (a `UserError`) a shape or dtype is wrong, A or B does not divide among the devices, the rule reads
        what the metadata lack, or a number is out of range.

    Example:
      >>> import numpy as np
      >>> from mmcl_jax.objectives import pairs
      >>> images, tables = np.eye(2), np.eye(2)
      >>> losses = pairs.contrast(images, tables, temperature=1.0)
      >>> print(f"{losses.mean():.4f}", losses.forward.top1)
      0.3133 [ True  True]
      >>> labels = np.array([3, 3])
      >>> supcon = pairs.contrast(images, tables, rule=pairs.rules.same("label"), metadata={"label": labels})
      >>> print(f"{supcon.forward.mean():.4f}")
      5.0000
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
    if denominator not in get_args(Denominator):
        options = get_args(Denominator)
        hint = nearest(denominator, options)
        raise ArrayError(f"there is no denominator {denominator!r}{hint}; choose from {listed(options)}.")
    scale = read_scale(temperature, scale)
    return pair_losses(SoftmaxSums(denominator), pairs, scale=scale, normalise=normalise, clip=clip)


@dataclasses.dataclass(frozen=True)
class SoftmaxSums(ScoredSums):
    """Per anchor: the sum of exponentials relative to a `peak`, and the sum over positives, `attraction`."""

    denominator: str

    def _below(self, positive: Mask, valid: Mask) -> Mask:
        return valid if self.denominator == "all" else valid & ~positive

    def empty(self, anchors: int) -> Sums:
        """See `PairSums`."""
        nothing, lowest = jnp.zeros(anchors), jnp.full(anchors, LOWEST)
        sums = {"peak": lowest, "total": nothing, "attraction": nothing, "positives": nothing, "best": lowest}
        return sums if self.denominator == "all" else {**sums, "strongest": lowest}

    def reduce(self, logits: Tile, positive: Mask, valid: Mask, axis: int) -> Sums:
        """See `PairSums`."""
        below = self._below(positive, valid)
        peak = highest(logits, below, axis)
        relative = jnp.where(below, logits - jnp.expand_dims(peak, axis), LOWEST)
        sums = {
            "peak": peak,
            "total": jnp.sum(jnp.exp(relative), axis=axis),
            "attraction": jnp.sum(jnp.where(positive, logits, 0), axis=axis),
            "positives": matches(positive, axis),
            "best": highest(logits, positive, axis),
        }
        # With the denominator "all", the highest valid score is the peak already.
        return sums if self.denominator == "all" else {**sums, "strongest": highest(logits, valid, axis)}

    def merge(self, a: Sums, b: Sums) -> Sums:
        """See `PairSums`."""
        peak = jnp.maximum(a["peak"], b["peak"])
        total = a["total"] * jnp.exp(a["peak"] - peak) + b["total"] * jnp.exp(b["peak"] - peak)
        maxima: Sums = {name: jnp.maximum(a[name], b[name]) for name in ("best", "strongest") if name in a}
        added = {name: a[name] + b[name] for name in ("attraction", "positives")}
        return {"peak": peak, "total": total, **added, **maxima}

    def residuals(self, sums: Sums, cotangents: Sums) -> Sums:
        """See `PairSums`."""
        return {"peak": sums["peak"], "total": cotangents["total"], "attraction": cotangents["attraction"]}

    def dlogits(self, logits: Tile, positive: Mask, valid: Mask, residuals: Sums) -> Tile:
        """See `PairSums`."""
        relative = jnp.where(self._below(positive, valid), logits - residuals["peak"], LOWEST)
        return jnp.exp(relative) * residuals["total"] + jnp.where(positive, residuals["attraction"], 0)

    def log_total(self, sums: Sums) -> Float[Array, "n"]:
        """Return the logarithm of each anchor's sum of exponentials, `LOWEST` where the sum is empty."""
        nonempty = sums["total"] != 0
        total = jnp.log(jnp.where(nonempty, sums["total"], 1))
        return jnp.where(nonempty, jax.lax.stop_gradient(sums["peak"]) + total, LOWEST)

    def losses(self, sums: Sums) -> AnchorLosses:
        """See `ScoredSums`."""
        valid = (sums["positives"] > 0) & (sums["total"] != 0)  # NaN is valid, so that it shows in the loss
        repulsion = self.log_total(sums)
        attraction = sums["attraction"] / jnp.maximum(sums["positives"], 1)
        top1 = sums["best"] >= sums.get("strongest", sums["peak"])
        return AnchorLosses(loss=jnp.where(valid, repulsion - attraction, 0), top1=top1 & valid, valid=valid)
