"""Parsing all columns of plain numbers or words of a table at once, in microseconds a column, not milliseconds."""

import functools
import itertools
import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import polars as pl
from polars.selectors import by_dtype

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.data.table.readings import PLAIN
from mmcl_jax.prepare.table.cells import nameless
from mmcl_jax.prepare.table.infer import EXACT, FALSE, MOST_BOOLEANS, TRUE, Numbers, guess_numbers, guess_words
from mmcl_jax.prepare.table.parse import Parsed, parse
from mmcl_jax.progress import Foresight

_AT_ONCE = 1 << 22  # cells
_PLAIN = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
_FIRST_DATE = 15_000_101  # larger whole numbers may be dates, such as 20200105
_FLOATS = (pl.Float64, pl.Float32)
_TYPES = (pl.String, *_FLOATS, pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32, pl.Int64, pl.UInt64)


def parse_all(columns: Sequence[pl.Series], declaration: Declaration) -> list[Parsed]:
    """Return every column of a table as `parse` does, in less time."""
    plain: dict[int, Parsed] = {}
    eligible = [index for index, cells in enumerate(columns) if _eligible(cells, declaration)]
    size = max(1, _AT_ONCE // max(1, len(columns[0]) if columns else 1))
    for start in range(0, len(eligible), size):
        part = eligible[start : start + size]
        for find in (_plain, _words):
            left = [index for index in part if index not in plain]
            parsed = find([columns[index] for index in left], declaration)
            plain |= {left[index]: column for index, column in parsed}
    foresight, done = Foresight("reading the columns", len(columns) - len(plain)), itertools.count()

    def one(cells: pl.Series) -> Parsed:
        foresight.update(next(done))
        return parse(cells, declaration)

    return [plain.get(index) or one(cells) for index, cells in enumerate(columns)]


def _eligible(cells: pl.Series, declaration: Declaration) -> bool:
    """Return whether a column may hold plain numbers, of which at most the role and kind are declared."""
    name = cells.name
    declared = declaration.of(name)
    undeclared = Declared(
        role=declared.role, kind=declared.kind, missing=declared.missing, tags=declared.tags, unit=declared.unit
    )
    return (
        cells.dtype in _TYPES
        and declared == undeclared
        and declared.role in ("", "feature")
        and declared.kind in ("", "continuous")
        and (cells.dtype != pl.String or declaration.reading(name) == PLAIN)
        and not any(map(_is_number, (*declaration.missing, *declared.missing)))
    )


@functools.lru_cache(maxsize=10_000)
def _is_number(word: str) -> bool:
    """Return whether a word for "no value" is a number, so that cells are compared with it as numbers."""
    number = PLAIN.numbers(pl.Series([word]))[0]
    return number is not None and math.isfinite(number)


def _plain(columns: Sequence[pl.Series], declaration: Declaration) -> Iterator[tuple[int, Parsed]]:
    """Yield the columns, by index, that hold several finite numbers in plain notation and nothing else."""
    names = list(map(str, range(len(columns))))
    frame = pl.DataFrame([cells.alias(name) for cells, name in zip(columns, names, strict=True)])
    texts, single = by_dtype(pl.String), by_dtype(pl.Float32)
    # As in a text file, a number of 32 bits is the decimal number that is written for it.
    frame = frame.with_columns(
        texts.replace("", None), by_dtype(pl.Float64).fill_nan(None), single.fill_nan(None).cast(pl.String)
    )
    plain = _facts(frame, texts.str.contains(_PLAIN).all())
    pointed = _facts(frame, texts.str.contains("[.eE]").any())
    used = [name for name in names if plain.get(name, True)]
    if not used:
        return  # a frame without columns is no array before polars 1.38
    numbers = frame.select(pl.col(used).cast(pl.Float64))
    values = numbers.to_numpy()
    present = ~np.isnan(values)
    low = np.where(present, values, np.inf).min(axis=0, initial=np.inf)
    high = np.where(present, values, -np.inf).max(axis=0, initial=-np.inf)
    integral = ((np.floor(values) == values) | ~present).all(axis=0)
    for index, name in enumerate(used):
        cells = columns[int(name)]
        kind = declaration.of(cells.name).kind
        if not -EXACT < low[index] < high[index] < EXACT:
            continue  # a column of a single value, of none, or of numbers that are not exact or not finite
        why = ""
        if not kind and integral[index]:
            if low[index] >= _FIRST_DATE:
                continue
            count = int(present[:, index].sum())
            distinct = int((np.diff(np.sort(values[present[:, index], index])) > 0).sum()) + 1
            integers = not pointed.get(name, cells.dtype in _FLOATS)
            facts = Numbers(count, distinct, float(low[index]), float(high[index]), True, integers)
            guessed = guess_numbers(cells.name, facts)
            if (guessed.role, guessed.kind) != ("feature", "continuous"):
                continue
            why = guessed.why
        yield (
            int(name),
            Parsed(
                name=cells.name,
                role="feature",
                kind="continuous",
                why=why,
                values=nameless(numbers[name]),
                missing_words={},
                bad=[],
                declared=declaration.of(cells.name),
            ),
        )


def _words(columns: Sequence[pl.Series], declaration: Declaration) -> Iterator[tuple[int, Parsed]]:
    """Yield the undeclared columns, by index, of several words without digits, none of which means "no value"."""
    texts = [
        cells.alias(str(index))
        for index, cells in enumerate(columns)
        if cells.dtype == pl.String and declaration.of(cells.name) == Declared()
    ]
    if not texts:
        return
    frame, cell = pl.DataFrame(texts).with_columns(pl.all().replace("", None)), pl.all()
    absent = [word for word in declaration.missing if word]
    read = cell.str.contains("[0-9]") | cell.is_in(absent) | cell.cast(pl.Float64, strict=False).is_not_null()
    for name, known in _facts(frame, read.any()).items():
        cells, values = columns[int(name)], nameless(frame[name])
        words = values.drop_nulls()
        distinct = set() if known else set(words.to_list())
        if len(distinct) < 2 or (len(distinct) <= MOST_BOOLEANS and _boolean(distinct)):
            continue
        guessed = guess_words(cells.name, words, len(distinct))
        if (guessed.role, guessed.kind) == ("feature", "categorical"):
            declared = declaration.of(cells.name)
            yield (
                int(name),
                Parsed(
                    name=cells.name,
                    role="feature",
                    kind="categorical",
                    why=guessed.why,
                    values=values,
                    missing_words={},
                    bad=[],
                    declared=declared,
                ),
            )


def _boolean(words: Collection[str]) -> bool:
    """Return whether words may be true and false."""
    return {word.lower() for word in words} <= {*TRUE, *FALSE}


def _facts(frame: pl.DataFrame, fact: pl.Expr) -> dict[str, bool]:
    """Return a fact of each column that an expression selects, by name."""
    facts = frame.select(fact)
    return dict(zip(facts.columns, facts.row(0), strict=True)) if facts.width else {}
