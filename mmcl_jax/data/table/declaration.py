"""What a user says about columns, in `--schema schema.json`.

    {
      "columns": {
        "price":     {"kind": "continuous", "unit": "GBP", "missing": ["POA"], "scaling": "log"},
        "condition": {"kind": "ordinal", "categories": ["poor", "fair", "good"]},
        "sold":      {"kind": "date", "format": "%d/%m/%Y"},
        "weight":    {"decimal": ",", "unit": "kg"},
        "length":    {"tags": ["morphometric"]},
        "model":     {"role": "label"},
        "notes":     {"role": "ignore"}
      },
      "missing": ["", "NA", "-99"],
      "others": "infer"
    }

What is not said is inferred; `"others": "ignore"` uses no column but those named.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from mmcl_jax.data.schema import KINDS
from mmcl_jax.data.table.readings import DECIMALS, PLAIN, THOUSANDS, Reading
from mmcl_jax.data.table.scaling import SCALINGS
from mmcl_jax.errors import UserError, check

Role = Literal["feature", "label", "identifier", "image", "group", "split", "ignore"]
ROLES: tuple[str, ...] = get_args(Role)
SINGLE = ("identifier", "group", "split")  # roles that one column at most may have

# Cells that say "no value". They are counted, column by column, in the data card.
MISSING_WORDS = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declared:
    """What is said about one column; an empty `role` or `kind` is inferred.

    `format` is that of a date, in strptime's notation. `decimal` and `thousands` are the marks in its numbers, "" as in
    the whole table, and `unit` may stand behind or before them (see `readings.Reading`). `missing` are further words
    for "no value", and `present` words that are values here though they say "no value" elsewhere; declared categories
    are values in any case. `verbatim` says whether 1 and 1.0 are different categories; None infers it (see
    `cells.is_verbatim`).
    """

    role: str = ""
    kind: str = ""
    categories: tuple[str, ...] = ()
    format: str = ""
    unit: str = ""
    tags: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    decimal: str = ""
    thousands: str = ""
    verbatim: bool | None = None
    scaling: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is said about a table: columns by name, words for "no value", and what becomes of the other columns.

    `decimal` and `thousands` are the marks in the numbers of all text columns that do not declare their own.
    """

    columns: Mapping[str, Declared] = dataclasses.field(default_factory=dict)
    missing: tuple[str, ...] = MISSING_WORDS
    others: str = "infer"
    decimal: str = ""
    thousands: str = ""

    def of(self, name: str) -> Declared:
        """Return the declaration of a column, by its name or by `others`."""
        return self.columns.get(name) or Declared(role="ignore" if self.others == "ignore" else "")

    def reading(self, name: str) -> Reading:
        """Return how the numbers of a text column are written."""
        declared = self.of(name)
        decimal = declared.decimal or self.decimal or PLAIN.decimal
        thousands = declared.thousands or (self.thousands if self.thousands != decimal else "")
        return Reading(decimal, thousands, declared.unit)

    def for_all(
        self, *, decimal: str | None = None, thousands: str | None = None, missing: tuple[str, ...] | None = None
    ) -> "Declaration":
        """Return the declaration with what command-line options say of the whole table; None leaves it.

        Raises:
          UserError: a mark is declared to be another one, or to be two things.
        """
        for key, mark in (("decimal", decimal), ("thousands", thousands)):
            said = getattr(self, key)
            check(
                mark is None or said in ("", mark),
                f"--{key}: the schema says {said!r}, and {mark!r} is asked for; say one of them.",
            )
        made = dataclasses.replace(
            self,
            decimal=decimal or self.decimal,
            thousands=thousands or self.thousands,
            missing=self.missing if missing is None else missing,
        )
        made.check_marks("--decimal and --thousands")
        return made

    def check_marks(self, where: str) -> None:
        """Raise `UserError` if one mark is both the decimal and the thousands mark, of the table or of a column."""
        for name, one in {"": Declared(), **self.columns}.items():
            decimal, thousands = one.decimal or self.decimal or PLAIN.decimal, one.thousands or self.thousands
            inherited = one.decimal != "" and one.thousands == ""  # a column's own decimal mark overrides
            column = f", column {name!r}" if name else ""
            check(
                decimal != thousands or inherited,
                f"{where}{column}: {decimal!r} cannot be both the decimal and the thousands mark; declare both.",
            )

    def named(self, role: str) -> list[str]:
        """Return the columns declared to have this role."""
        return [name for name, declared in self.columns.items() if declared.role == role]

    def adding(self, role: str, names: tuple[str, ...], **more: Any) -> "Declaration":
        """Return the declaration with `names` given `role` (and other fields), as a command-line option does.

        Raises:
          UserError: a column was declared to be something else.
        """
        columns = dict(self.columns)
        for name in names:
            declared = columns.get(name, Declared())
            asked = {**more, **({"role": role} if role else {})}
            for key, value in asked.items():
                said = getattr(declared, key)
                check(
                    said in ("", value),
                    f"Column {name!r} is declared to have the {key} {said}, and {value} is asked for; say one of them.",
                )
            columns[name] = dataclasses.replace(declared, role=role or declared.role, **more)
        return dataclasses.replace(self, columns=columns)

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as JSON values, without empty ones."""
        columns = {
            name: {key: value for key, value in dataclasses.asdict(declared).items() if value or value is False}
            for name, declared in self.columns.items()
        }
        marks = {key: value for key, value in (("decimal", self.decimal), ("thousands", self.thousands)) if value}
        return json.loads(json.dumps({"columns": columns, "missing": self.missing, "others": self.others, **marks}))

    @classmethod
    def from_json(cls, raw: Any, where: str) -> "Declaration":
        """Return the inverse of `to_json`.

        Raises:
          UserError: naming `where`, and the column and key that are wrong.
        """
        _keys(raw, {field.name for field in dataclasses.fields(cls)}, where)
        columns = raw.get("columns", {})
        check(isinstance(columns, dict), f"{where}: columns must be an object of column names.")
        others = raw.get("others", "infer")
        check(others in ("infer", "ignore"), f"{where}: others must be infer or ignore, not {others!r}.")
        declared = {name: _declared(value, f"{where}, column {name!r}") for name, value in columns.items()}
        missing = _texts(raw.get("missing", MISSING_WORDS), f"{where}: missing")
        made = cls(columns=declared, missing=missing, others=others, **_marks(raw, where))
        made.check_marks(where)
        for role in SINGLE:
            names = made.named(role)
            check(len(names) <= 1, f"{where}: {names} are all declared to be the {role}, which is one column.")
        return made

    @classmethod
    def read(cls, path: Path) -> "Declaration":
        """Read a declaration.

        Raises:
          UserError: the file is missing, no JSON, or says something impossible.
        """
        check(path.is_file(), f"The schema {path} does not exist.")
        try:
            raw = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise UserError(f"The schema {path} is not JSON: {error}.") from error
        return cls.from_json(raw, str(path))


def _declared(raw: Any, where: str) -> Declared:
    _keys(raw, {field.name for field in dataclasses.fields(Declared)}, where)
    role, kind = raw.get("role", ""), raw.get("kind", "")
    check(role in ("", *ROLES), f"{where}: role {role!r} is not one of {', '.join(ROLES)}.")
    check(kind in ("", *KINDS), f"{where}: kind {kind!r} is not one of {', '.join(KINDS)}.")
    check(
        kind != "ordinal" or bool(raw.get("categories")), f"{where}: an ordinal column needs its categories in order."
    )
    texts = {key: _texts(raw.get(key, ()), f"{where}: {key}") for key in ("categories", "tags", "missing", "present")}
    categories = texts["categories"]
    check(len(set(categories)) == len(categories), f"{where}: a category is named twice.")
    for word in (*categories, *texts["present"]):
        check(word != "", f"{where}: an empty text is no category; it says that there is no value.")
    check(
        not categories or kind not in ("continuous", "date"), f"{where}: a {kind} column has no categories; leave them."
    )
    check(
        kind != "boolean" or len(categories) in (0, 2),
        f"{where}: a boolean column has two categories, false first, not {len(categories)}.",
    )
    check(
        not raw.get("format") or (kind in ("", "date") and not categories),
        f"{where}: only a date has a format; leave it, or say that the kind is date.",
    )
    for word in texts["missing"]:
        twice = next((key for key in ("categories", "present") if word in texts[key]), "")
        check(not twice, f"{where}: {word!r} is in both missing and {twice}; leave it in one of them.")
    scaling = raw.get("scaling", "")
    check(scaling in ("", *SCALINGS), f"{where}: scaling {scaling!r} is not one of {', '.join(SCALINGS)}.")
    check(
        not scaling or (kind == "continuous" and role in ("", "feature")),
        f'{where}: only a feature of the kind continuous has a scaling; add "kind": "continuous", or leave it.',
    )
    for key in ("format", "unit"):
        check(isinstance(raw.get(key, ""), str), f"{where}: {key} must be a text.")
    marks, verbatim = _marks(raw, where), raw.get("verbatim")
    check(
        not marks or (kind != "date" and not raw.get("format")),
        f"{where}: a date has no decimal or thousands mark; leave {' and '.join(marks)}, or the format.",
    )
    check(verbatim is None or isinstance(verbatim, bool), f"{where}: verbatim must be true or false, not {verbatim!r}.")
    said: dict[str, Any] = {**texts, **marks, "format": raw.get("format", ""), "unit": raw.get("unit", "")}
    return Declared(role=role, kind=kind, verbatim=verbatim, scaling=scaling, **said)


def _marks(raw: dict[str, Any], where: str) -> dict[str, str]:
    """Return the decimal and thousands marks that a column or a table declares."""
    for key, known in (("decimal", DECIMALS), ("thousands", THOUSANDS)):
        mark = raw.get(key, "")
        check(mark in ("", *known), f"{where}: {key}: {mark!r} is not one of {' '.join(map(repr, known))}.")
    return {key: raw[key] for key in ("decimal", "thousands") if raw.get(key)}


def _keys(raw: Any, known: set[str], where: str) -> None:
    check(isinstance(raw, dict), f"{where}: must be an object, not {raw!r}.")
    for key in raw:
        check(key in known, f"{where}: there is no key {key!r}; there are {', '.join(sorted(known))}.")


def _texts(raw: Any, where: str) -> tuple[str, ...]:
    check(isinstance(raw, list | tuple), f"{where} must be a list of texts.")
    for text in raw:
        check(isinstance(text, str), f"{where}: {text!r} is not a text; put it in quotes.")
    return tuple(raw)
