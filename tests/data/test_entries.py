"""Stores with entries of every kind: rows are read as they were written, mapped, streamed, restored and by TFDS."""

import dataclasses
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mmcl_jax.data.engines.engine import Processes
from mmcl_jax.data.format import flat, writing
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.schema import Column, Entry
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError

pytestmark = pytest.mark.core

ROWS = 30
COLUMNS = (
    Column(name="age", kind="continuous"),
    Column(name="fuel", kind="categorical", categories=("petrol", "diesel")),
)
LABELS = (Column(name="model", kind="categorical", categories=("a", "b", "c")), Column(name="price", kind="continuous"))
WORDS = ("[UNK]", "heart", "lung", "normal")


def absent(rng: np.random.Generator, rows: int = ROWS) -> np.ndarray:
    """Return indices of values: a third of the rows lack the entry, and some rows share a value."""
    return np.where(rng.random(rows) < 0.33, -1, rng.integers(0, rows - 5, rows))


def parts() -> dict[str, Part]:
    """Return entries of every kind and type: one value per row, shared, absent, and several images per row."""
    rng = np.random.default_rng(0)

    def pixels(*shape: int, dtype: str) -> np.ndarray:
        values = rng.normal(size=shape) if dtype == "float16" else rng.integers(0, np.iinfo(dtype).max, shape)
        return values.astype(dtype)

    def part(kind: str, values: np.ndarray, at: np.ndarray | None = None, names: Any = (), **more: Any) -> Part:
        entry = Entry(kind=kind, shape=values.shape[1:], dtype=values.dtype.name, **more)
        return Part(entry=entry, values=values, at=at, names=names)

    several = rng.permutation(ROWS * 3).reshape(ROWS, 3)
    some = several.copy()
    some[4, 1:] = some[7] = -1
    genotypes = rng.integers(0, 3, (ROWS, 40)).astype(np.int8)
    genotypes[3, 5:9] = -127
    table = np.stack([rng.normal(40, 9, ROWS), rng.integers(0, 2, ROWS)], axis=1)
    table[2] = np.nan
    labels = np.stack([rng.integers(0, 3, ROWS), rng.normal(size=ROWS)], axis=1).astype(np.float64)
    labels[5, 0] = np.nan
    report = np.full((ROWS, 6, 2), -1, np.int32)
    report[:, :4, 0], report[:, :4, 1] = rng.integers(0, 4, (ROWS, 4)), [0, 0, 1, 1]
    boxes = np.full((ROWS, 2, 5), np.nan, np.float32)
    boxes[:, 0] = [0, 0, 6, 4, 1]
    boxes[3:6, 1] = [1.5, 0, 2, 3, 0]
    return {
        "photo": part("image", pixels(ROWS, 4, 6, 3, dtype="uint8"), fit="as they are"),
        "xray": part("image", pixels(ROWS, 5, 5, 1, dtype="uint16"), absent(rng)),
        "map": part("image", pixels(ROWS, 3, 3, 1, dtype="float16")),
        "fundus": part("image", pixels(ROWS * 3, 4, 4, 1, dtype="uint8"), several),
        "slices": part("image", pixels(ROWS * 3, 2, 2, 1, dtype="uint16"), some),
        "brain": part("volume", pixels(ROWS, 3, 4, 2, 1, dtype="float16"), absent(rng)),
        "clinical": part("table", table, columns=COLUMNS),
        "visit": part("table", table, absent(rng), columns=COLUMNS),
        "snps": part("vector", genotypes, absent(rng), [f"rs{i}" for i in range(40)]),
        "scores": part("vector", rng.normal(size=(ROWS, 7)).astype(np.float32)),
        "report": part("text", report, absent(rng), WORDS),
        "labels": part("table", labels, role="target", columns=LABELS),
        "mask": part("image", pixels(ROWS, 4, 6, 1, dtype="uint8"), role="target", of="photo"),
        "findings": part("boxes", boxes, absent(rng), role="target", of="photo"),
    }


def content(made: dict[str, Part]) -> Content:
    order = np.random.default_rng(1).permutation(ROWS)
    splits = {"train": order[:18], "val": order[18:22], "test": order[22:]}
    return Content(
        parts=made,
        id=100 + np.arange(ROWS),
        keys=[f"key {row}\n" for row in range(ROWS)],
        splits={name: np.sort(rows) for name, rows in splits.items()},
        subsets={"train_50": np.sort(order[:9])},
        folds=[np.arange(fold, ROWS, 5) for fold in range(5)],
        group=np.arange(ROWS) // 2,
    )


def write(directory: Path, made: dict[str, Part], **options: Any) -> Store:
    writing.write(directory, content(made), description="drawn", **options)
    (directory / "quarantine.jsonl").write_text("")
    writing.finish(directory, made_by={"request": {}, "recipe": None})
    return Store.open(directory)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write(tmp_path_factory.mktemp("store"), parts())


