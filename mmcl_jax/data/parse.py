"""From the cells of a column to values: numbers, texts of categories, days."""

import dataclasses

import numpy as np
import polars as pl

from mmcl_jax.data.declaration import Declaration, Declared
from mmcl_jax.data.infer import FALSE, FEW_ROWS, MAX_CATEGORIES, TRUE, days, guess, shortened, since_epoch, usable
from mmcl_jax.data.schema import Column
from mmcl_jax.errors import check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parsed:
    """A column of the raw table, understood.

    Attributes:
      name: of the column.
      role: see `declaration.Role`.
      kind: of a feature or label, else "".
      why: the reason, where a column is left out or not plain.
      values: Float64 for numbers and days, String for categories, as read for the other roles; null for missing.
      missing_words: how often each word for "no value" occurs.
      bad: (row, reason) of cells that are not of the column's kind.
      declared: what was said about it.
    """

    name: str
    role: str
    kind: str
    why: str
    values: pl.Series
    missing_words: dict[str, int]
    bad: list[tuple[int, str]]
    declared: Declared

    def column(self, kept: np.ndarray) -> Column:
        """The column as the schema has it; the categories are those of the rows `kept`, unless they were declared."""
        categories: tuple[str, ...] = ()
        if self.kind == "boolean":
            categories = self.declared.categories or ("false", "true")
        elif self.kind in ("categorical", "ordinal"):
            categories = self.declared.categories or in_order(self.values.gather(kept))
        return Column(
            name=self.name,
            kind=self.kind,  # type: ignore[arg-type]
            categories=categories,
            unit=self.declared.unit,
            tags=self.declared.tags,
            scaling=self.declared.scaling or "standard",  # type: ignore[arg-type]
        )


def parse(cells: pl.Series, declaration: Declaration) -> Parsed:
    """Understands a column: what was declared holds, the rest is inferred (`infer.guess`).

    Raises:
      UserError: it was declared to be used, and is of a type that cannot be.
    """
    declared = declaration.of(cells.name)
    cells, words = _without_words(cells, (*declaration.missing, *declared.missing))
    role, kind, why = declared.role, declared.kind, ""
    if role in ("", "feature", "label") and not kind:
        guessed = guess(cells.drop_nulls())
        role = role or ("feature" if declared.categories or declared.format else guessed.role)
        why = guessed.why if role == guessed.role else ""
        kind = _kind_of(cells.drop_nulls(), role, guessed.kind, declared)
    elif role == "":
        role = "feature"
    used = role in ("feature", "label")
    check(
        not used or usable(cells.dtype) or cells.dtype == pl.Null,
        f"Column {cells.name!r} is of the type {cells.dtype}, which is neither a number nor a category; declare that "
        f"its role is to be ignored.",
    )
    values, bad = _values(cells, kind, declared) if used else (cells, [])
    return Parsed(
        name=cells.name, role=role, kind=kind if used else "", why=why, values=values,
        missing_words=words, bad=bad, declared=declared,
    )  # fmt: skip


def _kind_of(cells: pl.Series, role: str, guessed: str, declared: Declared) -> str:
    """The kind of a column whose role is known and whose kind was not declared."""
    if declared.format:
        return "date"
    if declared.categories:
        return "categorical"
    if guessed not in ("", "continuous") or not usable(cells.dtype):
        return guessed
    if cells.dtype == pl.Boolean or cells.dtype.is_temporal():
        return "boolean" if cells.dtype == pl.Boolean else "date"
    numbers = cells.cast(pl.Float64, strict=False)
    if role == "label":  # whole numbers that repeat are classes
        few = cells.n_unique() <= min(MAX_CATEGORIES, max(FEW_ROWS, len(cells) / 2))
        whole = numbers.null_count() > 0 or bool((numbers == numbers.floor()).all())
        guessed = "categorical" if few and whole else guessed
    return guessed or ("continuous" if len(cells) and numbers.null_count() == 0 else "categorical")


