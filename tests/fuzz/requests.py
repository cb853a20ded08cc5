"""Requests of `prepare`: options, entries and targets, with values of any type in place of another."""

import dataclasses
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import INPUTS, TARGETS, Source
from tests.fuzz.case import Kind
from tests.fuzz.values import as_json, damaged, damages, replaced, texts, values

_FIELDS = [field.name for field in dataclasses.fields(Request)]
_SOURCE = [field.name for field in dataclasses.fields(Source)]
_RIGHT = {"kind": "table", "file": "t.csv", "key": "id"}
_kinds = st.sampled_from([*INPUTS, *TARGETS])
_sources = st.dictionaries(
    st.sampled_from(["a", "image", "b"]) | texts,
    st.tuples(_kinds, replaced(_RIGHT, _SOURCE)).map(lambda pair: {**pair[1], "kind": pair[0]}) | values,
    max_size=3,
)
_requests = (
    replaced({"table": "t.csv", "images": "photos", "image_column": "file"}, _FIELDS)
    | st.fixed_dictionaries({"entries": _sources, "targets": _sources})
    | values
)


def _write(case: dict[str, Any], folder: Path) -> None:
    (folder / "request.json").write_bytes(damaged(as_json(case["request"]), case["damage"]))


def _act(case: dict[str, Any], inputs: Path, out: Path) -> None:
    request = Request.read(inputs / "request.json", {})
    Request.from_json(request.to_json())


REQUESTS = Kind("requests", st.fixed_dictionaries({"request": _requests, "damage": damages}), _write, _act)
