"""The projection heads of Fedorov et al.: of local features, and of pooled ones."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.encoders.base import PROJECTORS, Projector
from mmcl_jax.encoders.dcgan.layers import xavier
from mmcl_jax.encoders.layers import Norm, batch_norm, linear, norm_relu, torch_linear
from mmcl_jax.encoders.projectors import NormProjector


def near_identity(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    """Return a kernel `[I, O]` with ones on its diagonal, and elsewhere numbers uniform in +-0.01."""
    noise = jax.random.uniform(key, shape, dtype, -0.01, 0.01)
    return jnp.where(jnp.eye(shape[0], shape[1], dtype=bool), jnp.ones((), dtype), noise)


class LocalShortcut(Projector):
    """Linear, norm, ReLU, linear, and a linear shortcut beside them; a norm of the sum."""

    def __init__(self, features: int, hidden: int, out: int, *, norm: Norm, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        glorot = xavier("relu")
        shortcut = near_identity if out >= features else torch_linear

        def layer(inputs: int, outputs: int, init: nnx.Initializer) -> nnx.Linear:
            return linear(inputs, outputs, rngs=rngs, dtype=dtype, kernel_init=init, bias=False)

        self.hidden, self.out = layer(features, hidden, glorot), layer(hidden, out, glorot)
        self.shortcut = layer(features, out, shortcut)
        self.norm, self.out_norm = norm(hidden), norm(out)
        self.out_features = out

    def __call__(
        self, x: Float[Array, "B *L D"], *, train: bool, present: Bool[Array, "B *L"] | None = None
    ) -> Float[Array, "B *L d"]:
        main = self.out(norm_relu(self.norm, self.hidden(x), train=train, present=present))
        return self.out_norm(main + self.shortcut(x), train=train, present=present)


@PROJECTORS.register("local_shortcut")
def local_shortcut(
    *,
    features: int,
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: int = 64,
    out: int = 64,
) -> LocalShortcut:
    """Return the convolutional head of Fedorov et al., which is the same at every position of a map.

    A 1x1 convolution to `hidden` channels, a norm, a ReLU and a second 1x1 convolution; beside them a shortcut, a 1x1
    convolution; and a norm of the sum. No layer has a bias. The main path is Glorot-uniform with the gain for a ReLU.
    The shortcut starts as the identity with noise, uniform in +-0.01, if `out` is at least the width of the features.
    It has PyTorch's initialisation otherwise, as for the 128 channels of volumes of side 64.

    The head comes from AMDIM (Bachman et al., NeurIPS 2019), whose code has a bias in the shortcut and zeros in the
    second convolution.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> head = local_shortcut(features=8, rngs=nnx.Rngs(0), hidden=4, out=16)
      >>> head(jnp.ones((2, 9, 8)), train=True).shape
      (2, 9, 16)
      >>> bool(jnp.abs(head.shortcut.kernel[...] - jnp.eye(8, 16)).max() <= 0.01)
      True
    """
    _check(hidden, out)
    return LocalShortcut(features, hidden, out, norm=norm, rngs=rngs, dtype=dtype)


@PROJECTORS.register("latent_mlp")
def latent_mlp(
    *,
    features: int,
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: int = 64,
    out: int = 64,
) -> NormProjector:
    """Return the head of pooled features in the code of Fedorov et al. of 2024: linear, norm, ReLU, linear, no biases.

    Both layers are Glorot-uniform with the gain for a ReLU. The paper's head is the projector `identity`.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> latent_mlp(features=16, rngs=nnx.Rngs(0), hidden=8, out=4)(jnp.ones((2, 16)), train=True).shape
      (2, 4)
    """
    _check(hidden, out)
    return NormProjector(
        features,
        (hidden,),
        out,
        out_bias=False,
        out_norm=False,
        norm=norm,
        rngs=rngs,
        dtype=dtype,
        kernel_init=xavier("relu"),
    )


def _check(hidden: int, out: int) -> None:
    if min(hidden, out) < 1:
        raise ValueError(f"hidden and out must be positive, not {hidden} and {out}")
