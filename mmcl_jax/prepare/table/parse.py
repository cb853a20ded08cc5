"""Parsing the cells of a column into values: numbers, texts of categories, days."""

import dataclasses
import math

import numpy as np
import polars as pl

from mmcl_jax.data.schema import Column
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.data.table.readings import PLAIN, Reading, days, suggest
from mmcl_jax.errors import check
from mmcl_jax.prepare.table.cells import (
    canonical_integers,
    is_text,
    is_verbatim,
    match_words,
    nameless,
    text_of,
    usable,
)
from mmcl_jax.prepare.table.infer import FALSE, FEW_ROWS, MAX_CATEGORIES, TRUE, Guess, guess, shortened

KEYS = ("identifier", "group", "split")  # roles whose values are compared with one another or with other files


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parsed:
    """A parsed column of the raw table.

    Attributes:
      name: of the column.
      role: see `declaration.Role`.
      kind: of a feature or label, else "".
      why: the reason why the column is left out, or a caution about its kind; else "".
      values: Float64 for numbers and days, else String, in which an integer is written in one way
        (`cells.canonical_integers`) unless the column is `verbatim`; as read, if it is ignored; null for missing.
      missing_words: how often each word for "no value" occurs.
      bad: (row, reason) of cells that are not of the column's kind.
      declared: the column's declaration.
      reading: how its numbers are written.
      verbatim: whether its texts are left as they were written.
      remark: a sentence that a user should read, or "".
    """

    name: str
    role: str
    kind: str
    why: str
    values: pl.Series
    missing_words: dict[str, int]
    bad: list[tuple[int, str]]
    declared: Declared
    reading: Reading = PLAIN
    verbatim: bool = False
    remark: str = ""

    @property
    def coded(self) -> bool:
        """Whether values are texts of categories."""
        return self.kind in ("categorical", "ordinal", "boolean")

    def column(self, rows: np.ndarray) -> Column:
        """Return the column for the schema; its categories are declared, or else the values that occur in `rows`."""
        categories: tuple[str, ...] = ()
        if self.kind == "boolean":
            categories = self.declared.categories or ("false", "true")
        elif self.kind in ("categorical", "ordinal"):
            categories = self.declared.categories or in_order(self.values.gather(rows))
        return Column(
            name=self.name,
            kind=self.kind,  # type: ignore[arg-type]
            categories=categories,
            unit=self.declared.unit,
            tags=self.declared.tags,
            scaling=self.declared.scaling or "standard",  # type: ignore[arg-type]
        )


def parse(cells: pl.Series, declaration: Declaration) -> Parsed:
    """Parse a column: its declaration holds, and whatever was not declared is inferred (`infer.guess`).

    Raises:
      UserError: a column that is declared to be used is of a type that cannot be used; or a label, or a column that is
        declared to be used, has numbers or dates in an undeclared notation.
    """
    name, cells = cells.name, nameless(cells)
    declared = declaration.of(name)
    role, kind, why = declared.role, declared.kind, ""
    if not usable(cells.dtype):
        why = f"its type, {cells.dtype}, is neither a number nor a category"
        check(
            not (declared.role in ("feature", "label", "group", "split") or kind or declared.categories),
            f"Column {name!r} is of the type {cells.dtype}, which is neither a number nor a category; leave it out "
            f'with --ignore, or declare {{"role": "ignore"}} in --schema.',
        )
        return Parsed(
            name=name, role=role or "ignore", kind="", why=why, values=cells, missing_words={}, bad=[],
            declared=declared,
        )  # fmt: skip
    # Only texts can be written in several ways.
    reading = declaration.reading(name) if is_text(cells.dtype) else PLAIN
    pattern = "" if cells.dtype.is_temporal() else declared.format
    texts, words = _without_words(text_of(cells), declared, (*declaration.missing, *declared.missing), reading)
    if role in ("", "feature", "label") and not kind:
        guessed = guess(name, texts.drop_nulls(), reading)
        role = role or ("feature" if declared.categories or declared.format else guessed.role)
        why = guessed.why if role == guessed.role else ""
        _refuse_unread(name, role, guessed, declared)
        kind = _kind_of(texts.drop_nulls(), role, guessed.kind, declared, reading)
    elif role == "":
        role = "feature"
    kind = kind if role in ("feature", "label") else ""
    verbatim, remark = False, ""
    bad: list[tuple[int, str]] = []
    if role == "ignore":
        values = pl.select(pl.when(texts.is_not_null()).then(cells)).to_series()
    elif kind in ("continuous", "date"):
        values, bad = _numbers(texts, reading) if kind == "continuous" else _days(texts, pattern, declared)
    else:
        compared = bool(kind) or role in KEYS
        if compared and declared.verbatim is None:
            verbatim = is_verbatim(texts, reading)
            remark = _remark(texts, reading) if verbatim else ""
        else:
            verbatim = declared.verbatim or not compared
        values, bad = _categories(texts, kind, declared, reading, verbatim=verbatim)
    return Parsed(
        name=name, role=role, kind=kind, why=why, values=values, missing_words=words, declared=declared,
        reading=reading, verbatim=verbatim, remark=remark,
        bad=[(row, f"Column {name!r} {reason}") for row, reason in bad],
    )  # fmt: skip


