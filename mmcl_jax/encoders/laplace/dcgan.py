"""The encoder `laplace_dcgan`: `dcgan` with a second last layer, for the scale of a Laplace distribution."""

import dataclasses

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.dcgan.encoder import DCGAN
from mmcl_jax.encoders.dcgan.layers import Init, conv4
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.laplace.scale import posterior_scale
from mmcl_jax.encoders.layers import Norm, batch_norm


class LaplaceDCGAN(DCGAN):
    """The network of `dcgan`, whose pooled features are the mean, and a convolution of its last map for the scale."""

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
        super().__init__(
            shape=shape,
            width=width,
            features=features,
            local_side=local_side,
            init=init,
            norm=norm,
            rngs=rngs,
            dtype=dtype,
        )
        last = self.convs[-1].in_features
        self.scale = conv4(last, features, dimensions=len(shape) - 1, last=True, init=init, rngs=rngs, dtype=dtype)

    def body(
        self,
        embedded: Float[Array, "B *space C"],
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of images, or of volumes, with the scale."""
        features = super().body(embedded, train=train, present=present, keys=keys)
        assert features.stages is not None
        raw = self.scale(features.stages[-1]).reshape(embedded.shape[0], -1)
        return dataclasses.replace(features, scale=posterior_scale(raw))


@ENCODERS.register("laplace_dcgan")
def laplace_dcgan(
    *,
    shape: tuple[int, ...],
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    width: int = 32,
    features: int = 64,
    local_side: int = 8,
    init: Init = "relu",
) -> LaplaceDCGAN:
    """Return `dcgan` as the encoder of a variational autoencoder: `pooled` is the mean of a Laplace distribution.

    Fedorov et al. compare their methods with MMVAE, and its networks for their data are not published. With this
    encoder, it has the network that all other methods have. The arguments are those of `dcgan`.

    Raises:
      ValueError: as `dcgan`.

    Example:
      >>> encoder = laplace_dcgan(shape=(32, 32, 1), rngs=nnx.Rngs(0), width=4, features=16)
      >>> posterior = encoder(jnp.ones((2, 32, 32, 1)), train=False)
      >>> posterior.pooled.shape, posterior.scale.shape, posterior.local.shape
      ((2, 16), (2, 16), (2, 64, 8))
    """
    return LaplaceDCGAN(
        shape=shape,
        width=width,
        features=features,
        local_side=local_side,
        init=init,
        norm=norm,
        rngs=rngs,
        dtype=dtype,
    )
