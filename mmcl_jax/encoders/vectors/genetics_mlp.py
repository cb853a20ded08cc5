"""The encoder of genetic vectors: ContIG's, a perceptron whose norm follows the ReLU."""

import itertools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import Norm, batch_norm, linear


class GeneticsMLP(Encoder):
    """Any number of times (linear, ReLU, norm); the features are the last norm's output, or the vector itself."""

    takes = ("vector",)

    def __init__(self, *, inputs: int, hidden: int, layers: int, norm: Norm, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        sizes = [inputs, *[hidden] * layers]
        self.layers = nnx.List([linear(i, o, rngs=rngs, dtype=dtype) for i, o in itertools.pairwise(sizes)])
        self.norms = nnx.List([norm(size) for size in sizes[1:]])
        self.out_features, self.dtype = sizes[-1], dtype

    def embed(self, view: Float[Array, "B F"]) -> Float[Array, "B F"]:
        """Return the view as it is."""
        return view

    def body(
        self,
        embedded: Float[Array, "B F"],
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of vectors."""
        del keys
        x = embedded.astype(self.dtype)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(nnx.relu(layer(x)), train=train, present=present)
        return Features(pooled=x)


@ENCODERS.register("genetics_mlp")
def genetics_mlp(
    *,
    shape: tuple[int, ...],
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: int = 2048,
    layers: int = 1,
) -> GeneticsMLP:
    """Return ContIG's encoder of genetics (Taleb et al., CVPR 2022, section 3.2): `None`, `H1` or `H12`.

    `layers` is 0 for `None` (the vector itself), 1 for `H1` and 2 for `H12`. Each layer is linear, then ReLU, then a
    norm, as in the released code; `vector_mlp` has the norm before the ReLU. All weights start as in PyTorch (kernel
    and bias uniform). Without a layer, the first layer of the projector is as large as that of H1 would be.

    For F features H1 has `2048 F + 6144` parameters: 16,091,136 on the paper's 7,854 variants, 991,232 on its 481
    polygenic scores, 38,045,696 on its 18,574 burdens. On a million variants it has two billion. Where the parameters
    with their gradient and the optimizer's state cannot fit into a device, an experiment is refused before it starts.

    Args:
      shape: of one vector, `(F,)`.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      hidden: width of every layer.
      layers: number of layers.

    Raises:
      ValueError: a size is negative, or the width is 0.

    Example:
      >>> encoder = genetics_mlp(shape=(300,), rngs=nnx.Rngs(0), hidden=16)
      >>> encoder(jnp.ones((4, 300)), train=True).pooled.shape
      (4, 16)
      >>> genetics_mlp(shape=(300,), rngs=nnx.Rngs(0), layers=0)(jnp.ones((4, 300)), train=True).pooled.shape
      (4, 300)
    """
    if layers < 0 or hidden <= 0:
        raise ValueError(f"layers must not be negative and hidden must be positive, not {layers} and {hidden}")
    return GeneticsMLP(inputs=shape[-1], hidden=hidden, layers=layers, norm=norm, rngs=rngs, dtype=dtype)