def expected(part: Part, rows: np.ndarray) -> np.ndarray:
    at = (np.arange(ROWS) if part.at is None else part.at)[rows]
    fill = KINDS[part.entry.kind].fill(part.values.dtype)
    return np.where((at < 0).reshape(*at.shape, *[1] * len(part.entry.shape)), fill, part.values[at])


@pytest.mark.parametrize("how", ["mapped", "streamed", "restored", "streamed without flat"])
def test_what_is_written_is_read(how: str, store: Store, tmp_path: Path) -> None:
    if "restored" in how or "without" in how:
        shutil.copytree(store.directory, tmp_path / "copy", ignore=shutil.ignore_patterns("flat"))
        store = Store.open(tmp_path / "copy")
    for fold in (None, 2):
        for split in store.sizes:
            rows = store.rows_of(split, fold)
            actual = store.read(split, list(store.schema.entries), streamed="streamed" in how, fold=fold)
            for name, part in parts().items():
                want = expected(part, rows)
                assert actual[name].shape == want.shape
                assert actual[name].dtype == want.dtype == part.values.dtype
                np.testing.assert_array_equal(np.asarray(actual[name]), want, err_msg=name)
                for index in (3, np.array([2, 0, 0]), slice(1, 3)):
                    np.testing.assert_array_equal(actual[name][index], want[index], err_msg=name)
                at = np.arange(ROWS) if part.at is None else part.at
                has_entry = (at if at.ndim == 1 else at[:, 0])[rows] >= 0
                present = actual[name].present
                assert (present is not None) == store.schema.entries[name].optional
                np.testing.assert_array_equal(has_entry if present is None else present, has_entry)
                if at.ndim == 2:
                    np.testing.assert_array_equal(actual[name].counts, (at[rows] >= 0).sum(axis=1))


