"""Projectors: the heads that map features into the space where a term compares them."""

import itertools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.encoders.base import PROJECTORS, Projector
from mmcl_jax.encoders.layers import Norm, batch_norm, linear, norm_relu, torch_linear


class MLPProjector(Projector):
    """Linear, ReLU, linear."""

    def __init__(self, features: int, hidden: int, out: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.hidden = linear(features, hidden, rngs=rngs, dtype=dtype)
        self.out = linear(hidden, out, rngs=rngs, dtype=dtype)
        self.out_features = out

    def __call__(
        self, x: Float[Array, "B *L D"], *, train: bool, present: Bool[Array, "B *L"] | None = None
    ) -> Float[Array, "B *L d"]:
        return self.out(nnx.relu(self.hidden(x)))


class Identity(Projector):
    """The features themselves."""

    def __init__(self, features: int) -> None:
        self.out_features = features

    def __call__(
        self, x: Float[Array, "B *L D"], *, train: bool, present: Bool[Array, "B *L"] | None = None
    ) -> Float[Array, "B *L D"]:
        return x


class LinearProjector(Projector):
    """A fully connected layer."""

    def __init__(self, features: int, out: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.layer = linear(features, out, rngs=rngs, dtype=dtype)
        self.out_features = out

    def __call__(
        self, x: Float[Array, "B *L D"], *, train: bool, present: Bool[Array, "B *L"] | None = None
    ) -> Float[Array, "B *L d"]:
        return self.layer(x)


class NormProjector(Projector):
    """(Linear, norm, ReLU) for every hidden width, then a linear layer.

    Only the last layer may have a bias; a norm may follow it.
    """

    def __init__(
        self,
        features: int,
        hidden: tuple[int, ...],
        out: int,
        *,
        out_bias: bool,
        out_norm: bool,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
        kernel_init: nnx.Initializer = torch_linear,
    ) -> None:
        def layer(inputs: int, outputs: int, *, bias: bool) -> nnx.Linear:
            return linear(inputs, outputs, rngs=rngs, dtype=dtype, kernel_init=kernel_init, bias=bias)

        sizes = [features, *hidden]
        layers = [layer(i, o, bias=False) for i, o in itertools.pairwise(sizes)]
        self.layers = nnx.List([*layers, layer(sizes[-1], out, bias=out_bias)])
        self.norms = nnx.List([norm(size) for size in (*hidden, *([out] if out_norm else []))])
        self.out_features = out

    def __call__(
        self, x: Float[Array, "B *L D"], *, train: bool, present: Bool[Array, "B *L"] | None = None
    ) -> Float[Array, "B *L d"]:
        for layer, norm in zip(self.layers[:-1], self.norms, strict=False):
            x = norm_relu(norm, layer(x), train=train, present=present)
        x = self.layers[-1](x)
        for norm in self.norms[len(self.layers) - 1 :]:
            x = norm(x, train=train, present=present)
        return x


@PROJECTORS.register("mlp")
def mlp(
    *, features: int, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32, hidden: int = 2048, out: int = 128
) -> MLPProjector:
    """Return two layers with biases and no normalisation, as MMCL's released code uses for both modalities.

    This is the SimCLR head of lightly 1.2.22, the version that MMCL pins; from 1.4.3 on, lightly's head has BatchNorm
    after both layers.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> mlp(features=16, rngs=nnx.Rngs(0), hidden=8, out=4)(jnp.ones((2, 16)), train=True).shape
      (2, 4)
    """
    if min(hidden, out) <= 0:
        raise ValueError(f"hidden and out must be positive, not {hidden} and {out}")
    return MLPProjector(features, hidden, out, rngs=rngs, dtype=dtype)


@PROJECTORS.register("identity")
def identity(*, features: int) -> Identity:
    """Return the features themselves: the taxonomy paper's head of pooled features, which another name replaces.

    A term that is never to have a head reads `VIEW:none`, which needs no projector.

    Example:
      >>> identity(features=16)(jnp.ones((2, 16)), train=True).shape
      (2, 16)
    """
    return Identity(features)


@PROJECTORS.register("linear")
def single(*, features: int, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32, out: int = 128) -> LinearProjector:
    """Return one fully connected layer, the table's projector in MMCL's paper (section 4.2); its code has `mlp`.

    Raises:
      ValueError: `out` is not positive.

    Example:
      >>> single(features=16, rngs=nnx.Rngs(0), out=4)(jnp.ones((2, 16)), train=True).shape
      (2, 4)
    """
    if out <= 0:
        raise ValueError(f"out must be positive, not {out}")
    return LinearProjector(features, out, rngs=rngs, dtype=dtype)


@PROJECTORS.register("mlp_norm")
def mlp_norm(
    *,
    features: int,
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: tuple[int, ...] = (8192,),
    out: int = 8192,
    out_bias: bool = False,
    out_norm: bool = False,
) -> NormProjector:
    """Return hidden layers with batch normalisation: the expanders of Barlow Twins and VICReg, the projectors of BYOL.

    One hidden layer of 8192 is MMCL's Barlow Twins baseline; the papers of Barlow Twins and VICReg have two,
    `hidden=(8192, 8192)`. The last layer of BYOL's and SimSiam's projectors and predictors has a bias (`out_bias`). In
    the papers of SimSiam and NNCLR, and in ContIG's baselines, a norm follows the projector's last layer (`out_norm`).

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> mlp_norm(features=16, rngs=nnx.Rngs(0), hidden=(8,), out=4)(jnp.ones((2, 16)), train=True).shape
      (2, 4)
    """
    if min((*hidden, out)) <= 0:
        raise ValueError(f"hidden and out must be positive, not {hidden} and {out}")
    return NormProjector(features, hidden, out, out_bias=out_bias, out_norm=out_norm, norm=norm, rngs=rngs, dtype=dtype)
