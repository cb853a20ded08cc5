"""Texts: tokens of the store's vocabulary, each with the index of its sentence."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.kinds.kind import Kind, chunks, first_true_row
from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import check

UNKNOWN = "[UNK]"


@dataclasses.dataclass(frozen=True)
class TokenCounts:
    """The mask `[V]` of tokens that occur in training rows, and the token `unknown` that replaces all others."""

    tokens: np.ndarray
    unknown: int


class TextKind(Kind):
    """`[length, 2]`: token and sentence, padded with -1. The vocabulary, in `NAME.names.txt`, contains `[UNK]`.

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
        """Raise `UserError` as `Kind.check` does, and unless the vocabulary has a token for unknown words."""
        super().check(name, schema, names)
        shape = schema.entries[name].shape
        check(shape[1] == 2, f"The entry {name!r} has rows of the shape {shape}; a text has [length, 2].")
        check(UNKNOWN in names, f"The vocabulary of the entry {name!r} has no token {UNKNOWN}; add it.")

    def fill(self, dtype: np.dtype) -> float | int:
        """Return -1."""
        return -1

    def fault(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first row with a token outside of the vocabulary, or after the end of its text, and the reason."""
        tokens, sentences = rows[..., 0], rows[..., 1]
        if (row := first_true_row((tokens >= len(names)) | (tokens < -1))) is not None:
            token = tokens[row][(tokens[row] >= len(names)) | (tokens[row] < -1)][0]
            return row, f"it has the token {token}, and the vocabulary has {len(names)} tokens, numbered from 0"
        after_end = (tokens[:, :-1] < 0) & (tokens[:, 1:] >= 0)
        if (row := first_true_row(after_end)) is not None:
            return row, "it has a token after the end of its text (-1)"
        if (row := first_true_row((tokens >= 0) != (sentences >= 0))) is not None:
            return row, "it has a token without a sentence, or a sentence without a token"
        return None

    def fit(self, rows: object, name: str, schema: Schema, names: Sequence[str]) -> TokenCounts:
        """Return the mask of tokens that occur in the training rows."""
        counts = np.zeros(len(names), np.int64)
        for part in chunks(rows):
            tokens = part[..., 0]
            counts += np.bincount(tokens[tokens >= 0], minlength=len(names))
        return TokenCounts(counts > 0, list(names).index(UNKNOWN))

    def encode(self, rows: np.ndarray, fitted: TokenCounts) -> np.ndarray:
        """Return the rows with `[UNK]` in place of every token that no training row has."""
        tokens = rows[..., 0]
        unknown = (tokens >= 0) & ~fitted.tokens[np.maximum(tokens, 0)]
        return np.stack([np.where(unknown, fitted.unknown, tokens), rows[..., 1]], axis=-1).astype(np.int32)

    def describe(self, name: str, schema: Schema, names: Sequence[str]) -> list[str]:
        """Return the largest length, and the size of the vocabulary."""
        return [f"up to {schema.entries[name].shape[0]} tokens of a vocabulary of {len(names)}"]
