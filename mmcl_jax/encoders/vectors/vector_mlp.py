"""The encoder of vectors of numbers, such as genetic scores."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.layers import Norm, batch_norm
from mmcl_jax.encoders.mlp import MLP


class VectorMLP(MLP):
    """A multilayer perceptron on vectors of floats."""

    takes = ("vector",)

    def embed(self, view: Float[Array, "B F"]) -> Float[Array, "B F"]:
        """Return the view as it is."""
        return view


@ENCODERS.register("vector_mlp")
def vector_mlp(
    *,
    shape: tuple[int, ...],
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: int = 2048,
    features: int = 2048,
    layers: int = 2,
) -> VectorMLP:
    """Return `layers` linear layers, each but the last followed by a norm and ReLU; initialised as `table_mlp`.

    Args:
      shape: of one vector, `(F,)`.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      hidden: width of the hidden layers.
      features: width of the output.
      layers: number of linear layers.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> encoder = vector_mlp(shape=(300,), rngs=nnx.Rngs(0), features=16)
      >>> encoder(jnp.ones((4, 300)), train=True).pooled.shape
      (4, 16)
    """
    return VectorMLP(
        inputs=shape[-1], hidden=hidden, features=features, layers=layers, norm=norm, rngs=rngs, dtype=dtype
    )