def test_rows_have_numbers_keys_groups_and_lists(store: Store) -> None:
    made = content(parts())
    for split, rows in made.splits.items():
        np.testing.assert_array_equal(store.rows(split)["id"], 100 + rows)
        assert store.keys(split) == [made.keys[row] for row in rows]
        np.testing.assert_array_equal(store.group(split), rows // 2)
    split, rows = store.subset("train_50")
    np.testing.assert_array_equal(store.rows_of(split)[rows], made.subsets["train_50"])
    with pytest.raises(UserError, match=r"--subset: 'train_50' is of the store's own splits, .* use --fraction"):
        store.subset("train_50", fold=1)
    assert store.names("snps")[:2] == ("rs0", "rs1")
    assert store.names("report") == WORDS
    assert store.names("photo") == ()
    arrays = store.arrays("val")  # of the first image and tables
    np.testing.assert_array_equal(arrays["image"], store.read("val", ["photo"])["photo"])
    np.testing.assert_array_equal(arrays["label"], np.nan_to_num(arrays["labels"][:, 0], nan=-1))


def test_a_fold_is_test_once_and_the_next_one_is_val(store: Store) -> None:
    tested = np.concatenate([store.rows_of("test", fold) for fold in range(5)])
    np.testing.assert_array_equal(np.sort(tested), np.arange(ROWS))
    for fold in range(5):
        train, val, test = (store.rows_of(split, fold) for split in ("train", "val", "test"))
        np.testing.assert_array_equal(test, store.folds[fold])
        np.testing.assert_array_equal(val, store.folds[(fold + 1) % 5])
        np.testing.assert_array_equal(np.sort(np.concatenate([train, val, test])), np.arange(ROWS))
        clinical = np.asarray(store.read("train", ["clinical"], fold=fold)["clinical"])
        fitted = store.fitted("clinical", fold)
        assert fitted.statistics.mean[0] == pytest.approx(np.nanmean(clinical[:, 0]))
    with pytest.raises(UserError, match=r"config\.fold: 5 is no fold of .*, which has 5, numbered from 0"):
        store.rows_of("train", 5)


def test_tfds_opens_the_store_and_the_entries_that_rows_share_or_lack(store: Store) -> None:
    source = tfds.builder_from_directory(str(store.directory)).as_data_source("train")
    rows, made = store.rows_of("train"), parts()
    for number in (0, 7, len(rows) - 1):
        example, row = source[number], rows[number]
        assert (int(example["id"]), example["key"].decode()) == (100 + row, f"key {row}\n")
        assert int(example["group"]) == row // 2
        for name, part in made.items():
            want = expected(part, rows[number : number + 1])[0]
            folder = store.directory / name
            if not folder.is_dir():
                np.testing.assert_array_equal(example[name], want, err_msg=name)
                continue
            values = tfds.builder_from_directory(str(folder)).as_data_source("rows")
            fill = KINDS[part.entry.kind].fill(part.values.dtype)
            index = np.atleast_1d(example[name])
            actual = [values[int(i)][name] if i >= 0 else np.full(part.entry.shape, fill) for i in index]
            np.testing.assert_array_equal(
                actual if want.ndim > len(part.entry.shape) else actual[0], want, err_msg=name
            )
    apart = {path.name for path in store.directory.iterdir() if path.is_dir()} - {"flat"}
    assert apart == {"xray", "slices", "brain", "visit", "snps", "report", "findings"}


def test_several_processes_write_the_same_bits(store: Store, tmp_path: Path) -> None:
    again = write(tmp_path, parts(), engine=Processes(2))
    assert again.fingerprint == store.fingerprint


def test_a_damaged_shard_of_one_entry_is_not_restored_from(store: Store, tmp_path: Path) -> None:
    copy = shutil.copytree(store.directory, tmp_path / "copy", ignore=shutil.ignore_patterns("flat"))
    shard = next((copy / "snps").glob("*array_record*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=rf"{shard.name} is damaged .*put a copy of the file back"):
        Store.open(copy).read("train", ["snps"])
    assert not (copy / "flat").exists()


def test_a_flat_array_of_something_else_is_one_sentence(store: Store, tmp_path: Path) -> None:
    copy = shutil.copytree(store.directory, tmp_path / "copy")
    np.save(copy / "flat" / "photo.npy", np.zeros((ROWS, 4, 6, 1), np.uint8))
    with pytest.raises(UserError, match=r"photo\.npy .*remove the folder flat"):
        Store.open(copy).read("train", ["photo"])
    shutil.rmtree(copy / "flat")  # the remedy works
    np.testing.assert_array_equal(Store.open(copy).arrays("val")["image"], store.arrays("val")["image"])


def changed(name: str, **changes: Any) -> dict[str, Part]:
    made = parts()
    entry = {key[6:]: value for key, value in changes.items() if key.startswith("entry_")}
    own = {key: value for key, value in changes.items() if not key.startswith("entry_")}
    made[name] = dataclasses.replace(made[name], entry=dataclasses.replace(made[name].entry, **entry), **own)
    return made


def with_value(name: str, index: Any, value: float) -> dict[str, Part]:
    values = parts()[name].values.copy()
    values[index] = value
    return changed(name, values=values, at=None)


BAD: dict[str, tuple[Callable[[], dict[str, Part]], str]] = {
    "kind": (
        lambda: changed("photo", entry_kind="picture"),
        "The entry 'photo' has the unknown kind 'picture'; choose from image, volume, table, vector, text, boxes.",
    ),
    "name": (lambda: {"a/b": parts()["photo"]}, "The entry 'a/b' needs another name"),
    "taken name": (lambda: {"flat": parts()["photo"]}, "The entry 'flat' needs another name"),
    "type": (
        lambda: changed("photo", values=np.zeros((ROWS, 4, 6, 3), np.int64), entry_dtype="int64"),
        "The entry 'photo' is of the type int64; an image is stored as uint8 or uint16 or float16.",
    ),
    "shape": (
        lambda: changed("photo", values=np.zeros((ROWS, 4, 6), np.uint8), entry_shape=(4, 6)),
        "The entry 'photo' has rows of the shape (4, 6); an image has [height, width, channels].",
    ),
    "mask size": (
        lambda: changed("mask", values=np.zeros((ROWS, 6, 4, 1), np.uint8), entry_shape=(6, 4, 1)),
        "The mask 'mask' has the size 6 x 4 and its image 'photo' the size 4 x 6",
    ),
    "mask of nothing": (
        lambda: changed("mask", entry_of="phot"),
        "The entry 'mask' belongs to 'phot', which is no image of the store; it has photo, xray",
    ),
    "box outside": (
        lambda: with_value("findings", (9, 0, 2), 6.5),
        r"The entry 'findings' of the row 'key 9\n': the box 0, 0, 6.5, 4 lies outside of its image, which has 6 x 4",
    ),
    "empty box": (lambda: with_value("findings", (9, 0, 2), 0), r"the box 0, 0, 0, 4 is empty"),
    "half a box": (lambda: with_value("findings", (9, 0, 2), np.nan), "a box lacks some of its five numbers"),
    "token": (
        lambda: with_value("report", (11, 2, 0), 4),
        r"The entry 'report' of the row 'key 11\n': it has the token 4, and the vocabulary has 4 tokens",
    ),
    "token behind the end": (lambda: with_value("report", (11, 5), 1), "it has a token after the end of its text (-1)"),
    "vocabulary": (lambda: changed("report", names=WORDS[1:]), "'report' has no token [UNK]; add it."),
    "names": (
        lambda: changed("snps", names=[f"rs{i}" for i in range(39)]),
        "The entry 'snps' has 40 features but 39 names; give one name per feature, or none.",
    ),
    "same names": (lambda: changed("snps", names=["rs0"] * 40), "a name of its features is empty, appears twice"),
    "infinite": (lambda: with_value("scores", (4, 1), np.inf), r"of the row 'key 4\n': it has an infinite value."),
    "pixel": (lambda: with_value("map", (4, 1), np.nan), r"of the row 'key 4\n': it has a value that is not finite."),
    "code": (lambda: with_value("clinical", (4, 1), 2), "in the column 'fuel' no category has the code 2."),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_a_kind_does_not_store_is_one_sentence(case: str, tmp_path: Path) -> None:
    make, sentence = BAD[case]
    with pytest.raises(UserError) as error:
        writing.write(tmp_path, content(make()), description="drawn")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_wide_vector_is_written_where_it_was_allocated(tmp_path: Path) -> None:
    """It is not copied, no JSON file has its features, and only rows that are read are in memory."""
    values = flat.allocate(tmp_path, "snps", (ROWS, 20_000), "int8")
    values[:] = np.arange(20_000) % 3
    inode = (tmp_path / "flat" / "snps.npy").stat().st_ino
    entry = Entry(kind="vector", shape=(20_000,), dtype="int8")
    wide = Part(entry=entry, values=values, names=[f"rs{number}" for number in range(20_000)])
    store = write(tmp_path, {"snps": wide})
    assert (tmp_path / "flat" / "snps.npy").stat().st_ino == inode
    assert sum(path.stat().st_size for path in tmp_path.glob("*.json")) < 20_000
    rows = store.read("train", ["snps"])["snps"]
    assert isinstance(rows.values, np.memmap)
    np.testing.assert_array_equal(rows[3], np.arange(20_000) % 3)
    assert store.names("snps")[-1] == "rs19999"


def present_rows(store: Store, name: str) -> np.ndarray:
    """Return the training rows that have an entry."""
    rows = store.read("train", [name])[name]
    return np.asarray(rows if rows.present is None else rows[rows.present])


@pytest.mark.parametrize("name", ["snps", "scores"])
def test_a_vector_is_scaled_by_its_training_rows(name: str, store: Store) -> None:
    rows = present_rows(store, name)
    values = np.where(rows == -127, np.nan, rows.astype(np.float64))
    std = np.nanstd(values, axis=0)
    encoded = KINDS["vector"].encode(rows, store.fitted(name))
    np.testing.assert_allclose(encoded, (values - np.nanmean(values, axis=0)) / np.where(std > 0, std, 1), atol=1e-5)


@pytest.mark.parametrize("name", ["photo", "xray", "slices", "brain"])
def test_pixels_are_scaled_by_their_range(name: str, store: Store) -> None:
    """The range of 16-bit pixels is that of the training rows; absent rows, filled with 0, do not count."""
    rows = store.read("train", [name])[name]
    kind, entry = KINDS[store.schema.entries[name].kind], parts()[name]
    taken = np.ravel((np.arange(ROWS) if entry.at is None else entry.at)[store.rows_of("train")])
    values = entry.values[taken[taken >= 0]].astype(np.float64)
    low, high = (0, 255) if entry.values.dtype == np.uint8 else (values.min(), values.max())
    encoded = kind.encode(np.asarray(rows), store.fitted(name))
    np.testing.assert_allclose(encoded, (np.asarray(rows, np.float64) - low) / (high - low), atol=1e-5)


def test_tokens_that_no_training_row_has_are_unknown(store: Store) -> None:
    rows, fitted = present_rows(store, "report"), store.fitted("report")
    np.testing.assert_array_equal(fitted.tokens, np.isin(np.arange(4), rows[..., 0]))
    fitted = dataclasses.replace(fitted, tokens=np.array([True, True, False, True]))
    encoded = KINDS["text"].encode(rows, fitted)
    np.testing.assert_array_equal(encoded[..., 0], np.where(rows[..., 0] == 2, 0, rows[..., 0]))
    np.testing.assert_array_equal(encoded[..., 1], rows[..., 1])


def test_workers_map_the_file_themselves(store: Store) -> None:
    for name in ("photo", "clinical", "snps", "slices"):  # of every row, and of some; one picture, and several
        rows = store.read("train", [name])[name]
        sent = pickle.dumps(rows)
        assert len(sent) < 3000 + rows.at.nbytes
        again = pickle.loads(sent)
        assert isinstance(again.values, np.memmap)
        np.testing.assert_array_equal(np.asarray(again), np.asarray(rows))