def _refuse_unread(name: str, role: str, guessed: Guess, declared: Declared) -> None:
    """Raise `UserError` for a label or declared feature whose notation was not declared and can only be guessed."""
    has_format = bool(declared.categories or declared.format)
    used = role == "label" or (role == "feature" and not guessed.kind)
    check(has_format or not (used and guessed.unread), f"Column {name!r} cannot be used as a {role}: {guessed.unread}.")


def _kind_of(texts: pl.Series, role: str, guessed: str, declared: Declared, reading: Reading) -> str:
    """Return the kind of a column whose role is settled and whose kind was not declared."""
    if declared.format:
        return "date"
    if declared.categories:
        return "categorical"
    if guessed not in ("", "continuous"):
        return guessed
    if len(texts) and not guessed:
        if texts.str.to_lowercase().is_in(["true", "false"]).all():
            return "boolean"
        if days(texts).null_count() == 0:
            return "date"
    if guessed and role != "label":
        return guessed
    numbers = reading.numbers(texts)
    if role == "label":  # integers that repeat are classes
        few = canonical_integers(texts, reading).n_unique() <= min(MAX_CATEGORIES, max(FEW_ROWS, len(texts) / 2))
        integral = bool((numbers == numbers.floor()).all())
        guessed = "categorical" if few and integral else guessed
    return guessed or ("continuous" if len(texts) and numbers.null_count() == 0 else "categorical")


def in_order(texts: pl.Series) -> tuple[str, ...]:
    """Return the distinct texts, sorted; by number, if all of them are numbers."""
    distinct = texts.drop_nulls().unique().sort()
    numbers = distinct.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0 and not numbers.is_nan().any():
        distinct = distinct.gather(numbers.arg_sort())
    return tuple(distinct.to_list())


def coded(
    values: pl.Series, column: Column, reading: Reading | None = None, *, unknown: float = math.nan
) -> tuple[np.ndarray, int]:
    """Return parsed values as float64 `[N]`, NaN for missing, and the number of texts that are no category.

    The value of such a text is `unknown`. With a `reading`, the text `1` belongs to the category `1.0`, as it may have
    been declared.
    """
    if not column.coded:
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy().copy(), 0
    codes = {category: float(code) for code, category in enumerate(column.categories)}
    texts = _among(values, column.categories, reading) if reading else values
    numbers = texts.replace_strict(codes, default=None, return_dtype=pl.Float64)
    unseen = (numbers.is_null() & values.is_not_null()).to_numpy()
    return np.where(unseen, unknown, numbers.fill_null(math.nan).to_numpy()), int(unseen.sum())


def _among(texts: pl.Series, categories: tuple[str, ...], reading: Reading) -> pl.Series:
    """Return the category of each text: the same text, or the only equal integer; null if no category fits."""
    same = texts.is_in(list(categories)).fill_null(False)
    if same.all():
        return texts
    shown = canonical_integers(pl.Series(categories, dtype=pl.String), reading)
    alone = shown.is_unique()
    categories_of = dict(zip(shown.filter(alone), pl.Series(categories, dtype=pl.String).filter(alone), strict=True))
    matches = canonical_integers(texts, reading).replace_strict(categories_of, default=None, return_dtype=pl.String)
    return texts.zip_with(same, matches)


