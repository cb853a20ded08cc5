"""Losses between the local features of one sample: attention between two modalities, and contrast of positions."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mmcl_jax.objectives.unit import at_least_float32, unit


def attended(
    queries: Float[Array, "B K d"],
    keys: Float[Array, "B M d"],
    values: Float[Array, "B M e"],
    mask: Bool[Array, "B M"] | None = None,
) -> Float[Array, "B K e"]:
    """Return for every query the mean of the values, weighted by `attention`.

    Keys outside the mask have no weight; a sample without any key in the mask gets 0.
    """
    weights = attention(queries, keys, mask).astype(values.dtype)
    return jnp.einsum("bkm,bme->bke", weights, values if mask is None else jnp.where(mask[:, :, None], values, 0))


def attention(
    queries: Float[Array, "B K d"], keys: Float[Array, "B M d"], mask: Bool[Array, "B M"] | None = None
) -> Float[Array, "B K M"]:
    r"""Return the softmax over the keys of $\langle q, k \rangle / \sqrt d$, computed in at least float32.

    Keys outside the mask have the weight 0, and so have all keys of a sample without any in the mask.
    """
    scores = jnp.einsum("bkd,bmd->bkm", queries, keys) / math.sqrt(queries.shape[-1])
    scores = scores.astype(at_least_float32(scores.dtype))
    if mask is None:
        return jax.nn.softmax(scores, axis=2)
    nonempty = mask.any(axis=1)[:, None, None]
    # An empty mask takes all keys, so that the softmax and its gradient are finite.
    weights = jax.nn.softmax(scores, axis=2, where=mask[:, None] | ~nonempty)
    return jnp.where(mask[:, None], weights, 0)


def smooth_targets(grid: tuple[int, ...], *, smoothness: float, threshold: float) -> np.ndarray:
    r"""Return how far each position of a grid is a positive of each other, `[L, L]` float64 with rows that sum to 1.

    $p_{kl} \propto e^{-d(k, l) / \beta}$ where the distance d, as a share of the grid's diagonal, is at most the
    threshold, and 0 elsewhere (LoVT, Mueller et al., ECCV 2022; there 1 and 0.5 on a grid of 7 x 7). With an infinite
    smoothness beta, all positions within the threshold have the same weight; with a threshold of 0, each position is
    its only positive.

    Example:
      >>> smooth_targets((1, 2), smoothness=1.0, threshold=0.1).tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """
    positions = np.array(list(itertools.product(*map(range, grid))))
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2) / np.linalg.norm(grid)
    likely = np.where(distance <= threshold, np.exp(-distance / smoothness), 0)
    return likely / likely.sum(axis=1, keepdims=True)


def position_contrast(
    x: Float[Array, "B L d"],
    y: Float[Array, "B L d"],
    *,
    temperature: float,
    targets: Float[Array, "L L"] | np.ndarray | None = None,
    mask: Bool[Array, "B L"] | None = None,
    weight: Float[Array, "B L"] | None = None,
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    r"""Return each sample's losses of x -> y and y -> x: a contrast of each position with all of the sample's.

    With $S_{kl} = \cos(x_k, y_l) / \tau$ the loss of position k is
    $-\sum_l p_{kl} S_{kl} + \log \sum_l e^{S_{kl}}$, and the loss of a sample is the weighted mean over its positions
    (the local losses of LoVT, Mueller et al., ECCV 2022). The second direction has $S^\top$ and the same p.

    Args:
      x: local features.
      y: local features of the same positions.
      temperature: tau; 0.3 in LoVT.
      targets: p; by default each position's only positive is itself.
      mask: positions that exist; the others change nothing. A sample without any has the loss 0.
      weight: weights of the positions; equal by default.

    Example:
      >>> x = jnp.eye(2)[None]
      >>> [round(float(loss[0]), 4) for loss in position_contrast(x, x, temperature=1.0)]
      [0.3133, 0.3133]
    """
    valid = jnp.ones(x.shape[:2], bool) if mask is None else mask
    dtype = at_least_float32(x.dtype, y.dtype)
    x, y = (
        unit(jnp.where(valid[:, :, None], side, 0).reshape(-1, side.shape[2]), dtype=dtype).reshape(side.shape)
        for side in (x, y)
    )
    likely = jnp.eye(x.shape[1], dtype=dtype) if targets is None else jnp.asarray(targets, dtype)
    shares = jnp.where(valid, 1.0 if weight is None else weight, 0).astype(dtype)
    shares = shares / jnp.maximum(shares.sum(axis=1, keepdims=True), 1e-12)

    def loss(scores: Float[Array, "B L L"]) -> Float[Array, "B"]:
        total = jax.nn.logsumexp(scores, axis=2, where=valid[:, None] | ~valid[:, :, None])
        each = total - jnp.sum(likely[None] * jnp.where(valid[:, None], scores, 0), axis=2)
        return jnp.sum(shares * jnp.where(valid, each, 0), axis=1)

    scores = jnp.einsum("bkd,bld->bkl", x, y) / temperature
    return loss(scores), loss(scores.swapaxes(1, 2))
