"""The head of several inputs that is the mean of a linear head on each of them."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mmcl_jax.encoders.layers import linear
from mmcl_jax.evaluation.heads.linear import LinearHead, Params


@dataclasses.dataclass(frozen=True)
class EnsembleHead(LinearHead):
    """The mean of the outputs of linear heads, one on each part of features that stand side by side.

    TIP (Du et al., ECCV 2024) trains such an ensemble on the features of the image, of the table and of both for rows
    with missing cells. The mean of linear heads is a linear head on all features (`folded`), so it can say no more than
    one; it is trained otherwise, as each member starts as a head on its part alone and moves its outputs by a share.

    Attributes:
      widths: of the parts.

    Example:
      >>> head = EnsembleHead(widths=(3, 1))
      >>> weights = {name: arrays[0] for name, arrays in head.new(features=4, outputs=2, seeds=[0]).items()}
      >>> weights["kernel"].shape, weights["bias"].shape
      ((4, 2), (2, 2))
      >>> features, alone = jnp.ones((5, 4)), LinearHead()
      >>> bool(jnp.allclose(head(weights, features), alone(head.folded(weights), features)))
      True
    """

    name: ClassVar[str] = "ensemble"
    widths: tuple[int, ...] = ()

    def new(self, features: int, outputs: int, *, seeds: Sequence[int]) -> Params:
        """Return the initial weights, `[R, D, outputs]` and `[R, members, outputs]`, of one ensemble per seed."""
        assert features == sum(self.widths)
        kernels, biases = [], []
        for rngs in map(nnx.Rngs, seeds):
            members = [linear(width, outputs, rngs=rngs, dtype=jnp.float32) for width in self.widths]
            kernels.append(jnp.concatenate([member.kernel[...] for member in members]))
            biases.append(jnp.stack([member.bias[...] for member in members]))
        return {"kernel": jnp.stack(kernels), "bias": jnp.stack(biases)}

    def __call__(self, params: Params, features: Float[Array, "*B D"]) -> Float[Array, "*B outputs"]:
        """Return the mean over the members of their outputs, in float32."""
        return super().__call__(self.folded(params), features)

    def folded(self, params: Params) -> Params:
        """Return the weights of the linear head that gives the same outputs."""
        return {"kernel": params["kernel"] / len(self.widths), "bias": params["bias"].mean(axis=0)}
