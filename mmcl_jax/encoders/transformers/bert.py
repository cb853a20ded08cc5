"""BERT (Devlin et al., NAACL 2019) for reports: a vector of every sentence, and a vector of the whole text."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Int, Key

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import linear
from mmcl_jax.encoders.transformers.attention import attended, layer_norm, transformer_init
from mmcl_jax.encoders.transformers.dropout import Drop, dropout
from mmcl_jax.encoders.transformers.sentences import greatest

EPSILON = 1e-12  # of layer normalisation

Tokens = Float[Array, "B T D"]


class Words(NamedTuple):
    """The vectors of tokens, and their sentences: -1 for special tokens, -2 behind the end, where vectors are zeros."""

    vectors: Float[Array, "B T D"]
    sentences: Int[Array, "B T"]


class Block(nnx.Module):
    """Self-attention and a perceptron with exact GELU, each with a residual connection and a norm behind that."""

    def __init__(self, width: int, heads: int, hidden: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        layer = functools.partial(linear, rngs=rngs, dtype=dtype, kernel_init=transformer_init, zero_bias=True)
        norm = functools.partial(layer_norm, width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.query, self.key, self.value = layer(width, width), layer(width, width), layer(width, width)
        self.mixed, self.norm1 = layer(width, width), norm()
        self.hidden, self.out, self.norm2 = layer(width, hidden), layer(hidden, width), norm()
        self.heads = heads

    def __call__(self, x: Tokens, mask: Bool[Array, "B T"], drop: Drop) -> Tokens:
        """Return the tokens after the block; those in `mask` are seen."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        mixed, _ = attended(query, key, value, mask, heads=self.heads, drop=drop)
        x = self.norm1(x + drop(self.mixed(mixed)))
        return self.norm2(x + drop(self.out(nnx.gelu(self.hidden(x), approximate=False))))


