"""What a column seems to be, where nobody said so."""

import re
from typing import NamedTuple

import polars as pl

MAX_CATEGORIES = 1000  # more different texts than this are no categories
FEW_ROWS = 20  # in so few rows, that all texts differ says nothing
NUMBERS = 0.9  # a column with at least this share of numbers is one of numbers, and its other cells are errors
TRUE, FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")

_IDENTITY = re.compile(r"(^|[_\W])(id|eid|uid|uuid|guid)($|[_\W])|[a-z]ID$", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(^|[_\W])(id|eid|uid|uuid|guid|key|index|idx)($|[_\W])|[a-z]ID$|^unnamed_", re.IGNORECASE)
_LOOKS_DATED = r"^(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d\d-\d\d[T ]\d.*)$"
_NUMBER_WITH_COMMA = r"^[+-]?\d+(,\d+)*(\.\d+)?$"


class Guess(NamedTuple):
    """A role and a kind (see `declaration`), and why, where that is not plain. Only features have a kind."""

    role: str
    kind: str = ""
    why: str = ""


def guess(values: pl.Series) -> Guess:
    """What a column of these values seems to be.

    Args:
      values: those that are not missing: texts, or the types of a Parquet file.

    Returns:
      A feature with its kind, or "ignore" with the reason: no value, one value, an identifier, free text, or a type
      that is neither a number nor a category.
    """
    if len(values) == 0:
        return Guess("ignore", why="it has no values")
    if not usable(values.dtype):
        return Guess("ignore", why=f"its type, {values.dtype}, is neither a number nor a category")
    different = values.n_unique()
    if different == 1:
        return Guess("ignore", why=f"all its values are {shortened(values[0])}")
    if values.dtype == pl.Boolean:
        return Guess("feature", "boolean")
    if values.dtype.is_temporal():
        return Guess("feature", "date")
    if values.dtype.is_numeric():
        return _guess_numbers(values.name, values.cast(pl.Float64), different, counted=values.dtype.is_integer())
    texts = values.cast(pl.String)
    if different <= 2 * max(map(len, (TRUE, FALSE))):
        words = set(texts.str.to_lowercase().unique())
        if len(words & set(TRUE)) == len(words & set(FALSE)) == 1 and len(words) == 2:
            return Guess("feature", "boolean")
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() <= (1 - NUMBERS) * len(texts) and not texts.str.contains(r"^0\d").any():
        guessed = _guess_numbers(
            values.name, numbers.drop_nulls(), different, counted=not texts.str.contains(r"[.eE]").any()
        )
        wrong = numbers.null_count()
        if wrong and guessed.role == "feature":
            return guessed._replace(why=f"{wrong} of its cells are no numbers; those rows are bad")
        return guessed
    return _guess_texts(texts, different)


def usable(dtype: pl.DataType) -> bool:
    """Whether values of this type can be numbers, categories or days."""
    if dtype.is_temporal():
        return dtype in (pl.Date, pl.Datetime)
    return dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)


def days(texts: pl.Series, pattern: str = "") -> pl.Series:
    """Dates as days since 1970-01-01, null for what is none; in `pattern`, or else in any of `DATE_FORMATS`."""
    values = pl.Series(texts.name, [], pl.Float64).extend_constant(None, len(texts))
    for one in (pattern,) if pattern else DATE_FORMATS:
        if values.null_count() == 0:
            break
        moments = texts.str.strptime(pl.Datetime, one, strict=False)
        values = values.zip_with(values.is_not_null(), since_epoch(moments))
    return values


def since_epoch(moments: pl.Series) -> pl.Series:
    """Datetimes as days since 1970-01-01."""
    return moments.dt.epoch("ms").cast(pl.Float64) / 86_400_000


def shortened(value: object, most: int = 60) -> str:
    """A cell as a message quotes it."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _guess_numbers(name: str, numbers: pl.Series, different: int, *, counted: bool) -> Guess:
    """`counted`: they are written as integers are."""
    whole = bool((numbers == numbers.floor()).all())
    if whole and different == len(numbers) >= FEW_ROWS:
        dense = float(numbers.max() or 0) - float(numbers.min() or 0) < 1.5 * len(numbers)  # type: ignore[arg-type]
        if (counted and dense) or _IDENTIFIER.search(name):
            return Guess("ignore", why="it seems to be an identifier: whole numbers, all different")
    if whole and different > 10 and _IDENTITY.search(name):
        return Guess("ignore", why="it seems to be an identifier: whole numbers, and so its name says")
    if different == 2 and set(numbers.unique()) == {0.0, 1.0}:
        return Guess("feature", "boolean")
    if whole and different <= 10:
        return Guess("feature", "continuous", f"only {different} different whole numbers; it may be a category")
    return Guess("feature", "continuous")


def _guess_texts(texts: pl.Series, different: int) -> Guess:
    if texts.str.contains(",").any() and texts.str.contains(_NUMBER_WITH_COMMA).all():
        return Guess("ignore", why="it seems to be numbers written with commas; write them without, as in 1234.5")
    wrong = days(texts).null_count()
    if wrong <= (1 - NUMBERS) * len(texts):
        return Guess("feature", "date", f"{wrong} of its cells are no dates; those rows are bad" if wrong else "")
    if texts.str.contains(_LOOKS_DATED).all():
        return Guess("ignore", why='it seems to be a date; declare {"kind": "date", "format": "%d/%m/%Y"} or the like')
    many = different > MAX_CATEGORIES or (different > len(texts) / 2 and len(texts) >= FEW_ROWS)
    if not many and different > max(10, len(texts) / 10) and _IDENTITY.search(texts.name):
        return Guess("ignore", why="it seems to be an identifier: many different texts, and so its name says")
    if not many:
        return Guess("feature", "categorical")
    if float(texts.str.count_matches(r"\s").mean() or 0) >= 2:  # type: ignore[arg-type]
        return Guess("ignore", why=f"it seems to be free text: {different} different texts")
    if different > 0.95 * len(texts):
        return Guess("ignore", why=f"it seems to be an identifier: {different} different texts in {len(texts)} rows")
    return Guess("ignore", why=f"it has {different} different texts, too many for categories")
