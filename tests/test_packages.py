"""The wheel and the source distribution, built here and looked into."""

import email
import importlib.metadata
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hatchling import build

from mmcl_jax import __version__
from mmcl_jax.cli.main import main

ROOT = Path(__file__).parent.parent
# Every file of the package that is no Python, by name: a data file has to be thought of.
OTHER = {"py.typed", "datasets/digits/ATTRIBUTION.md", "datasets/digits/digits.zip"}


def built(source: Path, folder: Path, hook: Callable[[str], str]) -> Path:
    """The file that a hook of the build backend, which takes the working directory for the project, makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(source)
        return folder / hook(str(folder))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(built(ROOT, tmp_path_factory.mktemp("wheel"), build.build_wheel)) as file:
        yield file


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("source")
    with tarfile.open(built(ROOT, folder, build.build_sdist)) as file:
        file.extractall(folder, filter="data")
    return folder / f"mmcl_jax-{__version__}"


def python_files(folder: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")}


def information(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(f"mmcl_jax-{__version__}.dist-info/{name}").decode()


def test_the_wheel_holds_the_package_and_the_configs_and_no_more(wheel: zipfile.ZipFile) -> None:
    expected = python_files("mmcl_jax") | {f"mmcl_jax/{name}" for name in OTHER}
    expected |= {f"mmcl_jax/{name}" for name in python_files("configs")}
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == expected
    assert {"mmcl_jax/configs/mmcl.py", "mmcl_jax/configs/mmcl/byol.py"} < names


def test_files_of_the_wheel_are_those_of_the_checkout(wheel: zipfile.ZipFile) -> None:
    assert wheel.testzip() is None
    for name in ("mmcl_jax/datasets/digits/digits.zip", "mmcl_jax/registry.py", "mmcl_jax/py.typed"):
        assert wheel.read(name) == (ROOT / name).read_bytes()
    assert wheel.read("mmcl_jax/configs/mmcl.py") == (ROOT / "configs" / "mmcl.py").read_bytes()
    assert information(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text()


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    metadata = email.message_from_string(information(wheel, "METADATA"))
    assert (metadata["Name"], metadata["Version"]) == ("mmcl_jax", __version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload().startswith("# mmcl_jax")
    assert {"cuda", "docs", "medical", "test", "tpu"} <= set(metadata.get_all("Provides-Extra", []))
    assert "Root-Is-Purelib: true" in information(wheel, "WHEEL")


def test_the_command_of_the_wheel_is_mmcl(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    (installed,) = importlib.metadata.distributions(name="mmcl_jax", path=[str(tmp_path)])
    (script,) = installed.entry_points
    assert (script.group, script.name, script.load()) == ("console_scripts", "mmcl", main)


def test_the_source_distribution_is_a_checkout(source: Path) -> None:
    names = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    folders = ("mmcl_jax", "configs", "benchmarks", "examples", "launch", "tests")
    assert set().union(*map(python_files, folders)) <= names
    tests = {
        "tests/legacy/v0.1.0.tar.gz",
        "tests/training/golden/first_steps.json",
        ".ci/run",
        ".github/workflows/ci.yml",
    }
    papers = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md", "docs/index.md", "mkdocs.yml"}
    assert tests | papers | {"launch/Dockerfile", "pyproject.toml"} <= names
    unwanted = {
        "__pycache__",
        ".jax_cache",
        ".venv",
        ".git",
        ".pytest_cache",
        ".ruff_cache",
        ".mypy_cache",
        ".hypothesis",
    }
    assert not [name for name in names if unwanted & set(Path(name).parts)]


def test_the_source_distribution_makes_the_same_wheel(source: Path, wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    with zipfile.ZipFile(built(source, tmp_path, build.build_wheel)) as again:
        assert {entry.filename: entry.CRC for entry in again.infolist()} == {
            entry.filename: entry.CRC for entry in wheel.infolist()
        }
