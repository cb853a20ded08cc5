"""The U-Net of dense tasks: a decoder on all maps of an encoder, with a 1 x 1 convolution as its head."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import batch_norm, conv, norm_relu, torch_linear
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.dense import LinearSegmentation
from mmcl_jax.evaluation.heads.linear import Params
from mmcl_jax.evaluation.heads.maps import MapEncoders

DECODER = "decoder:unet"  # beside the modalities, whose names have no colon
_LEAST = 8  # channels of the finest blocks
Map = Float[Array, "B h w c"]


class UNet(nnx.Module):
    """The expanding path of a U-Net (Ronneberger et al., MICCAI 2015) on the maps of an encoder.

    The bridge is two 3 x 3 convolutions of the width of the last map. Then every finer grid has a block: a transposed
    convolution (2 x 2, stride 2) to half the channels, the maps of that grid beside it, and two 3 x 3 convolutions of
    the same width. The last grid is that of the view, whose values are its map. A convolution is followed by batch
    normalisation over the batch and a ReLU, and has no bias, which the normalisation would remove.

    On a ResNet-50 at 448 pixels this is the U-Net of ContIG (Taleb et al., CVPR 2022, for PALM) and of LoVT: skips from
    `layer3`, `layer2`, `layer1`, the stem and the image, and the widths 1024, 512, 256, 128, 64. Other encoders have as
    many blocks as grids; narrow ones have blocks of at least 8 channels.

    Args:
      shapes: (height, width, channels) of the maps, the finest first; the first is the view.
      rngs: random streams for the initial parameters.
      dtype: of the computation.

    Raises:
      UserError: the grids do not halve from one to the next.

    Example:
      >>> decoder = UNet([(8, 8, 3), (4, 4, 16), (2, 2, 32)], rngs=nnx.Rngs(0))
      >>> maps = [jnp.ones((1, 8, 8, 3)), jnp.ones((1, 4, 4, 16)), jnp.ones((1, 2, 2, 32))]
      >>> decoder(maps, train=False).shape, decoder.widths
      ((1, 8, 8, 8), (16, 8))
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32) -> None:
        *finer, last = by_grid(shapes)
        width = sum(channels for *_, channels in last)
        options: dict[str, Any] = {"rngs": rngs, "dtype": dtype}
        self.dtype = dtype
        self.bridge = Convolutions(width, last[-1][-1], **options)
        ups, blocks, widths = [], [], []
        width = last[-1][-1]
        for of_grid in reversed(finer):
            half = max(_LEAST, width // 2)
            ups.append(Up(width, half, **options))
            blocks.append(Convolutions(half + sum(channels for *_, channels in of_grid), half, **options))
            widths.append(width := half)
        self.ups, self.blocks, self.widths = nnx.List(ups), nnx.List(blocks), tuple(widths)

    @property
    def out_features(self) -> int:
        """The number of channels of the result."""
        return self.widths[-1]

    def __call__(self, maps: Sequence[Map], *, train: bool) -> Map:
        """Return a map of the grid of the view, in the dtype of the computation.

        Args:
          maps: `[B, h, w, c]`, in the order of the shapes.
          train: whether batch normalisation uses the batch.
        """
        *finer, last = by_grid([values.astype(self.dtype) for values in maps])
        x = self.bridge(jnp.concatenate(last, axis=-1), train=train)
        for up, block, of_grid in zip(self.ups, self.blocks, reversed(finer), strict=True):
            height, width = of_grid[0].shape[1:3]
            x = up(x)[:, :height, :width]  # the half of an odd grid is rounded up
            x = block(jnp.concatenate([x, *of_grid], axis=-1), train=train)
        return x


class Convolutions(nnx.Module):
    """Two 3 x 3 convolutions, each with a norm and a ReLU."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.conv1 = conv(inputs, outputs, 3, rngs=rngs, dtype=dtype)
        self.norm1 = batch_norm(outputs)
        self.conv2 = conv(outputs, outputs, 3, rngs=rngs, dtype=dtype)
        self.norm2 = batch_norm(outputs)

    def __call__(self, x: Map, *, train: bool) -> Map:
        x = norm_relu(self.norm1, self.conv1(x), train=train)
        return norm_relu(self.norm2, self.conv2(x), train=train)


class Up(nnx.Module):
    """A transposed convolution of kernel 2 and stride 2: every cell becomes four, each by weights of its own."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.kernel = nnx.Param(torch_linear(rngs.params(), (inputs, 4 * outputs)).reshape(inputs, 2, 2, outputs))
        self.bias, self.dtype = nnx.Param(jnp.zeros(outputs)), dtype

    def __call__(self, x: Map) -> Map:
        kernel, bias = self.kernel[...].astype(self.dtype), self.bias[...].astype(self.dtype)
        batch, height, width, _ = x.shape
        cells = jnp.einsum("bhwi,ikmo->bhkwmo", x, kernel).reshape(batch, 2 * height, 2 * width, -1)
        return cells + bias.reshape(1, 1, 1, -1)


def by_grid(maps: Sequence[Any]) -> list[list[Any]]:
    """Return maps, or their shapes (height, width, channels), in groups of one grid, the finest grid first.

    Raises:
      UserError: there is a single grid, or a grid is not half of the one before.
    """
    groups: dict[tuple[int, int], list[Any]] = {}
    for one in maps:
        height, width = one[:2] if isinstance(one, tuple) else one.shape[1:3]
        groups.setdefault((height, width), []).append(one)
    grids = list(groups)
    halves = all(
        (finer[axis] + 1) // 2 == coarser[axis] for finer, coarser in itertools.pairwise(grids) for axis in (0, 1)
    )
    found = ", ".join(f"{height} x {width}" for height, width in grids)
    check(
        halves and len(grids) > 1,
        f"A U-Net reads maps whose grids halve from one to the next, and this encoder has the grids {found} (the first "
        "is that of its view); use a convolutional encoder, or --protocol probe.",
    )
    return list(groups.values())


def maps_of(features: Features, view: Float[Array, "B H W C"]) -> list[Array]:
    """Return the maps that a U-Net reads, the finest first: the view, the stem if there is one, and all stages.

    Raises:
      UserError: the encoder has no maps of images.
    """
    stages = features.stages or ()
    check(
        len(stages) > 0 and all(stage.ndim == 4 for stage in stages) and view.ndim == 4,
        "A U-Net reads the maps of an image encoder's stages, which this input has not; name another --input.",
    )
    return [view, *(() if features.stem is None else (features.stem,)), *stages]


@dataclasses.dataclass(frozen=True)
class UNetHead(LinearSegmentation):
    """The 1 x 1 convolution behind a `UNet`, whose arrays are kept with those of the encoder that it decodes.

    The map has the grid of the encoder's view. It is enlarged bilinearly where masks are stored at another size.
    """

    name: ClassVar[str] = "unet"

    def __call__(self, params: Params, features: Float[Array, "*B h w D"]) -> Float[Array, "*B H W outputs"]:
        """Return the logits of every pixel."""
        if features.shape[-3:-1] != self.size:
            return super().__call__(params, features)
        return features @ params["kernel"] + params["bias"][(None,) * (features.ndim - 1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class UNetEncoders(MapEncoders):
    """An image encoder with the `UNet` that decodes it, whose "features" are the decoded map `[B, h, w, D]`."""

    decoder = DECODER

    @staticmethod
    def decoder_of(encoder: nnx.Module, view: jax.ShapeDtypeStruct, *, rngs: nnx.Rngs, dtype: DTypeLike) -> UNet:
        """Return an untrained `UNet`; see `unet_of`."""
        return unet_of(encoder, view, rngs=rngs, dtype=dtype)

    def decoded(self, module: Any, features: Features, view: Array, *, train: bool) -> Array:
        """Return the decoded map."""
        return module[DECODER](maps_of(features, view), train=train)


def unet_of(encoder: nnx.Module, view: jax.ShapeDtypeStruct, *, rngs: nnx.Rngs, dtype: DTypeLike) -> UNet:
    """Return an untrained decoder for the views `[B, H, W, C]` of an encoder.

    Raises:
      UserError: the encoder has no maps whose grids halve.
    """
    graphdef, state = nnx.split(encoder)

    def maps(state: nnx.State, view: Array) -> list[Array]:
        return maps_of(nnx.merge(graphdef, state)(view, train=False), view)

    shapes = [tuple(one.shape[1:]) for one in jax.eval_shape(maps, state, view)]
    return UNet(shapes, rngs=rngs, dtype=dtype)
