"""Late fusion by the maximum of features."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Key

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.fusions.fusion import Fusion, Parts
from mmcl_jax.encoders.layers import linear


class Maximum(Fusion):
    """The elementwise maximum of the parts that exist, after linear layers to one width."""

    def __init__(self, *, parts: tuple[int, ...], features: int, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        projected = parts[:-1] if parts[-1] == features else parts
        self.inputs = nnx.List([linear(channels, features, rngs=rngs, dtype=dtype) for channels in projected])
        self.out_features, self.dtype = features, dtype

    def body(
        self,
        embedded: Parts,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of parts; local features enter by their mean, and a row without any part gives 0."""
        del train, present, keys
        means = [part.mean().astype(self.dtype) for part in embedded]
        for index, layer in enumerate(self.inputs):
            means[index] = layer(means[index])
        exist = jnp.stack([part.exists() for part in embedded])[:, :, None]
        greatest = jnp.where(exist, jnp.stack(means), -jnp.inf).max(axis=0)
        return Features(pooled=jnp.where(exist.any(axis=0), greatest, 0))


@ENCODERS.register("max")
def max(
    *,
    parts: tuple[int, ...],
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    features: int = 512,
) -> Maximum:
    """Return the elementwise maximum of all parts, the rival MAX of TIP (Du et al., ECCV 2024).

    Every part passes a linear layer to the width of the output, except the last part if it has this width. So with
    `of=("image", "table")` only the image does, as in TIP's code. A part that a row lacks does not enter its maximum.

    Args:
      parts: number of channels of each part.
      rngs: random streams for the initial parameters, as in PyTorch.
      dtype: of the computation.
      features: width of the output.

    Raises:
      ValueError: the width is not positive.

    Example:
      >>> from mmcl_jax.encoders.fusions import Part
      >>> fusion = max(parts=(4, 3), rngs=nnx.Rngs(0), features=3)
      >>> image, table = Part(tokens=jnp.ones((2, 9, 4))), Part(tokens=jnp.full((2, 1, 3), 100.0))
      >>> print(fusion((image, table), train=False).pooled[0])
      [100. 100. 100.]
    """
    if features <= 0:
        raise ValueError(f"features must be positive, not {features}")
    return Maximum(parts=parts, features=features, rngs=rngs, dtype=dtype)
