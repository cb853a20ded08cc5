"""Tables in text files and Parquet files: every type, header, separator and encoding, whole and damaged."""

import csv
import io
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from mmcl_jax.prepare.make import preview
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.table import read_table
from tests.fuzz.case import Kind, Wrong
from tests.fuzz.values import damaged, damages, numbers, texts

_TYPES = {
    "Int64": st.integers(-(2**63), 2**63 - 1),
    "UInt8": st.integers(0, 255),
    "Float64": st.floats(),
    "Float32": st.floats(width=32),
    "Boolean": st.booleans(),
    "String": texts,
    "Date": st.integers(-(10**6), 10**6),
    "Datetime": st.integers(-(2**62), 2**62),
    "Duration": st.integers(-(2**62), 2**62),
    "Time": st.integers(0, 86_399_999_999_999),
    "Categorical": texts,
    "Binary": st.binary(max_size=6),
    "List": st.lists(st.integers(-9, 9), max_size=3),
    "Struct": st.fixed_dictionaries({"a": st.integers(-9, 9)}),
    "Null": st.none(),
}
_LIKELY = st.sampled_from(["1", "2.5", "-3", "x", "y", "z", "", "NA", "2021-02-03", "TRUE", "1.000,5", "inf", "nan"])
_cells = _LIKELY | texts | numbers.map(str)
_names = st.lists(st.sampled_from(["a", "b", "c", "key 2", "", "A"]) | texts, max_size=5)


@st.composite
def _text(draw: Any) -> dict[str, Any]:
    names, count = ["id", *draw(_names)], draw(st.integers(0, 12))
    rows = [[str(row), *(draw(_cells) for _ in names[1:])] for row in range(count)]
    return {
        "names": names,
        "rows": rows,
        "separator": draw(st.sampled_from([",", ",", ",", "\t", ";", "|", "||", " ", "é", '"', ""])),
        "quoted": draw(st.booleans()),
        "encoding": draw(
            st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "rot13", "?"])
        ),
        "damage": draw(st.just([]) | damages),
    }


@st.composite
def _parquet(draw: Any) -> dict[str, Any]:
    count = draw(st.integers(0, 9))
    columns = [
        (name, kind, [draw(st.none() | _TYPES[kind]) for _ in range(count)])
        for name, kind in draw(st.lists(st.tuples(texts, st.sampled_from(sorted(_TYPES))), max_size=4))
    ]
    return {"columns": [("id", "Int64", list(range(count))), *columns], "damage": draw(st.just([]) | damages)}


def _write(case: dict[str, Any], folder: Path) -> None:
    if "columns" in case:
        stream = io.BytesIO()
        frame = {name: _column(name, kind, cells) for name, kind, cells in case["columns"]}
        pl.DataFrame(list(frame.values())).write_parquet(stream)
        (folder / "t.parquet").write_bytes(damaged(stream.getvalue(), case["damage"]))
        return
    lines, mark = [case["names"], *case["rows"]], case["separator"] or ","
    text = "\n".join(mark.join(line) for line in lines)
    if case["quoted"] and len(mark) == 1 and mark != '"':
        output = io.StringIO()
        csv.writer(output, delimiter=mark, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(lines)
        text = output.getvalue()
    try:
        content = text.encode(case["encoding"], "replace")
    except LookupError:
        content = text.encode("utf-8", "replace")
    (folder / "t.csv").write_bytes(damaged(content, case["damage"]))


def _column(name: str, kind: str, cells: list[Any]) -> pl.Series:
    types = {"List": pl.List(pl.Int64), "Struct": pl.Struct({"a": pl.Int64}), "Datetime": pl.Datetime("us")}
    dtype = types.get(kind, getattr(pl, kind))
    numeric = kind in ("Date", "Datetime", "Duration", "Time")
    first = {"Date": pl.Int32, "Categorical": pl.String}.get(kind, pl.Int64 if numeric else dtype)
    return pl.Series(name, cells, dtype=first).cast(dtype)


def _act(case: dict[str, Any], inputs: Path, out: Path) -> None:
    if "columns" in case:
        options = {"file": str(inputs / "t.parquet")}
        table = read_table(inputs / "t.parquet")
    else:
        options = {"file": str(inputs / "t.csv"), "encoding": case["encoding"]}
        options |= {"separator": case["separator"]} if case["separator"] else {}
        table = read_table(inputs / "t.csv", separator=case["separator"] or None, encoding=case["encoding"])
        _check(case, table)
    preview(Request.from_json({"entries": {"t": {"kind": "table", "key": "id", **options}}}))


def _check(case: dict[str, Any], table: Any) -> None:
    """Compare with the cells that were written, where Python's own reader agrees on what the file holds."""
    plain = all(cell.isascii() and cell.isprintable() for line in case["rows"] for cell in line)
    if case["damage"] or not case["quoted"] or case["separator"] not in (",", ";", "|", "\t") or not plain:
        return
    if len(table.bad) or case["encoding"] not in ("utf-8", "latin-1", "cp1252"):
        return
    written = [[cell.strip() for cell in row] for row in case["rows"]]
    read = [["" if cell is None else cell for cell in row] for row in table.frame.rows()]
    if read != written:
        raise Wrong(f"{written} was read as {read}")


TABLES = Kind("tables", _text() | _parquet(), _write, _act)
