"""The lock file satisfies the bounds, licences are listed, and results name the versions they were made with."""

import importlib.metadata
import platform
import re
import tomllib
from pathlib import Path
from typing import Any

import jax
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mmcl_jax
from benchmarks.record import machine
from mmcl_jax.evaluation.results.provenance import provenance
from mmcl_jax.versions import versions

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(text) for text in PROJECT["dependencies"]]


def locked() -> dict[str, str]:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    # A name, one version, and perhaps a marker: no address and no path.
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.+!]+)( ; .*)?", line) for line in lines]
    assert all(found), lines
    return {canonicalize_name(match[1]): match[2] for match in found if match}


@pytest.mark.parametrize("needed", [*DIRECT, *map(Requirement, PROJECT["optional-dependencies"]["test"])], ids=str)
def test_the_locked_versions_satisfy_the_bounds(needed: Requirement) -> None:
    assert needed.specifier.contains(locked()[canonicalize_name(needed.name)])


def test_every_direct_dependency_has_a_lower_bound_and_a_licence() -> None:
    assert all(any(bound.operator == ">=" for bound in needed.specifier) for needed in DIRECT)
    rows = re.findall(r"^\| ([A-Za-z0-9-]+) \| (.+) \|$", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows if name != "package"] == [needed.name for needed in DIRECT]


def test_results_name_their_versions() -> None:
    right = {"python": platform.python_version(), "mmcl_jax": mmcl_jax.__version__, "jax": jax.__version__}
    right |= {name: importlib.metadata.version(name) for name in ("jaxlib", "flax", "numpy", "polars", "scikit-learn")}
    assert versions() == right
    assert provenance("mmcl evaluate")["versions"] == right
    assert right.items() <= machine()["versions"].items()
