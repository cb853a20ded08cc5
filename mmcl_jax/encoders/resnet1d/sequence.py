"""From an encoded row of a table to a sequence, over which 1-D convolutions slide."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.table_input import TableInput


def column_order(columns: int, seed: int | None) -> list[int]:
    """Return the stored index of the column at each position; the order of the store if the seed is None.

    The order is that of hashes, and not drawn, because trained weights need it again with any version of any library.

    Example:
      >>> column_order(4, None), column_order(4, 0)
      ([0, 1, 2, 3], [3, 2, 0, 1])
    """
    if seed is None:
        return list(range(columns))
    return sorted(range(columns), key=lambda column: hashlib.sha256(f"{seed}:{column}".encode()).digest())


class ColumnEmbedding(nnx.Module):
    """A token of C channels for every column: the vector of its value plus the bias of the column.

    The vector of a number x is x times a vector of its column; the vector of a category is its own. A missing cell
    (NaN), if `missing` is "token" or "indicator", has a vector of its column, which is also what both policies mean
    here. An unknown category (-1) has the vector 0.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        channels: int,
        *,
        missing: str,
        order: int | None,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        self.widths, self.dtype, self.channels = widths, dtype, channels
        self.replaces = missing in ("token", "indicator")
        self.order = tuple(column_order(len(widths), order))
        self.starts = tuple(int(end) for end in np.cumsum([0, *(width + self.replaces for width in widths)]))
        bound = channels**-0.5  # as in FT-Transformer (Gorishniy et al., NeurIPS 2021)

        def uniform(rows: int) -> Array:
            return jax.random.uniform(rngs.params(), (rows, channels), minval=-bound, maxval=bound)

        self.vectors, self.bias = nnx.Param(uniform(self.starts[-1])), nnx.Param(uniform(len(widths)))

    @property
    def columns(self) -> None:
        """The column of each index of axis 1 of `embed`: the same."""
        return None

    def embed(self, rows: Float[Array, "B F"]) -> Float[Array, "B F C"]:
        """Return the vectors of the values, in the order of the store."""
        width, start = np.array(self.widths), np.array(self.starts[:-1])
        absent = jnp.isnan(rows) if self.replaces else jnp.zeros(rows.shape, bool)
        known = (rows >= 0) & (rows < width.astype(rows.dtype)[None])
        number = jnp.array(width == 1)[None]
        code = jnp.where(known & ~number, rows, 0).astype(jnp.int32)
        code = jnp.where(absent, jnp.array(width, jnp.int32)[None], code) + jnp.array(start, jnp.int32)[None]
        factor = jnp.where(absent, 1, jnp.where(number, rows, known.astype(rows.dtype)))
        return self.vectors[...].astype(self.dtype)[code] * factor.astype(self.dtype)[..., None]

    def sequence(self, embedded: Float[Array, "B F C"]) -> Float[Array, "B F C"]:
        """Return the tokens in the order of the convolutions."""
        tokens = embedded.astype(self.dtype) + self.bias[...].astype(self.dtype)[None]
        return tokens[:, np.array(self.order)]


class OneChannel(nnx.Module):
    """The one-hot coding of a row (see `TableInput`), column by column, as a sequence of one channel."""

    channels = 1

    def __init__(self, widths: tuple[int, ...], *, missing: str, order: int | None, dtype: DTypeLike) -> None:
        self.input, self.dtype = TableInput(widths, missing=missing), dtype
        position = np.argsort(column_order(len(widths), order))
        # Stable, so that the codes of a column keep their order, and its indicator comes behind them.
        self.order = tuple(np.argsort(position[list(self.columns)], kind="stable").tolist())

    @property
    def columns(self) -> tuple[int, ...]:
        """The column of each one-hot column."""
        return self.input.columns

    def embed(self, rows: Float[Array, "B F"]) -> Float[Array, "B E"]:
        """Return one-hot rows, in which missing values are replaced."""
        return self.input(rows)

    def sequence(self, embedded: Float[Array, "B E"]) -> Float[Array, "B E 1"]:
        """Return the one-hot rows in the order of the convolutions."""
        return embedded.astype(self.dtype)[:, np.array(self.order), None]
