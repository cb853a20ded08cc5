"""Programs in StableHLO: in a process that has only JAX, for any number of rows, and when JAX refuses the file."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax import export

import mmcl_jax as mj
from benchmarks import programs
from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError
from mmcl_jax.export.programs.agreement import expected_outputs, random_rows
from mmcl_jax.export.programs.program import Program, programs_of
from mmcl_jax.export.release import Release, release_of
from mmcl_jax.files import CHECKSUMS, write_checksums
from mmcl_jax.training.runs.run import Run

ALONE = """
import sys
import jax
import numpy as np
from jax import export

program = export.deserialize(open(sys.argv[1], "rb").read())
rows = dict(np.load(sys.argv[2]))
results = {}
for count in (1, 2, 7, 1000):
    with jax.enable_x64(True):
        outputs = program.call({name: array[:count] for name, array in rows.items()})
    results |= {f"{count}/{name}": np.asarray(array) for name, array in outputs.items()}
assert not {"mmcl_jax", "flax", "polars"} & set(sys.modules)
np.savez(sys.argv[3], **results)
"""
BOUND = 1e-4
pytestmark = pytest.mark.foreign


@pytest.fixture(scope="module")
def release(every_run: Run) -> Release:
    """The release of a table with scores, which has both types of numbers."""
    return release_of(every_run, inputs=("table+snps",))


@pytest.fixture(scope="module")
def program(release: Release) -> Program:
    (one,) = programs_of(release)
    return one


@pytest.fixture(scope="module")
def rows(program: Program, every_run: Run) -> dict[str, np.ndarray]:
    return random_rows(program, every_run.inputs, 1000)


@pytest.fixture(scope="module")
def expected(release: Release, program: Program, rows: dict[str, np.ndarray]) -> np.ndarray:
    return expected_outputs(release, program, rows)["features"]


@pytest.fixture(scope="module")
def folder(every_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("flatbuffers")
    out = tmp_path_factory.mktemp("release") / "programs"
    mj.export(every_run, out=out, format="stablehlo", input="table+snps")
    return out


def details_of(folder: Path) -> dict[str, Any]:
    (details,) = json.loads((folder / "card.json").read_text())["files"]
    return details


def test_a_process_with_jax_alone(
    folder: Path, rows: dict[str, np.ndarray], expected: np.ndarray, tmp_path: Path
) -> None:
    np.savez(tmp_path / "rows.npz", **rows)
    files = [folder / "table+snps.stablehlo", tmp_path / "rows.npz", tmp_path / "outputs.npz"]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, files)], check=True, cwd=tmp_path)
    outputs = np.load(tmp_path / "outputs.npz")
    for count in (1, 2, 7, 1000):
        np.testing.assert_allclose(outputs[f"{count}/features"], expected[:count], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_our_loader_takes_any_number_of_rows(
    count: int, folder: Path, rows: dict[str, np.ndarray], expected: np.ndarray
) -> None:
    found = mj.load_program(folder)(**{name: array[:count] for name, array in rows.items()})["features"]
    assert found.dtype == np.float32
    assert found.shape == (count, expected.shape[1])
    np.testing.assert_allclose(found, expected[:count], rtol=1e-5, atol=1e-5)


def test_a_number_of_rows_is_compiled_once(
    folder: Path, rows: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, jit = [], jax.jit
    monkeypatch.setattr(jax, "jit", lambda *args, **options: made.append(jit(*args, **options)) or made[-1])
    program = mj.load_program(folder)
    made.clear()  # loading reads the operators
    for count in (3, 4, 3):  # all are padded to 4
        program(**{name: array[:count] for name, array in rows.items()})
    (compiled,) = made
    assert compiled._cache_size() == 1


def test_the_card_names_version_date_platforms_and_precision(folder: Path) -> None:
    details = details_of(folder)
    assert details["jax"] == jax.__version__
    assert details["platforms"] == ["cpu", "cuda", "tpu"]
    assert details["precision"] == "highest"
    assert 0 <= details["checked"]["difference"] < details["checked"]["bound"] == BOUND
    text = (folder / "README.md").read_text()
    assert f"JAX {jax.__version__} made the file" in text
    assert details["date"] in text


def test_every_product_is_in_full_float32_on_every_platform(folder: Path) -> None:
    exported = export.deserialize(bytearray((folder / "table+snps.stablehlo").read_bytes()))
    products = re.findall(r"stablehlo\.dot_general .*", exported.mlir_module())
    assert len(products) >= 4
    assert [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line] == []


def altered(folder: Path, tmp_path: Path, change: Any) -> Path:
    """A copy of the export with another program, whose checksum is right."""
    copy = tmp_path / "release"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    file = copy / "table+snps.stablehlo"
    file.write_bytes(change(file.read_bytes()))
    write_checksums(copy, [path for path in copy.iterdir() if path.name != CHECKSUMS])
    return copy


def of_convention(version: int) -> Any:
    def change(blob: bytes) -> bytes:
        exported = export.deserialize(bytearray(blob))
        return bytes(dataclasses.replace(exported, calling_convention_version=version).serialize())

    return change


def of_other_operators(blob: bytes) -> bytes:
    exported = export.deserialize(bytearray(blob))
    module = exported.mlir_module_serialized.replace(b"dot_general_v", b"dot_general_w")
    assert module != exported.mlir_module_serialized
    return bytes(dataclasses.replace(exported, mlir_module_serialized=module).serialize())


@pytest.mark.parametrize("change", [of_convention(1), of_convention(999), of_other_operators, lambda blob: blob[:100]])
def test_a_file_that_jax_refuses(change: Any, folder: Path, tmp_path: Path) -> None:
    details = details_of(folder)
    with pytest.raises(UserError) as error:
        mj.load_program(altered(folder, tmp_path, change))
    sentence = str(error.value)
    assert f"was written by JAX {details['jax']} on {details['date']}" in sentence
    command = json.loads((folder / "card.json").read_text())["provenance"]["command"]
    assert f"make it again with {command}" in sentence


def test_the_remedy_for_a_refused_file_works(folder: Path) -> None:
    command = json.loads((folder / "card.json").read_text())["provenance"]["command"]
    program, *arguments = shlex.split(command)
    assert program == "mmcl"
    (folder / "table+snps.stablehlo").touch()
    assert main(arguments) == 0
    assert mj.load_program(folder).details["input"] == "table+snps"


def test_the_check_on_another_machine_finds_a_difference(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "COUNTS", (1, 7))
    programs.make(folder, tmp_path / "out")
    assert programs.check(tmp_path / "out")
    line = json.loads(capsys.readouterr().out)
    assert line["file"] == "table+snps.stablehlo"
    assert line["difference"].keys() == {"1", "7"}
    path = tmp_path / "out" / "table+snps.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["outputs/features"][6, 0] += 0.1
    np.savez(path, **arrays)
    assert not programs.check(tmp_path / "out")


def test_what_does_not_fit_is_refused_with_a_sentence(folder: Path, rows: dict[str, np.ndarray]) -> None:
    program = mj.load_program(folder)
    table, snps = rows["table"][:2], rows["snps"][:2]
    for given, sentence in (
        ({"table": table}, "table+snps.stablehlo takes table and snps; pass snps= too."),
        ({"table": table, "snps": snps, "image": table}, "has no input 'image'; it takes table and snps."),
        ({"table": table[:, 1:], "snps": snps}, "table: the shape [2, 2] does not fit; give rows [B, 3]"),
        ({"table": table[0], "snps": snps}, "table: the shape [3] does not fit"),
        (
            {"table": table.astype(complex), "snps": snps},
            "table: the array is complex128, and the program takes float64",
        ),
        ({"table": table[:1], "snps": snps}, "The inputs have 1 and 2 rows; give as many of each."),
    ):
        with pytest.raises(UserError) as error:
            program(**given)
        assert sentence in str(error.value)
    with pytest.raises(UserError, match="has no program of 'image'; it has those of table\\+snps"):
        mj.load_program(folder, "image")
    with pytest.raises(UserError, match="is no export of mmcl export"):
        mj.load_program(folder.parent)


def test_a_changed_file_is_damage_and_not_age(folder: Path, tmp_path: Path) -> None:
    copy = altered(folder, tmp_path, lambda blob: blob)
    file = copy / "table+snps.stablehlo"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="has changed: put a copy of it back, or export the run again"):
        mj.load_program(copy)
