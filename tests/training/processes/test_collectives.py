"""No collective stands behind "if this is the first process": the others would wait for ever."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmcl_jax

PACKAGE = Path(mmcl_jax.__file__).parent
COLLECTIVES = {
    "broadcast_from_primary", "broadcast_one_to_all", "process_allgather", "sync_global_devices", "check_same",
    "shared", "reached_preemption_sync_point", "assert_equal",
}  # fmt: skip
FIRST = {"is_primary", "process_index", "primary", "_primary"}


def names(node: ast.AST) -> set[str]:
    found = {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
    return found | {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}


def calls(nodes: list[ast.stmt]) -> Iterator[ast.Call]:
    for node in nodes:
        for child in ast.walk(node):
            if isinstance(child, ast.Call) and names(child.func) & COLLECTIVES:
                yield child


def behind_the_first_process(source: str) -> list[int]:
    """The lines of collectives that only some processes reach: in a branch for the first, or after it has returned."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            for index, statement in enumerate(block if isinstance(block, list) else ()):
                if isinstance(statement, ast.If | ast.While) and names(statement.test) & FIRST:
                    leaves = any(isinstance(last, ast.Return | ast.Raise | ast.Continue) for last in statement.body)
                    rest = block[index + 1 :] if leaves and isinstance(block, list) else []
                    lines += [call.lineno for call in calls([*statement.body, *statement.orelse, *rest])]
    return lines


@pytest.mark.parametrize(
    "source",
    [
        "if is_primary():\n  shared(1)",
        "if jax.process_index() == 0:\n  save()\nelse:\n  multihost_utils.sync_global_devices('a')",
        "def f():\n  if not is_primary():\n    return\n  multihost_utils.process_allgather(x)",
        "while is_primary() and waits:\n  check_same({})",
    ],
)
def test_the_check_sees_a_collective_that_only_some_reach(source: str) -> None:
    assert behind_the_first_process(source)


def test_no_collective_is_behind_the_first_process() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text()
        if any(name in source for name in COLLECTIVES):
            assert behind_the_first_process(source) == [], path.relative_to(PACKAGE)
