"""The table encoder of TIP: a transformer whose tokens are the columns, so that missing cells need no imputation."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.transformers.attention import TransformerBlock, layer_norm, transformer_init
from mmcl_jax.encoders.transformers.number_embeddings import Numbers, number_embedding

_EPSILON = 1e-5  # of PyTorch's layer normalisation
_INFERENCE_BYTES = 2**30  # of attention weights outside of training; more rows pass the blocks in slices


class Cells(NamedTuple):
    """The vectors of the cells of rows, and which cells are missing or hidden: their vector is the missing token."""

    vectors: Float[Array, "B F D"]
    missing: Bool[Array, "B F"]


class TableTransformer(Encoder):
    """A class token and a token per column, which attend to one another; see `table_transformer`."""

    takes = ("table",)
    replaces_missing = True

    @classmethod
    def asks(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """Return the options `rare` and, for piecewise encodings of numbers, `bins`."""
        asked = {"rare": options["rare"]} if options["rare"] else {}
        return asked | ({"bins": options["bins"]} if options["numbers"] == "piecewise" else {})

    def __init__(
        self,
        *,
        widths: tuple[int, ...],
        width: int,
        heads: int,
        blocks: int,
        numbers: Numbers,
        unknown: float,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        def learned(*shape: int) -> nnx.Param:
            return nnx.Param(transformer_init(rngs.params(), shape, jnp.float32))

        self.widths, self.unknown_share, self.dtype = widths, unknown, dtype
        self.numeric = tuple(column for column, size in enumerate(widths) if size == 1)
        self.categorical = tuple(column for column, size in enumerate(widths) if size > 1)
        sizes = [widths[column] for column in self.categorical]
        self.offsets = tuple(np.cumsum([0, *sizes])[:-1].tolist())  # of the categories of each categorical column
        if self.categorical:
            self.categories = learned(sum(sizes), width)
            self.unknown = learned(len(sizes), width)
        if self.numeric:
            self.numbers = numbers
        self.class_token, self.missing_token = learned(width), learned(width)
        self.columns = learned(len(widths) + 1, width)
        self.norm = layer_norm(width, epsilon=_EPSILON, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [
                TransformerBlock(width, heads, epsilon=_EPSILON, qkv_bias=False, rngs=rngs, dtype=dtype)
                for _ in range(blocks)
            ]
        )
        self.out_features = self.out_local_features = width

    @property
    def local_columns(self) -> tuple[int, ...]:
        """The class token, then every column."""
        return (-1, *range(len(self.widths)))

    def row_bytes(self, *, train: bool) -> int:
        """Return the bytes of the attention weights of all blocks, which the gradient needs, or of one block."""
        one = 4 * self.blocks[0].attention.heads * (len(self.widths) + 1) ** 2  # float32
        return one * (len(self.blocks) if train else 1)

    def embed(self, view: Float[Array, "B F"]) -> Cells:
        """Return a vector per cell; that of a cell that is missing or hidden (NaN) is the missing token."""
        missing = jnp.isnan(view)
        filled = jnp.where(missing, 0, view)
        parts = []
        if self.numeric:
            parts.append(self.numbers(filled[:, np.array(self.numeric)]))
        if self.categorical:
            parts.append(self._category_vectors(filled[:, np.array(self.categorical)]).astype(self.dtype))
        vectors = jnp.concatenate(parts, axis=1)[:, np.argsort([*self.numeric, *self.categorical])]
        token = self.missing_token[...].astype(self.dtype)
        return Cells(jnp.where(missing[:, :, None], token[None, None], vectors), missing)

    def _category_vectors(self, codes: Float[Array, "B C"]) -> Float[Array, "B C D"]:
        """Return the vectors of categories; that of any other code, such as -1, is the unknown token of its column."""
        sizes = np.array(self.widths, np.float32)[np.array(self.categorical)]
        known = (codes >= 0) & (codes < sizes[None])
        index = jnp.where(known, codes, 0).astype(jnp.int32) + np.array(self.offsets, np.int32)[None]
        return jnp.where(known[:, :, None], self.categories[...][index], self.unknown[...][None])

    def body(
        self,
        embedded: Cells,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the class token as the pooled feature, and as local features the class token and those of columns.

        In training with `keys`, a share of the categories of every row is replaced by the unknown tokens.
        """
        del present
        x, missing = embedded
        if train and keys is not None and self.categorical and self.unknown_share > 0:
            x = self._with_unknown(x, missing, keys)
        rows = x.shape[0]  # a symbol in programs for any number of rows
        class_token = jnp.broadcast_to(self.class_token[...].astype(self.dtype), (rows, 1, x.shape[2]))
        x = self.norm(jnp.concatenate([class_token, x], axis=1) + self.columns[...].astype(self.dtype)[None])
        seen = jnp.concatenate([jnp.ones((rows, 1), bool), ~missing], axis=1)
        at_once = max(1, _INFERENCE_BYTES // self.row_bytes(train=False))
        if train or not isinstance(rows, int) or rows <= at_once:
            x = self._attended(x, seen)
        else:
            x = jax.lax.map(lambda row: self._attended(row[0][None], row[1][None])[0], (x, seen), batch_size=at_once)
        return Features(pooled=x[:, 0], local=x)

    def _attended(self, x: Float[Array, "B K D"], seen: Bool[Array, "B K"]) -> Float[Array, "B K D"]:
        """Return the tokens after all blocks; a token outside of `seen` is seen by itself alone."""
        mask = seen[:, None, :] | jnp.eye(x.shape[1], dtype=bool)[None]
        for block in self.blocks:
            x = block(x, mask)
        return x

    def _with_unknown(self, x: Array, missing: Array, keys: Array) -> Float[Array, "B F D"]:
        columns = np.array(self.categorical)
        drawn = jax.vmap(lambda key: jax.random.bernoulli(key, self.unknown_share, columns.shape))(keys)
        replaced = (drawn & ~missing[:, columns])[:, :, None]
        unknown = self.unknown[...].astype(x.dtype)[None]
        return x.at[:, columns].set(jnp.where(replaced, unknown, x[:, columns]))


@ENCODERS.register("table_transformer")
def table_transformer(
    *,
    widths: tuple[int, ...],
    missing: str = "refuse",
    bin_edges: tuple[tuple[float, ...], ...] = (),
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    width: int = 512,
    heads: int = 8,
    blocks: int = 4,
    numbers: Literal["linear", "piecewise", "periodic"] = "linear",
    bins: int = 48,
    frequencies: int = 48,
    frequency_scale: float = 0.01,
    unknown: float = 0.01,
    rare: int = 0,
) -> TableTransformer:
    """Return TIP's table encoder (Du et al., ECCV 2024), whose sizes are the defaults.

    Every column is a token: the vector of its category, from one table for all columns, or its number through a linear
    layer that all columns share. A cell that is missing or hidden (NaN) has one learned token in all columns, and no
    other token attends to it. A learned vector of the column is added; before all columns comes a class token. As in
    TIP's released code, a layer normalisation follows, then pre-norm blocks (perceptron four times as wide, exact GELU,
    no dropout; queries, keys and values have no biases), and nothing: the class token, which is the pooled feature,
    leaves the last block unnormalised. Local features are the class token and the token of every column, in the order
    of the columns; the tokens of missing columns, too.

    Our additions: an unknown token for each categorical column, and the option `numbers`.

    Args:
      widths: one-hot width of every column.
      missing: the policy for missing values; `rare` needs "token".
      bin_edges: for `numbers="piecewise"`, the edges of quantile bins of every column, over the training rows.
      rngs: random streams for the initial parameters (normal, 0.02; biases 0).
      dtype: of the computation.
      width: of the tokens and of the output.
      heads: number of attention heads.
      blocks: number of blocks.
      numbers: the vector of a number: a "linear" layer that all columns share (TIP), or a layer per column of a
        "piecewise" linear encoding over quantile bins of the training rows, or of "periodic" functions with trained
        frequencies, then ReLU (both Gorishniy et al., NeurIPS 2022).
      bins: number of bins of the piecewise encoding; equal quantiles make fewer.
      frequencies: number of frequencies of the periodic encoding.
      frequency_scale: standard deviation of the initial frequencies.
      unknown: in training, the share of categories that are replaced by the unknown token of their column, which
        stands for categories that no training row has.
      rare: categories that fewer training rows have are unknown.

    Raises:
      ValueError: a size is not positive, the heads do not divide the width, or a share is outside of [0, 1).

    Example:
      >>> encoder = table_transformer(widths=(1, 3), rngs=nnx.Rngs(0), width=8, heads=2, blocks=1)
      >>> features = encoder(jnp.array([[0.5, 2.0], [jnp.nan, -1.0]]), train=False)  # a missing and an unknown cell
      >>> features.pooled.shape, features.local.shape
      ((2, 8), (2, 3, 8))
    """
    if min(width, heads, blocks, bins, frequencies, frequency_scale) <= 0 or width % heads:
        raise ValueError(
            "width, heads, blocks, bins, frequencies and frequency_scale must be positive, and heads must divide "
            f"width, not {width}, {heads}, {blocks}, {bins}, {frequencies}, {frequency_scale}"
        )
    if not 0 <= unknown < 1 or rare < 0:
        raise ValueError(f"unknown must lie in [0, 1), and rare must not be negative, not {unknown} and {rare}")
    if rare and missing != "token":
        raise ValueError(f'rare needs the policy missing="token" of the input, not {missing!r}')
    embedding = number_embedding(
        numbers,
        width,
        bin_edges=bin_edges and [bin_edges[column] for column, size in enumerate(widths) if size == 1],
        columns=widths.count(1),
        bins=bins,
        frequencies=frequencies,
        frequency_scale=frequency_scale,
        rngs=rngs,
        dtype=dtype,
    )
    return TableTransformer(
        widths=widths,
        width=width,
        heads=heads,
        blocks=blocks,
        numbers=embedding,
        unknown=unknown,
        rngs=rngs,
        dtype=dtype,
    )
