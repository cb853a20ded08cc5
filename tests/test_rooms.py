"""The package's folders: imports point one way, and a folder holds few files."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmcl_jax

PACKAGE = Path(mmcl_jax.__file__).parent
# In the order of the data flow: a room imports from rooms before it. What lies under all of them comes first.
ORDER = (
    "text", "versions", "errors", "arrays", "backend", "compilation", "registry", "signals", "progress", "border",
    "genotypes", "files", "targets", "lock", "bucket", "page", "data", "prepare", "datasets", "synthetic", "views",
    "encoders", "tasks", "objectives", "training", "config", "aot", "evaluation", "explain", "export", "gwas",
    "reproduce", "report", "integrity", "api", "cli",
)  # fmt: skip


def imported(path: Path) -> Iterator[str]:
    """The rooms that a module imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mmcl_jax."):
            yield node.module.split(".")[1]


def test_every_room_has_its_place() -> None:
    assert {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()} - {
        "__init__", "__main__", "__pycache__", "py", "configs",
    } == set(ORDER)  # fmt: skip


@pytest.mark.parametrize("room", ORDER)
def test_imports_point_one_way(room: str) -> None:
    single = PACKAGE / f"{room}.py"
    before = ORDER[: ORDER.index(room) + 1]
    for path in [single] if single.is_file() else sorted((PACKAGE / room).rglob("*.py")):
        for other in imported(path):
            assert other in before, f"{path.relative_to(PACKAGE)} imports {other}"


def test_a_folder_holds_at_most_fifteen_files() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    for folder in folders:
        if "configs" in folder.relative_to(PACKAGE).parts:  # of the installed package; an experiment each
            continue
        files = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= 15, f"{folder.relative_to(PACKAGE)} has {len(files)} files"
