"""The cells of a column as texts: one text for one value, whatever the types of the column and of the file."""

import functools
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

import polars as pl

from mmcl_jax.data.table.readings import PLAIN, Reading

# A whole or broken number as programs write it. Neither 1.10 nor 1.50 is written by a program that means a number.
_AS_PROGRAMS_WRITE = r"^[+-]?(?:(?:0|[1-9][0-9]*)?(?:\.(?:0*|[0-9]*[1-9]))?|[0-9.]+[eE][+-]?[0-9]+|0[0-9]+)$"
_CODE = r"^[+-]?0[0-9]"  # 007 is a code and no number
_WHOLE = r"^-?(?:0|[1-9][0-9]*)$"
_MOST_DIGITS = 40


def usable(dtype: pl.DataType) -> bool:
    """Return whether values of this type can be numbers, categories or days."""
    if dtype.is_temporal():
        return dtype in (pl.Date, pl.Datetime)
    return dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)


def is_text(dtype: pl.DataType) -> bool:
    """Return whether the values are texts, so that how a number or date is written has to be known."""
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def nameless(cells: pl.Series) -> pl.Series:
    """Return the cells without their column's name: polars takes one such as `^x$` for a pattern, even in a series."""
    return cells.alias("")


def text_of(cells: pl.Series) -> pl.Series:
    """Return the cells as texts without white space around them, as the same table in a CSV file would have them.

    NaN becomes null, and a moment is in UTC.
    """
    if cells.dtype.is_float():
        return cells.fill_nan(None).cast(pl.String)
    if cells.dtype == pl.Datetime:
        zone = cells.dtype.time_zone  # type: ignore[attr-defined]
        moments = cells.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else cells
        return moments.dt.to_string("%Y-%m-%d %H:%M:%S%.f")
    return cells.cast(pl.String).str.strip_chars()


def is_verbatim(texts: pl.Series, reading: Reading = PLAIN) -> bool:
    """Return whether the way a number is written matters in this column, as in the versions 1.0, 1.10 and 2.0.

    It does if a cell has a digit and is neither a number as programs write it (12, -3.5, 1.0, 1e+05) nor a code with
    leading zeros (007).
    """
    written = reading.plain(texts).fill_null(texts)
    with_digits = written.filter(written.str.contains("[0-9]").fill_null(False))
    return not with_digits.str.contains(_AS_PROGRAMS_WRITE).all()


def whole(texts: pl.Series, reading: Reading = PLAIN) -> pl.Series:
    """Return the texts with one text for each whole number: 1 for 1, 1.0, 1.00, +1 and 1e0, and 0 for -0.

    Digits are kept, however many there are. Every other text stays as it is: 1.5, 01, a.
    """
    short = reading.plain(texts).str.strip_prefix("+")
    with_exponent = short.filter(short.str.contains("[eE]").fill_null(False)).unique()
    if len(with_exponent):
        short = short.replace({text: _expanded(text) for text in with_exponent})
    short = short.str.replace(r"\.0*$", "").replace("-0", "0")
    return short.zip_with(short.str.contains(_WHOLE).fill_null(False), texts)


def one_of(texts: pl.Series, words: Sequence[str], reading: Reading = PLAIN) -> Mapping[str, str]:
    """Return, by cell, the word that it is: the same text, or the same number where both are numbers.

    The cells are the different ones among `texts`; those that are no word are left out. Numbers are compared digit by
    digit, so that large ones are not taken for their neighbours; a code such as 007 is no number.
    """
    met = {text: text for text in texts.filter(texts.is_in(list(words)).fill_null(False)).unique(maintain_order=True)}
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
                met.setdefault(text, exact[number])
    return met


@functools.lru_cache(maxsize=10_000)
def _decimal(text: str, reading: Reading) -> Decimal | None:
    """Return the number that a text is in the reading or plainly, without loss; None for a code or a word."""
    for one in (reading, PLAIN):
        plain = one.plain(pl.Series([text]))[0]
        if plain is not None and not re.match(_CODE, plain):
            return _exact(plain)
    return None


def _exact(text: str) -> Decimal | None:
    """Return a number without loss; None for inf and for an exponent that no number has."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _expanded(text: str) -> str:
    """Return a number with an exponent without it, if it is whole and not very long."""
    number = _exact(text)
    if number is None or abs(number.adjusted()) >= _MOST_DIGITS or number != number.to_integral_value():
        return text
    return str(int(number))
