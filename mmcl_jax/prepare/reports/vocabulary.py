"""Tokenizers, by Hugging Face's `tokenizers`: read from a file, or fitted on sentences of training rows.

pip install "mmcl_jax[text]"
"""

import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmcl_jax.data.kinds.text import FIRST, LAST, SPECIAL, UNKNOWN, word_pieces
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.sources import Source
from mmcl_jax.text import words_of

_ENDLESS = re.compile(r"\S{1001,}")
_LONGEST_WORD = 100  # characters; a longer word is unknown, as in BERT
_CONTINUES = "##"


def fit_tokenizer(sentences: Iterable[str], source: Source, where: str) -> Any:
    """Return a tokenizer fitted on sentences, with at most `source.vocabulary_size` tokens.

    "byte_pairs" are pieces of words, the first of which begins with `▁`, and `[UNK]`. "word_pieces" are those of BERT,
    with its five special tokens: pairs of pieces are merged in the order of their frequency, and a word is then cut by
    the longest piece first. Words of more than 1,000 characters, such as encoded pictures, are not fitted on: the time
    of the trainer grows with the square of their length. One corpus gives one vocabulary, in any order of its words.

    Raises:
      UserError: there is no text, or the vocabulary is too small for the characters of the texts.
    """
    library = _library(where)
    texts = [_ENDLESS.sub(" ", sentence) for sentence in sentences]
    check(any(text.strip() for text in texts), f"{where}: no row of train has a text to fit a vocabulary on.")
    normalizer = library.normalizers.BertNormalizer(lowercase=source.lowercase is not False)
    if source.tokenizer == "word_pieces":
        return _word_pieces(library, texts, normalizer, source.vocabulary_size, where)
    tokenizer = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizer
    words = library.pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence([words, library.pre_tokenizers.Punctuation()])
    trainer = library.trainers.BpeTrainer(
        vocab_size=source.vocabulary_size, special_tokens=[UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def read_tokenizer(source: Source, where: str) -> Any:
    """Return the tokenizer of a `tokenizer.json`, or one for a `vocab.txt` with a word piece per line.

    A `tokenizer.json` may ask for padding and truncation, which the store does itself.

    Raises:
      UserError: `tokenizers` is not installed; or the file is missing or damaged, has a token twice or one with a line
        break, skips a number, or has no `[UNK]`.
    """
    library = _library(where)
    path: Path = source.vocabulary  # type: ignore[assignment]
    vocabulary = f"{where}: the vocabulary {path}"
    check(path.is_file(), f"{vocabulary} does not exist.")
    is_json = path.suffix.lower() == ".json"
    tokenizer = _from_json(library, path, vocabulary) if is_json else _from_pieces(library, path, source, vocabulary)
    tokens, size = by_number(tokenizer), tokenizer.get_vocab_size()
    for index, (token, number) in enumerate(tokens):
        check(number == index, f"{vocabulary} gives {token!r} the number {number}, beyond its {size} tokens.")
        broken = f"{vocabulary} has the token {token!r}, and a store holds a token per line; take this token out."
        check(not set("\r\n") & set(token), broken)
    has_unknown = UNKNOWN in tokenizer.get_vocab()
    check(has_unknown, f"{vocabulary} has no token {UNKNOWN}, which stands for unknown words; add it.")
    return tokenizer


def by_number(tokenizer: Any) -> list[tuple[str, int]]:
    """Return the tokens of a tokenizer with their numbers, in order."""
    return sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])


def _from_json(library: Any, path: Path, vocabulary: str) -> Any:
    try:
        tokenizer = library.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise UserError(f"{vocabulary} is not a tokenizer.json: {words_of(error)}.") from error
    tokenizer.no_padding()  # a file that comes with a model may ask for both
    tokenizer.no_truncation()
    return tokenizer


def _from_pieces(library: Any, path: Path, source: Source, vocabulary: str) -> Any:
    try:
        tokens = word_pieces(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{vocabulary} is not a text file in UTF-8.") from error
    numbers = {token: number for number, token in enumerate(tokens)}
    check(len(numbers) == len(tokens), f"{vocabulary} has a token in two lines.")
    cased = any(token != token.lower() for token in tokens if not token.startswith("["))
    lowercase = not cased if source.lowercase is None else source.lowercase
    return _bert(library, numbers, library.normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase))


def lacking(vocabulary: Iterable[str]) -> list[str]:
    """Return `[CLS]` and `[SEP]`, as far as a vocabulary of word pieces lacks them; [] for one of whole words."""
    tokens = set(vocabulary)
    return [token for token in (FIRST, LAST) if token not in tokens and any(t.startswith(_CONTINUES) for t in tokens)]


def numbered(tokenizer: Any, sentences: list[str]) -> list[tuple[int, int]]:
    """Return the (token, sentence) pairs of sentences; those without tokens are not counted."""
    encoded = tokenizer.encode_batch(sentences, add_special_tokens=False)
    having = (encoding.ids for encoding in encoded if encoding.ids)
    return [(token, number) for number, tokens in enumerate(having) for token in tokens]


def _word_pieces(library: Any, texts: list[str], normalizer: Any, size: int, where: str) -> Any:
    """Fit byte pairs that continue words with `##`, and cut words with them by the longest piece first, as BERT."""
    words = library.pre_tokenizers.BertPreTokenizer()
    characters = {
        character for text in texts for character in normalizer.normalize_str(text) if not character.isspace()
    }
    check(
        2 * len(characters) + len(SPECIAL) <= size,
        f"{where}: vocabulary_size is {size:,}, and the training rows have {len(characters):,} different characters, "
        f"each of which begins and continues words; set it to {2 * len(characters) + len(SPECIAL):,} or more.",
    )
    # Characters that continue words are numbered beforehand: the trainer would number them in an order of its own,
    # which changes from run to run, and decides between pairs that are equally frequent.
    known = [*SPECIAL, *sorted(characters), *(_CONTINUES + character for character in sorted(characters))]
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, special_tokens=known, continuing_subword_prefix=_CONTINUES, show_progress=False
    )
    fitted = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN, continuing_subword_prefix=_CONTINUES))
    fitted.normalizer, fitted.pre_tokenizer = normalizer, words
    fitted.train_from_iterator(texts, trainer)
    numbers = fitted.get_vocab()
    return _bert(library, {token: index for index, token in enumerate(sorted(numbers, key=numbers.get))}, normalizer)


def _bert(library: Any, numbers: dict[str, int], normalizer: Any) -> Any:
    """Return BERT's tokenizer for these word pieces."""
    model = library.models.WordPiece(numbers, unk_token=UNKNOWN, max_input_chars_per_word=_LONGEST_WORD)
    tokenizer = library.Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, library.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _library(where: str) -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise UserError(f'{where}: tokenizers is not installed; run pip install "mmcl_jax[text]".') from error
