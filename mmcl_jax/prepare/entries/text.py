"""Texts become tokens, each with the number of its sentence.

    pip install "mmcl_jax[text]"

Hugging Face's `tokenizers` cuts words into pieces: by a vocabulary that is fitted on the training rows, or a given one.
"""

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.sources import Source

UNKNOWN = "[UNK]"
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")


class Tokens(NamedTuple):
    """Tokens of `N` texts.

    `values` [N, T, 2] int32: token and sentence, -1 behind the end and in rows without a text. `vocabulary` are the
    tokens in order, `tokenizer` is what made them, as JSON. `cut` texts were longer than T, `unknown` is the share of
    tokens that the vocabulary does not have.
    """

    values: np.ndarray
    vocabulary: tuple[str, ...]
    tokenizer: str
    cut: int
    unknown: float


def tokenise(
    texts: Sequence[str | None], train: np.ndarray, source: Source, where: str, *, length: int | None = None
) -> Tokens:
    """Return the tokens of texts.

    Args:
      texts: `N` of them, None for none.
      train: the rows that a vocabulary is fitted on, where none is given.
      source: says which vocabulary, its size, and how many tokens of a text are kept.
      where: what errors call the entry.
      length: T; by default that of the longest text, or of what the source keeps of it.

    Raises:
      UserError: `tokenizers` is not installed, the vocabulary cannot be read, has no `[UNK]`, or a token is beyond it.
    """
    made = (
        _fitted([texts[row] or "" for row in train], source, where)
        if source.vocabulary is None
        else _given(source, where)
    )
    size = made.get_vocab_size()
    by_token = sorted(made.get_vocab().items(), key=lambda item: item[1])
    given = f"{where}: the vocabulary {source.vocabulary}"
    check(UNKNOWN in made.get_vocab(), f"{given} has no token {UNKNOWN}, which stands for unknown words; add it.")
    for place, (token, number) in enumerate(by_token):
        check(number == place, f"{given} gives {token!r} the number {number}, beyond its {size} tokens.")
    rows: list[list[tuple[int, int]]] = []
    for text in texts:
        sentences = [] if text is None else [part for part in _SENTENCE.split(text) if part.strip()]
        encoded = made.encode_batch(sentences, add_special_tokens=False)
        rows.append([(token, place) for place, one in enumerate(encoded) for token in one.ids])
    longest = max(map(len, rows), default=0)
    check(longest > 0, f"{where}: no row has a text.")
    length = length or min(source.length or longest, longest)
    values = np.full((len(rows), length, 2), -1, np.int32)
    for row, tokens in enumerate(rows):
        kept = tokens[:length]
        values[row, : len(kept)] = np.array(kept, np.int32).reshape(-1, 2)
    ids = values[..., 0]
    return Tokens(
        values=values,
        vocabulary=tuple(token for token, _ in by_token),
        tokenizer=made.to_str(pretty=True),
        cut=sum(len(tokens) > length for tokens in rows),
        unknown=float((ids == made.token_to_id(UNKNOWN)).sum() / max(1, (ids >= 0).sum())),
    )


def _fitted(texts: Sequence[str], source: Source, where: str) -> Any:
    """Return byte pair encoding, fitted on these texts, in lower case and without accents; `▁` begins a word.

    It is no WordPiece, whose trainer gives another vocabulary each time.
    """
    library = _library(where)
    check(any(text.strip() for text in texts), f"{where}: no row of train has a text to fit a vocabulary on.")
    made = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN))
    made.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    words = library.pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    made.pre_tokenizer = library.pre_tokenizers.Sequence([words, library.pre_tokenizers.Punctuation()])
    trainer = library.trainers.BpeTrainer(
        vocab_size=source.vocabulary_size, special_tokens=[UNKNOWN], show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


def _given(source: Source, where: str) -> Any:
    """Return the tokenizer of a `tokenizer.json`, or of a `vocab.txt` with a word piece per line."""
    library = _library(where)
    path: Path = source.vocabulary  # type: ignore[assignment]
    check(path.is_file(), f"{where}: the vocabulary {path} does not exist.")
    if path.suffix.lower() == ".json":
        try:
            return library.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises no other type
            raise UserError(f"{where}: the vocabulary {path} is no tokenizer.json: {error}.") from error
    try:
        tokens = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: the vocabulary {path} is not a text file in UTF-8.") from error
    numbers = {token: place for place, token in enumerate(tokens)}
    check(len(numbers) == len(tokens), f"{where}: the vocabulary {path} has a token in two lines.")
    check(
        UNKNOWN in numbers,
        f"{where}: the vocabulary {path} has no token {UNKNOWN}, which stands for unknown words; add it.",
    )
    made = library.Tokenizer(library.models.WordPiece(numbers, unk_token=UNKNOWN, max_input_chars_per_word=100))
    cased = any(token != token.lower() for token in tokens if not token.startswith("["))
    made.normalizer = library.normalizers.BertNormalizer(lowercase=not cased, strip_accents=not cased)
    made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    return made


def _library(where: str) -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise UserError(f'{where}: tokenizers is not installed; run pip install "mmcl_jax[text]".') from error
