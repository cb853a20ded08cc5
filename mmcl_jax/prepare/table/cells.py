"""The cells of a column as texts: equal values get equal texts, whatever the types of the column and of the file."""

import functools
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

import polars as pl

from mmcl_jax.data.table.readings import PLAIN, Reading

# An integer or decimal number as programs write it: no program writes the number 1.1 as 1.10.
_AS_PROGRAMS_WRITE = r"^[+-]?(?:(?:0|[1-9][0-9]*)?(?:\.(?:0*|[0-9]*[1-9]))?|[0-9.]+[eE][+-]?[0-9]+|0[0-9]+)$"
_CODE = r"^[+-]?0[0-9]"  # 007 is a code, not a number
_INTEGER = r"^-?(?:0|[1-9][0-9]*)$"
_MOST_DIGITS = 40


def usable(dtype: pl.DataType) -> bool:
    """Return whether values of this type can be numbers, categories or days."""
    if dtype.is_temporal():
        return dtype in (pl.Date, pl.Datetime)
    return dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)


def is_text(dtype: pl.DataType) -> bool:
    """Return whether the values are texts, in which a number or date can be written in several ways."""
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def nameless(cells: pl.Series) -> pl.Series:
    """Return the cells without their column's name: polars reads the name `^x$` as a pattern, even of a series."""
    return cells.alias("")


def text_of(cells: pl.Series) -> pl.Series:
    """Return the cells as texts without surrounding white space, as a CSV file of the same table would hold them.

    NaN becomes null, and times are converted to UTC.
    """
    if cells.dtype.is_float():
        return cells.fill_nan(None).cast(pl.String)
    if cells.dtype == pl.Datetime:
        zone = cells.dtype.time_zone  # type: ignore[attr-defined]
        times = cells.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else cells
        return times.dt.to_string("%Y-%m-%d %H:%M:%S%.f")
    return cells.cast(pl.String).str.strip_chars()


def is_verbatim(texts: pl.Series, reading: Reading = PLAIN) -> bool:
    """Return whether the way a number is written matters in this column, as in the versions 1.0, 1.10 and 2.0.

    It matters if a cell has a digit and is neither a number as programs write it (12, -3.5, 1.0, 1e+05) nor a code
    with leading zeros (007).
    """
    written = reading.plain(texts).fill_null(texts)
    with_digits = written.filter(written.str.contains("[0-9]").fill_null(False))
    return not with_digits.str.contains(_AS_PROGRAMS_WRITE).all()


def canonical_integers(texts: pl.Series, reading: Reading = PLAIN) -> pl.Series:
    """Return the texts with every integer written in one way: 1 for 1, 1.0, 1.00, +1 and 1e0, and 0 for -0.

    No digit is lost, however long the integer is. Every other text stays as it is: 1.5, 01, a.
    """
    short = reading.plain(texts).str.strip_prefix("+")
    with_exponent = short.filter(short.str.contains("[eE]").fill_null(False)).unique()
    if len(with_exponent):
        short = short.replace({text: _expanded(text) for text in with_exponent})
    short = short.str.replace(r"\.0*$", "").replace("-0", "0")
    return short.zip_with(short.str.contains(_INTEGER).fill_null(False), texts)


def match_words(texts: pl.Series, words: Sequence[str], reading: Reading = PLAIN) -> Mapping[str, str]:
    """Return the word that each distinct text equals, as a text or, where both are numbers, as a number.

    Texts that equal no word are left out. Numbers are compared digit by digit, so that a large number is not taken for
    its neighbour. A code such as 007 is not a number.
    """
    if not words:
        return {}
    same = texts.filter(texts.is_in(list(words)).fill_null(False))
    matches = {text: text for text in same.unique(maintain_order=True)}
    exact: dict[Decimal, str] = {}
    for word in words:
        number = _decimal(word, reading)
        if number is not None:
            exact.setdefault(number, word)
    if exact:
        near = reading.numbers(texts).is_in([float(number) for number in exact]).fill_null(False)
        for text in texts.filter(near).unique(maintain_order=True):
            number = _decimal(text, reading)
            if number in exact:
                matches.setdefault(text, exact[number])
    return matches


@functools.lru_cache(maxsize=10_000)
def _decimal(text: str, reading: Reading) -> Decimal | None:
    """Return the exact number that a text is in `reading` or else in plain notation; None for a code or a word."""
    for notation in (reading, PLAIN):
        plain = notation.plain(pl.Series([text]))[0]
        if plain is not None and not re.match(_CODE, plain):
            return _exact(plain)
    return None


def _exact(text: str) -> Decimal | None:
    """Return the exact number that a text is; None for infinity and for an exponent that is out of range."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _expanded(text: str) -> str:
    """Return a number without its exponent, if it is an integer of not too many digits; else the text unchanged."""
    number = _exact(text)
    if number is None or abs(number.adjusted()) >= _MOST_DIGITS or number != number.to_integral_value():
        return text
    return str(int(number))
