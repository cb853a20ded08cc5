"""A new part is one new file, and one line in the list of its folder."""

import ast
import inspect
from pathlib import Path

import pytest

import mmcl_jax
from mmcl_jax.config.experiment import INNER_PARTS, PARTS

pytestmark = pytest.mark.core

PACKAGE = Path(mmcl_jax.__file__).parent


def registered() -> dict[str, Path]:
    """Return the file of every factory that is registered in a file of its own, by the factory's name."""
    found = {}
    for registry in {id(registry): registry for registry in (*PARTS.values(), *INNER_PARTS.values())}.values():
        for name in registry.names():
            factory = inspect.unwrap(registry.factory(name))
            path = Path(inspect.getfile(factory))
            if PACKAGE in path.parents and "= Registry(" not in path.read_text():
                found[factory.__name__] = path
    return found


def lines_that_name(name: str, path: Path) -> list[str]:
    """Return the lines of the lists (`__init__.py`) above a file that name a factory, or else its module."""
    lists = [folder / "__init__.py" for folder in path.parents if PACKAGE in folder.parents]
    lines = {name: [], path.stem: []}  # type: dict[str, list[str]]
    for file in lists:
        for node in ast.walk(ast.parse(file.read_text())):
            word = node.name if isinstance(node, ast.alias) else node.value if isinstance(node, ast.Constant) else None
            if word in lines:
                lines[word].append(f"{file.relative_to(PACKAGE)}:{node.lineno}")
    return lines[name] or lines[path.stem]


@pytest.mark.parametrize(("name", "path"), registered().items(), ids=list(registered()))
def test_a_factory_is_listed_once(name: str, path: Path) -> None:
    assert len(lines_that_name(name, path)) == 1


def test_every_kind_of_part_is_looked_at() -> None:
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in registered().values()}
    assert folders >= {"data/samplers", "encoders", "encoders/decoders", "objectives/terms", "views"}


def test_a_file_that_registers_is_imported_by_its_list() -> None:
    """A factory in a file that no list imports could not be chosen in a config."""
    factories = registered()
    for folder in {path.parent for path in factories.values()}:
        for path in folder.glob("*.py"):
            text = path.read_text()
            if ".register(" in text and "= Registry(" not in text:
                assert path in factories.values()
