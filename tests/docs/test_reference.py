"""The reference of the site has every public name of the package, and every registered part."""

import re

import pytest

import mmcl_jax as mj
from tests.docs.blocks import ROOT

PAGES = {path.stem: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
MODULES = {name for text in PAGES.values() for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("name", sorted(set(mj.__all__) - {"__version__"}))
def test_a_public_name_has_a_place(name: str) -> None:
    home = mj._MODULES.get(name) or mj._HOMES[name]
    parents = [home.rsplit(".", keep)[0] for keep in range(home.count("."))]
    assert {f"{home}.{name}", home, *parents} & MODULES or any(name.startswith(f"{home}.") for name in MODULES), home


def test_every_room_of_parts_is_listed_with_its_files() -> None:
    for page, room in {
        "objectives": "objectives.terms",
        "encoders": "encoders",
        "views": "views",
        "tasks": "tasks",
    }.items():
        block = PAGES[page].partition(f"::: mmcl_jax.{room}\n")[2]
        assert block.lstrip().startswith("options: {show_submodules: true")
