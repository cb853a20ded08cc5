"""What a column seems to be, where nobody said so."""

import re
from typing import NamedTuple

import polars as pl

from mmcl_jax.data.table.readings import PLAIN, SHARE, Reading, days, suggest, whole_dates
from mmcl_jax.prepare.table.cells import whole

MAX_CATEGORIES = 1000  # more different texts than this are no categories
FEW_ROWS = 20  # in so few rows, that all texts differ says nothing
NUMBERS = SHARE  # a column with at least this share of numbers is one of numbers, and its other cells are errors
TRUE, FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")

_IDENTITY = re.compile(r"(^|[_\W])(id|eid|uid|uuid|guid)($|[_\W])|[a-z]ID$", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(^|[_\W])(id|eid|uid|uuid|guid|key|index|idx)($|[_\W])|[a-z]ID$|^unnamed_", re.IGNORECASE)
_LOOKS_DATED = r"^(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d\d-\d\d[T ]\d.*)$"


class Guess(NamedTuple):
    """A role and a kind (see `declaration`), and why, where that is not plain. Only features have a kind.

    `unread` is the sentence on cells that are numbers or dates in a reading that nobody declared; it names the reading.
    """

    role: str
    kind: str = ""
    why: str = ""
    unread: str = ""


def guess(name: str, texts: pl.Series, reading: Reading = PLAIN) -> Guess:
    """Return what a column of these texts seems to be.

    Args:
      name: of the column.
      texts: those that are not missing.
      reading: how their numbers are written.

    Returns:
      A feature with its kind, or "ignore" with the reason: no value, one value, an identifier, free text, or numbers
      or dates that are written in a way that was not declared.
    """
    if len(texts) == 0:
        return Guess("ignore", why="it has no values")
    different = texts.n_unique()
    if different == 1:
        return Guess("ignore", why=f"all its values are {shortened(texts[0])}")
    if different <= 2 * max(map(len, (TRUE, FALSE))):
        words = set(texts.str.to_lowercase().unique())
        if len(words & set(TRUE)) == len(words & set(FALSE)) == 1 and len(words) == 2:
            return Guess("feature", "boolean")
    numbers = reading.numbers(texts)
    wrong = numbers.null_count()
    if wrong <= (1 - NUMBERS) * len(texts) and not texts.str.contains(r"^0\d").any():
        numbers = numbers.drop_nulls()
        exact = float(numbers.abs().max() or 0) < 2.0**53  # type: ignore[arg-type]
        counted = not texts.str.contains(r"[.eE]").any()
        guessed = _guess_numbers(name, numbers, numbers.n_unique() if exact else different, counted=counted)
        unread = str((suggest(texts) if wrong else whole_dates(whole(texts))) or "")
        if unread and not wrong:
            return Guess("ignore", why=unread, unread=unread)
        if wrong and guessed.role == "feature":
            why = f"{wrong} of its cells are no numbers; those rows are bad"
            return guessed._replace(why=f"{why}; {unread}" if unread else why, unread=unread)
        return guessed
    return _guess_texts(name, texts, different)


def shortened(value: object, most: int = 60) -> str:
    """Return a cell as a message quotes it."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _guess_numbers(name: str, numbers: pl.Series, different: int, *, counted: bool) -> Guess:
    """Guess the kind of numbers; `counted` says that they are written as integers are."""
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


def _guess_texts(name: str, texts: pl.Series, different: int) -> Guess:
    wrong = days(texts).null_count()
    if wrong <= (1 - NUMBERS) * len(texts):
        return Guess("feature", "date", f"{wrong} of its cells are no dates; those rows are bad" if wrong else "")
    if suggestion := suggest(texts):
        return Guess("ignore", why=str(suggestion), unread=str(suggestion))
    if texts.str.contains(_LOOKS_DATED).all():
        why = "it seems to be a date, but its cells are not all in one format: write them like 2020-01-31"
        return Guess("ignore", why=why, unread=why)
    many = different > MAX_CATEGORIES or (different > len(texts) / 2 and len(texts) >= FEW_ROWS)
    if not many and different > max(10, len(texts) / 10) and _IDENTITY.search(name):
        return Guess("ignore", why="it seems to be an identifier: many different texts, and so its name says")
    if not many:
        return Guess("feature", "categorical")
    if float(texts.str.count_matches(r"\s").mean() or 0) >= 2:  # type: ignore[arg-type]
        return Guess("ignore", why=f"it seems to be free text: {different} different texts")
    if different > 0.95 * len(texts):
        return Guess("ignore", why=f"it seems to be an identifier: {different} different texts in {len(texts)} rows")
    return Guess("ignore", why=f"it has {different} different texts, too many for categories")
