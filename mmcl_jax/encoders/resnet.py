"""ResNet-18 and ResNet-50 (v1.5: the stride of a bottleneck is in its 3x3), with torchvision's init and padding.

He et al., "Deep residual learning for image recognition", CVPR 2016, Table 1.
"""

from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features, of_maps
from mmcl_jax.encoders.layers import Norm, batch_norm, conv, norm_relu
from mmcl_jax.encoders.operations.pool import max_pool_3x3

Stem = Literal["imagenet", "cifar"]
Remat = Literal["none", "stages", "blocks"]
Map = Float[Array, "B H W C"]
NewMap = Float[Array, "B h w c"]
Maps = Float[Array, "B *space C"]  # or sequences
NewMaps = Float[Array, "B *smaller c"]
Present = Bool[Array, " B"]


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions, with a projection shortcut where the shape changes."""

    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int, norm: Norm, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.conv1 = conv(inputs, width, 3, stride=stride, rngs=rngs, dtype=dtype)
        self.norm1 = norm(width)
        self.conv2 = conv(width, width, 3, rngs=rngs, dtype=dtype)
        self.norm2 = norm(width)
        self.shortcut = shortcut(inputs, width, stride=stride, norm=norm, rngs=rngs, dtype=dtype)

    def __call__(self, x: Map, *, train: bool, present: Present | None = None) -> NewMap:
        y = norm_relu(self.norm1, self.conv1(x), train=train, present=present)
        y = self.norm2(self.conv2(y), train=train, present=present)
        return nnx.relu(y + (self.shortcut(x, train=train, present=present) if self.shortcut else x))


class Bottleneck(nnx.Module):
    """Convolutions 1x1, 3x3 (with the stride), and 1x1 to four times the width."""

    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int, norm: Norm, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        outputs = width * self.expansion
        self.conv1 = conv(inputs, width, 1, rngs=rngs, dtype=dtype)
        self.norm1 = norm(width)
        self.conv2 = conv(width, width, 3, stride=stride, rngs=rngs, dtype=dtype)
        self.norm2 = norm(width)
        self.conv3 = conv(width, outputs, 1, rngs=rngs, dtype=dtype)
        self.norm3 = norm(outputs)
        self.shortcut = shortcut(inputs, outputs, stride=stride, norm=norm, rngs=rngs, dtype=dtype)

    def __call__(self, x: Map, *, train: bool, present: Present | None = None) -> NewMap:
        y = norm_relu(self.norm1, self.conv1(x), train=train, present=present)
        y = norm_relu(self.norm2, self.conv2(y), train=train, present=present)
        y = self.norm3(self.conv3(y), train=train, present=present)
        return nnx.relu(y + (self.shortcut(x, train=train, present=present) if self.shortcut else x))


class Shortcut(nnx.Module):
    """A convolution of kernel 1 and a norm, of maps or sequences."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        dimensions: int = 2,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        self.conv = conv(inputs, outputs, 1, stride=stride, dimensions=dimensions, rngs=rngs, dtype=dtype)
        self.norm = norm(outputs)

    def __call__(self, x: Maps, *, train: bool, present: Present | None = None) -> NewMaps:
        return self.norm(self.conv(x), train=train, present=present)


def shortcut(inputs: int, outputs: int, *, stride: int, **options: Any) -> Shortcut | None:
    """Return a projection (see `Shortcut`) if a block changes the shape, else None."""
    return None if inputs == outputs and stride == 1 else Shortcut(inputs, outputs, stride=stride, **options)


class Stage(nnx.Module):
    """A sequence of blocks; with `remat`, the backward pass recomputes the activations inside each block."""

    def __init__(self, blocks: list[nnx.Module], *, remat: bool) -> None:
        self.blocks, self.remat = nnx.List(blocks), remat

    def __call__(self, x: Maps, *, train: bool, present: Present | None = None) -> NewMaps:
        for block in self.blocks:
            x = _run(block, x, train=train, present=present, remat=self.remat)
        return x


def _run(module: nnx.Module, x: Maps, *, train: bool, present: Present | None, remat: bool) -> NewMaps:
    if not remat:
        return module(x, train=train, present=present)
    return nnx.remat(lambda module, x: module(x, train=train, present=present))(module, x)