def in_order(texts: pl.Series) -> tuple[str, ...]:
    """The different texts, sorted; as numbers, if all of them are."""
    different = texts.drop_nulls().unique().sort()
    numbers = different.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0 and not numbers.is_nan().any():
        different = different.gather(numbers.arg_sort())
    return tuple(different.to_list())


def coded(values: pl.Series, column: Column) -> tuple[np.ndarray, int]:
    """Parsed values as float64 `[N]`, NaN for missing, and how many texts are none of the column's categories.

    Those become NaN, too: an unseen category is a missing value, and is counted.
    """
    if not column.coded:
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy().copy(), 0
    codes = {category: float(code) for code, category in enumerate(column.categories)}
    numbers = values.replace_strict(codes, default=None, return_dtype=pl.Float64)
    unseen = numbers.null_count() - values.null_count()
    return numbers.fill_null(float("nan")).to_numpy().copy(), unseen


def _without_words(cells: pl.Series, words: tuple[str, ...]) -> tuple[pl.Series, dict[str, int]]:
    """The cells with null for every word that says "no value", and how often each was met."""
    if cells.dtype.is_numeric():  # a word for it may be a number, such as -99
        cells = cells.fill_nan(None) if cells.dtype.is_float() else cells
        found = {}
        for word in words:
            number = pl.Series([word]).cast(pl.Float64, strict=False)[0]
            met = (cells.cast(pl.Float64) == number).fill_null(False) if number is not None else None
            if met is not None and met.any():
                found[word] = int(met.sum())
                cells = cells.set(met, None)
        return cells, found
    if cells.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return cells, {}
    texts = cells.cast(pl.String)
    met = texts.is_in(["", *words]).fill_null(False)
    counts = texts.filter(met).alias("word").value_counts(name="rows").sort("rows", "word", descending=[True, False])
    return texts.set(met, None), {word: rows for word, rows in counts.iter_rows() if word}


def _values(cells: pl.Series, kind: str, declared: Declared) -> tuple[pl.Series, list[tuple[int, str]]]:
    """The cells as values of this kind, and those that are not."""
    if kind == "continuous":
        values = cells.cast(pl.Float64, strict=False)
        values = values.set(values.is_infinite() | values.is_nan(), None)
        sentence = "is not a finite number (if it says that there is none, declare it as missing in --schema)"
        return values, _unlike(cells, values, sentence)
    if kind == "date":
        moments = cells.dtype in (pl.Date, pl.Datetime)
        values = since_epoch(cells.cast(pl.Datetime)) if moments else days(plain(cells), declared.format)
        return values, _unlike(cells, values, f"is not a date{f' like {declared.format}' if declared.format else ''}")
    texts = plain(cells)
    if kind == "boolean":
        no, yes = declared.categories or ("false", "true")
        if declared.categories:
            values = texts.set(~texts.is_in([no, yes]), None)
            return values, _unlike(cells, values, f"is neither {no!r} nor {yes!r}")
        words = {**dict.fromkeys(TRUE, yes), **dict.fromkeys(FALSE, no)}
        values = texts.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.String)
        return values, _unlike(cells, values, "is neither true nor false")
    if declared.categories:
        values = texts.set(~texts.is_in(list(declared.categories)), None)
        return values, _unlike(cells, values, "is not one of the declared categories")
    return texts, []


def plain(cells: pl.Series) -> pl.Series:
    """Cells as texts; whole numbers without a fraction, so that 3 and 3.0 are one category."""
    if not cells.dtype.is_float():
        return cells.cast(pl.String)
    whole = ((cells == cells.floor()) & (cells.abs() < 2.0**53)).fill_null(False)
    return cells.set(~whole, None).cast(pl.Int64).cast(pl.String).zip_with(whole, cells.cast(pl.String))


def _unlike(cells: pl.Series, values: pl.Series, sentence: str) -> list[tuple[int, str]]:
    rows = (values.is_null() & cells.is_not_null()).arg_true()
    cells = cells.gather(rows)
    return [
        (row, f"Column {cells.name!r} holds {shortened(cell)}, which {sentence}.")
        for row, cell in zip(rows.to_list(), cells.to_list(), strict=True)
    ]
