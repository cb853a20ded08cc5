"""Contrast of pooled features with the local features of all samples: local Deep InfoMax and AMDIM."""

import math

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Float

from mmcl_jax.arrays import ArrayLike, as_array, as_floats
from mmcl_jax.objectives.pairs.arguments import ExecutionLike, MetadataLike, Number
from mmcl_jax.objectives.pairs.locations import best_of, mean_of, read_locations
from mmcl_jax.objectives.pairs.losses import AnchorLosses, PairLosses
from mmcl_jax.objectives.pairs.rules import PairRule
from mmcl_jax.objectives.pairs.softmax import SoftmaxSums
from mmcl_jax.objectives.pairs.sums import Sums


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
    loss = SoftmaxSums("negatives")

    def losses(sums: Sums) -> AnchorLosses:
        negatives = loss.log_total(sums)
        own, positive = pairs.positives_of(len(negatives))
        each = jnp.where(positive, jax.nn.softplus(negatives[:, None] - own), 0)
        valid = positive.any(axis=1)
        hits = valid & (best_of(own, positive) >= sums["peak"])
        return AnchorLosses(loss=mean_of(each, positive), top1=hits, valid=valid)

    forward, backward = map(losses, pairs.sums(loss))
    return PairLosses(forward=forward, backward=backward)


def mean_squared_product(
    x: ArrayLike,
    y: ArrayLike,
    *,
    scale: Number | None = None,
    x_present: ArrayLike | None = None,
    y_present: ArrayLike | None = None,
) -> Float[Array, ""]:
    r"""Return the mean over all pairs of $(\langle x_i, y_j \rangle / \tau)^2$, in float32.

    This is the penalty on unclipped scores of AMDIM and the taxonomy (with the factor 0.04 there); own pairs are
    included. It equals $\operatorname{tr}(X^\top X Y^\top Y) / (A B \tau^2)$: two d x d moments, no pairs.

    Args:
      x: features `[A, d]` of the rows; give each local feature as a row.
      y: features `[B, d]` of the columns.
      scale: 1 / tau; by default $1 / \sqrt d$.
      x_present: True where a row is included; other rows may hold anything.
      y_present: True where a column is included.

    Returns:
      The mean, 0 if there are no pairs.

    Raises:
      ArrayError: (a `UserError`) an argument is no array of numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> float(mean_squared_product(jnp.eye(2), 3 * jnp.ones((1, 2)), scale=1.0))
      9.0
    """
    x, y = as_floats(x, "x"), as_floats(y, "y")
    scale = 1 / math.sqrt(x.shape[1]) if scale is None else scale
    moments, pairs = [], jnp.float32(1)
    for side, present in ((x, x_present), (y, y_present)):
        wide = side.astype(jnp.float32)
        if present is not None:
            present = as_array(present, "present")
            wide = jnp.where(present[:, None], wide, 0)
        moments.append(jnp.matmul(wide.T, wide, precision="highest"))
        pairs *= len(side) if present is None else jnp.sum(present, dtype=jnp.float32)
    return jnp.square(scale) * jnp.sum(moments[0] * moments[1]) / jnp.maximum(pairs, 1)
