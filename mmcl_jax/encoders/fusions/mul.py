"""Fusion by channel-wise multiplication: the other parts scale the channels of the first."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Key

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.fusions.fusion import Fusion, Parts, check_several, conditioned
from mmcl_jax.encoders.layers import linear


class Product(Fusion):
    """The tokens of the first part, times a factor per channel from every other part."""

    def __init__(self, *, parts: tuple[int, ...], rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        first, *others = parts
        self.factors = nnx.List([linear(channels, first, rngs=rngs, dtype=dtype) for channels in others])
        self.absent = nnx.Param(jnp.ones(first))
        self.out_features = self.out_local_features = first
        self.dtype = dtype

    def body(
        self,
        embedded: Parts,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the scaled tokens as local features, and their mean as the pooled feature."""
        del train, present, keys
        first, *others = embedded
        scale = jnp.ones((first.tokens.shape[0], self.out_features), self.dtype)
        for part, layer in zip(others, self.factors, strict=True):
            factor = nnx.relu(layer(part.mean().astype(self.dtype)))
            scale = scale * jnp.where(part.exists()[:, None], factor, 1)
        return conditioned(first, self.absent[...], lambda tokens: tokens * scale[:, None], dtype=self.dtype)


@ENCODERS.register("mul")
def mul(*, parts: tuple[int, ...], rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32) -> Product:
    """Return the first part, whose channels all other parts scale: the rival MUL of TIP (Du et al., ECCV 2024).

    The factors of a part are a linear layer and ReLU on its mean: `of=("image.local", "table")` multiplies the channels
    of the image's last map by the table (Duanmu et al., MICCAI 2020). In the paper and in TIP's code, the table
    multiplies the map of every stage of a ResNet; a fusion reads features, so here it multiplies the last one alone.

    A row without another part is not scaled by it. Where the first part is absent, a learned vector (1 at first) is in
    its place, and so the features are the factors themselves at first.

    Args:
      parts: number of channels of each part.
      rngs: random streams for the initial parameters, as in PyTorch.
      dtype: of the computation.

    Raises:
      ValueError: there are fewer than two parts.

    Example:
      >>> from mmcl_jax.encoders.fusions import Part
      >>> fusion = mul(parts=(4, 3), rngs=nnx.Rngs(0))
      >>> image, table = Part(tokens=jnp.ones((2, 9, 4))), Part(tokens=jnp.ones((2, 1, 3)))
      >>> fused = fusion((image, table), train=False)
      >>> fused.pooled.shape, fused.local.shape
      ((2, 4), (2, 9, 4))
    """
    check_several(parts, "mul")
    return Product(parts=parts, rngs=rngs, dtype=dtype)
