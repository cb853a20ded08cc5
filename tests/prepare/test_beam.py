"""Stores that Apache Beam prepares: every file is that of the local path, and what goes wrong is one sentence."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from PIL import Image

from examples.cohort import draw
from mmcl_jax.cli.main import main
from mmcl_jax.data.format import shards
from mmcl_jax.files import sha256
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request


@pytest.fixture
def beam() -> None:
    pytest.importorskip("apache_beam")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """A front and a side of each row; some files are broken, missing, of another size, or equal to an earlier one."""
    folder, rng = tmp_path_factory.mktemp("album"), np.random.default_rng(0)
    lines = []
    for row in range(200):
        for side in ("front", "side"):
            pixels = rng.integers(0, 256, (12 + row % 3, 12, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{row}_{side}.png")
        lines.append({"front": f"{row}_front.png", "side": f"{row}_side.png", "x": rng.normal(), "c": "ab"[row % 2]})
    (folder / "3_front.png").write_bytes(b"no image")
    (folder / "70_side.png").unlink()
    for side in ("front", "side"):
        shutil.copy(folder / f"9_{side}.png", folder / f"150_{side}.png")
    Image.fromarray(np.asarray(Image.open(folder / "20_front.png")) ^ 1).save(folder / "180_front.png")
    pl.DataFrame(lines).write_csv(folder / "album.csv")
    return Request(
        table=folder / "album.csv", images=folder, image_column=("front", "side"), stack="views", label=("c",),
        image_size=(8, 8), max_bad=0.1, group_near_duplicates=True,
    )  # fmt: skip


def files(store: Path) -> dict[str, str]:
    """The checksum of every file of a store."""
    return {str(path.relative_to(store)): sha256(path) for path in store.rglob("*") if path.is_file()}


@pytest.mark.foreign
@pytest.mark.usefixtures("beam")
def test_bundles_that_run_twice_in_two_processes_make_the_same_files(
    album: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(album, tmp_path / "local")
    monkeypatch.setattr(shards, "_FEW", 0)  # few rows are otherwise written by the process that asks
    monkeypatch.setattr(shards, "SHARD_BYTES", 20_000)
    prepare(album, tmp_path / "shards")
    prepare(album, tmp_path / "beam", workers=2, beam=("runner=DirectRunner", "direct_runner_bundle_repeat=1"))
    quarantined = [json.loads(line)["cause"] for line in (tmp_path / "beam/quarantine.jsonl").read_text().splitlines()]
    assert quarantined == ["broken image", "missing image", "duplicate image"]
    assert len(list((tmp_path / "beam").glob("store-train*"))) > 1
    assert files(tmp_path / "beam") == files(tmp_path / "shards")
    unlike = {name for name, sums in files(tmp_path / "local").items() if files(tmp_path / "beam").get(name) != sums}
    assert all("array_record" in name or name.endswith(("_info.json", "manifest.json", "seal.json")) for name in unlike)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beam", "local", "shards"]


@pytest.mark.foreign
@pytest.mark.usefixtures("beam")
def test_several_entries_are_those_of_the_local_path(tmp_path: Path) -> None:
    """Two images, of which one has several pictures and a mask, a volume, vectors, a text, boxes and labels."""
    (tmp_path / "raw").mkdir()
    request = Request.from_json(draw(tmp_path / "raw"))
    local = prepare(request, tmp_path / "local")
    assert {entry.kind for entry in local.schema.entries.values()} == {
        "image", "volume", "table", "vector", "text", "boxes",
    }  # fmt: skip
    prepare(request, tmp_path / "beam", beam=("runner=DirectRunner",))
    assert files(tmp_path / "beam") == files(tmp_path / "local")


@pytest.mark.foreign
@pytest.mark.usefixtures("beam")
def test_ctrl_c_is_one_sentence_and_the_local_path_continues(album: Request, tmp_path: Path) -> None:
    assert isinstance(album.table, Path)
    store = tmp_path / "store"
    words = ["prepare", "--table", album.table, "--images", album.images, "--image-column", "front", "--label", "c"]
    words += ["--image-size", 8, "--max-bad", 0.1, "--out", store]
    program = [sys.executable, "-m", "mmcl_jax", *map(str, words), "--beam", "direct_num_workers=2"]
    child = subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=dict(os.environ), start_new_session=True)
    until = time.monotonic() + 120
    while not list(tmp_path.glob(".store.partial/.beam/*/*.worker")):
        assert child.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    workers = psutil.Process(child.pid).children(recursive=True)
    assert len(workers) >= 2
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert [line for line in said.splitlines() if "images" not in line] == [
        "mmcl prepare: interrupted; the same command continues."
    ]
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    assert not store.exists()
    assert main([*map(str, words)]) == 0
    assert not list(store.rglob(".*"))


@pytest.mark.foreign
@pytest.mark.usefixtures("beam")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("runner=DirektRunner", "--beam: there is no runner 'DirektRunner' (did you mean 'DirectRunner'?)"),
        ("direct_num_worker=2", "--beam: DirectRunner has no option 'direct_num_worker' (did you mean 'direct_num_wo"),
        ("direct_num_workers=two", "--beam: argument --direct_num_workers: invalid int value: 'two'."),
        ("runner=DataflowRunner", "--beam: "),  # what it needs is Beam's to say
    ],
)
def test_a_wrong_option_is_one_sentence(
    options: str, said: str, album: Request, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["--table", album.table, "--images", album.images, "--image-column", "front", "--out", tmp_path / "store"]
    assert main(["prepare", *map(str, words), "--beam", options]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"mmcl prepare: {said}")
    assert printed.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.core
def test_the_extra_is_named_where_it_is_missing(
    album: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = ["--table", album.table, "--images", album.images, "--image-column", "front", "--out", tmp_path / "store"]
    assert main(["prepare", *map(str, words), "--beam", "runner=DirectRunner"]) == 2
    assert 'run pip install "mmcl_jax[beam]".' in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
