"""The detector of LoVT: YOLOv3 on the last three stages of an encoder, with a 1 x 1 convolution per stage as head."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import batch_norm, conv, linear
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import ViewSpec, built
from mmcl_jax.evaluation.heads.linear import LinearHead, Params
from mmcl_jax.evaluation.heads.maps import MapEncoders

DECODER = "decoder:yolo"  # beside the modalities, whose names have no colon
STAGES = 3
SLOPE = 0.1  # of the leaky ReLU
_LEAST = 8  # channels of the narrow convolutions
Map = Float[Array, "B h w c"]


class Yolo(nnx.Module):
    """The neck of YOLOv3 (Redmon and Farhadi, 2018) on three maps of an encoder, the coarsest first.

    A map goes through six convolutions without bias, each with batch normalisation over the batch and a leaky ReLU of
    slope 0.1: three times 1 x 1 to a quarter of the map's channels and 3 x 3 to a half of them. What leaves the fifth
    is narrowed by a 1 x 1 convolution, repeated to twice the grid and put before the next map. On a ResNet-50 these are
    the widths of LoVT (Mueller et al., ECCV 2022): 512 and 1024, 256 and 512, 128 and 256. Other encoders have a
    quarter and a half of their own channels, at least 8 and 16.

    Args:
      shapes: (height, width, channels) of the maps, the coarsest first.
      rngs: random streams for the initial parameters.
      dtype: of the computation.

    Raises:
      UserError: the grids do not double from one to the next.

    Example:
      >>> neck = Yolo([(1, 1, 64), (2, 2, 32), (4, 4, 16)], rngs=nnx.Rngs(0))
      >>> maps = [jnp.ones((2, 1, 1, 64)), jnp.ones((2, 2, 2, 32)), jnp.ones((2, 4, 4, 16))]
      >>> neck(maps, train=False).shape, neck.widths  # 1 x 32 + 4 x 16 + 16 x 16 numbers
      ((2, 352), (32, 16, 16))
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32) -> None:
        self.grids = tuple((height, width) for height, width, _ in shapes)
        _check_grids(self.grids)
        narrow = [max(_LEAST, channels // 4) for *_, channels in shapes]
        self.widths, self.dtype = tuple(2 * width for width in narrow), dtype
        options: dict[str, Any] = {"rngs": rngs, "dtype": dtype}
        branches, ups = [], []
        for index, ((*_, channels), width) in enumerate(zip(shapes, narrow, strict=True)):
            if index:
                ups.append(Convolution(narrow[index - 1], width, 1, **options))
            branches.append(Branch(channels + (width if index else 0), width, **options))
        self.branches, self.ups = nnx.List(branches), nnx.List(ups)

    @property
    def out_features(self) -> int:
        """The number of channels of all three results."""
        return sum(self.widths)

    def __call__(self, maps: Sequence[Map], *, train: bool) -> Float[Array, "B numbers"]:
        """Return the results of all maps as one row of numbers, in the dtype of the computation.

        Args:
          maps: `[B, h, w, c]`, in the order of the shapes.
          train: whether batch normalisation uses the batch.
        """
        results, fifth = [], None
        for index, (branch, x) in enumerate(zip(self.branches, maps, strict=True)):
            x = x.astype(self.dtype)
            if fifth is not None:
                coarse = self.ups[index - 1](fifth, train=train)
                doubled = jnp.repeat(jnp.repeat(coarse, 2, axis=1), 2, axis=2)
                x = jnp.concatenate([doubled[:, : x.shape[1], : x.shape[2]], x], axis=-1)  # odd grids were rounded up
            fifth, last = branch(x, train=train)
            results.append(last.reshape(len(last), -1))
        return jnp.concatenate(results, axis=1)


class Branch(nnx.Module):
    """The six convolutions of one map."""

    def __init__(self, inputs: int, width: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        widths = [inputs, width, 2 * width, width, 2 * width, width, 2 * width]
        self.layers = nnx.List(
            [
                Convolution(before, after, 1 if after == width else 3, rngs=rngs, dtype=dtype)
                for before, after in itertools.pairwise(widths)
            ]
        )

    def __call__(self, x: Map, *, train: bool) -> tuple[Map, Map]:
        """Return what leaves the fifth convolution, and the sixth."""
        for layer in self.layers[:-1]:
            x = layer(x, train=train)
        return x, self.layers[-1](x, train=train)


class Convolution(nnx.Module):
    """A convolution with a norm and a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.conv = conv(inputs, outputs, kernel, rngs=rngs, dtype=dtype)
        self.norm = batch_norm(outputs)

    def __call__(self, x: Map, *, train: bool) -> Map:
        return nnx.leaky_relu(self.norm(self.conv(x), train=train), SLOPE)


@dataclasses.dataclass(frozen=True)
class YoloHead(LinearHead):
    """The 1 x 1 convolutions behind a `Yolo`, one for each grid.

    Attributes:
      grids: (rows, columns) of the maps, the coarsest first.
      widths: their channels.

    Example:
      >>> head = YoloHead(grids=((1, 1), (2, 2)), widths=(4, 3))
      >>> weights = {name: arrays[0] for name, arrays in head.new(features=7, outputs=18, seeds=[0]).items()}
      >>> weights["kernel"].shape, weights["bias"].shape
      ((7, 18), (2, 18))
      >>> head(weights, jnp.ones((5, 16))).shape  # 1 x 4 + 4 x 3 numbers become the logits of 5 cells
      (5, 5, 18)
    """

    name: ClassVar[str] = "yolo"
    reads: ClassVar[Literal["pooled", "maps"]] = "maps"
    grids: tuple[tuple[int, int], ...] = ()
    widths: tuple[int, ...] = ()

    def bias_shape(self, outputs: int) -> tuple[int, ...]:
        """Return `(grids, outputs)`."""
        return len(self.grids), outputs

    def new(self, features: int, outputs: int, *, seeds: Sequence[int]) -> Params:
        """Return the initial weights, `[R, D, outputs]` and `[R, grids, outputs]`, of one head per seed."""
        assert features == sum(self.widths)
        kernels, biases = [], []
        for rngs in map(nnx.Rngs, seeds):
            layers = [linear(width, outputs, rngs=rngs, dtype=jnp.float32) for width in self.widths]
            kernels.append(jnp.concatenate([layer.kernel[...] for layer in layers]))
            biases.append(jnp.stack([layer.bias[...] for layer in layers]))
        return {"kernel": jnp.stack(kernels), "bias": jnp.stack(biases)}

    def __call__(self, params: Params, features: Float[Array, "*B numbers"]) -> Float[Array, "*B cells outputs"]:
        """Return the logits of the cells of all grids, float32."""
        parts, start, row = [], 0, 0
        for index, ((height, columns), width) in enumerate(zip(self.grids, self.widths, strict=True)):
            cells = height * columns
            part = features[..., start : start + cells * width].reshape(*features.shape[:-1], cells, width)
            bias = params["bias"][index].reshape((1,) * (part.ndim - 1) + (-1,))
            parts.append(part @ params["kernel"][row : row + width] + bias)
            start, row = start + cells * width, row + width
        return jnp.concatenate(parts, axis=-2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class YoloEncoders(MapEncoders):
    """An image encoder with the `Yolo` that reads its last three stages, whose "features" are a row of numbers."""

    decoder = DECODER

    @staticmethod
    def decoder_of(encoder: nnx.Module, view: jax.ShapeDtypeStruct, *, rngs: nnx.Rngs, dtype: DTypeLike) -> Yolo:
        """Return an untrained `Yolo` for the views `[B, H, W, C]` of an encoder.

        Raises:
          UserError: the encoder has no three stages whose grids halve.
        """
        graphdef, state = nnx.split(encoder)

        def maps(state: nnx.State, view: Array) -> list[Array]:
            return stages_of(nnx.merge(graphdef, state)(view, train=False))

        shapes = [tuple(one.shape[1:]) for one in jax.eval_shape(maps, state, view)]
        return Yolo(shapes, rngs=rngs, dtype=dtype)

    def decoded(self, module: Any, features: Features, view: Array, *, train: bool) -> Array:
        """Return the results of the neck."""
        return module[DECODER](stages_of(features), train=train)


def stages_of(features: Features) -> list[Map]:
    """Return the maps that a `Yolo` reads, the coarsest first: the last three stages.

    Raises:
      UserError: the encoder has fewer stages, or none of images.
    """
    stages = features.stages or ()
    check(
        len(stages) >= STAGES and all(stage.ndim == 4 for stage in stages),
        f"A YOLO reads the maps of the last {STAGES} stages of an image encoder, and this encoder has {len(stages)}; "
        "use an encoder such as a ResNet.",
    )
    return list(reversed(stages[-STAGES:]))


def frame_of(spec: ViewSpec, shape: Sequence[int], modality: str) -> tuple[float, float, float, float]:
    """Return what the plain view of an image shows: left, top, width and height in pixels of the stored image.

    Args:
      spec: of the view.
      shape: of the stored image, (height, width, channels).
      modality: for the message.

    Raises:
      UserError: the view is drawn, turned or mirrored, so that boxes are no boxes in it.
    """
    view = built(spec)
    check(
        not view.drawn,
        f"--input {modality}: its view {dict(spec)['name']!r} draws how an image is turned, and boxes cannot follow.",
    )
    viewed = view.plain(jnp.zeros((1, *shape), jnp.uint8), jax.random.split(jax.random.key(0), 1), {})
    assert viewed.geometry is not None
    affine, size = np.asarray(viewed.geometry[0], np.float64), viewed.values.shape[1:3]
    (down, across_rows, top), (across_columns, right, left) = affine
    check(
        across_rows == across_columns == 0 and down > 0 and right > 0,
        f"--input {modality}: its view {dict(spec)['name']!r} turns or mirrors images, so boxes cannot follow.",
    )
    corner = left + 0.5 - right / 2, top + 0.5 - down / 2  # centres of pixels are at whole indices
    return (*(round(one, 4) + 0.0 for one in corner), float(right * size[1]), float(down * size[0]))


def _check_grids(grids: Sequence[tuple[int, int]]) -> None:
    doubles = all(
        (finer[axis] + 1) // 2 == coarser[axis] for coarser, finer in itertools.pairwise(grids) for axis in (0, 1)
    )
    found = ", ".join(f"{height} x {width}" for height, width in grids)
    check(
        doubles,
        f"A YOLO reads maps whose grids double from one to the next, and this encoder has the grids {found}; use a "
        "convolutional encoder.",
    )
