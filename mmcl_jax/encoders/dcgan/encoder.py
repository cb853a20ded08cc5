"""The encoder `dcgan` of images and volumes.

Fedorov et al., "Self-supervised multimodal learning for group inferences from MRI data", NeuroImage 2024: the
discriminator of a DCGAN (Radford et al., ICLR 2016) whose last layer returns a vector.
"""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.dcgan.layers import SLOPE, Init, channels_of, conv4, side_of
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import Norm, batch_norm


class DCGAN(Encoder):
    """Convolutions of side 4 at stride 2, with a norm behind all but the first, and leaky ReLUs; then a last one.

    `pooled` is the result of the last convolution, which reduces a map of side 4 to a vector. `local` is the result of
    the convolution whose map has the side `local_side`, before its norm and its ReLU; `stages` are the maps after them.
    """

    takes = ("image", "volume")

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        width: int,
        features: int,
        local_side: int,
        init: Init,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        if min(width, features) < 1:
            raise ValueError(f"width and features must be positive, not {width} and {features}")
        channels = channels_of(side := side_of(shape), width)
        sides = [side >> layer for layer in range(1, len(channels) + 1)]
        if local_side not in sides:
            raise ValueError(
                f"local_side is the side of a map, {' or '.join(map(str, sides))} for views of side {side}, not "
                f"{local_side}"
            )
        sizes = itertools.pairwise([shape[-1], *channels, features])
        self.convs = nnx.List(
            [
                conv4(i, o, dimensions=len(shape) - 1, last=at == len(channels), init=init, rngs=rngs, dtype=dtype)
                for at, (i, o) in enumerate(sizes)
            ]
        )
        self.norms = nnx.List([norm(size) for size in channels[1:]])
        self.local_layer, self.dtype = sides.index(local_side), dtype
        self.out_features, self.out_local_features = features, channels[self.local_layer]

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
        """Return the features of images, or of volumes."""
        del keys
        x, raw, stages = embedded, [], []
        for layer, convolve in enumerate(self.convs[:-1]):
            x = convolve(x)
            raw.append(x)
            if layer > 0:
                x = self.norms[layer - 1](x, train=train, present=present)
            x = jax.nn.leaky_relu(x, SLOPE)
            stages.append(x)
        batch, *grid, channels = raw[self.local_layer].shape
        return Features(
            pooled=self.convs[-1](x).reshape(batch, self.out_features),
            local=raw[self.local_layer].reshape(batch, -1, channels),
            stages=tuple(stages),
            grid=tuple(grid),
        )


@ENCODERS.register("dcgan")
def dcgan(
    *,
    shape: tuple[int, ...],
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    width: int = 32,
    features: int = 64,
    local_side: int = 8,
    init: Init = "relu",
) -> DCGAN:
    """Return the encoder of Fedorov et al. for images or volumes of side 32, 64 or 128, without biases.

    The number of channels doubles from layer to layer: 32, 64 and 128 at side 32, up to 512 at side 128. The published
    encoders have 0.296 million parameters (grey images of side 32) and 3.80 million (volumes of side 64).

    Args:
      shape: of one image, (height, width, channels), or of one volume, (depth, height, width, channels); the sides are
        equal.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      width: channels of the first layer.
      features: D, the width of the pooled features.
      local_side: the side of the map whose positions are the local features.
      init: Glorot-uniform with the gain for a ReLU ("relu", the code of 2021 whose results the paper reports) or for
        the leaky ReLU of the encoder ("leaky", the code of 2024).

    Raises:
      ValueError: the sides differ or are not 32, 64 or 128, no map has the side `local_side`, or a size is not
        positive.

    Example:
      >>> encoder = dcgan(shape=(32, 32, 1), rngs=nnx.Rngs(0), width=4, features=16)
      >>> features = encoder(jnp.ones((2, 32, 32, 1)), train=False)
      >>> features.pooled.shape, features.local.shape, features.grid
      ((2, 16), (2, 64, 8), (8, 8))
      >>> [stage.shape[1:] for stage in features.stages]
      [(16, 16, 4), (8, 8, 8), (4, 4, 16)]
    """
    return DCGAN(
        shape=shape,
        width=width,
        features=features,
        local_side=local_side,
        init=init,
        norm=norm,
        rngs=rngs,
        dtype=dtype,
    )
