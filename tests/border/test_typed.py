"""The typed reader: every JSON type in place of every other ends in the right value or in one sentence."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcl_jax.border import (
    AtLeast,
    Between,
    Open,
    Real,
    as_type,
    parse,
    read_json,
    read_lines,
    read_written,
    to_json,
    typed,
)
from mmcl_jax.errors import UserError
from mmcl_jax.text import visible


@dataclasses.dataclass(frozen=True)
class Part:
    name: str
    sizes: tuple[int, ...] = ()


class File(TypedDict):
    kind: Literal["table", "image"]
    rate: float
    loss: Real
    count: Annotated[int, AtLeast(1)]
    share: Annotated[float, Between(0, 1)]
    flag: bool
    pair: tuple[int, str]
    parts: dict[str, Part]
    path: Path | None


RIGHT: dict[str, Any] = {
    "kind": "table", "rate": 1, "loss": "NaN", "count": 3, "share": 0.5, "flag": True, "pair": [1, "a"],
    "parts": {"a": {"name": "x", "sizes": [1, 2]}}, "path": None,
}  # fmt: skip
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def test_a_right_value_is_read() -> None:
    value: Any = typed(File, RIGHT, "here")
    assert (value["rate"], type(value["rate"])) == (1.0, float)
    assert math.isnan(value["loss"])
    assert (value["parts"], value["pair"]) == ({"a": Part("x", (1, 2))}, (1, "a"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "tabel"}, "kind must be one of table, image, not 'tabel' (did you mean 'table'?)"),
        ({"rate": True}, "rate must be a finite number, not True"),
        ({"rate": math.inf}, "rate must be a finite number, not inf"),
        ({"rate": "1"}, "rate must be a finite number, not '1'"),
        ({"loss": "nan"}, "loss must be a finite number, not 'nan'"),
        ({"count": 3.0}, "count must be a whole number, not 3.0"),
        ({"count": True}, "count must be a whole number, not True"),
        ({"count": 0}, "count must be a number of at least 1, not 0"),
        ({"share": 1.5}, "share must be a number between 0 and 1, not 1.5"),
        ({"flag": 1}, "flag must be true or false, not 1"),
        ({"pair": [1]}, "pair must be a list of 2 values, not 1"),
        ({"pair": "1a"}, "pair must be a list, not '1a'"),
        ({"parts": {"a": {"name": 1}}}, "parts.a.name must be a text, not 1"),
        ({"parts": {"a": {"name": "x", "sizes": [1, "2"]}}}, "parts.a.sizes.1 must be a whole number, not '2'"),
        ({"parts": {"a": {"name": "x", "size": []}}}, "parts.a has an unknown key 'size' (did you mean 'sizes'?)"),
        ({"parts": {"a": {}}}, "parts.a has no key 'name'"),
        ({"parts": [1]}, "parts must be an object, not a list"),
        ({"path": 3}, "path must be a path or null, not 3"),
        ({"more": 3}, "has an unknown key 'more'"),
        ({"kind": "x" * 10**6}, "..."),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        typed(File, {**RIGHT, **change}, "here")
    assert sentence in str(error.value)
    assert str(error.value).startswith("here")
    assert len(str(error.value)) < 300


@given(st.sampled_from(sorted(RIGHT)), ANY_JSON)
def test_any_value_of_a_field_is_read_or_refused(field: str, value: Any) -> None:
    try:
        result: Any = typed(File, {**RIGHT, field: value}, "here")
    except UserError as error:
        result, sentence = RIGHT, str(error)
        assert sentence == visible(sentence)
    assert set(result) == set(RIGHT)


@given(ANY_JSON)
def test_what_is_written_is_strict_and_read_again(value: Any) -> None:
    text = to_json(value)
    json.loads(text, parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ('{"a": 1, "a": 2}', "the key 'a' is twice"),
        ("NaN", "NaN is not a JSON number"),
        ("[-Infinity]", "-Infinity is not a JSON number"),
        ("1e400", "the number 1e400 is too large"),
        ("9" * 5000, "has more than 64 bits"),
        (str(2**64), "has more than 64 bits"),
        ('"\\ud800"', "half of a surrogate pair"),
        ('{"\\udfff": 1}', "half of a surrogate pair"),
        ("[" * 100_000 + "]" * 100_000, "nested more than 64 levels deep"),
        ("[" * 65 + "]" * 65, "nested more than 64 levels deep"),
        (b"\xff\xfe", "byte 0 is not UTF-8"),
        (b'"\x00"', "Invalid control character"),
    ],
)
def test_a_text_that_is_no_strict_json_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("'", ".")):
        parse(text)


def test_limits_are_reached() -> None:
    assert parse("[" * 64 + "]" * 64)
    assert parse(str(2**64 - 1)) == 2**64 - 1
    assert parse(b"\xef\xbb\xbf[1]") == [1]
    assert math.isnan(parse("NaN", constants=True))


def test_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for make, reason in (
        (lambda: None, "is missing; make it again."),
        (path.mkdir, "is not a file; make it again."),
        (lambda: (path.rmdir(), path.write_text("[1, ")), "is damaged (Expecting value"),
        (lambda: path.write_text('["a"]'), "0 must be a whole number, not 'a'; make it again."),
        (lambda: path.write_text(f"[{'1, ' * 100}1]"), "has more than 99 bytes"),
    ):
        make()
        with pytest.raises(UserError) as error:
            read_json(path, list[int], "make it again", most_bytes=99)
        assert str(path) in str(error.value)
        assert reason in str(error.value)


def test_lines_leave_out_a_half_last_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert list(read_lines(path, dict[str, int], "make it again")) == [{"a": 1}, {"a": 2}]
    path.write_text('{"a": 1}\n{"a"\n{"a": 2}\n')
    with pytest.raises(UserError, match="line 2 is damaged"):
        list(read_lines(path, dict[str, int], "make it again"))


def test_an_open_object_may_have_further_keys() -> None:
    assert typed(Annotated[Part, Open], {"name": "x", "more": 1}, "file") == Part("x")
    with pytest.raises(ValueError, match=r"^name must be a text, not 1$"):
        as_type(Annotated[Part, Open], {"name": 1, "more": 1})
    with pytest.raises(ValueError, match=r"^it must be an object, not a list$"):
        as_type(Annotated[Part, Open], [])


def test_a_file_of_this_program_is_damaged_and_may_hold_the_constants_of_version_0_1(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"loss": NaN}')
    assert math.isnan(read_written(path, dict[str, Real], "remove it")["loss"])
    path.write_text('{"loss": 1e400}')
    with pytest.raises(UserError, match=r"file\.json is damaged \(the number 1e400 is too large\); remove it\.$"):
        read_written(path, dict[str, Real], "remove it")
    path.write_text('{"loss": true}')
    with pytest.raises(
        UserError, match=r"file\.json is damaged \(loss must be a finite number, not True\); remove it\.$"
    ):
        read_written(path, dict[str, Real], "remove it")
    assert to_json({"b": "é", "a": 1}, ascii=False, sort_keys=True) == '{"a": 1, "b": "é"}'
