"""Notations of numbers and dates, such as 34,5 or 1 234 or 12 mm or 05-Jan-2020.

Nothing is guessed. A declared `Reading` turns texts into numbers. For a column in a notation that was not declared,
`suggest` tries readings and date formats on its cells, and names those that work.
"""

import itertools
import re
import shlex
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from mmcl_jax.border import to_json

SHARE = 0.9  # smallest share of numbers among the cells, for a suggested reading and for an inferred numeric column
DECIMALS = (".", ",")
THOUSANDS = (",", ".", " ", "'")
DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f")

_GROUPING = {",": ",", ".": r"\.", "'": "['\u2019]", " ": "[ \u00a0\u2007\u2009\u202f]"}
_FORMS = ((".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))
_LIMIT = "^[<>\u2264\u2265~]=?\\s*"
_UNIT = "^[+-]?[0-9](?:[0-9.,'\u2019\\s]*[0-9.])?(\\s*)([\\p{L}\\p{Sc}%\u2030\u00b0\u2032\u2033\"].*)$"
_CURRENCY = "^[+-]?\\s*(\\p{Sc})\\s*[0-9]"
_LONGEST_UNIT, _FEW = 20, 10
_COMMON_UNITS = (
    " mm cm dm m km in ft yd mi nm um µm μm mg g kg t lb oz ug µg μg ng pg ml cl dl l L s ms min h hr hrs d y yr yrs "
    "k K M kB KB MB GB TB Hz kHz MHz GHz W kW V mV A mA Pa hPa kPa bar mmHg C F bpm px pt mph kmh km/h hp cc "
    "mg/dl mg/dL g/l g/L g/dl g/dL mmol mmol/l mmol/L U/L IU ms pp Gy HU mSv "
)
_DAYS = (
    *(f"%d{mark}%m{mark}%Y" for mark in "/.-"),
    *(f"%m{mark}%d{mark}%Y" for mark in "/.-"),
    *(f"%d{mark}%m{mark}%y" for mark in "/.-"),
    *(f"%m{mark}%d{mark}%y" for mark in "/.-"),
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *(form.format(month) for month in ("%b", "%B") for form in ("%d-{}-%Y", "%d {} %Y", "%d.{}.%Y", "%d. {} %Y")),
    *(form.format(month) for month in ("%b", "%B") for form in ("%d/{}/%Y", "%d{}%Y", "{} %d, %Y", "{} %d %Y")),
    *("%b-%d-%Y", "%d-%b-%y", "%d %b %y", "%d%b%y", "%a, %d %b %Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S%.f", "T%H:%M:%S%.fZ", "T%H:%M", "T%H:%M:%S%.f%:z", " %I:%M %p", " %I:%M:%S %p")
_WHOLE_DAYS = ("%Y%m%d", "%Y%m%d%H%M%S")
_YEARS = (1500, 2500)
_OR_CATEGORIES = 'or {"kind": "categorical"}'


class Reading(NamedTuple):
    """The notation of the numbers in a column.

    `decimal` precedes the fraction, `thousands` separates groups of three digits ("" for no groups; " " for a space of
    any width), and `unit` may precede or follow the number.
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    def plain(self, texts: pl.Series) -> pl.Series:
        """Return the numbers in plain notation, such as -1234.5, and null for texts that are not numbers."""
        texts = texts.str.replace_all("\u2212", "-", literal=True)  # the typographic minus sign
        if self == PLAIN:
            return texts.set(texts.cast(pl.Float64, strict=False).is_null(), None)
        if self.unit:
            unit = re.escape(self.unit)
            texts = texts.str.replace(rf"^([+-]?)\s*{unit}\s*", "$1").str.replace(rf"\s*{unit}$", "")
        point, group = re.escape(self.decimal), _GROUPING.get(self.thousands, "")
        digits = f"(?:[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+|[0-9]+)" if group else "[0-9]+"
        form = f"^[+-]?(?:{digits}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?$"
        texts = texts.set(~texts.str.contains(form), None)
        texts = texts.str.replace_all(group, "") if group else texts
        return texts.str.replace(self.decimal, ".", literal=True)

    def numbers(self, texts: pl.Series) -> pl.Series:
        """Return the numbers as Float64, null for texts that are not numbers; words such as inf are numbers."""
        return self.plain(texts).cast(pl.Float64, strict=False)

    def declared(self) -> dict[str, str]:
        """Return the keys of a column's declaration that mean this reading."""
        decimal = {} if self.decimal == PLAIN.decimal else {"decimal": self.decimal}
        return decimal | {key: value for key, value in (("thousands", self.thousands), ("unit", self.unit)) if value}


PLAIN = Reading()


class Suggestion(NamedTuple):
    """The presumed content `what` of a column's cells, and the `remedy` that makes them readable."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"it seems to be {self.what}: {self.remedy}"


def days(texts: pl.Series, pattern: str = "") -> pl.Series:
    """Return dates in the format `pattern`, or else in any of `DATE_FORMATS`, as days since 1970-01-01; else null."""
    values = pl.Series(texts.name, [], pl.Float64).extend_constant(None, len(texts))
    for form in (pattern,) if pattern else DATE_FORMATS:
        if values.null_count() == 0:
            break
        moments = texts.str.strptime(pl.Datetime, form, strict=False)
        values = values.zip_with(values.is_not_null(), moments.dt.epoch("ms").cast(pl.Float64) / 86_400_000)
    return values


def suggest(texts: pl.Series) -> Suggestion | None:
    """Return a suggestion for texts that are numbers or dates in another notation; else None.

    Args:
      texts: cells without nulls.
    """
    different = texts.unique(maintain_order=True)
    if not len(different) or float(different.str.contains("[0-9]").mean() or 0) < SHARE:  # type: ignore[arg-type]
        return None
    formats = date_formats(different)
    if formats:
        keys = _alternatives(({"format": form}, days(different[:1], form)[0]) for form in formats)
        return Suggestion(f"a date, such as {_quoted(different[0])}", f"declare {keys} in --schema, {_OR_CATEGORIES}")
    limited = different.str.contains(_LIMIT)
    readings = _readings(different.str.replace(_LIMIT, ""))
    if limited.any() and readings:
        return Suggestion(
            f"numbers with limits, such as {_quoted(different.filter(limited)[0])}, which is no number in any reading",
            f'declare those cells as "missing" in --schema, {_OR_CATEGORIES}',
        )
    if not readings and _of_several_units(different):
        return Suggestion(
            f"numbers with several units, such as {_quoted(different[0])}", f"write them all with one, {_OR_CATEGORIES}"
        )
    if not readings or PLAIN in readings:
        return None
    example = different.filter(PLAIN.numbers(different).is_null())[0]
    keys = _alternatives((reading.declared(), reading.numbers(pl.Series([example]))[0]) for reading in readings)
    options = [words for words in map(_options, readings) if words]
    for_table = f" (or give {' or '.join(options)} for the whole table)" if options else ""
    mark = " with commas" if "," in example else f" with the unit {readings[0].unit!r}" if readings[0].unit else ""
    return Suggestion(
        f"numbers written{mark or ' in groups'}, such as {_quoted(example)}",
        f"declare {keys} in --schema{for_table}, {_OR_CATEGORIES}",
    )


def whole_dates(texts: pl.Series) -> Suggestion | None:
    """Return the suggestion for whole numbers that are all dates, such as 20200105; else None."""
    if not len(texts) or not texts.str.contains(r"^(?:1[5-9]|2[0-4])[0-9]{6}(?:[0-9]{6})?$").all():
        return None
    different = texts.unique(maintain_order=True)
    formats = [form for form in _WHOLE_DAYS if days(different, form).null_count() == 0]
    if not formats:
        return None
    keys = _alternatives(({"format": form}, days(different[:1], form)[0]) for form in formats)
    what = f"dates written as whole numbers, such as {_quoted(different[0])}"
    return Suggestion(what, f'declare {keys} in --schema, or {{"kind": "continuous"}} or {{"kind": "categorical"}}')


def date_formats(different: pl.Series) -> list[str]:
    """Return the formats in which all texts are dates; the day-first formats precede the month-first ones."""
    formats: dict[tuple, str] = {}
    for day, time in itertools.product(_DAYS, _TIMES[1:] if ":" in different[0] else _TIMES[:1]):
        form = day + time
        if days(different[:1], form)[0] is None:
            continue
        values = days(different, form)
        years = pl.select(pl.from_epoch((values * 86400).cast(pl.Int64), "s")).to_series().dt.year()
        if values.null_count() == 0 and years.is_between(*_YEARS).all():
            month_first = day.lower().find("m") < day.find("d")
            formats.setdefault((month_first, *values), form)  # %b and %B read May alike
    return list(formats.values())


def _readings(different: pl.Series) -> list[Reading]:
    """Return the readings that turn the most texts into numbers, if these are at least `SHARE`; the plain one first.

    Of readings with the same numbers, only the simplest is returned.
    """
    shares: dict[Reading, float] = {}
    values: dict[Reading, pl.Series] = {}
    for unit, (decimal, thousands) in itertools.product(("", *_units(different)), _FORMS):
        reading = Reading(decimal, thousands, unit)
        values[reading] = reading.numbers(different)
        shares[reading] = 1 - values[reading].null_count() / len(different)
    most = max(shares.values())
    if most < SHARE:
        return []
    best: list[Reading] = []
    for reading, share in shares.items():
        if share == most and not any(values[reading].equals(values[other], null_equal=True) for other in best):
            best.append(reading)
    return best


def _units(different: pl.Series) -> list[str]:
    """Return the most frequent unit before or after the numbers, as a list of at most one."""
    signed = different.str.replace("\u2212", "-", literal=True)
    before = signed.str.extract(_CURRENCY).drop_nulls()
    blank, behind = signed.str.extract(_UNIT, 1), signed.str.extract(_UNIT, 2)
    counts = pl.concat([before, behind.drop_nulls()]).alias("unit").value_counts(sort=True)
    if not counts.height:
        return []
    unit = counts["unit"][0]
    apart = bool((blank.filter((behind == unit).fill_null(False)) != "").any())
    # Letters that follow a few numbers without a space may be part of a name: 2D, 3D, 4wd.
    is_unit = apart or f" {unit} " in _COMMON_UNITS or not unit.isalpha() or len(different) > _FEW
    return [unit] if is_unit and len(unit) <= _LONGEST_UNIT else []


def _of_several_units(different: pl.Series) -> bool:
    units = different.str.extract(_UNIT, 2).drop_nulls()
    common = units.filter(pl.Series([f" {unit} " in _COMMON_UNITS for unit in units], dtype=pl.Boolean))
    return common.n_unique() > 1 and len(common) >= SHARE * len(different)


def _alternatives(pairs: Iterable[tuple[dict[str, str], float]]) -> str:
    pairs = list(pairs)
    words = [to_json(keys, ascii=False) for keys, _ in pairs]
    if len(pairs) == 1:
        return words[0]
    read = [_shown(keys, value) for keys, value in pairs]
    return " or ".join(f"{word} (which reads {value})" for word, value in zip(words, read, strict=True))


def _shown(keys: dict[str, str], value: float) -> str:
    if "format" in keys:
        moment = pl.select(pl.from_epoch(pl.lit(round(value * 86400)), "s")).item()
        return moment.isoformat(" ").removesuffix(" 00:00:00")
    return f"{value:.15g}"


def _options(reading: Reading) -> str:
    """Return the command-line options that declare a reading for the whole table; "" for a reading with a unit."""
    marks = reading.declared()
    return "" if reading.unit else " ".join(f"--{key} {shlex.quote(value)}" for key, value in marks.items())


def _quoted(text: str, most: int = 60) -> str:
    shown = repr(text)
    return shown if len(shown) <= most else f"{shown[:most]}..."