class ResNet(Encoder):
    """A residual network without its classifier; `local` is the last feature map, `pooled` its mean."""

    takes = ("image",)

    def __init__(
        self,
        *,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, ...],
        shape: tuple[int, ...],
        stem: Stem,
        width: float,
        remat: Remat,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        if width <= 0:
            raise ValueError(f"width must be positive, not {width}")
        base = max(1, round(64 * width))
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.stem, self.dtype = stem, dtype
        self.conv = conv(shape[-1], base, kernel, stride=stride, rngs=rngs, dtype=dtype)
        self.norm = norm(base)
        stages, inputs = [], base
        for stage, depth in enumerate(depths):
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(inputs, base << stage, stride=stride, norm=norm, rngs=rngs, dtype=dtype))
                inputs = (base << stage) * block.expansion
            stages.append(Stage(blocks, remat=remat == "blocks"))
        self.stages = nnx.List(stages)
        self.out_features = self.out_local_features = inputs
        self.remat = remat

    def embed(self, view: Map) -> Map:
        """Return the view in the dtype of the computation."""
        return view.astype(self.dtype)

    def body(
        self, embedded: Map, *, train: bool, present: Present | None = None, keys: Key[Array, " B"] | None = None
    ) -> Features:
        """Return the features of images."""
        del keys
        x = norm_relu(self.norm, self.conv(embedded), train=train, present=present)
        before = None
        if self.stem == "imagenet":
            before, x = x, max_pool_3x3(x)
        maps = []
        for stage in self.stages:
            x = _run(stage, x, train=train, present=present, remat=self.remat == "stages")
            maps.append(x)
        return of_maps(maps, stem=before)


@ENCODERS.register("resnet18")
def resnet18(
    *,
    shape: tuple[int, ...],
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    stem: Stem = "imagenet",
    width: float = 1.0,
    remat: Remat = "none",
) -> ResNet:
    """Return a ResNet-18 (He et al., CVPR 2016, table 1): 512 features, 11,176,512 parameters at 3 channels.

    Args:
      shape: of one image, (height, width, channels).
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      stem: "imagenet" (7x7 at stride 2, then a 3x3 maximum at stride 2) or, for small images, "cifar" (3x3).
      width: factor on every number of channels.
      remat: recompute activations in the backward pass instead of storing them: "blocks" stores the input of every
        block, "stages" that of the four stages alone, but then holds all activations of one stage at a time. On CPUs
        XLA merges the second computation with the first, so that no memory is saved.

    Example:
      >>> import jax
      >>> encoder = nnx.eval_shape(lambda: resnet18(shape=(64, 64, 3), rngs=nnx.Rngs(0)))  # shapes alone
      >>> encoder.out_features, sum(x.size for x in jax.tree.leaves(nnx.state(encoder, nnx.Param)))
      (512, 11176512)
    """
    return ResNet(
        block=BasicBlock,
        depths=(2, 2, 2, 2),
        shape=shape,
        stem=stem,
        width=width,
        remat=remat,
        norm=norm,
        rngs=rngs,
        dtype=dtype,
    )


@ENCODERS.register("resnet50")
def resnet50(
    *,
    shape: tuple[int, ...],
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    stem: Stem = "imagenet",
    width: float = 1.0,
    remat: Remat = "none",
) -> ResNet:
    """Return a ResNet-50 v1.5: 2048 features, 23,508,032 parameters at 3 channels. Arguments: see `resnet18`.

    Example:
      >>> import jax
      >>> encoder = nnx.eval_shape(lambda: resnet50(shape=(64, 64, 3), rngs=nnx.Rngs(0)))  # shapes alone
      >>> encoder.out_features, sum(x.size for x in jax.tree.leaves(nnx.state(encoder, nnx.Param)))
      (2048, 23508032)
    """
    return ResNet(
        block=Bottleneck,
        depths=(3, 4, 6, 3),
        shape=shape,
        stem=stem,
        width=width,
        remat=remat,
        norm=norm,
        rngs=rngs,
        dtype=dtype,
    )
