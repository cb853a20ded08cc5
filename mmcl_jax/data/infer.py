"""What a column seems to be, where nobody said so."""

import re
from typing import NamedTuple

import polars as pl

MAX_CATEGORIES = 1000  # more different texts than this are no categories
FEW_ROWS = 20  # in so few rows, that all texts differ says nothing
NUMBERS = 0.9  # a column with at least this share of numbers is one of numbers, and its other cells are errors
TRUE, FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")

_IDENTIFIER = re.compile(r"(^|[_\W])(id|eid|uid|uuid|guid|key|index|idx)($|[_\W])|[a-z]ID$|^unnamed_", re.IGNORECASE)
_LOOKS_DATED = re.compile(r"^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}$")


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
    if values.dtype not in (pl.String, pl.Boolean, pl.Categorical, pl.Enum) and not (
        values.dtype.is_numeric() or values.dtype.is_temporal()
    ):
        return Guess("ignore", why=f"its type, {values.dtype}, is neither a number nor a category")
    different = values.n_unique()
    if different == 1:
        return Guess("ignore", why=f"all its values are {values[0]!r}")
    if values.dtype == pl.Boolean:
        return Guess("feature", "boolean")
    if values.dtype.is_temporal():
        return Guess("feature", "date") if values.dtype in (pl.Date, pl.Datetime) else Guess("ignore", why="a time")
    if values.dtype.is_numeric():
        return _guess_numbers(values.name, values.cast(pl.Float64), different, counted=values.dtype.is_integer())
    texts = values.cast(pl.String)
    if different == 2 and set(texts.str.to_lowercase().unique()) <= {*TRUE, *FALSE}:
        words = set(texts.str.to_lowercase().unique())
        if len(words & set(TRUE)) == len(words & set(FALSE)) == 1:
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


def _guess_numbers(name: str, numbers: pl.Series, different: int, *, counted: bool) -> Guess:
    """`counted`: they are written as integers are."""
    whole = bool((numbers == numbers.floor()).all())
    if counted and different == len(numbers) >= FEW_ROWS:
        dense = float(numbers.max() or 0) - float(numbers.min() or 0) < 1.5 * len(numbers)  # type: ignore[arg-type]
        if dense or _IDENTIFIER.search(name):
            return Guess("ignore", why="it seems to be an identifier: whole numbers, all different")
    if different == 2 and set(numbers.unique()) == {0.0, 1.0}:
        return Guess("feature", "boolean")
    if whole and different <= 10:
        return Guess("feature", "continuous", f"only {different} different whole numbers; it may be a category")
    return Guess("feature", "continuous")


def _guess_texts(texts: pl.Series, different: int) -> Guess:
    for pattern in DATE_FORMATS:
        if texts.str.strptime(pl.Datetime, pattern, strict=False).null_count() == 0:
            return Guess("feature", "date")
    many = different > MAX_CATEGORIES or (different > len(texts) / 2 and len(texts) >= FEW_ROWS)
    if not many:
        return Guess("feature", "categorical")
    if texts.str.contains(_LOOKS_DATED.pattern).all():
        return Guess("ignore", why='it seems to be a date; declare {"kind": "date", "format": "%d/%m/%Y"} or the like')
    if float(texts.str.count_matches(r"\s").mean() or 0) >= 2:  # type: ignore[arg-type]
        return Guess("ignore", why=f"it seems to be free text: {different} different texts")
    if different > 0.95 * len(texts):
        return Guess("ignore", why=f"it seems to be an identifier: {different} different texts in {len(texts)} rows")
    return Guess("ignore", why=f"it has {different} different texts, too many for categories")
