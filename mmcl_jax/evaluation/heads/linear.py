"""Linear heads, several side by side: their initial weights, their outputs, and what each is trained to minimise."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Shaped

from mmcl_jax.encoders.layers import linear

Heads = dict[str, Array]  # "kernel" [R, D, outputs] and "bias" [R, outputs] of R heads


def new_heads(features: int, outputs: int, *, seeds: Sequence[int]) -> Heads:
    """One linear layer per seed, initialised as PyTorch does: kernel and bias uniform in +-1/sqrt(features)."""
    layers = [linear(features, outputs, rngs=nnx.Rngs(seed), dtype=jnp.float32) for seed in seeds]
    return {
        "kernel": jnp.stack([layer.kernel[...] for layer in layers]),
        "bias": jnp.stack([layer.bias[...] for layer in layers]),
    }


def take_head(heads: Heads, place: int) -> Heads:
    """One of the heads, as `R = 1` of them."""
    return jax.tree.map(lambda array: array[place : place + 1], heads)


def per_head(values: Float[Array, "R"], like: Array) -> Array:
    """One number per head, shaped to be combined with an array `[R, ...]` of the heads."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def apply_heads(heads: Heads, features: Float[Array, "B D"]) -> Float[Array, "R B outputs"]:
    """The outputs of every head on the same features, in float32."""
    return jnp.einsum("bd,rdo->rbo", features, heads["kernel"]) + heads["bias"][:, None]


def head_losses(
    outputs: Float[Array, "R B outputs"], targets: Shaped[Array, "B"], weights: Float[Array, "B"]
) -> Float[Array, "R"]:
    """The weighted mean over the batch of every head's loss.

    Integer targets are class codes and the loss is the cross-entropy; the loss of others is the squared error. As a sum
    over heads has as its gradient every head's own, heads can be trained together and are as if each were alone.
    """
    if jnp.issubdtype(targets.dtype, jnp.integer):
        logs = jax.nn.log_softmax(outputs)
        losses = jax.vmap(lambda rows: -rows[jnp.arange(len(targets)), targets])(logs)
    else:
        losses = jnp.square(outputs[:, :, 0] - targets[None])
    return (losses * weights[None]).sum(axis=1) / weights.sum()
