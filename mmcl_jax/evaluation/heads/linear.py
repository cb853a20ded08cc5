"""Linear heads, many side by side: their initial weights and their outputs."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mmcl_jax.encoders.layers import linear

Params = dict[str, Array]  # "kernel" [D, outputs] and "bias" [outputs]; of many heads with axes before these


@dataclasses.dataclass(frozen=True)
class LinearHead:
    """One linear layer from features to the outputs of a task.

    A head maps features `[B, ..., D]` to outputs `[B, ..., outputs]`. It is static; its weights are an argument.

    Attributes:
      name: of the kind of head, as a kept head says it.
      reads: what of an encoder's features it takes: "pooled" `[B, D]`, or "maps" `[B, h, w, D]`.
      zeros: whether weights begin at 0; else as PyTorch's, uniform in +-1/sqrt(D).

    Example:
      >>> head = LinearHead(zeros=True)
      >>> weights = head.new(features=3, outputs=2, seeds=[0, 1])
      >>> weights["kernel"].shape, weights["bias"].shape
      ((2, 3, 2), (2, 2))
      >>> head({name: of_head[0] for name, of_head in weights.items()}, jnp.ones((4, 3))).shape
      (4, 2)
    """

    name: ClassVar[str] = "linear"
    reads: ClassVar[Literal["pooled", "maps"]] = "pooled"
    zeros: bool = False

    def new(self, features: int, outputs: int, *, seeds: Sequence[int]) -> Params:
        """Return the initial weights of a head per seed, `[R, D, outputs]` and `[R, outputs]`."""
        if self.zeros:
            return {
                "kernel": jnp.zeros((len(seeds), features, outputs)),
                "bias": jnp.zeros((len(seeds), outputs)),
            }
        layers = [linear(features, outputs, rngs=nnx.Rngs(seed), dtype=jnp.float32) for seed in seeds]
        return {
            "kernel": jnp.stack([layer.kernel[...] for layer in layers]),
            "bias": jnp.stack([layer.bias[...] for layer in layers]),
        }

    def __call__(self, params: Params, features: Float[Array, "*B D"]) -> Float[Array, "*B outputs"]:
        """Return the outputs of one head, in float32."""
        return features @ params["kernel"] + params["bias"][(None,) * (features.ndim - 1)]


def every_output(head: LinearHead, heads: Params, features: Float[Array, "G B ..."]) -> Float[Array, "G L B ..."]:
    """Return the outputs of heads `[G, L, ...]` on G groups of features; the L heads of a group share its features."""
    return jax.vmap(jax.vmap(head, in_axes=(0, None)))(heads, features)


def per_head(values: Float[Array, "G L"], like: Array) -> Array:
    """Return one number per head, shaped to be combined with an array `[G, L, ...]` of the heads."""
    return values.reshape(*values.shape, *[1] * (like.ndim - values.ndim))
