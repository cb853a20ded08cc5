"""Every file of a store, damaged in every way: the right rows or one sentence, and what `mmcl check` makes of it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmcl_jax as mj
from mmcl_jax.cli.main import main
from mmcl_jax.data.format import flat_sums
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.files import sha256
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.make import prepare
from tests.conftest import raw_of
from tests.damages import DAMAGES, damaged, files_of, flip, outcome


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of 40 rows with images and a table."""
    folder = tmp_path_factory.mktemp("small")
    return prepare(raw_of(folder), folder / "store")


def content(directory: Path, *, streamed: bool = False) -> list[Any]:
    """Everything that a store gives, as values that can be compared."""
    store = Store.open(directory)
    rows = {split: store.read(split, ["image", "table", "labels"], streamed=streamed) for split in store.sizes}
    return [
        {split: {name: np.asarray(part[:]).tobytes() for name, part in parts.items()} for split, parts in rows.items()},
        {split: store.keys(split) for split in store.sizes},
        {name: store.subset(name)[1].tolist() for name in store.lists.subsets},
        store.sizes, store.fingerprint, store.made_by, store.statistics, store.declaration, store.schema,
        store.warnings, store.quarantined(), Findings.of(store).to_json(),
    ]  # fmt: skip


RECORDS = ("seal.json", "manifest.json", "flat/checksums.json")  # whose faults are told of the files that they record
SHARDS = [f"store-{split}.array_record-00000-of-00001" for split in ("train", "val", "test")]
NEEDED = {"entries.json", "rows.npz", "keys.json", "statistics.json", "declaration.json", "manifest.json", "store.json"}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_store_gives_the_right_rows_or_one_sentence(how: str, small: Store, tmp_path: Path) -> None:
    """`mmcl check` finds every damage, and writes nothing."""
    expected, copy = content(small.directory), tmp_path / "a" / "b" / "store"
    tried, refused, unnoticed = set(), set(), set()
    for name in damaged(small.directory, copy, how):
        tried.add(name)
        before = files_of(copy)
        found, sentence = outcome(lambda: mj.check(copy))
        assert files_of(copy) == before
        if not sentence and not found.faults:
            unnoticed.add(name)
        elif found:
            assert found.exit_status == 2
            assert how == "swapped" or name in RECORDS or any(Path(name).name in fault.reason for fault in found.faults)
        got, sentence = outcome(lambda: content(copy))
        if sentence:
            refused.add(name)
        else:
            assert got == expected, (how, name)
    assert len(tried) > 8
    assert tried & NEEDED <= refused
    if how == "a link out":  # of the same content
        assert tried - refused == {"card.html", "features.json", "dataset_info.json", *SHARDS}
    # A record that is gone is told as files that were not compared.
    assert unnoticed == ({"flat/checksums.json", "seal.json"} if how == "deleted" else set())


@pytest.mark.parametrize("how", ["deleted", "flipped", "a link out", "swapped"])
def test_rows_that_are_streamed_from_damaged_shards(how: str, small: Store, tmp_path: Path) -> None:
    expected, copy = content(small.directory, streamed=True), tmp_path / "a" / "b" / "store"
    for name in damaged(small.directory, copy, how, [*SHARDS, "dataset_info.json"]):
        got, sentence = outcome(lambda: content(copy, streamed=True))
        assert sentence or (how == "flipped" and got == expected), name  # a shard has bytes that are not read


