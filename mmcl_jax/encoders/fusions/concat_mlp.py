"""Late fusion: a multilayer perceptron on concatenated features."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Key

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.fusions.fusion import Fusion, Parts
from mmcl_jax.encoders.mlp import perceptron_layers, perceptron_sizes


class ConcatMLP(Fusion):
    """Linear layers on the concatenated parts, with ReLU between them."""

    def __init__(
        self, *, parts: tuple[int, ...], hidden: int, features: int, layers: int, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> None:
        sizes = perceptron_sizes(sum(parts), hidden, features, layers)
        self.layers = perceptron_layers(sizes, rngs=rngs, dtype=dtype)
        self.out_features, self.dtype = features, dtype

    def body(
        self,
        embedded: Parts,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of parts; local features enter by their mean."""
        del train, present, keys
        x = jnp.concatenate([part.mean().astype(self.dtype) for part in embedded], axis=1)
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return Features(pooled=self.layers[-1](x))


@ENCODERS.register("concat_mlp")
def concat_mlp(
    *,
    parts: tuple[int, ...],
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: int = 512,
    features: int = 512,
    layers: int = 2,
) -> ConcatMLP:
    """Return a late fusion: a multilayer perceptron on the concatenated features of all parts.

    Args:
      parts: number of channels of each part.
      rngs: random streams for the initial parameters (Kaiming normal over the fan-in, biases 0).
      dtype: of the computation.
      hidden: width of the hidden layers.
      features: width of the output.
      layers: number of linear layers.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> from mmcl_jax.encoders.fusions import Part
      >>> fusion = concat_mlp(parts=(4, 3), rngs=nnx.Rngs(0), features=16)
      >>> image, table = Part(tokens=jnp.ones((2, 9, 4))), Part(tokens=jnp.ones((2, 1, 3)))
      >>> fusion((image, table), train=False).pooled.shape
      (2, 16)
    """
    return ConcatMLP(parts=parts, hidden=hidden, features=features, layers=layers, rngs=rngs, dtype=dtype)