class Bert(Encoder):
    """A transformer over the tokens of a text; see `bert`."""

    takes = ("text",)

    def __init__(
        self,
        *,
        vocabulary: int,
        length: int,
        layers: int,
        width: int,
        heads: int,
        hidden: int,
        positions: int,
        frozen_layers: int | None,
        dropout: float,
        sentences: int,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        def table(rows: int) -> nnx.Param:
            return nnx.Param(transformer_init(rngs.params(), (rows, width), jnp.float32))

        self.tokens, self.positions, self.types = table(vocabulary), table(positions), table(2)
        self.norm = layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List([Block(width, heads, hidden, rngs=rngs, dtype=dtype) for _ in range(layers)])
        self.out_features = self.out_local_features = width
        self.length, self.frozen_layers = length, frozen_layers
        self.dropout, self.sentences, self.dtype = dropout, sentences, dtype

    @property
    def frozen(self) -> tuple[str, ...]:
        """The embeddings and the first layers, unless `frozen_layers` is None."""
        if self.frozen_layers is None:
            return ()
        return ("tokens", "positions", "types", "norm", *(f"blocks.{layer}" for layer in range(self.frozen_layers)))

    def row_bytes(self, *, train: bool) -> int:
        """Return the bytes of the attention weights of all trained layers, for the gradient, or of one layer."""
        one = 4 * self.blocks[0].heads * self.length**2  # float32
        return one * max(1, len(self.blocks) - (self.frozen_layers or 0)) if train else one

    def embed(self, view: Int[Array, "B T 2"]) -> Words:
        """Return the vectors of the tokens, without positions, and their sentences.

        The vector of a token beyond the vocabulary is NaN.
        """
        tokens, sentences = view[..., 0], view[..., 1]
        mask = tokens >= 0
        vectors = self.tokens[...].at[jnp.where(mask, tokens, 0)].get(mode="fill", fill_value=jnp.nan)
        return Words(zero_absent(vectors.astype(self.dtype), mask), jnp.where(mask, sentences, -2))

    def body(
        self,
        embedded: Words,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the maximum over all tokens as the pooled feature, and those of sentences as local features.

        A text or a sentence without tokens has zeros. Without `keys` nothing is dropped.
        """
        del present  # rows do not meet
        vectors, sentences = embedded
        mask = sentences > -2
        drop = dropout(self.dropout, keys if train else None)
        x = vectors + self.positions[...][None, : vectors.shape[1]].astype(self.dtype)
        x = drop(self.norm(x + self.types[...][None, :1].astype(self.dtype)))
        for block in self.blocks:
            x = block(x, mask, drop)
        slots = jnp.arange(self.sentences, dtype=sentences.dtype)
        within = sentences[:, None] == slots[None, :, None]
        whole = (sentences >= 0)[:, None]
        local, pooled = greatest(x, within), greatest(x, whole)[:, 0]
        return Features(pooled=pooled, local=local, mask=within.any(axis=2))


@ENCODERS.register("bert")
def bert(
    *,
    shape: tuple[int, ...] = (),
    widths: tuple[int, ...] = (),
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    hidden: int | None = None,
    positions: int = 512,
    vocabulary: int | None = None,
    frozen_layers: int | None = 6,
    dropout: float = 0.1,
    sentences: int = 32,
) -> Bert:
    """Return a BERT; the default sizes are those of BERT-base, and the default training is that of LoVT and ConVIRT.

    A view is int32 `[B, T, 2]`: token and sentence; special tokens have the sentence -1, and both are -1 behind the end
    of the text. Vectors of tokens, positions and the first type are added and normalised; the blocks are post-norm with
    exact GELU, and the epsilon of all norms is 1e-12. Tokens behind the end are seen by no token.

    The vector of a sentence is the maximum over its tokens in the last layer, without special tokens, of each
    component; `pooled` is the maximum over the tokens of all sentences. So a phrase is a report of one sentence, and
    both vectors are the same.

    Args:
      shape: of one view, (T, 2); () without a store.
      widths: size of the store's vocabulary, `(vocabulary,)`; () without a store.
      rngs: random streams for the initial parameters (normal with the deviation 0.02, biases 0).
      dtype: of the computation.
      layers: number of blocks.
      width: of the vectors.
      heads: number of attention heads.
      hidden: width of the hidden layer of a perceptron; None for four times `width`.
      positions: number of position embeddings, which limits T.
      vocabulary: number of tokens; None for the size of the store's vocabulary.
      frozen_layers: number of the first blocks that are not trained, and neither are the embeddings; 0 for the
        embeddings alone, None to train everything. Frozen parameters have no gradients and no moments, and are stored
        once in a checkpoint.
      dropout: share of the values that training sets to 0, in frozen blocks, too: behind the embeddings, of the weights
        of attention, behind the attention and behind the perceptron. `mmcl evaluate --protocol finetune` drops nothing.
      sentences: number of sentences M that have a vector; further sentences enter `pooled` alone.

    Raises:
      ValueError: a size is not positive, the heads do not divide the width, there are more frozen layers than layers,
        `dropout` is not in [0, 1), views are longer than `positions`, or there is neither a store nor `vocabulary`.

    Example:
      >>> encoder = bert(vocabulary=9, rngs=nnx.Rngs(0), layers=1, width=8, heads=2, frozen_layers=None, sentences=3)
      >>> text = jnp.array([[[1, -1], [5, 0], [6, 0], [7, 1], [2, -1], [-1, -1]]])  # [CLS], two sentences, [SEP]
      >>> features = encoder(text, train=False)
      >>> features.pooled.shape, features.local.shape, features.mask.tolist()
      ((1, 8), (1, 3, 8), [[True, True, False]])
    """
    if vocabulary is None:
        if len(widths) != 1:
            raise ValueError("no store gives the size of the vocabulary; set the option vocabulary")
        (vocabulary,) = widths
    hidden = 4 * width if hidden is None else hidden
    sizes = {
        "layers": layers,
        "width": width,
        "heads": heads,
        "hidden": hidden,
        "positions": positions,
        "vocabulary": vocabulary,
        "sentences": sentences,
    }
    for name, size in sizes.items():
        if size <= 0:
            raise ValueError(f"{name} must be positive, not {size}")
    if width % heads:
        raise ValueError(f"heads must divide width, and {heads} heads do not divide {width}")
    if frozen_layers is not None and not 0 <= frozen_layers <= layers:
        raise ValueError(f"frozen_layers must be None or from 0 to the number of layers, {layers}, not {frozen_layers}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and less than 1, not {dropout}")
    if shape and shape[0] > positions:
        raise ValueError(
            f"views have up to {shape[0]} tokens, and there are {positions} positions; set positions to {shape[0]}, or "
            f"the option max_tokens of the view to {positions}"
        )
    return Bert(
        vocabulary=vocabulary,
        length=shape[0] if shape else positions,
        layers=layers,
        width=width,
        heads=heads,
        hidden=hidden,
        positions=positions,
        frozen_layers=frozen_layers,
        dropout=dropout,
        sentences=sentences,
        rngs=rngs,
        dtype=dtype,
    )