def test_a_whole_store_is_whole(small: Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = mj.check(small)
    assert not found.faults
    assert found.exit_status == 0
    compared = sum(group.compared for group in found.groups)
    assert compared == len(files_of(small.directory)) - 2  # the seal, and the records of the mapped arrays
    assert main(["check", str(small.directory)]) == 0
    assert "4 files compared" not in capsys.readouterr().err


MADE_AGAIN = (
    "keys.json", "manifest.json", "statistics.json", "card.html", "dataset_info.json", "features.json", *SHARDS,
    "flat/image.npy", "flat/image.at.npy", "flat/table.npy",
    "flat/table.at.npy", "flat/labels.npy", "flat/labels.at.npy",
)  # fmt: skip


@pytest.mark.parametrize("how", ["flipped", "deleted", "a folder", "a link out"])
def test_what_other_files_determine_is_made_again(how: str, small: Store, tmp_path: Path) -> None:
    expected, copy, repaired = content(small.directory), tmp_path / "a" / "b" / "store", []
    files = () if how == "flipped" else ("statistics.json", "store-val.array_record-00000-of-00001", "flat/table.npy")
    for name in damaged(small.directory, copy, how, files):
        found, _ = outcome(lambda: mj.check(copy, repair=True))
        if name in MADE_AGAIN:
            assert found.faults == (), (name, found)
            assert len(found.repairs) == 1
            assert content(copy) == expected
            if name != "flat/image.at.npy":  # without it, the order of the images in their array is lost
                assert sha256(copy / name) == sha256(small.directory / name)
            assert not (copy / name).is_symlink()
            repaired.append(name)
        elif found and found.faults:
            assert any("cannot be made again; put a copy of it back" in line for line in found.left), (name, found)
        assert not list(copy.glob(".*"))
    assert sorted(repaired) == sorted(files or MADE_AGAIN)


def test_without_flat_the_arrays_are_made_again(small: Store, tmp_path: Path) -> None:
    expected = content(small.directory)
    for damage in (lambda flat: shutil.rmtree(flat), lambda flat: flip(flat / "checksums.json")):
        copy = Path(shutil.copytree(small.directory, tmp_path / "store"))
        damage(copy / "flat")
        found = mj.check(copy, repair=True)
        assert not found.faults
        assert "labels" in found.repairs[0]
        assert content(copy) == expected
        shutil.rmtree(copy)


def test_nothing_is_made_of_damaged_files(small: Store, tmp_path: Path) -> None:
    """Neither of an array and its shards is right, so both stay as they are."""
    copy = Path(shutil.copytree(small.directory, tmp_path / "store"))
    shard = next(copy.glob("*train.array_record*"))
    flip(shard)
    flip(copy / "flat" / "image.npy")
    flip(copy / "flat" / "checksums.json")
    before = {file: sha256(copy / file) for file in files_of(copy)}
    found = mj.check(copy, repair=True)
    assert found.exit_status == 2
    assert {file: sha256(copy / file) for file in files_of(copy)} == before
    assert any("flat cannot be made again" in line for line in found.left)


def test_the_remedies_that_sentences_name_work(
    small: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mmcl check --repair`, and for an array also to remove the folder `flat`."""
    remedies: dict[str, Callable[[Path], Any]] = {
        "statistics.json": lambda copy: main(["check", str(copy), "--repair"]),
        "flat/image.npy": lambda copy: shutil.rmtree(copy / "flat"),
    }
    for file, remedy in remedies.items():
        copy = Path(shutil.copytree(small.directory, tmp_path / "store"))
        flip(copy / file)
        with pytest.raises(UserError, match=r"mmcl check --repair"):
            content(copy)
        remedy(copy)
        assert content(copy) == content(small.directory)
        shutil.rmtree(copy)
    assert "statistics.json was made again" in capsys.readouterr().out


def test_old_stores_are_told_as_not_compared(small: Store, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small.directory, tmp_path / "store"))
    (copy / "seal.json").unlink()
    (copy / "flat" / "checksums.json").unlink()
    described = mj.check(copy).describe()
    assert "store.json and manifest  2 files not compared: no checksums were recorded" in described
    assert "mapped arrays            6 files not compared" in described
    assert content(copy) == content(small.directory)


def test_leftovers_are_told_and_removed(small: Store, tmp_path: Path) -> None:
    import os

    copy = Path(shutil.copytree(small.directory, tmp_path / "store"))
    (copy / "flat.partial").mkdir()
    (copy / ".card.html.partial").write_text("half")
    (copy / "flat.lock").write_text('{"host": "' + os.uname().nodename + '", "pid": 4194305, "started": "1"}')
    for name in ("flat.partial", ".card.html.partial"):
        os.utime(copy / name, (0, 0))
    names = {path.name for path in mj.check(copy).leftovers}
    assert names == {"flat.partial", ".card.html.partial", "flat.lock"}
    found = mj.check(copy, repair=True)
    assert not found.leftovers
    assert len(found.repairs) == 3
    assert files_of(copy) == files_of(small.directory)


def test_large_arrays_are_compared_by_size_when_they_are_opened(
    small: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat_sums, "LARGE", 1000)
    copy = Path(shutil.copytree(small.directory, tmp_path / "store"))
    flip(copy / "flat" / "image.npy")
    Store.open(copy).read("train", ["image"])
    assert [fault.name for fault in mj.check(copy).faults] == ["flat/image.npy"]
    with (copy / "flat" / "image.npy").open("ab") as file:
        file.write(b"0")
    with pytest.raises(UserError, match=r"image\.npy has \d+ bytes, not"):
        Store.open(copy).read("train", ["image"])
