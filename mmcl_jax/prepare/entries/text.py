"""Tokens of texts, each with the number of its sentence.

    pip install "mmcl_jax[text]"

Hugging Face's `tokenizers` cuts words into pieces by a vocabulary that is read from a file or fitted on training rows.
"""

import importlib
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.sources import Source

UNKNOWN = "[UNK]"
_LONG = 100_000  # characters
_CUT = "or cut texts with length"
_WORD, _LETTER = re.compile(r"\S+"), re.compile(r"[^\W_]")
_ENDLESS = re.compile(r"\S{1001,}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")


class Tokens(NamedTuple):
    """The tokens of `N` texts.

    `values` `[N, T, 2]` int32 hold token and sentence, and -1 after the end and in rows without a text. `vocabulary`
    lists the tokens in order, and `tokenizer` is the tokenizer as JSON. `cut` is the number of texts longer than T,
    `unknown` the share of tokens that the vocabulary does not have.
    """

    values: np.ndarray
    vocabulary: tuple[str, ...]
    tokenizer: str
    cut: int
    unknown: float


def tokenise(
    texts: Sequence[str | None],
    train: np.ndarray,
    source: Source,
    where: str,
    *,
    length: int | None = None,
    limits: Limits | None = None,
    keys: Sequence[str] = (),
) -> Tokens:
    """Return the tokens of texts.

    Args:
      texts: `N` texts, None for a row without a text.
      train: the rows that a vocabulary is fitted on, if the source names no vocabulary.
      source: declares the vocabulary, its size, and how many tokens of a text are kept.
      where: how errors name the entry.
      length: T; by default the number of tokens of the longest text, at most as many as the source keeps.
      limits: the largest sizes.
      keys: of the rows, for messages.

    Raises:
      UserError: `tokenizers` is not installed; or the vocabulary cannot be read, lacks `[UNK]`, or skips a number; or a
        text that no `length` cuts, or all texts together, are too large.
    """
    limits = limits or Limits()
    if not (length or source.length):
        _check_words(texts, where, limits, keys)
    tokenizer = (
        _fitted([texts[row] or "" for row in train], source, where)
        if source.vocabulary is None
        else _read(source, where)
    )
    size = tokenizer.get_vocab_size()
    by_token = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    vocabulary = f"{where}: the vocabulary {source.vocabulary}"
    check(
        UNKNOWN in tokenizer.get_vocab(),
        f"{vocabulary} has no token {UNKNOWN}, which stands for unknown words; add it.",
    )
    for index, (token, number) in enumerate(by_token):
        check(number == index, f"{vocabulary} gives {token!r} the number {number}, beyond its {size} tokens.")
    rows: list[list[tuple[int, int]]] = []
    for text in texts:
        sentences = [] if text is None else [part for part in _SENTENCE.split(text) if part.strip()]
        encoded = tokenizer.encode_batch(sentences, add_special_tokens=False)
        rows.append([(token, sentence) for sentence, encoding in enumerate(encoded) for token in encoding.ids])
    longest = max(map(len, rows), default=0)
    check(longest > 0, f"{where}: no row has a text.")
    if not (length or source.length):
        row = max(range(len(rows)), key=lambda row: len(rows[row]))
        text = f"{where}: the text of {keys[row]!r}" if keys else f"{where}: the longest text"
        limits.refuse("max_tokens", longest, f"{text} has {longest:,} tokens", _CUT)
    length = length or min(source.length or longest, longest)
    size = f"{where}: {len(rows):,} texts of {length:,} tokens are {len(rows) * length:,} values"
    limits.refuse("max_values", len(rows) * length, size, _CUT)
    values = np.full((len(rows), length, 2), -1, np.int32)
    for row, tokens in enumerate(rows):
        kept = tokens[:length]
        values[row, : len(kept)] = np.array(kept, np.int32).reshape(-1, 2)
    ids = values[..., 0]
    return Tokens(
        values=values,
        vocabulary=tuple(token for token, _ in by_token),
        tokenizer=tokenizer.to_str(pretty=True),
        cut=sum(len(tokens) > length for tokens in rows),
        unknown=float((ids == tokenizer.token_to_id(UNKNOWN)).sum() / max(1, (ids >= 0).sum())),
    )


def _check_words(texts: Sequence[str | None], where: str, limits: Limits, keys: Sequence[str]) -> None:
    """Raise `UserError` for a text of too many words, each of which is a token or more, before minutes of work."""
    for row, text in enumerate(texts):
        if text is None or len(text) <= max(limits.max_tokens, _LONG):  # shorter texts take a moment
            continue
        words = (word for word in _WORD.finditer(text) if _LETTER.search(word[0]))
        count = sum(1 for _ in itertools.islice(words, limits.max_tokens + 1))
        name = f"the text of {keys[row]!r}" if keys else f"text {row}"
        limits.refuse("max_tokens", count, f"{where}: {name} has more than {count - 1:,} tokens", _CUT)


def _fitted(texts: Sequence[str], source: Source, where: str) -> Any:
    """Fit byte pair encoding to texts in lower case without accents; `▁` begins a word.

    WordPiece is not used, since its trainer is not deterministic. Words of more than 1,000 characters, such as encoded
    pictures, are not fitted on: the time of the trainer grows with the square of their length.
    """
    library = _library(where)
    check(any(text.strip() for text in texts), f"{where}: no row of train has a text to fit a vocabulary on.")
    tokenizer = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    words = library.pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence([words, library.pre_tokenizers.Punctuation()])
    trainer = library.trainers.BpeTrainer(
        vocab_size=source.vocabulary_size, special_tokens=[UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator((_ENDLESS.sub(" ", text) for text in texts), trainer)
    return tokenizer


def _read(source: Source, where: str) -> Any:
    """Read the tokenizer in a `tokenizer.json`, or make one for a `vocab.txt` with a word piece per line."""
    library = _library(where)
    path: Path = source.vocabulary  # type: ignore[assignment]
    check(path.is_file(), f"{where}: the vocabulary {path} does not exist.")
    if path.suffix.lower() == ".json":
        try:
            return library.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises Exception itself
            raise UserError(f"{where}: the vocabulary {path} is not a tokenizer.json: {error}.") from error
    try:
        tokens = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: the vocabulary {path} is not a text file in UTF-8.") from error
    numbers = {token: number for number, token in enumerate(tokens)}
    check(len(numbers) == len(tokens), f"{where}: the vocabulary {path} has a token in two lines.")
    check(
        UNKNOWN in numbers,
        f"{where}: the vocabulary {path} has no token {UNKNOWN}, which stands for unknown words; add it.",
    )
    tokenizer = library.Tokenizer(library.models.WordPiece(numbers, unk_token=UNKNOWN, max_input_chars_per_word=100))
    cased = any(token != token.lower() for token in tokens if not token.startswith("["))
    tokenizer.normalizer = library.normalizers.BertNormalizer(lowercase=not cased, strip_accents=not cased)
    tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _library(where: str) -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise UserError(f'{where}: tokenizers is not installed; run pip install "mmcl_jax[text]".') from error
