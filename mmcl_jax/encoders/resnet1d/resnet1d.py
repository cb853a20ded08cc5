"""The table encoder of MT-CMTM: a residual network of 1-D convolutions over a row, with attention in each block.

Roy et al., "Code and pixels: Multi-modal contrastive pre-training for enhanced tabular data analysis", 2025
(arXiv 2501.07304). The paper names the encoder 1D-ResNet-CBAM and does not give its sizes.
"""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import Norm, batch_norm, conv, norm_relu
from mmcl_jax.encoders.resnet import Stage, shortcut
from mmcl_jax.encoders.resnet1d.cbam import CBAM
from mmcl_jax.encoders.resnet1d.sequence import ColumnEmbedding, OneChannel

Row = Literal["embedding", "one_channel"]
Remat = Literal["none", "blocks"]
Sequence = Float[Array, "B L C"]
NewSequence = Float[Array, "B l c"]
Present = Bool[Array, " B"]


class Block(nnx.Module):
    """Two convolutions with norms, attention, and a residual connection, projected where the shape changes."""

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        kernel: int,
        stride: int,
        reduction: int,
        spatial_kernel: int,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        self.conv1 = conv(inputs, width, kernel, stride=stride, dimensions=1, rngs=rngs, dtype=dtype)
        self.norm1 = norm(width)
        self.conv2 = conv(width, width, kernel, dimensions=1, rngs=rngs, dtype=dtype)
        self.norm2 = norm(width)
        self.attention = CBAM(width, reduction=reduction, kernel=spatial_kernel, rngs=rngs, dtype=dtype)
        self.shortcut = shortcut(inputs, width, stride=stride, dimensions=1, norm=norm, rngs=rngs, dtype=dtype)

    def __call__(self, x: Sequence, *, train: bool, present: Present | None = None) -> NewSequence:
        y = norm_relu(self.norm1, self.conv1(x), train=train, present=present)
        y = self.attention(self.norm2(self.conv2(y), train=train, present=present))
        return nnx.relu(y + (self.shortcut(x, train=train, present=present) if self.shortcut else x))


class ResNet1D(Encoder):
    """A residual network over the sequence of a row; `local` is the last sequence, `pooled` its mean."""

    takes = ("table",)

    def __init__(
        self,
        *,
        sequence: ColumnEmbedding | OneChannel,
        channels: int,
        depths: tuple[int, ...],
        kernel: int,
        reduction: int,
        spatial_kernel: int,
        remat: Remat,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        self.input = sequence
        self.conv = conv(sequence.channels, channels, kernel, dimensions=1, rngs=rngs, dtype=dtype)
        self.norm = norm(channels)
        stages, inputs = [], channels
        for stage, depth in enumerate(depths):
            blocks: list[nnx.Module] = []
            for index in range(depth):
                block = Block(
                    inputs,
                    channels << stage,
                    kernel=kernel,
                    stride=2 if stage > 0 and index == 0 else 1,
                    reduction=reduction,
                    spatial_kernel=spatial_kernel,
                    norm=norm,
                    rngs=rngs,
                    dtype=dtype,
                )
                blocks.append(block)
                inputs = channels << stage
            stages.append(Stage(blocks, remat=remat == "blocks"))
        self.stages = nnx.List(stages)
        self.out_features = self.out_local_features = inputs

    @property
    def embedded_columns(self) -> tuple[int, ...] | None:
        """The column of each vector, or of each one-hot column."""
        return self.input.columns

    def embed(self, view: Float[Array, "B F"]) -> Float[Array, "B E *C"]:
        """Return the vectors of the values, or one-hot rows; see `sequence`."""
        return self.input.embed(view)

    def body(
        self,
        embedded: Float[Array, "B E *C"],
        *,
        train: bool,
        present: Present | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of rows."""
        del keys
        x = norm_relu(self.norm, self.conv(self.input.sequence(embedded)), train=train, present=present)
        for stage in self.stages:
            x = stage(x, train=train, present=present)
        return Features(pooled=x.mean(axis=1), local=x)


@ENCODERS.register("resnet1d_cbam")
def resnet1d_cbam(
    *,
    widths: tuple[int, ...],
    missing: str = "refuse",
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    row: Row = "embedding",
    channels: int = 64,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    kernel: int = 3,
    reduction: int = 16,
    spatial_kernel: int = 7,
    order: int | None = None,
    remat: Remat = "none",
) -> ResNet1D:
    """Return the 1D-ResNet-CBAM of MT-CMTM: a ResNet-18 of 1-D convolutions over a row, with attention in each block.

    The paper states a residual network of 1-D convolutions with CBAM (Woo et al., ECCV 2018). All else is our choice:
    the layout of ResNet-18, in which each stage after the first halves the sequence and doubles the channels; the
    attention behind the second norm of a block, before the residual sum, as in CBAM's own residual networks; CBAM's
    published reduction 16 and kernel 7; and how a row becomes a sequence, which is the option `row`.

    A convolution sees neighbours, so the result depends on the order of the columns, which is that of the store (new
    tables are matched by column name). `order` shuffles the columns, to measure what the order does.

    Args:
      widths: one-hot width of every column.
      missing: the policy for missing values; "token" and "indicator" give the missing cell of a column its own vector.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      row: how a row becomes a sequence: "embedding" gives every column a token of `channels` (`ColumnEmbedding`), so
        that numbers and categories are of equal width; "one_channel" is the one-hot coding of the row as one channel.
      channels: of the first stage.
      depths: number of blocks of each stage; the output has `channels` times 2 to the power of (stages - 1) features.
      kernel: of the convolutions; odd.
      reduction: of the channels in the perceptron of the channel attention, which keeps at least 1.
      spatial_kernel: of the convolution of the spatial attention; odd.
      order: a seed that shuffles the columns before the first convolution; None for the order of the store.
      remat: "blocks" recomputes activations inside blocks in the backward pass instead of storing them; see `resnet18`.

    Raises:
      ValueError: a size is not positive, or a kernel is even.

    Example:
      >>> encoder = resnet1d_cbam(widths=(1, 3), rngs=nnx.Rngs(0), channels=4, depths=(1, 1))
      >>> features = encoder(jnp.array([[0.5, 2.0], [-1.0, 0.0]]), train=False)  # a number and a category of three
      >>> features.pooled.shape, features.local.shape
      ((2, 8), (2, 1, 8))
    """
    if min(channels, reduction) <= 0:
        raise ValueError(f"channels and reduction must be positive, not {channels} and {reduction}")
    if not depths or min(depths) <= 0:
        raise ValueError(f"depths must be a tuple of positive numbers, not {depths}")
    for name, size in (("kernel", kernel), ("spatial_kernel", spatial_kernel)):
        if size <= 0 or size % 2 == 0:
            raise ValueError(f"{name} must be odd and positive, not {size}")
    sequence: ColumnEmbedding | OneChannel
    if row == "embedding":
        sequence = ColumnEmbedding(widths, channels, missing=missing, order=order, rngs=rngs, dtype=dtype)
    else:
        sequence = OneChannel(widths, missing=missing, order=order, dtype=dtype)
    return ResNet1D(
        sequence=sequence,
        channels=channels,
        depths=depths,
        kernel=kernel,
        reduction=reduction,
        spatial_kernel=spatial_kernel,
        remat=remat,
        norm=norm,
        rngs=rngs,
        dtype=dtype,
    )
