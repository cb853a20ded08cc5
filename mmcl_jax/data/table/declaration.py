"""The user's declaration of columns, in `--schema schema.json`.

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

Everything that is not declared is inferred; with `"others": "ignore"`, only the declared columns are used.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from mmcl_jax.border import read_json, shown, typed
from mmcl_jax.data.schema import KINDS
from mmcl_jax.data.table.readings import DECIMALS, PLAIN, THOUSANDS, Reading
from mmcl_jax.data.table.scaling import SCALINGS
from mmcl_jax.errors import check, check_name

Role = Literal["feature", "label", "identifier", "image", "group", "split", "ignore"]
ROLES: tuple[str, ...] = get_args(Role)
SINGLE = ("identifier", "group", "split")  # roles that at most one column may have

# Cells that mean "no value". The data card counts them column by column.
MISSING_WORDS = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declared:
    """The declaration of one column; an empty `role` or `kind` is inferred.

    `format` is the format of a date, in strptime's notation. `decimal` and `thousands` are the marks in the column's
    numbers ("": those of the table), and `unit` may precede or follow the numbers (see `readings.Reading`). `missing`
    are further words for "no value". `present` are words that mean "no value" in other columns but are values in this
    one; declared categories are always values. `verbatim` is whether 1 and 1.0 are different categories; None infers
    it (see `cells.is_verbatim`).
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
    """The declaration of a table: its columns by name, words for "no value", and the treatment of `others`.

    `decimal` and `thousands` are the marks in the numbers of all text columns that do not declare their own.
    """

    columns: Mapping[str, Declared] = dataclasses.field(default_factory=dict)
    missing: tuple[str, ...] = MISSING_WORDS
    others: str = "infer"
    decimal: str = ""
    thousands: str = ""

    def of(self, name: str) -> Declared:
        """Return the declaration of a column, or the one that `others` implies."""
        return self.columns.get(name) or Declared(role="ignore" if self.others == "ignore" else "")

    def reading(self, name: str) -> Reading:
        """Return the notation of the numbers in a text column."""
        declared = self.of(name)
        decimal = declared.decimal or self.decimal or PLAIN.decimal
        thousands = declared.thousands or (self.thousands if self.thousands != decimal else "")
        return Reading(decimal, thousands, declared.unit)

    def for_all(
        self, *, decimal: str | None = None, thousands: str | None = None, missing: tuple[str, ...] | None = None
    ) -> "Declaration":
        """Return the declaration with the command-line options for the whole table; None changes nothing.

        Raises:
          UserError: the schema declares another mark, or one mark is both the decimal and the thousands mark.
        """
        for key, mark in (("decimal", decimal), ("thousands", thousands)):
            declared = getattr(self, key)
            check(
                mark is None or declared in ("", mark),
                f"--{key} {mark!r}: the schema declares {declared!r}; remove the option, or change the schema.",
            )
        changed = dataclasses.replace(
            self,
            decimal=decimal or self.decimal,
            thousands=thousands or self.thousands,
            missing=self.missing if missing is None else missing,
        )
        changed.check_marks("--decimal and --thousands")
        return changed

    def check_marks(self, where: str) -> None:
        """Raise `UserError` if one mark is both the decimal and the thousands mark, of the table or of a column."""
        for name, declared in {"": Declared(), **self.columns}.items():
            decimal = declared.decimal or self.decimal or PLAIN.decimal
            thousands = declared.thousands or self.thousands
            inherited = declared.decimal != "" and declared.thousands == ""  # a column's own decimal mark overrides
            column = f", column {name!r}" if name else ""
            check(
                decimal != thousands or inherited,
                f"{where}{column}: {decimal!r} cannot be both the decimal and the thousands mark; declare both.",
            )

    def named(self, role: str) -> list[str]:
        """Return the names of the columns that are declared to have this role."""
        return [name for name, declared in self.columns.items() if declared.role == role]

    def adding(self, role: str, names: tuple[str, ...], **more: Any) -> "Declaration":
        """Return the declaration in which the columns `names` have this role and the fields `more`.

        Raises:
          UserError: a column is already declared with another role or field.
        """
        columns = dict(self.columns)
        for name in names:
            declared = columns.get(name, Declared())
            added = {**more, **({"role": role} if role else {})}
            for key, value in added.items():
                current = getattr(declared, key)
                check(
                    current in ("", value),
                    f"Column {name!r} is declared with the {key} {current} and given {value} by an option; remove one.",
                )
            columns[name] = dataclasses.replace(declared, role=role or declared.role, **more)
        return dataclasses.replace(self, columns=columns)

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as JSON values, without empty fields."""
        columns = {
            name: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in dataclasses.asdict(declared).items()
                if value or value is False
            }
            for name, declared in self.columns.items()
        }
        marks = {key: value for key, value in (("decimal", self.decimal), ("thousands", self.thousands)) if value}
        return {"columns": columns, "missing": list(self.missing), "others": self.others, **marks}

    @classmethod
    def from_json(cls, raw: Any, where: str) -> "Declaration":
        """Return the declaration of JSON values; the inverse of `to_json`.

        Raises:
          UserError: naming the file `where`, the column and the key that are wrong.
        """
        _check_keys(raw, {field.name for field in dataclasses.fields(cls)}, where)
        columns = raw.get("columns", {})
        check(isinstance(columns, Mapping), f"{where}: columns must be an object of column names.")
        for name in columns:
            typed(str, name, f"{where}: the name of a column")
        others = raw.get("others", "infer")
        check(others in ("infer", "ignore"), f"{where}: others must be infer or ignore, not {shown(others)}.")
        declared = {name: _declared(value, f"{where}, column {name!r}") for name, value in columns.items()}
        missing = _texts(raw.get("missing", MISSING_WORDS), f"{where}: missing")
        declaration = cls(columns=declared, missing=missing, others=others, **_marks(raw, where))
        declaration.check_marks(where)
        for role in SINGLE:
            names = declaration.named(role)
            check(len(names) <= 1, f"{where}: the columns {names} all have the role {role}; give it to one column.")
        return declaration

    @classmethod
    def read(cls, path: Path) -> "Declaration":
        """Read a declaration from a JSON file.

        Raises:
          UserError: the file is missing, is not JSON, or has an invalid declaration.
        """
        check(path.exists(), f"The schema {path} does not exist.")
        return cls.from_json(read_json(path, Any, "correct the schema", by_hand=True), str(path))


def _declared(raw: Any, where: str) -> Declared:
    _check_keys(raw, {field.name for field in dataclasses.fields(Declared)}, where)
    role, kind = raw.get("role", ""), raw.get("kind", "")
    check(role in ("", *ROLES), f"{where}: role {shown(role)} is not one of {', '.join(ROLES)}.")
    check(kind in ("", *KINDS), f"{where}: kind {shown(kind)} is not one of {', '.join(KINDS)}.")
    check(
        kind != "ordinal" or bool(raw.get("categories")), f"{where}: an ordinal column needs its categories in order."
    )
    texts = {key: _texts(raw.get(key, ()), f"{where}: {key}") for key in ("categories", "tags", "missing", "present")}
    categories = texts["categories"]
    check(len(set(categories)) == len(categories), f"{where}: a category is named twice.")
    for word in (*categories, *texts["present"]):
        check(word != "", f"{where}: an empty text means that a value is missing, and cannot be a category; remove it.")
    check(
        not categories or kind not in ("continuous", "date"),
        f"{where}: a {kind} column cannot have categories; remove them.",
    )
    check(
        kind != "boolean" or len(categories) in (0, 2),
        f"{where}: a boolean column has two categories, false first, not {len(categories)}.",
    )
    check(
        not raw.get("format") or (kind in ("", "date") and not categories),
        f'{where}: only a date has a format; remove it, or add "kind": "date".',
    )
    for word in texts["missing"]:
        duplicate = next((key for key in ("categories", "present") if word in texts[key]), "")
        check(not duplicate, f"{where}: {word!r} is in both missing and {duplicate}; remove it from one of them.")
    scaling = raw.get("scaling", "")
    check(scaling in ("", *SCALINGS), f"{where}: scaling {shown(scaling)} is not one of {', '.join(SCALINGS)}.")
    check(
        not scaling or (kind == "continuous" and role in ("", "feature")),
        f'{where}: only a feature of the kind continuous has a scaling; add "kind": "continuous", or remove it.',
    )
    for key in ("format", "unit"):
        typed(str, raw.get(key, ""), f"{where}: {key}")
    marks, verbatim = _marks(raw, where), raw.get("verbatim")
    check(
        not marks or (kind != "date" and not raw.get("format")),
        f"{where}: a date has no decimal or thousands mark; remove {' and '.join(marks)}, or the format.",
    )
    is_flag = verbatim is None or isinstance(verbatim, bool)
    check(is_flag, f"{where}: verbatim must be true or false, not {shown(verbatim)}.")
    fields: dict[str, Any] = {**texts, **marks, "format": raw.get("format", ""), "unit": raw.get("unit", "")}
    return Declared(role=role, kind=kind, verbatim=verbatim, scaling=scaling, **fields)


def _marks(raw: Mapping[str, Any], where: str) -> dict[str, str]:
    """Return the decimal and thousands marks that a column or a table declares."""
    for key, choices in (("decimal", DECIMALS), ("thousands", THOUSANDS)):
        mark = raw.get(key, "")
        check(mark in ("", *choices), f"{where}: {key}: {shown(mark)} is not one of {' '.join(map(repr, choices))}.")
    return {key: raw[key] for key in ("decimal", "thousands") if raw.get(key)}


def _check_keys(raw: Any, keys: set[str], where: str) -> None:
    check(isinstance(raw, Mapping), f"{where}: this must be a JSON object, not {shown(raw)}.")
    for key in raw:
        check_name(key, sorted(keys), f"{where}: there is no key", "the keys are")


def _texts(raw: Any, where: str) -> tuple[str, ...]:
    check(isinstance(raw, list | tuple), f"{where} must be a list of texts.")
    return tuple(typed(str, text, where, "put it in quotes") for text in raw)
