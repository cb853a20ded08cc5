"""Tokens of texts, each with the number of its sentence."""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmcl_jax.data.kinds.text import UNKNOWN
from mmcl_jax.errors import check
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.reports.vocabulary import by_number, fit_tokenizer, numbered, read_tokenizer
from mmcl_jax.prepare.sources import Source

_LONG = 100_000  # characters
_CUT = "or cut texts with length"
_WORD, _LETTER = re.compile(r"\S+"), re.compile(r"[^\W_]")


class Tokens(NamedTuple):
    """The tokens of `N` texts.

    `values` `[N, T, 2]` int32 hold token and sentence, and -1 after the end and in rows without a text. `vocabulary`
    lists the tokens in order, and `tokenizer` is the tokenizer as JSON. `lengths` `[N]` is the number of tokens of each
    whole text, `cut` the rows of texts longer than T, and `unknown` the share of tokens that the vocabulary does not
    have.
    """

    values: np.ndarray
    vocabulary: tuple[str, ...]
    tokenizer: str
    lengths: np.ndarray
    cut: np.ndarray
    unknown: float


def tokenise(
    texts: Sequence[Sequence[str]],
    train: np.ndarray,
    source: Source,
    where: str,
    *,
    length: int | None = None,
    limits: Limits | None = None,
    keys: Sequence[str] = (),
) -> Tokens:
    """Return the tokens of texts.

    A text that is longer than T keeps the sentences that fit whole, up to the first that does not, since a part of a
    sentence may say the opposite of the whole; the first sentence is itself cut if it is too long.

    Args:
      texts: the sentences of `N` texts, [] for a row without a text.
      train: the rows that a vocabulary is fitted on, if the source names no vocabulary.
      source: declares the vocabulary, its size, and how many tokens of a text are kept.
      where: how errors name the entry.
      length: T; by default the number of tokens of the longest text, at most as many as the source keeps.
      limits: the largest sizes.
      keys: of the rows, for messages.

    Raises:
      UserError: `tokenizers` is not installed, the vocabulary cannot be used, or a text that no `length` cuts, or all
        texts together, are too large.
    """
    limits = limits or Limits()
    if not (length or source.length):
        _check_words(texts, where, limits, keys)
    tokenizer = (
        fit_tokenizer((sentence for row in train for sentence in texts[row]), source, where)
        if source.vocabulary is None
        else read_tokenizer(source, where)
    )
    rows = [np.array(numbered(tokenizer, list(text)), np.int32).reshape(-1, 2) for text in texts]
    lengths = np.array([len(row) for row in rows], np.int64)
    longest = int(lengths.max(initial=0))
    check(longest > 0, f"{where}: no row has a text.")
    if not (length or source.length):
        row = int(lengths.argmax())
        text = f"{where}: the text of {keys[row]!r}" if keys else f"{where}: the longest text"
        limits.refuse("max_tokens", longest, f"{text} has {longest:,} tokens", _CUT)
    length = length or min(source.length or longest, longest)
    size = f"{where}: {len(rows):,} texts of {length:,} tokens are {len(rows) * length:,} values"
    limits.refuse("max_values", len(rows) * length, size, _CUT)
    values = np.full((len(rows), length, 2), -1, np.int32)
    for row, tokens in enumerate(rows):
        kept = _kept(tokens, length)
        values[row, : len(kept)] = kept
    ids = values[..., 0]
    return Tokens(
        values=values,
        vocabulary=tuple(token for token, _ in by_number(tokenizer)),
        tokenizer=tokenizer.to_str(pretty=True),
        lengths=lengths,
        cut=np.flatnonzero(lengths > length),
        unknown=float((ids == tokenizer.token_to_id(UNKNOWN)).sum() / max(1, (ids >= 0).sum())),
    )


def _kept(tokens: np.ndarray, length: int) -> np.ndarray:
    """Return the tokens `[n, 2]` of the sentences that fit whole into `length`, and at least of the first sentence."""
    if len(tokens) <= length:
        return tokens
    first_left_out = tokens[length, 1]
    return tokens[:length] if first_left_out == 0 else tokens[tokens[:, 1] < first_left_out]


def _check_words(texts: Sequence[Sequence[str]], where: str, limits: Limits, keys: Sequence[str]) -> None:
    """Raise `UserError` for a text of too many words, each of which is a token or more, before minutes of work."""
    for row, text in enumerate(texts):
        if sum(map(len, text)) <= max(limits.max_tokens, _LONG):  # shorter texts take a moment
            continue
        words = (word for sentence in text for word in _WORD.finditer(sentence) if _LETTER.search(word[0]))
        count = sum(1 for _ in itertools.islice(words, limits.max_tokens + 1))
        name = f"the text of {keys[row]!r}" if keys else f"text {row}"
        limits.refuse("max_tokens", count, f"{where}: {name} has more than {count - 1:,} tokens", _CUT)
