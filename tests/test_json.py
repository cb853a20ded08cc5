"""Every JSON text is read and written by `mmcl_jax.border`: with types and limits, and strict."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmcl_jax

pytestmark = pytest.mark.core

PACKAGE = Path(mmcl_jax.__file__).parent
EXCEPTIONS = {
    "cli/output.py": "numbers that are not finite are null on standard output, as docs/commands.md says",
    "export/modeling_torch/export.py": "it is copied into exports, where mmcl_jax is not installed",
    "export/readme.py": "quotes texts in a Markdown header; it is no JSON file",
    "export/weights.py": "quotes names in Python code",
    "training/processes/together.py": "makes values short texts that processes compare; no file",
}


def calls(path: Path) -> Iterator[str]:
    """The calls of the module `json` in a file, such as `json.loads`, also of names imported from it."""
    tree = ast.parse(path.read_text())
    names = {
        alias.asname or alias.name: f"json.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "json"
        for alias in node.names
    }
    modules = {
        alias.asname or "json"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.partition(".")[0] in ("json", "simplejson", "orjson", "ujson", "msgspec")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield f"json.{node.attr}"
        elif isinstance(node, ast.Name) and node.id in names:
            yield names[node.id]


def test_json_is_read_and_written_in_one_place() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): sorted(set(calls(path)))
        for path in PACKAGE.rglob("*.py")
        if PACKAGE / "border" not in path.parents
    }
    others = {name: used for name, used in found.items() if used and name not in EXCEPTIONS}
    assert others == {}
    assert {name for name in EXCEPTIONS if not found.get(name)} == set(), "exceptions that are none any more"


@pytest.mark.parametrize(
    "source",
    ["import json\njson.loads(x)", "import json as j\nj.dump(x, f)", "from json import dumps as d\nd(x)",
     "import json\nmap(json.loads, lines)"],
)  # fmt: skip
def test_the_walk_sees_every_spelling(source: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(source)
    assert list(calls(tmp_path / "module.py"))
