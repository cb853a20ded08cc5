"""The encoder `laplace_mlp`: a perceptron whose output is a Laplace distribution."""

import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.laplace.scale import posterior_scale
from mmcl_jax.encoders.layers import linear


class LaplaceMLP(Encoder):
    """A hidden layer on all pixels, with a ReLU, and a linear layer each for the mean and the scale."""

    takes = ("image", "volume")

    def __init__(self, *, shape: tuple[int, ...], hidden: int, features: int, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        if min(hidden, features) < 1:
            raise ValueError(f"hidden and features must be positive, not {hidden} and {features}")
        self.hidden = linear(math.prod(shape), hidden, rngs=rngs, dtype=dtype)
        self.mean = linear(hidden, features, rngs=rngs, dtype=dtype)
        self.scale = linear(hidden, features, rngs=rngs, dtype=dtype)
        self.out_features, self.dtype = features, dtype

    def embed(self, view: Float[Array, "B *space C"]) -> Float[Array, "B *space C"]:
        """Return the view in the dtype of the computation."""
        return view.astype(self.dtype)

    def body(
        self,
        embedded: Float[Array, "B *space C"],
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the mean and the scale of the distribution of each row."""
        del train, present, keys
        x = nnx.relu(self.hidden(embedded.reshape(embedded.shape[0], -1)))
        return Features(pooled=self.mean(x), scale=posterior_scale(self.scale(x)))


@ENCODERS.register("laplace_mlp")
def laplace_mlp(
    *,
    shape: tuple[int, ...],
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: int = 400,
    features: int = 20,
) -> LaplaceMLP:
    """Return the encoder of MNIST of MMVAE (Shi et al., NeurIPS 2019), with the sizes of its released code.

    Args:
      shape: of one image or volume; its pixels are flattened.
      rngs: random streams for the initial parameters.
      dtype: of the computation; the scale is float32.
      hidden: width of the hidden layer.
      features: D, the width of the mean and of the scale.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> encoder = laplace_mlp(shape=(28, 28, 1), rngs=nnx.Rngs(0), hidden=8)
      >>> posterior = encoder(jnp.ones((2, 28, 28, 1)), train=False)
      >>> posterior.pooled.shape, posterior.scale.mean(axis=1).round(4).tolist()
      ((2, 20), [1.0, 1.0])
    """
    return LaplaceMLP(shape=shape, hidden=hidden, features=features, rngs=rngs, dtype=dtype)
