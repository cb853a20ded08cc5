"""The list of faults is sound: every pattern is found exactly once, and every named test exists."""

import ast

import pytest

from tests.mutants.faults import MUTANTS, Mutant
from tests.mutants.run import ROOT, mutated

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
