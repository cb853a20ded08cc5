"""Projectors: the heads that map features into the space where a term compares them."""

import itertools
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.base import PROJECTORS, Projector
from mmcl_jax.encoders.layers import (
    Norm,
    batch_norm,
    kaiming_fan_out,
    kaiming_fan_out_linear,
    linear,
    norm_relu,
    torch_linear,
)

Normalise = Literal["batch", "none"]
Padding = Literal["mask", "include"]


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


class LoVTProjector(Projector):
    """Linear, norm, ReLU, linear, of every position alike."""

    def __init__(
        self,
        features: int,
        hidden: int,
        out: int,
        *,
        norm: Norm | None,
        padding: Padding,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        self.hidden = linear(
            features, hidden, rngs=rngs, dtype=dtype, kernel_init=kaiming_fan_out, bias=norm is None, zero_bias=True
        )
        self.norm = None if norm is None else norm(hidden)
        self.out = linear(hidden, out, rngs=rngs, dtype=dtype, kernel_init=kaiming_fan_out_linear, zero_bias=True)
        self.padding, self.out_features = padding, out

    def __call__(
        self, x: Float[Array, "B *L D"], *, train: bool, present: Bool[Array, "B *L"] | None = None
    ) -> Float[Array, "B *L d"]:
        if self.norm is None:
            return self.out(nnx.relu(self.hidden(x)))
        if present is not None and present.ndim == 2 and self.padding == "include":
            x, present = zero_absent(x, present), present.any(axis=1)
        return self.out(norm_relu(self.norm, self.hidden(x), train=train, present=present))


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


@PROJECTORS.register("lovt_mlp")
def lovt_mlp(
    *,
    features: int,
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: int = 2048,
    out: int = 512,
    normalise: Normalise = "batch",
    padding: Padding = "mask",
) -> LoVTProjector:
    """Return LoVT's projector of local and of pooled features: linear, batch normalisation, ReLU, linear.

    Kernels are Kaiming-normal by fan-out, with the gain of a ReLU and of a linear layer, and biases are 0 (Mueller et
    al., ECCV 2022). The first bias of the released code, which the norm removes, is left out.

    Args:
      features: width of the input.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      hidden: width of the hidden layer.
      out: width of the output.
      normalise: "batch", or "none", as ConVIRT's projectors in LoVT's code.
      padding: whether positions that do not exist, such as padded sentences, are left out of the norm ("mask") or enter
        it as zeros ("include", LoVT's code, with the encoder's largest number of sentences as the length of every
        report). Rows without any position never enter.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> lovt_mlp(features=16, rngs=nnx.Rngs(0), hidden=8, out=4)(jnp.ones((2, 9, 16)), train=True).shape
      (2, 9, 4)
    """
    if min(hidden, out) <= 0:
        raise ValueError(f"hidden and out must be positive, not {hidden} and {out}")
    return LoVTProjector(
        features,
        hidden,
        out,
        norm=norm if normalise == "batch" else None,
        padding=padding,
        rngs=rngs,
        dtype=dtype,
    )
