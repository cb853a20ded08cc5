"""Texts: tokens of the store's vocabulary, each with the number of its sentence."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.kinds.kind import Kind, chunks, first_of
from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import check

UNKNOWN = "[UNK]"


@dataclasses.dataclass(frozen=True)
class TokenCounts:
    """Which tokens `[V]` of the vocabulary the training rows have, and the token that stands for all others."""

    tokens: np.ndarray
    unknown: int


class TextKind(Kind):
    """`[length, 2]`: token and sentence, -1 behind the end. The vocabulary, in a file beside it, has `[UNK]` in it.

    Example:
      >>> from mmcl_jax.data.schema import Entry
      >>> schema = Schema({"report": Entry(kind="text", shape=(2, 2), dtype="int32")})
      >>> vocabulary = ("[UNK]", "heart", "lung")
      >>> fitted = TextKind().fit(np.array([[[1, 0], [-1, -1]]], np.int32), "report", schema, vocabulary)
      >>> TextKind().encode(np.array([[[1, 0], [2, 0]]], np.int32), fitted).tolist()  # no training row has "lung"
      [[[1, 0], [0, 0]]]
    """

    name = "text"
    axes = ("length", "2: token and sentence")
    dtypes = ("int32",)
    baseline = "tokens"
    named = "tokens"

    def check(self, name: str, schema: Schema, names: Sequence[str]) -> None:
        """Also raise `UserError` unless there is a vocabulary, with a token for unknown words."""
        super().check(name, schema, names)
        shape = schema.entries[name].shape
        check(shape[1] == 2, f"The entry {name!r} has rows of the shape {shape}; a text has [length, 2].")
        check(UNKNOWN in names, f"The vocabulary of the entry {name!r} has no token {UNKNOWN}; add it.")

    def fill(self, dtype: np.dtype) -> float | int:
        """Return -1."""
        return -1

    def wrong(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first row with a token beyond the vocabulary, or one behind the end."""
        tokens, sentences = rows[..., 0], rows[..., 1]
        if (row := first_of((tokens >= len(names)) | (tokens < -1))) is not None:
            token = tokens[row][(tokens[row] >= len(names)) | (tokens[row] < -1)][0]
            return row, f"it has the token {token}, and the vocabulary has {len(names)}, from 0"
        behind = (tokens[:, :-1] < 0) & (tokens[:, 1:] >= 0)
        if (row := first_of(behind)) is not None:
            return row, "it has a token behind its end (-1)"
        if (row := first_of((tokens >= 0) != (sentences >= 0))) is not None:
            return row, "it has a token without a sentence, or a sentence without a token"
        return None

    def fit(self, rows: object, name: str, schema: Schema, names: Sequence[str]) -> TokenCounts:
        """Return which tokens the training rows have."""
        counts = np.zeros(len(names), np.int64)
        for part in chunks(rows):
            tokens = part[..., 0]
            counts += np.bincount(tokens[tokens >= 0], minlength=len(names))
        return TokenCounts(counts > 0, list(names).index(UNKNOWN))

    def encode(self, rows: np.ndarray, fitted: TokenCounts) -> np.ndarray:
        """Return the rows with `[UNK]` for every token that no training row has."""
        tokens = rows[..., 0]
        unknown = (tokens >= 0) & ~fitted.tokens[np.maximum(tokens, 0)]
        return np.stack([np.where(unknown, fitted.unknown, tokens), rows[..., 1]], axis=-1).astype(np.int32)

    def describe(self, name: str, schema: Schema, names: Sequence[str]) -> list[str]:
        """Return the length and the size of the vocabulary."""
        return [f"up to {schema.entries[name].shape[0]} tokens of a vocabulary of {len(names)}"]