def _without_words(
    texts: pl.Series, declared: Declared, words: tuple[str, ...], reading: Reading
) -> tuple[pl.Series, dict[str, int]]:
    """Return the cells with null for every word that means "no value", and the count of each word.

    A cell and a word are compared as numbers where both are numbers. A declared category is always a value.
    """
    values = match_words(texts, [*declared.categories, *declared.present], reading)
    absent = {text: word for text, word in match_words(texts, ["", *words], reading).items() if text not in values}
    others = texts.filter(~texts.is_in(list(absent)))
    if reading.numbers(others).null_count() == 0:  # among numbers, NaN means "no value"
        absent |= {text: text for text in ("NaN", "nan") if text not in values}
    missing = texts.is_in(list(absent)).fill_null(False)
    if not missing.any():
        return texts, {}
    counts = texts.filter(missing).replace(absent).alias("word").value_counts(name="rows").rows()
    ordered = sorted(counts, key=lambda item: (-item[1], item[0]))
    return texts.set(missing, None), {word: rows for word, rows in ordered if word}


def _numbers(texts: pl.Series, reading: Reading) -> tuple[pl.Series, list[tuple[int, str]]]:
    values = reading.numbers(texts)
    values = values.set(values.is_infinite() | values.is_nan(), None)
    sentence = 'is not a finite number (if it stands for "no value", declare it as missing in --schema)'
    if (values.is_null() & texts.is_not_null()).any() and (suggestion := suggest(texts.drop_nulls())):
        sentence = f"is not a number as the column is read; {suggestion}"
    return values, _unparsed(texts, values, sentence)


def _days(texts: pl.Series, pattern: str, declared: Declared) -> tuple[pl.Series, list[tuple[int, str]]]:
    if pattern and not is_verbatim(texts):  # 20200105.0
        texts = canonical_integers(texts)
    values = days(texts, pattern)
    sentence = f"is not a date{f' like {declared.format}' if declared.format else ''}"
    if (values.is_null() & texts.is_not_null()).any() and (suggestion := suggest(texts.drop_nulls())):
        sentence = f"{sentence}; {suggestion}"
    return values, _unparsed(texts, values, sentence)


def _categories(
    texts: pl.Series, kind: str, declared: Declared, reading: Reading, *, verbatim: bool
) -> tuple[pl.Series, list[tuple[int, str]]]:
    """Return the texts of categories, booleans, keys and groups, and the cells that are no declared category."""
    if declared.categories and kind:
        exact = texts.set(~texts.is_in(list(declared.categories)).fill_null(True), None)
        values = exact if declared.verbatim else _among(texts, declared.categories, reading)
        no, yes = declared.categories[0], declared.categories[-1]
        wrong = f"is neither {no!r} nor {yes!r}" if kind == "boolean" else "is not one of the declared categories"
        return values, _unparsed(texts, values, wrong)
    values = texts if verbatim else canonical_integers(texts, reading)
    if kind == "boolean":
        words = {**dict.fromkeys(TRUE, "true"), **dict.fromkeys(FALSE, "false")}
        values = values.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.String)
        return values, _unparsed(texts, values, "is neither true nor false")
    return values, []


def _remark(texts: pl.Series, reading: Reading) -> str:
    """Return a sentence if one integer is written in two ways, which a verbatim column takes for two values."""
    distinct = texts.drop_nulls().unique(maintain_order=True)
    integers = canonical_integers(distinct, reading)
    twice = distinct.filter(integers.is_duplicated())
    if twice.is_empty():
        return ""
    pair = distinct.filter(integers == canonical_integers(twice[:1], reading)[0])
    return (
        f"{pair[0]!r} and {pair[1]!r} count as different values, since other cells are not plain numbers; "
        f'declare "verbatim": false in --schema to make them one value, or true to keep them apart'
    )


def _unparsed(cells: pl.Series, values: pl.Series, sentence: str) -> list[tuple[int, str]]:
    """Return (row, reason) of every cell that has no value."""
    rows = (values.is_null() & cells.is_not_null()).arg_true()
    cells = cells.gather(rows)
    return [
        (row, f"holds {shortened(cell)}, which {sentence}.")
        for row, cell in zip(rows.to_list(), cells.to_list(), strict=True)
    ]
