"""A short run of the fuzzers, always with the same inputs; `python -m tests.fuzz` is the long run."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmcl_jax.errors import UserError
from tests.fuzz.campaign import Campaign, explore
from tests.fuzz.case import Finding, Kind, Wrong, literal, tried
from tests.fuzz.folders import forget
from tests.fuzz.kinds import KINDS

# Some of the kinds need longer for a case.
_COUNTS = {"tables": 15, "stores": 15, "runs": 10}


@pytest.fixture(scope="module", autouse=True)
def without_folders() -> Iterator[None]:
    yield
    forget()


@pytest.mark.parametrize("name", KINDS)
def test_every_input_gives_a_result_or_a_sentence(name: str, tmp_path: Path) -> None:
    found: list[tuple[Any, Finding]] = []
    count = _COUNTS.get(name, 40)
    tried = explore(KINDS[name], tmp_path, number=0, count=count, found=lambda case, what: found.append((case, what)))
    assert tried >= count
    assert not found, "\n".join(f"{what.key}\n{case!r}\n{what.text}" for case, what in found)


# What a long run found: the key of each finding, and its case.
_LINES = (Path(__file__).parent / "found.txt").read_text("utf-8").split("\n")[:-1]
_FOUND = dict(zip(_LINES[::2], _LINES[1::2], strict=True))


@pytest.mark.parametrize("key", _FOUND)
def test_what_was_found_once_is_mended(key: str, tmp_path: Path) -> None:
    assert tried(KINDS[key.partition(":")[0]], literal(_FOUND[key]), tmp_path) is None


def _kind(act: Any) -> Kind:
    return Kind("k", None, lambda case, folder: (folder / "in.txt").write_text("in") and None, act)  # type: ignore[arg-type]


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("act", "key"),
    [
        (lambda case, inputs, out: None, None),
        (lambda case, inputs, out: out.write_text("result"), None),
        (lambda case, inputs, out: _raise(UserError("Row 3 is wrong.")), None),
        (lambda case, inputs, out: _raise(KeyError("x")), "KeyError"),
        (lambda case, inputs, out: _raise(Wrong("other bits")), "Wrong"),
        (lambda case, inputs, out: _raise(SystemExit(1)), "SystemExit"),
        (lambda case, inputs, out: _raise(UserError("")), "sentence"),
        (lambda case, inputs, out: (out.write_text("half"), _raise(UserError("Row 3 is wrong."))), "left files"),
        (lambda case, inputs, out: Path("beside").write_text("x"), "left files"),
        (lambda case, inputs, out: (inputs / "in.txt").unlink(), "changed its inputs"),
    ],
)
def test_a_trial_sees_what_goes_wrong(act: Any, key: str | None, tmp_path: Path) -> None:
    finding = tried(_kind(act), None, tmp_path)
    assert (finding is None) if key is None else (finding is not None and key in finding.key)


def test_a_case_is_read_from_its_text() -> None:
    text = repr([float("inf"), -float("inf"), b"x", ("a", None), {"n": float("nan")}])
    assert repr(literal(text)) == text
    with pytest.raises(ValueError, match="malformed"):
        literal("exit()")


def test_a_campaign_goes_on_and_counts_a_fault_once(tmp_path: Path) -> None:
    """In processes of its own: the second call tries only what is missing to its number."""
    kinds = {"schemas": KINDS["schemas"]}
    Campaign(tmp_path).run(kinds, 10, log=lambda line: None)
    again = Campaign(tmp_path)
    again._note(key="schemas: E: a", text="traceback", case="1")
    again._note(key="schemas: E: a", text="traceback", case="2")
    again.run(kinds, 12, log=lambda line: None)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["inputs"] == {"schemas": 12}
    assert summary["batches"] == {"schemas": 2}
    assert summary["findings"]["schemas: E: a"]["count"] == 2
    assert (tmp_path / "findings" / "000.txt").read_text().splitlines()[:2] == ["schemas: E: a", "1"]
    assert os.listdir(tmp_path / "findings") == ["000.txt"]
