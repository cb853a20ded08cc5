"""Linear heads, trained many at a time: their initial weights and their outputs."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mmcl_jax.encoders.layers import linear

Params = dict[str, Array]  # "kernel" [D, outputs] and "bias" [outputs]; many heads have leading axes


@dataclasses.dataclass(frozen=True)
class LinearHead:
    """One linear layer from features `[B, ..., D]` to the outputs `[B, ..., outputs]` of a task.

    A head is a static argument of compiled programs; its weights are passed in.

    Attributes:
      name: of the kind of head, in the files of saved heads.
      reads: the encoder features that are the input: "pooled" `[B, D]`, or "maps" `[B, h, w, D]`.
      zeros: whether initial weights are 0; else they are uniform in +-1/sqrt(D), as in PyTorch.

    Example:
      >>> head = LinearHead(zeros=True)
      >>> weights = head.new(features=3, outputs=2, seeds=[0, 1])
      >>> weights["kernel"].shape, weights["bias"].shape
      ((2, 3, 2), (2, 2))
      >>> head({name: arrays[0] for name, arrays in weights.items()}, jnp.ones((4, 3))).shape
      (4, 2)
    """

    name: ClassVar[str] = "linear"
    reads: ClassVar[Literal["pooled", "maps"]] = "pooled"
    zeros: bool = False

    def bias_shape(self, outputs: int) -> tuple[int, ...]:
        """Return the shape of the bias of one head."""
        return (outputs,)

    def new(self, features: int, outputs: int, *, seeds: Sequence[int]) -> Params:
        """Return the initial weights of one head per seed, `[R, D, outputs]` and `[R, outputs]`."""
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
    """Return the outputs of heads `[G, L, ...]` on G groups of features; the L heads of a group share features."""
    return jax.vmap(jax.vmap(head, in_axes=(0, None)))(heads, features)


def per_head(values: Float[Array, "G L"], like: Array) -> Array:
    """Return one number per head, reshaped to broadcast with an array `like` `[G, L, ...]`."""
    return values.reshape(*values.shape, *[1] * (like.ndim - values.ndim))
