"""Embeddings of numbers as vectors: linear, piecewise linear, periodic."""

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.layers import linear
from mmcl_jax.encoders.transformers.attention import transformer_init


class Numbers(nnx.Module):
    """An embedding of the numeric columns of a row."""

    def __call__(self, numbers: Float[Array, "B F"]) -> Float[Array, "B F D"]:
        """Return a vector per number."""
        raise NotImplementedError


class Linear(Numbers):
    """One linear layer of one number, which all columns share."""

    def __init__(self, width: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.layer = linear(1, width, rngs=rngs, dtype=dtype, kernel_init=transformer_init, zero_bias=True)

    def __call__(self, numbers: Float[Array, "B F"]) -> Float[Array, "B F D"]:
        return self.layer(numbers[:, :, None])


class PerColumn(nnx.Module):
    """A linear layer per column: weights `[F, K, D]` and biases `[F, D]`."""

    def __init__(self, columns: int, inputs: int, width: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.weight = nnx.Param(transformer_init(rngs.params(), (columns, inputs, width), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((columns, width)))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "B F K"]) -> Float[Array, "B F D"]:
        weight, bias = self.weight[...].astype(self.dtype), self.bias[...].astype(self.dtype)
        return jnp.einsum("bfk,fkd->bfd", x.astype(self.dtype), weight) + bias[None]


class Piecewise(Numbers):
    """The piecewise linear encoding over bins (Gorishniy et al., 2022, equation 1), and a linear layer per column.

    Component t of the encoding of x is (x - b[t-1]) / (b[t] - b[t-1]), 0 where x lies below the bin and 1 where it lies
    above; the first component has no lower limit and the last no upper limit. A column with fewer bins than `bins` has
    zeros as further components; a column with one edge, where all training rows have one value, has zeros alone.
    """

    def __init__(
        self, edges: Sequence[tuple[float, ...]], bins: int, width: int, *, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> None:
        if any(len(column) > bins + 1 for column in edges):
            raise ValueError(f"a column has more edges than those of {bins} bins")
        self.edges = tuple(edges)
        self.layer = PerColumn(len(edges), bins, width, rngs=rngs, dtype=dtype)
        self.bins = bins

    def __call__(self, numbers: Float[Array, "B F"]) -> Float[Array, "B F D"]:
        shape = (len(self.edges), self.bins)
        low, size = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        # Limits of the components; components without a bin are 0.
        least, most = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for column, edges in enumerate(self.edges):
            count = max(0, len(edges) - 1)
            low[column, :count], size[column, :count] = edges[:-1], np.diff(edges)
            most[column, :count] = 1
            if count:
                least[column, 0], most[column, count - 1] = -np.inf, np.inf
        x = (numbers.astype(jnp.float32)[:, :, None] - low[None]) / size[None]
        return self.layer(jnp.clip(x, least[None], most[None]))


class Periodic(Numbers):
    """Sines and cosines of 2 pi c x with trained frequencies c, a linear layer per column, and ReLU.

    Equation 2 of Gorishniy et al. (2022), whose name for it is PLR.
    """

    def __init__(
        self, columns: int, frequencies: int, scale: float, width: int, *, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> None:
        initial = nnx.initializers.normal(scale)(rngs.params(), (columns, frequencies), jnp.float32)
        self.frequencies = nnx.Param(initial)
        self.layer = PerColumn(columns, 2 * frequencies, width, rngs=rngs, dtype=dtype)

    def __call__(self, numbers: Float[Array, "B F"]) -> Float[Array, "B F D"]:
        phase = 2 * np.float32(np.pi) * self.frequencies[...][None] * numbers.astype(jnp.float32)[:, :, None]
        return nnx.relu(self.layer(jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=2)))


def number_embedding(
    name: Literal["linear", "piecewise", "periodic"],
    width: int,
    *,
    columns: int,
    bin_edges: Sequence[tuple[float, ...]],
    bins: int,
    frequencies: int,
    frequency_scale: float,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
) -> Numbers:
    """Return the embedding of this name for a number of numeric columns; see `table_transformer`.

    Raises:
      ValueError: there are no bins, which the piecewise encoding needs, or more than `bins` of a column.
    """
    if name == "linear":
        return Linear(width, rngs=rngs, dtype=dtype)
    if name == "periodic":
        return Periodic(columns, frequencies, frequency_scale, width, rngs=rngs, dtype=dtype)
    if len(bin_edges) != columns:
        raise ValueError("numbers='piecewise' needs bin_edges, which are fitted on training rows")
    return Piecewise(bin_edges, bins, width, rngs=rngs, dtype=dtype)
