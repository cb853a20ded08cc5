"""Schemas: declarations of columns, with values of any type in place of another."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mmcl_jax.data.table.declaration import Declaration
from tests.fuzz.case import Kind, Wrong
from tests.fuzz.values import as_json, damaged, damages, replaced, texts, values

_COLUMN = ["role", "kind", "categories", "tags", "missing", "present", "format", "unit", "scaling", "decimal"]
_COLUMN += ["thousands", "verbatim"]
_RIGHT = {"role": "feature", "kind": "continuous", "unit": "kg"}
_columns = st.dictionaries(texts, replaced(_RIGHT, _COLUMN) | values, max_size=3)
_schemas = st.fixed_dictionaries({"columns": _columns | values}) | replaced(
    {"columns": {"a": _RIGHT}}, ["missing", "others"]
)


def _write(case: dict[str, Any], folder: Path) -> None:
    (folder / "schema.json").write_bytes(damaged(as_json(case["schema"]), case["damage"]))


def _act(case: dict[str, Any], inputs: Path, out: Path) -> None:
    read = Declaration.read(inputs / "schema.json")
    if Declaration.from_json(read.to_json(), "again") != read:
        raise Wrong(f"{read} is written as {read.to_json()}")


SCHEMAS = Kind("schemas", st.fixed_dictionaries({"schema": _schemas | values, "damage": damages}), _write, _act)
