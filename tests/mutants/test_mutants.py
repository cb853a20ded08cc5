"""The list of faults is sound: every pattern is found exactly once, and every named test exists."""

import ast
import sys
from pathlib import Path

import pytest

from tests.mutants import __main__ as command
from tests.mutants.faults import MUTANTS, Mutant
from tests.mutants.run import BROKEN, CAUGHT, ROOT, STALE, SURVIVED, Result, mutated, run_one

pytestmark = pytest.mark.core


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_pattern_is_found_once_and_the_test_exists(mutant: Mutant) -> None:
    text = mutated(mutant)
    assert text is not None, f"{mutant.old!r} does not occur exactly once in {mutant.file}"
    assert text != (ROOT / mutant.file).read_text()
    compile(text, mutant.file, "exec")
    file, _, test = mutant.test.partition("::")
    functions = [node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert test.partition("[")[0] in functions


def test_names_are_unique() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) >= 40


def test_a_pattern_that_does_not_occur_once_is_stale() -> None:
    whole = MUTANTS[0]
    assert mutated(whole._replace(old="no such text anywhere")) is None
    assert mutated(whole._replace(old="e")) is None
    assert mutated(whole._replace(file="mmcl_jax/nowhere.py")) is None


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ("return 1", "return 2", CAUGHT),
        ("return 1", "return 1 + 0", SURVIVED),
        ("return 1", "return (", BROKEN),
        ("return 3", "return 4", STALE),
    ],
)
def test_a_fault_is_planted_tested_and_taken_out(old: str, new: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text("def one():\n    return 1\n")
    (tmp_path / "test_small.py").write_text("from small import one\n\ndef test_one():\n    assert one() == 1\n")
    result = run_one(Mutant("small", "small.py", old, new, "test_small.py::test_one"), tmp_path)
    assert result.outcome == outcome
    assert (tmp_path / "small.py").read_text() == "def one():\n    return 1\n"


@pytest.mark.parametrize(("outcome", "status"), [(CAUGHT, 0), (SURVIVED, 1), (STALE, 1), (BROKEN, 1)])
def test_the_command_fails_unless_every_fault_is_caught(
    outcome: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = MUTANTS[:2]
    monkeypatch.setattr(command, "run", lambda chosen, jobs: [Result(first, CAUGHT, 1.0), Result(second, outcome, 2.0)])
    monkeypatch.setattr(sys, "argv", ["mutants", first.name, second.name])
    assert command.main() == status
    printed = capsys.readouterr().out
    assert second.name in printed
    assert f"{2 - status} of 2 mutants caught" in printed
