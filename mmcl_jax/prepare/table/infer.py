"""Guesses of a column's role and kind from its name and cells, where neither was declared."""

import re
from typing import NamedTuple

import polars as pl

from mmcl_jax.data.table.readings import PLAIN, SHARE, Reading, days, suggest, whole_dates
from mmcl_jax.prepare.table.cells import canonical_integers

MAX_CATEGORIES = 1000  # a column of more distinct texts is not categorical
FEW_ROWS = 20  # in fewer rows, all texts may differ by chance
EXACT = 2.0**53  # float64 holds all smaller whole numbers
NUMBERS = SHARE  # a column with at least this share of numbers is numeric, and its other cells are errors
TRUE, FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
MOST_BOOLEANS = 2 * max(map(len, (TRUE, FALSE)))  # a boolean column has at most so many different texts

_IDENTITY = re.compile(r"(^|[_\W])(id|eid|uid|uuid|guid)($|[_\W])|[a-z]ID$", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(^|[_\W])(id|eid|uid|uuid|guid|key|index|idx)($|[_\W])|[a-z]ID$|^unnamed_", re.IGNORECASE)
_LOOKS_DATED = r"^(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d\d-\d\d[T ]\d.*)$"


class Guess(NamedTuple):
    """A role and a kind (see `declaration`), with the reason where it is not obvious. Only features have a kind.

    `unread` is a sentence on cells that are numbers or dates in an undeclared notation, which it names.
    """

    role: str
    kind: str = ""
    why: str = ""
    unread: str = ""


class Numbers(NamedTuple):
    """What a guess reads of a column of numbers.

    `total` numbers have `distinct` values from `low` to `high`; `integral` says whether all are whole numbers, and
    `integers` whether all are written without a decimal point.
    """

    total: int
    distinct: int
    low: float
    high: float
    integral: bool
    integers: bool


def guess(name: str, texts: pl.Series, reading: Reading = PLAIN) -> Guess:
    """Guess the role and kind of a column.

    Args:
      name: of the column.
      texts: its cells, without the missing values.
      reading: how its numbers are written.

    Returns:
      A feature with its kind, or "ignore" with the reason: no value, a single value, an identifier, free text, or
      numbers or dates in an undeclared notation.
    """
    if len(texts) == 0:
        return Guess("ignore", why="it has no values")
    distinct = texts.n_unique()
    if distinct == 1:
        return Guess("ignore", why=f"all its values are {shortened(texts[0])}")
    if distinct <= MOST_BOOLEANS:
        words = set(texts.str.to_lowercase().unique())
        if len(words & set(TRUE)) == len(words & set(FALSE)) == 1 and len(words) == 2:
            return Guess("feature", "boolean")
    numbers = reading.numbers(texts)
    wrong = numbers.null_count()
    if wrong <= (1 - NUMBERS) * len(texts) and not texts.str.contains(r"^0\d").any():
        numbers = numbers.drop_nulls()
        exact = float(numbers.abs().max() or 0) < EXACT  # type: ignore[arg-type]
        facts = Numbers(
            total=len(numbers),
            distinct=numbers.n_unique() if exact else distinct,
            low=float(numbers.min() or 0),  # type: ignore[arg-type]
            high=float(numbers.max() or 0),  # type: ignore[arg-type]
            integral=bool((numbers == numbers.floor()).all()),
            integers=not texts.str.contains(r"[.eE]").any(),
        )
        guessed = guess_numbers(name, facts)
        unread = str((suggest(texts) if wrong else whole_dates(canonical_integers(texts))) or "")
        if unread and not wrong:
            return Guess("ignore", why=unread, unread=unread)
        if wrong and guessed.role == "feature":
            why = f"{wrong} of its cells are no numbers; those rows are bad"
            return guessed._replace(why=f"{why}; {unread}" if unread else why, unread=unread)
        return guessed
    return _guess_texts(name, texts, distinct)


def shortened(value: object, most: int = 60) -> str:
    """Return a cell as a message quotes it: at most `most` characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def guess_numbers(name: str, numbers: Numbers) -> Guess:
    """Guess the role and kind of a column of numbers."""
    if numbers.integral and numbers.distinct == numbers.total >= FEW_ROWS:
        dense = numbers.high - numbers.low < 1.5 * numbers.total
        if (numbers.integers and dense) or _IDENTIFIER.search(name):
            return Guess("ignore", why="it seems to be an identifier: whole numbers, all different")
    if numbers.integral and numbers.distinct > 10 and _IDENTITY.search(name):
        return Guess("ignore", why="it seems to be an identifier: whole numbers, and so its name says")
    if numbers.integral and numbers.distinct == 2 and (numbers.low, numbers.high) == (0, 1):
        return Guess("feature", "boolean")
    if numbers.integral and numbers.distinct <= 10:
        why = f"only {numbers.distinct} different whole numbers; it may be a category"
        return Guess("feature", "continuous", why)
    return Guess("feature", "continuous")


def _guess_texts(name: str, texts: pl.Series, distinct: int) -> Guess:
    wrong = days(texts).null_count()
    if wrong <= (1 - NUMBERS) * len(texts):
        return Guess("feature", "date", f"{wrong} of its cells are no dates; those rows are bad" if wrong else "")
    if suggestion := suggest(texts):
        return Guess("ignore", why=str(suggestion), unread=str(suggestion))
    if texts.str.contains(_LOOKS_DATED).all():
        why = "it seems to be a date, but its cells are not all in one format: write them like 2020-01-31"
        return Guess("ignore", why=why, unread=why)
    return guess_words(name, texts, distinct)


def guess_words(name: str, texts: pl.Series, distinct: int) -> Guess:
    """Guess the role and kind of a column of texts that are neither numbers nor dates; `distinct` is their number."""
    many = distinct > MAX_CATEGORIES or (distinct > len(texts) / 2 and len(texts) >= FEW_ROWS)
    if not many and distinct > max(10, len(texts) / 10) and _IDENTITY.search(name):
        return Guess("ignore", why="it seems to be an identifier: many different texts, and so its name says")
    if not many:
        return Guess("feature", "categorical")
    if float(texts.str.count_matches(r"\s").mean() or 0) >= 2:  # type: ignore[arg-type]
        return Guess("ignore", why=f"it seems to be free text: {distinct} different texts")
    if distinct > 0.95 * len(texts):
        return Guess("ignore", why=f"it seems to be an identifier: {distinct} different texts in {len(texts)} rows")
    return Guess("ignore", why=f"it has {distinct} different texts, too many for categories")
