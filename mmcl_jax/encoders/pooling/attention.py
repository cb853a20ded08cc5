"""Attention pooling of local features (LoVT; Mueller et al., ECCV 2022): their mean attends to them."""

import dataclasses
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.base import Encoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import torch_linear
from mmcl_jax.encoders.transformers.attention import Attention

POOL = "attention_pool"  # the attribute of an encoder, which begins the paths of the pooling's parameters
Mean = Literal["mask", "length"]
# torch.nn.MultiheadAttention: Xavier-uniform over the three projections as one matrix [3 D, D], whose variance is
# 2 / (3 D + D).
_xavier_of_three = nnx.initializers.variance_scaling(0.5, "fan_in", "uniform")


class AttentionPool(nnx.Module):
    """Multi-head attention whose only query is the mean of the local features, which are its keys and values."""

    def __init__(self, width: int, *, heads: int, mean: Mean, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.attention = Attention(
            width, heads, in_init=_xavier_of_three, out_init=torch_linear, rngs=rngs, dtype=dtype
        )
        self.mean = mean

    def query(self, features: Features) -> Float[Array, "B 1 C"]:
        """Return the mean of the local features, in float32; 0 for a sample without any."""
        local, mask = features.local, features.mask
        assert local is not None  # `attention_pooled` checked it
        total = local.sum(axis=1, keepdims=True, dtype=jnp.float32)
        if mask is None or self.mean == "length":
            return total / local.shape[1]
        return total / jnp.maximum(mask.sum(axis=1), 1).astype(jnp.float32)[:, None, None]

    def __call__(self, features: Features) -> Features:
        """Return the features with the attended vector as `pooled` and the mean of the heads' weights as `weight`."""
        local, mask = features.local, features.mask
        assert local is not None
        if mask is not None:
            local = zero_absent(local, mask)
            features = dataclasses.replace(features, local=local)
        output, weights = self.attention.weighted(self.query(features).astype(local.dtype), local, mask)
        return dataclasses.replace(features, pooled=output[:, 0], scale=None, weight=weights[:, :, 0].mean(axis=1))


def attention_pooled(
    encoder: Encoder, *, heads: int = 8, mean: Mean = "mask", rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32
) -> Encoder:
    """Put attention pooling behind an encoder, and return the encoder.

    Its pooled feature becomes the output of `torch.nn.MultiheadAttention` (with biases, without dropout) for one query,
    the mean of the sample's local features, and local features outside the mask are not seen. `Features.weight` becomes
    the mean of the heads' attention: not negative, with the sum 1 over the local features of a sample. A sample without
    local features has the weights 0, and as pooled feature the bias of the output.

    Args:
      encoder: an encoder with local features, C wide.
      heads: number of attention heads, which divides C; 8 in LoVT.
      mean: the query is the mean over the local features in the "mask", or their sum by the "length" L, masked ones
        counted. LoVT's code divides by the length of the longest report of the batch, so that short reports have small
        queries; here L is the encoder's largest number of sentences, and the value does not depend on other rows.
      rngs: random streams for the initial parameters: Xavier-uniform for queries, keys and values, uniform as in
        `torch.nn.Linear` for the output, biases 0.
      dtype: of the computation.

    Raises:
      ValueError: the encoder has no local features, or their width does not divide into the heads.

    Example:
      >>> from mmcl_jax.encoders import cnn
      >>> encoder = attention_pooled(cnn(shape=(8, 8, 1), channels=(4, 8), rngs=nnx.Rngs(0)), heads=2, rngs=nnx.Rngs(1))
      >>> features = encoder(jnp.ones((2, 8, 8, 1)), train=False)
      >>> features.pooled.shape, features.local.shape, features.weight.sum(axis=1).round(4).tolist()
      ((2, 8), (2, 4, 8), [1.0, 1.0])
    """
    width = encoder.out_local_features
    if not width:
        raise ValueError("attention pooling needs local features, and this encoder has none")
    if heads <= 0 or width % heads:
        raise ValueError(
            f"attention pooling needs a number of heads that divides the width of the local features, {width}, not "
            f"{heads}"
        )
    encoder.attention_pool = AttentionPool(width, heads=heads, mean=mean, rngs=rngs, dtype=dtype)
    encoder.out_features = width
    return encoder
