"""The pixel propagation of PixPro: every position of a map becomes a mean of the positions that are like it."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.base import PROJECTORS, Projector
from mmcl_jax.encoders.layers import Norm, batch_norm, linear, norm_relu

_SHORTEST = 1e-12


class PixelPropagation(Projector):
    """Layers on every position, and the sum of their outputs over all positions, weighted by similarity."""

    def __init__(
        self, features: int, *, layers: int, gamma: float, norm: Norm, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> None:
        self.layers = nnx.List([linear(features, features, rngs=rngs, dtype=dtype) for _ in range(layers)])
        self.norms = nnx.List([norm(features) for _ in range(layers - 1)])
        self.gamma, self.out_features = gamma, features

    def __call__(
        self, x: Float[Array, "B *L D"], *, train: bool, present: Bool[Array, "B *L"] | None = None
    ) -> Float[Array, "B *L D"]:
        transformed = x
        for layer, norm in zip(self.layers, self.norms, strict=False):
            transformed = norm_relu(norm, layer(transformed), train=train, present=present)
        transformed = self.layers[-1](transformed) if self.layers else transformed
        if x.ndim == 2:  # a map of one position
            return transformed
        wide = x.astype(jnp.float32)
        square = jnp.sum(jnp.square(wide), axis=2, keepdims=True)
        directions = wide / jnp.sqrt(jnp.where(square < _SHORTEST**2, 1, square))
        cosines = jnp.einsum("bid,bjd->bij", directions, directions)
        likeness = jnp.maximum(cosines, 0) ** self.gamma
        if present is not None:
            likeness = jnp.where(present[:, None], likeness, 0)
            transformed = zero_absent(transformed, present)
        return jnp.einsum("bij,bjd->bid", likeness.astype(transformed.dtype), transformed)


@PROJECTORS.register("pixel_propagation")
def pixel_propagation(
    *,
    features: int,
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    layers: int = 1,
    gamma: float = 2.0,
) -> PixelPropagation:
    r"""Return the predictor of PixPro (Xie et al., CVPR 2021), equations 3 and 4, for local features `[B, L, D]`.

    $y_i = \sum_j s(x_i, x_j)\, g(x_j)$ with $s(x_i, x_j) = \max(\cos(x_i, x_j), 0)^\gamma$, over the positions j of one
    image. Pooled features `[B, D]` are maps of one position.

    Args:
      features: width of the features.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      layers: number of layers of g, linear on every position, with a norm and ReLU between two of them; 0 for the
        identity. 1 in the paper, and in LoVT's baseline.
      gamma: exponent of the similarity.

    Raises:
      ValueError: `layers` is negative, or `gamma` below 1, where the gradient at a similarity of 0 is infinite.

    Example:
      >>> x = jnp.array([[[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]])  # three positions in three directions
      >>> pixel_propagation(features=2, layers=0, rngs=nnx.Rngs(0))(x, train=True).tolist()
      [[[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]]
    """
    if layers < 0:
        raise ValueError(f"layers must not be negative, as {layers} is")
    if gamma < 1:
        raise ValueError(f"gamma must be at least 1, not {gamma}")
    return PixelPropagation(features, layers=layers, gamma=gamma, norm=norm, rngs=rngs, dtype=dtype)
