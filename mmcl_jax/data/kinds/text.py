"""Texts: tokens of the store's vocabulary, each with the index of its sentence."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.data.kinds.kind import Kind, chunks, first_true_row
from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import check

UNKNOWN, FIRST, LAST = "[UNK]", "[CLS]", "[SEP]"
SPECIAL = ("[PAD]", UNKNOWN, FIRST, LAST, "[MASK]")  # in the order of BERT's vocabularies
_BEGINS = "\u2581"  # what begins a word, in SentencePiece's way to write pieces
_CONTINUES = "##"  # what continues a word, in BERT's
# Blanks that BERT's tokenizer puts around punctuation: before a comma, behind a bracket, within numbers and words.
_BEFORE, _AFTER = re.compile(r" ([.,;:!?%)\]])"), re.compile(r"([(\[]) ")
_WITHIN = re.compile(r"(?<=\w) ?([-/'’]|(?<=\d)[.:](?= \d)) (?=\w)")


@dataclasses.dataclass(frozen=True)
class TokenCounts:
    """What the training rows and the vocabulary tell of tokens.

    Attributes:
      tokens: the mask `[V]` of tokens that occur in training rows.
      unknown: the token that replaces all others.
      special_tokens: the tokens `[CLS]` and `[SEP]`, int32 `[2]`; `[0]` if the vocabulary lacks one of them.
      rows_by_sentences: the number of training rows that have 0, 1, 2, ... sentences.
      rows_by_tokens: the number of training rows that have 0, 1, 2, ... tokens.
    """

    tokens: np.ndarray
    unknown: int
    special_tokens: np.ndarray
    rows_by_sentences: np.ndarray
    rows_by_tokens: np.ndarray


def word_pieces(path: Path) -> list[str]:
    """Return the lines of a `vocab.txt` in UTF-8, a token each; other separators of lines are tokens themselves.

    Raises:
      UnicodeDecodeError: the file is not in UTF-8.
    """
    return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")


def special_tokens(vocabulary: Sequence[str]) -> np.ndarray:
    """Return the numbers of `[CLS]` and `[SEP]`, int32 `[2]`; `[0]` if the vocabulary lacks one of them."""
    numbers = {token: number for number, token in enumerate(vocabulary)}
    both = FIRST in numbers and LAST in numbers
    return np.array([numbers[FIRST], numbers[LAST]] if both else [], np.int32)


def words_by_sentence(tokens: np.ndarray, vocabulary: Sequence[str]) -> list[str]:
    """Return the words of each sentence of one text, from its tokens `[T, 2]` and the vocabulary.

    The words are those that the tokenizer made: without what it removes, such as capitals, and with `[UNK]` for what
    the vocabulary does not have. Special tokens, whose sentence is -1, are in no sentence.

    Example:
      >>> words_by_sentence(np.array([[3, 0], [4, 0], [3, 1], [-1, -1]]), ("[UNK]", "[CLS]", "[SEP]", "heart", "##s"))
      ['hearts', 'heart']
    """
    spaced = any(piece.startswith(_BEGINS) for piece in vocabulary)
    found: dict[int, list[str]] = {}
    for token, sentence in np.asarray(tokens):
        if token >= 0 and sentence >= 0:
            found.setdefault(int(sentence), []).append(vocabulary[token])
    return [_written(pieces, spaced=spaced) for pieces in found.values()]


def _written(pieces: Sequence[str], *, spaced: bool) -> str:
    """Return the words of pieces, with the blanks that a writer would put."""
    if spaced:
        return "".join(pieces).replace(_BEGINS, " ").strip()
    text = " ".join(pieces).replace(f" {_CONTINUES}", "").replace("_ _ _", "___")
    text = _BEFORE.sub(r"\1", _AFTER.sub(r"\1", text))
    return _WITHIN.sub(r"\1", text)


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
        """Return the mask of tokens that occur in the training rows, and how many sentences and tokens rows have."""
        counts = np.zeros(len(names), np.int64)
        by_sentences, by_tokens = np.zeros((2, schema.entries[name].shape[0] + 1), np.int64)
        for part in chunks(rows):
            tokens, number = part[..., 0], part[..., 1]
            counts += np.bincount(tokens[tokens >= 0], minlength=len(names))
            before = np.concatenate([np.full_like(number[:, :1], -1), number[:, :-1]], axis=1)
            sentences = ((number >= 0) & (number != before)).sum(axis=1)
            by_sentences += np.bincount(sentences, minlength=len(by_sentences))
            by_tokens += np.bincount((tokens >= 0).sum(axis=1), minlength=len(by_tokens))
        by_sentences, by_tokens = (by[: np.flatnonzero(by).max(initial=0) + 1] for by in (by_sentences, by_tokens))
        return TokenCounts(counts > 0, list(names).index(UNKNOWN), special_tokens(names), by_sentences, by_tokens)

    def encode(self, rows: np.ndarray, fitted: TokenCounts) -> np.ndarray:
        """Return the rows with `[UNK]` in place of every token that no training row has."""
        tokens = rows[..., 0]
        unknown = (tokens >= 0) & ~fitted.tokens[np.maximum(tokens, 0)]
        return np.stack([np.where(unknown, fitted.unknown, tokens), rows[..., 1]], axis=-1).astype(np.int32)

    def describe(self, name: str, schema: Schema, names: Sequence[str]) -> list[str]:
        """Return the largest length, and the size of the vocabulary."""
        return [f"up to {schema.entries[name].shape[0]} tokens of a vocabulary of {len(names)}"]
