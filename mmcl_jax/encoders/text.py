"""A plain encoder of texts: an embedding of every token."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Int, Key

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features


class TokenBatch(NamedTuple):
    """The vectors of tokens, and a mask of the tokens that exist; vectors outside the mask are zeros."""

    vectors: Float[Array, "B T C"]
    mask: Bool[Array, "B T"]


class TextEmbedding(Encoder):
    """An embedding whose local features are the vectors of tokens, and whose pooled feature is their mean."""

    takes = ("text",)

    def __init__(self, *, vocabulary: int, features: int, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        # The initialisation of torch.nn.Embedding.
        self.table = nnx.Param(nnx.initializers.normal(1.0)(rngs.params(), (vocabulary, features), jnp.float32))
        self.out_features = self.out_local_features = features
        self.dtype = dtype

    def embed(self, view: Int[Array, "B T 2"]) -> TokenBatch:
        """Return the vectors of the tokens and their mask; a token beyond the vocabulary is NaN."""
        tokens = view[..., 0]
        mask = tokens >= 0
        vectors = self.table[...].at[jnp.where(mask, tokens, 0)].get(mode="fill", fill_value=jnp.nan)
        return TokenBatch(zero_absent(vectors.astype(self.dtype), mask), mask)

    def body(
        self,
        embedded: TokenBatch,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of texts; those of a text without tokens are zeros."""
        del train, present, keys
        vectors, mask = embedded
        vectors = zero_absent(vectors, mask)
        count = jnp.maximum(mask.sum(axis=1), 1).astype(jnp.float32)
        pooled = vectors.astype(jnp.float32).sum(axis=1) / count[:, None]
        return Features(pooled=pooled.astype(self.dtype), local=vectors, mask=mask)


@ENCODERS.register("text_embedding")
def text_embedding(
    *,
    widths: tuple[int, ...] = (),
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    features: int = 256,
    vocabulary: int | None = None,
) -> TextEmbedding:
    """Return an encoder that embeds every token of the vocabulary as a vector, and a text as the mean over its tokens.

    A view is int32 `[B, T, 2]`: token and sentence, -1 after the end of the text. The features depend neither on the
    order of the tokens nor on their sentences.

    Args:
      widths: size of the store's vocabulary, `(vocabulary,)`; () without a store.
      rngs: random streams for the initial parameters (normal, as PyTorch's).
      dtype: of the computation.
      features: width of the vectors.
      vocabulary: number of tokens; None for the size of the store's vocabulary.

    Raises:
      ValueError: a size is not positive, or there is neither a store nor `vocabulary`.

    Example:
      >>> encoder = text_embedding(widths=(9,), rngs=nnx.Rngs(0), dtype=jnp.float32, features=4)
      >>> features = encoder(jnp.array([[[3, 0], [8, 0], [-1, -1]]]), train=False)
      >>> features.pooled.shape, features.local.shape, features.mask.tolist()
      ((1, 4), (1, 3, 4), [[True, True, False]])
    """
    if vocabulary is None:
        if len(widths) != 1:
            raise ValueError("no store gives the size of the vocabulary; set the option vocabulary")
        (vocabulary,) = widths
    if min(features, vocabulary) <= 0:
        raise ValueError(f"features and vocabulary must be positive, not {features} and {vocabulary}")
    return TextEmbedding(vocabulary=vocabulary, features=features, rngs=rngs, dtype=dtype)
