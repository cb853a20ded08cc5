"""UK Biobank's main table: from columns such as `21002-2.0` to typed values.

A column is called FIELD-VISIT.ARRAY; or, in R's exports, f.FIELD.VISIT.ARRAY; or, in the Research Analysis Platform's
exports with raw codes, pFIELD_iVISIT_aARRAY, without the parts that the field does not have and with several answers in
one cell. Visit 0 is the first assessment, 1 its repeat, 2 the imaging visit, 3 its repeat; several values of one visit
are an array. All cells are read as text.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.prepare.table.cells import canonical_integers
from mmcl_jax.prepare.table.table import reading_table

How = Literal["number", "choice", "any of", "count of"]
_COLUMN = re.compile(r"(?:f\.)?(\d+)[-.](\d+)\.(\d+)|p(\d+)(?:_i(\d+))?(?:_a(\d+))?")
_UNTIL_IMAGING = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Field:
    """A column of the recipe's table, and the rules that make it from fields of UK Biobank.

    Attributes:
      name: name of the column.
      ids: numbers of the source fields; their values are averaged or, with `how` "any of" or "count of", pooled.
      how: "number"; "choice" for one answer; "any of" for whether one of `codes` was ever answered up to the imaging
        visit, null without an answer; "count of" for how often.
      unit: unit of a number.
      tags: groups of columns; the first is the theme.
      coding: texts of a choice, by code.
      missing: codes that are not answers.
      below: codes that mean "less than one" and are read as 0.
      instead: number of a field that fills missing values.
      unasked: value of subjects without a value, who were not asked; None leaves it missing.
      unasked_where: number of a field; `unasked` applies only to subjects with 0 in it.
      low, high: a number outside of these limits is an error of measurement, and becomes missing.
      codes: codes that "any of" and "count of" look for.
      evidence: fields whose answers also make "any of" true: ages and dates of the diagnosis.
    """

    name: str
    ids: tuple[int, ...]
    _: dataclasses.KW_ONLY
    how: How = "number"
    unit: str = ""
    tags: tuple[str, ...] = ()
    coding: Mapping[int, str] = dataclasses.field(default_factory=dict)
    missing: tuple[int, ...] = ()
    below: tuple[int, ...] = ()
    instead: int | None = None
    unasked: int | None = None
    unasked_where: int | None = None
    low: float = -math.inf
    high: float = math.inf
    codes: tuple[int, ...] = ()
    evidence: tuple[int, ...] = ()

    @property
    def needs(self) -> tuple[int, ...]:
        """The numbers of all fields that are read."""
        others = (self.instead, self.unasked_where)
        return (*self.ids, *self.evidence, *(other for other in others if other is not None))


class UkbTable:
    """Columns of some fields for some subjects, as text, with counts of the values that rules changed.

    Attributes:
      rows: `eid` and the columns of the requested fields.
      total: number of rows in the file.
      changes: number of values that each rule changed, by a text that names the rule, and by field.
    """

    def __init__(self, path: Path, fields: Iterable[int], subjects: Sequence[str]) -> None:
        """Read the columns of `fields` for `subjects`, in the order of the file.

        Raises:
          UserError: the file cannot be read, has no column `eid`, or has a subject more than once.
        """
        check(path.is_file(), f"The table {path} does not exist.")
        self.path = path
        self.changes: dict[str, dict[str, int]] = collections.defaultdict(dict)
        self._columns: dict[int, dict[tuple[int, int], str]] = collections.defaultdict(dict)
        requested = set(fields)
        with reading_table(path):
            lazy = pl.scan_csv(path, infer_schema=False)
            lazy = lazy.rename({"f.eid": "eid"}, strict=False)
            names = lazy.collect_schema().names()
            check("eid" in names, f"The table {path} has no column eid, so it is not a main table of UK Biobank.")
            for name in names:
                if (match := _COLUMN.fullmatch(name)) is None:
                    continue
                field, visit, array = (
                    int(part or 0) for part in (match.groups()[:3] if match[1] else match.groups()[3:])
                )
                if field in requested:
                    self._columns[field][visit, array] = name
            used = ["eid", *(name for columns in self._columns.values() for name in columns.values())]
            self.total = int(lazy.select(pl.len()).collect().item())
            eid = lazy.select("eid").collect()["eid"].str.strip_chars()
            eid = canonical_integers(eid).alias("eid")  # subject 1000012.0 has the folder 1000012
            lazy = lazy.with_columns(eid)
            rows = lazy.filter(pl.col("eid").is_in(list(subjects))).select(used).collect()
        self.rows = rows.with_columns(pl.all().str.strip_chars().replace("", None))
        self._spread()
        duplicates = self.rows.filter(pl.col("eid").is_duplicated())["eid"]
        check(
            duplicates.is_empty(),
            f"The table {path} has subject {next(iter(duplicates), '')} more than once; keep one row.",
        )

    def _spread(self) -> None:
        """Split cells with several answers, `a|b` or `["a","b"]`, into a column per answer."""
        for columns in self._columns.values():
            for (visit, array), name in list(columns.items()):
                cells = self.rows[name]
                if not (name.startswith("p") and cells.str.contains(r"^\[|\|").any()):
                    continue
                answers = cells.str.replace_all(r'[\[\]"\s]', "").str.replace_all(",", "|").str.split("|")
                for index in range(int(answers.list.len().max() or 0)):  # type: ignore[arg-type]
                    part = answers.list.get(index, null_on_oob=True).replace("", None).alias(f"{name}|{index}")
                    self.rows = self.rows.with_columns(part)
                    columns[visit, array + index] = part.name

    def has(self, field: int) -> bool:
        """Return whether the file has a column of the field."""
        return field in self._columns

    def keep(self, mask: pl.Series) -> None:
        """Drop the rows for which `mask` is false."""
        self.rows = self.rows.filter(mask)

    def columns(self, field: int, visits: Sequence[int] | None = None) -> list[str]:
        """Return the names of the field's columns, ordered by visit and array."""
        columns = sorted(self._columns.get(field, {}).items())
        return [name for (visit, _), name in columns if visits is None or visit in visits]

    def values(self, field: Field, visits: Sequence[int]) -> pl.Series:
        """Return the field as a typed column: float, boolean (yes or no), or the text of a choice; null if missing.

        Args:
          field: the field with the rules for its values.
          visits: visits in order of preference; the first with a value is used.

        Raises:
          UserError: a cell is not a number, or not a code of the field.
        """
        if field.how in ("any of", "count of"):
            return self._pooled(field)
        values = self._first(field.ids, visits, field)
        if field.instead is not None and self.has(field.instead):
            values = self._change(
                values, values.is_null(), self._first((field.instead,), visits, field), field, "taken instead"
            )
        outside = (values < field.low) | (values > field.high)
        values = self._change(values, outside, None, field, "beyond what can be measured, now missing")
        if field.unasked is not None:
            unasked = values.is_null()
            if field.unasked_where is not None:
                unasked &= self._first((field.unasked_where,), visits, field).fill_null(math.nan) == 0
            values = self._change(values, unasked, float(field.unasked), field, f"not asked, now {field.unasked}")
        if field.how == "number":
            return values.alias(field.name)
        texts = {float(code): text for code, text in field.coding.items()}
        unknown = values.filter(~values.is_in(list(texts)) & values.is_not_null())
        check(
            unknown.is_empty(),
            f"Field {field.ids[0]} ({field.name}) of {self.path} has the code {next(iter(unknown), 0):g}, "
            f"which is none of {sorted(field.coding)}; correct the cell or leave it empty.",
        )
        if set(field.coding.values()) == {"no", "yes"}:
            return (values == 1).alias(field.name)
        return values.replace_strict(texts, return_dtype=pl.String).alias(field.name)

    def _pooled(self, field: Field) -> pl.Series:
        """Return whether, or how often, one of the codes was answered up to the imaging visit."""
        answers = self._numbers([name for number in field.ids for name in self.columns(number, _UNTIL_IMAGING)])
        codes = [float(code) for code in field.codes]
        matches = answers.select(pl.all().is_in(codes).fill_null(False))
        if field.how == "count of":
            return matches.select(pl.sum_horizontal(pl.all().cast(pl.Float64))).to_series().alias(field.name)
        # A diagnosis with a date, even "do not know", exists. -3 is "prefer not to answer".
        dates = self.rows.select(name for number in field.evidence for name in self.columns(number))
        declined = pl.all().cast(pl.Float64, strict=False).eq_missing(-3.0)
        dated = dates.select((pl.all().is_not_null() & ~declined).name.keep())
        true = self._any(matches) | self._any(dated)
        no_answer = [float(code) for code in field.missing]
        answered = self._any(answers.select((~pl.all().is_in(no_answer)).fill_null(False)))
        return pl.select(pl.when(true | answered).then(true)).to_series().alias(field.name)

    def _any(self, flags: pl.DataFrame) -> pl.Series:
        none = pl.Series([False] * len(self.rows), dtype=pl.Boolean)
        return flags.select(pl.any_horizontal(pl.all())).to_series() if flags.width else none

    def _first(self, ids: Sequence[int], visits: Sequence[int], field: Field) -> pl.Series:
        """Return the mean over arrays, then over fields, at the first visit with a value."""
        values = pl.Series([None] * len(self.rows), dtype=pl.Float64)
        for visit in visits:
            means = []
            for number in ids:
                names = self.columns(number, (visit,))
                cells = self._numbers(names if field.how == "number" else names[:1])
                means.append(self._mean([self._cleaned(cells[name], field, name) for name in cells.columns]))
            values = pl.select(pl.coalesce(values, self._mean(means))).to_series()
        return values

    def _mean(self, parts: list[pl.Series]) -> pl.Series:
        if not parts:
            return pl.Series([None] * len(self.rows), dtype=pl.Float64)
        return pl.select(pl.mean_horizontal(part.alias(str(index)) for index, part in enumerate(parts))).to_series()

    def _cleaned(self, cells: pl.Series, field: Field, name: str) -> pl.Series:
        no_answer = cells.is_in([float(code) for code in field.missing])
        cells = self._change(cells, no_answer, None, field, "no answer, now missing")
        return self._change(cells, cells.is_in([float(code) for code in field.below]), 0.0, field, "below one, now 0")

    def _change(
        self, cells: pl.Series, where: pl.Series, to: float | pl.Series | None, field: Field, what: str
    ) -> pl.Series:
        where = where.fill_null(False)
        values = pl.select(pl.when(where).then(to if to is not None else None).otherwise(cells)).to_series()
        changed = int((where & ~values.eq_missing(cells)).sum())
        if changed:
            self.changes[what][field.name] = self.changes[what].get(field.name, 0) + changed
        return values.cast(pl.Float64)

    def _numbers(self, names: list[str]) -> pl.DataFrame:
        texts = self.rows.select(names)
        numbers = texts.select(pl.all().cast(pl.Float64, strict=False))
        for name in names:
            invalid = texts.filter(numbers[name].is_null() & texts[name].is_not_null())[name]
            check(
                invalid.is_empty(),
                f"Column {name} of {self.path} has {next(iter(invalid), '')!r}, which is no number; "
                "correct the cell or leave it empty.",
            )
        return numbers
