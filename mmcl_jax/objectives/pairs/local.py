"""Contrast of pooled features with the local features of all samples: local Deep InfoMax and AMDIM."""

import math

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Bool, Float

from mmcl_jax.arrays import ArrayError, ArrayLike, as_array, as_floats
from mmcl_jax.objectives.pairs.arguments import ExecutionLike, MetadataLike, Number, read_pairs, read_scale
from mmcl_jax.objectives.pairs.execution import pair_sums
from mmcl_jax.objectives.pairs.losses import AnchorLosses, PairLosses, check_clip, scaled
from mmcl_jax.objectives.pairs.rules import PairRule, zero_absent_rows
from mmcl_jax.objectives.pairs.softmax import SoftmaxSums
from mmcl_jax.objectives.pairs.sums import LOWEST, soft_clip


def local_contrast(
    x: ArrayLike,
    y: ArrayLike,
    *,
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
    r"""Return InfoNCE in which every location of a sample is a separate positive: AMDIM's and the taxonomy's loss.

    The taxonomy is that of Fedorov et al.

    With $s_{ijl} = c \tanh(\langle x_i, y_{jl} \rangle / (\tau c))$ and the locations $N_i$ of other samples, the loss
    of row $i$ is

    $$\ell_i = \frac{1}{L} \sum_l \Big[ -s_{iil} + \log \Big( e^{s_{iil}} + \sum_{(j, l') \in N_i} e^{s_{ijl'}} \Big)
    \Big].$$

    In the loss of one location, the sample's other locations are neither positives nor negatives. With L = 1 this is
    `contrast(..., normalise=False, clip=20.0)`. Only the negatives' sum needs all pairs; memory and cost are those of
    `contrast` for B rows and B L columns.

    Args:
      x: pooled features `[B, d]`, float32 or bfloat16.
      y: local features `[B, L, d]` of the same samples, of the same dtype.
      rule: decides which pairs are positives and which are valid; by default, a sample's own locations are its
        positives. Positives are never negatives.
      metadata: arrays `[B]` for the rule, for both sides.
      present: bool `[B]`, True where a sample exists; see `contrast`.
      mask: bool `[B, L]`, True where a location exists; the others change nothing, and may hold anything.
      scale: 1 / tau; by default $1 / \sqrt d$, as in both papers.
      normalise: scale all features to unit length.
      clip: c, the bound of the logits; None for no clip.
      execution: how the pairs are computed, as in `contrast`.
      mesh: the devices, as in `contrast`.

    Returns:
      The losses `[B]` of the rows (`forward`), and the losses `[B L]` of each location against all rows (`backward`).

    Raises:
      ArrayError: (a `UserError`) a shape or dtype is wrong, B does not divide among the devices, the rule reads what
        the metadata lack, or the clip is not positive.

    Example:
      >>> import jax.numpy as jnp
      >>> from mmcl_jax.objectives.pairs import local_contrast, same
      >>> pooled, local = jnp.eye(2), jnp.stack([jnp.eye(2), -jnp.eye(2)])
      >>> losses = local_contrast(pooled, local, rule=same("id"), metadata={"id": jnp.array([7, 8])})
      >>> [round(float(loss), 4) for loss in losses.forward.loss]
      [0.7327, 1.6793]
    """
    check_clip(clip)
    y = as_floats(y, "y")
    if y.ndim != 3:
        raise ArrayError(f"y has the shape {y.shape}; give local features [samples, locations, width].")
    samples, locations, width = y.shape
    index = jnp.arange(samples, dtype=jnp.int32)
    per_sample = {"id": index, "index": index, **(metadata or {})}
    per_sample = {name: as_array(values, f"metadata {name!r}") for name, values in per_sample.items()}
    both_present = None
    if present is not None or mask is not None:
        rows = jnp.ones(samples, bool) if present is None else as_array(present, "present")
        columns = jnp.ones((samples, locations), bool) if mask is None else as_array(mask, "mask")
        if rows.shape != (samples,) or columns.shape != (samples, locations):
            raise ArrayError(
                f"present has the shape {rows.shape} and mask {columns.shape}; give booleans [{samples}] and "
                f"[{samples}, {locations}]."
            )
        both_present = rows, (columns & rows[:, None]).reshape(-1)
    pairs = read_pairs(
        x,
        y.reshape(-1, width),
        rule=rule,
        metadata=None,
        x_metadata=per_sample,
        y_metadata={name: jnp.repeat(values, locations) for name, values in per_sample.items()},
        present=both_present,
        execution=execution,
        mesh=mesh,
    )
    rule, x_metadata, y_metadata = pairs.rule, pairs.x_metadata, pairs.y_metadata
    scale = width**-0.5 if scale is None else read_scale(None, scale)
    x = scaled(zero_absent_rows(pairs.x, rule, x_metadata), scale, normalise=normalise)
    y = scaled(zero_absent_rows(pairs.y, rule, y_metadata), normalise=normalise)
    loss = SoftmaxSums("negatives")
    sides = pair_sums(
        loss,
        x,
        y,
        rule=rule,
        x_metadata=x_metadata,
        y_metadata=y_metadata,
        clip=clip,
        execution=pairs.execution,
    )

    by_sample = jax.tree.map(lambda values: values.reshape(samples, locations), y_metadata)
    positive, _ = rule({name: values[:, None] for name, values in x_metadata.items()}, by_sample)
    own = y.reshape(samples, locations, width)
    products = jnp.einsum("bd,bld->bl", x, own, precision="highest", preferred_element_type=jnp.float32)
    logits = soft_clip(products, clip)

    def losses(negatives: Array, strongest: Array) -> AnchorLosses:
        """Return the losses of anchors [n] with positives [n, k]."""
        shape = (len(negatives), -1)
        chosen, own = positive.reshape(shape), logits.reshape(shape)
        valid = chosen.any(axis=1)
        each = jnp.where(chosen, jax.nn.softplus(negatives[:, None] - own), 0)
        best = jnp.max(jnp.where(chosen, own, LOWEST), axis=1)
        count = jnp.maximum(jnp.sum(chosen, axis=1, dtype=jnp.float32), 1)
        return AnchorLosses(loss=each.sum(axis=1) / count, top1=valid & (best >= strongest), valid=valid)

    forward, backward = (losses(loss.log_total(sums), sums["peak"]) for sums in sides)
    return PairLosses(forward=forward, backward=backward)


def mean_squared_product(
    x: Float[Array, "A d"],
    y: Float[Array, "B d"],
    *,
    scale: Number | None = None,
    x_present: Bool[Array, "A"] | None = None,
    y_present: Bool[Array, "B"] | None = None,
) -> Float[Array, ""]:
    r"""Return the mean over all pairs of $(\langle x_i, y_j \rangle / \tau)^2$, in float32.

    This is the penalty on unclipped scores of AMDIM and the taxonomy (with the factor 0.04 there); own pairs are
    included. It equals $\operatorname{tr}(X^\top X Y^\top Y) / (A B \tau^2)$: two d x d moments, no pairs.

    Args:
      x: features of the rows; give each local feature as a row.
      y: features of the columns.
      scale: 1 / tau; by default $1 / \sqrt d$.
      x_present: True where a row is included; other rows may hold anything.
      y_present: True where a column is included.

    Returns:
      The mean, 0 if there are no pairs.

    Example:
      >>> import jax.numpy as jnp
      >>> float(mean_squared_product(jnp.eye(2), 3 * jnp.ones((1, 2)), scale=1.0))
      9.0
    """
    scale = 1 / math.sqrt(x.shape[1]) if scale is None else scale
    moments, pairs = [], jnp.float32(1)
    for side, present in ((x, x_present), (y, y_present)):
        wide = side.astype(jnp.float32)
        if present is not None:
            wide = jnp.where(present[:, None], wide, 0)
        moments.append(jnp.matmul(wide.T, wide, precision="highest"))
        pairs *= len(side) if present is None else jnp.sum(present, dtype=jnp.float32)
    return jnp.square(scale) * jnp.sum(moments[0] * moments[1]) / jnp.maximum(pairs, 1)
