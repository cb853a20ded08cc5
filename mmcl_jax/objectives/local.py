"""Contrast of the local features of each sample among themselves, as between the regions of LoVT."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mmcl_jax.objectives.unit import unit


def region_contrast(
    x: Float[Array, "B L d"],
    y: Float[Array, "B L d"],
    *,
    scale: float | Float[Array, ""],
    targets: Float[Array, "L L"] | None = None,
    weight: Float[Array, "B L"] | None = None,
    mask: Bool[Array, "B L"] | None = None,
) -> Float[Array, "B"]:
    r"""Contrast each local feature of `x` with the local features of `y` of the same sample (LoVT, local losses).

    With $s_{kl} = \cos(x_k, y_l) / \tau$, weights $w_k$ that sum to 1 and targets $p_{kl}$ whose rows sum to 1, the
    loss of a sample is

    $$\sum_k w_k \Big[ \log \sum_l e^{s_{kl}} - \sum_l p_{kl} s_{kl} \Big].$$

    The other direction is `region_contrast(y, x, ...)` with the same targets. Nothing leaves the sample.

    Args:
      x: local features, which are the anchors.
      y: features of the same places, such as what a region attends to in the other modality.
      scale: 1 / tau; tau is 0.3 in LoVT.
      targets: how much each place is a positive of each; by default, of itself alone. See `near_regions`.
      weight: of each anchor, not negative; by default that of all others. LoVT takes attention weights, without
        gradient.
      mask: which places exist; the others count nowhere, and may hold anything.

    Returns:
      The loss of each sample, 0 if it has no place of positive weight.

    Example:
      >>> loss = region_contrast(jnp.eye(2)[None], jnp.eye(2)[None], scale=1.0)
      >>> round(float(loss[0]), 4)
      0.3133
    """
    samples, places, width = x.shape
    mask = jnp.ones((samples, places), bool) if mask is None else mask
    x, y = (
        unit(jnp.where(mask[..., None], side, 0).reshape(-1, width), dtype=jnp.float32).reshape(side.shape)
        for side in (x, y)
    )
    logits = scale * jnp.einsum("bkd,bld->bkl", x, y, precision="highest")
    chosen = _shares(jnp.eye(places) if targets is None else targets, mask[:, None, :])
    repulsion = jax.nn.logsumexp(logits, axis=2, where=mask[:, None, :])
    losses = repulsion - jnp.sum(chosen * logits, axis=2)
    weights = _shares(jnp.ones((samples, places)) if weight is None else weight, mask)
    return jnp.sum(jnp.where(weights > 0, weights * losses, 0), axis=1)


def near_regions(grid: tuple[int, int], *, threshold: float, smoothness: float | None = None) -> Float[Array, "L L"]:
    r"""Return LoVT's targets between the regions of a grid: $p_{kl} \propto e^{-d_{kl} / \beta}$ if $d_{kl} \le T$.

    Args:
      grid: height and width; regions are counted row by row.
      threshold: T; distances d are in diagonals of the grid, $\sqrt{H^2 + W^2}$. 0.5 in LoVT.
      smoothness: beta, 1.0 in LoVT; None makes all regions within the threshold equal.

    Example:
      >>> near_regions((1, 4), threshold=0.3)[0].tolist()
      [0.5, 0.5, 0.0, 0.0]
    """
    places = np.indices(grid).reshape(2, -1).T
    distance = np.linalg.norm(places[:, None] - places, axis=-1) / np.linalg.norm(grid)
    near = (distance <= threshold) * (1 if smoothness is None else np.exp(-distance / smoothness))
    return jnp.asarray(near / near.sum(axis=1, keepdims=True), jnp.float32)


def _shares(values: Float[Array, "... L"], mask: Bool[Array, "... L"]) -> Float[Array, "... L"]:
    """Return what exists of the values, divided by their sum."""
    kept = jnp.where(mask, values, 0)
    total = kept.sum(axis=-1, keepdims=True)
    return kept / jnp.where(total > 0, total, 1)
