"""Raw data to store: what is understood, what is refused, and that nothing is left half-written."""

import dataclasses
import fcntl
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request

pytestmark = pytest.mark.core


def edited(raw: Request, **columns: object) -> Request:
    """The request with columns of its table replaced."""
    table = pl.read_csv(raw.table).with_columns(**columns)
    table.write_csv(raw.table)
    return raw


def encoding(store: Store, missing: str) -> Encoding:
    return Encoding.fit(store.arrays("train")["table"], store.schema, store.statistics, missing=missing)


def refuses(request: Request, out: Path, *words: str) -> None:
    """Asserts one sentence with these words, and nothing on disk."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(UserError) as error:
        prepare(request, out)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(out.parent.iterdir()) == before


def test_columns_and_splits(raw: Request, tmp_path: Path) -> None:
    store = prepare(raw, tmp_path / "store")
    kinds = {column.name: (column.kind, column.categories) for column in store.schema.columns}
    assert kinds == {
        "price": ("continuous", ()),
        "seats": ("continuous", ()),
        "gearbox": ("categorical", ("automatic", "manual")),
    }
    assert store.schema.widths == (1, 1, 2)
    assert store.schema.image.shape == (12, 10, 3)
    assert store.sizes == {"train": 20, "val": 8, "test": 12}
    ids = np.concatenate([store.arrays(split)["id"] for split in store.sizes])
    assert sorted(ids) == list(range(40))
    for split in store.sizes:  # stratified: four classes, equally frequent
        assert set(np.bincount(store.arrays(split)["label"])) == {store.sizes[split] // 4}


def test_rows_keep_their_image_values_and_label(raw: Request, tmp_path: Path) -> None:
    store = prepare(raw, tmp_path / "store")
    table = pl.read_csv(raw.table)
    for split in store.sizes:
        arrays, keys = store.arrays(split), store.keys(split)
        for place in range(store.sizes[split]):
            row = int(arrays["id"][place])
            assert keys[place] == table["ad"][row]
            assert arrays["table"][place, 0] == table["price"][row]
            assert ("automatic", "manual")[int(arrays["table"][place, 2])] == table["gearbox"][row]
            assert f"m{arrays['label'][place]}" == table["model"][row]
            pixels = np.asarray(Image.open(raw.images / table["file"][row]))
            np.testing.assert_array_equal(arrays["image"][place], pixels)


def test_opens_as_a_tfds_data_set(raw: Request, tmp_path: Path) -> None:
    store = prepare(raw, tmp_path / "store")
    builder = tfds.builder_from_directory(str(store.directory))
    assert {name: info.num_examples for name, info in builder.info.splits.items()} == store.sizes
    example = builder.as_data_source("val")[3]
    arrays = store.arrays("val")
    assert example["key"].decode() == store.keys("val")[3]
    for name in ("id", "image", "table", "label"):
        np.testing.assert_array_equal(example[name], arrays[name][3])


def test_flat_arrays_come_back_from_the_shards(digits_raw: Request, tmp_path: Path) -> None:
    import shutil

    store = prepare(digits_raw, tmp_path / "store")
    before = {name: np.array(array) for name, array in store.arrays("val").items()}
    shutil.rmtree(store.directory / "flat")
    after = Store.open(store.directory).arrays("val")
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name])


def test_statistics_are_of_the_training_split_alone(raw: Request, tmp_path: Path) -> None:
    store = prepare(raw, tmp_path / "store")
    train = np.asarray(store.arrays("train")["table"])
    np.testing.assert_allclose(store.statistics.mean[:2], train[:, :2].mean(axis=0))
    np.testing.assert_allclose(store.statistics.std[:2], train[:, :2].std(axis=0))
    encoded = encoding(store, "refuse").encode(train)
    np.testing.assert_allclose(encoded[:, :2].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_array_equal(encoded[:, 2], train[:, 2])


def test_missing_values_stay_missing_in_the_store(raw: Request, tmp_path: Path) -> None:
    price = pl.Series([None if i % 5 == 0 else float(i) for i in range(40)])
    store = prepare(edited(raw, price=price), tmp_path / "store")
    train = np.asarray(store.arrays("train")["table"])
    absent = store.arrays("train")["id"] % 5 == 0
    np.testing.assert_array_equal(np.isnan(train[:, 0]), absent)
    with pytest.raises(
        UserError,
        match=r"'price' has \d+ missing values; choose a policy for them with --config.inputs.table.missing=mean",
    ):
        encoding(store, "refuse").encode(train)
    filled = encoding(store, "mean").encode(train)
    np.testing.assert_array_equal(filled[absent, 0], 0)


def test_a_declared_category_and_an_ignored_column(raw: Request, tmp_path: Path) -> None:
    store = prepare(dataclasses.replace(raw, categorical=("seats",), ignore=("price",)), tmp_path / "store")
    assert [column.name for column in store.schema.columns] == ["seats", "gearbox"]
    assert store.schema.columns[0].kind == "categorical"


def test_number_classes_are_in_the_order_of_numbers(raw: Request, tmp_path: Path) -> None:
    store = prepare(edited(raw, model=pl.Series([(i % 3) + 9 for i in range(40)])), tmp_path / "store")
    assert store.schema.label is not None
    assert store.schema.label.categories == ("9", "10", "11")


def test_images_are_resized_when_asked(raw: Request, tmp_path: Path) -> None:
    store = prepare(dataclasses.replace(raw, image_size=(6, 8)), tmp_path / "store")
    assert store.arrays("test")["image"].shape == (12, 6, 8, 3)
    assert "bilinear" in store.schema.image.fit


def test_a_split_column_is_followed(raw: Request, tmp_path: Path) -> None:
    words = ["train"] * 20 + ["val"] * 10 + ["test"] * 10
    request = dataclasses.replace(edited(raw, part=pl.Series(words)), split_column="part")
    store = prepare(request, tmp_path / "store")
    np.testing.assert_array_equal(store.arrays("val")["id"], np.arange(20, 30))


def test_the_same_input_gives_the_same_fingerprint(raw: Request, tmp_path: Path) -> None:
    one, two = (prepare(raw, tmp_path / name) for name in ("one", "two"))
    other = prepare(dataclasses.replace(raw, seed=1), tmp_path / "three")
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_bad_rows_are_quarantined_within_the_allowance(raw: Request, tmp_path: Path) -> None:
    (raw.images / "0.png").write_bytes(b"no image")
    store = prepare(dataclasses.replace(raw, max_bad=0.05), tmp_path / "store")
    entries = [json.loads(line) for line in (store.directory / "quarantine.jsonl").read_text().splitlines()]
    assert [(entry["row"], entry["image"], entry["cause"]) for entry in entries] == [(1, "0.png", "broken image")]
    assert sum(store.sizes.values()) == 39


def test_refusals(raw: Request, tmp_path: Path) -> None:
    out = tmp_path / "stores" / "ads"
    out.parent.mkdir()
    replace = dataclasses.replace
    refuses(replace(raw, table=tmp_path / "none.csv"), out, "none.csv", "does not exist")
    refuses(replace(raw, images=tmp_path / "none"), out, "none", "does not exist")
    refuses(replace(raw, label=("modle",)), out, "'modle'", "ads.csv", "model")
    refuses(replace(raw, ignore=("colour",)), out, "'colour'")
    refuses(replace(raw, split=(0.5, 0.5, 0.5)), out, "--split")
    refuses(replace(raw, key_column="gearbox"), out, "identifier", "'gearbox'", "--max-bad")
    out.mkdir()
    refuses(raw, out, "exists already")


def test_refuses_an_unreadable_image(raw: Request, tmp_path: Path) -> None:
    out = tmp_path / "stores" / "ads"
    out.parent.mkdir()
    (raw.images / "4.png").write_bytes((raw.images / "4.png").read_bytes()[:60])
    refuses(raw, out, "Row 5 of", "4.png", "cannot be read")
    (raw.images / "4.png").unlink()
    refuses(raw, out, "Row 5 of", "4.png", "does not exist")


def test_refuses_paths_out_of_the_image_folder(raw: Request, tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    Image.new("RGB", (10, 12)).save(outside)
    (raw.images / "link.png").symlink_to(outside)
    names = pl.read_csv(raw.table)["file"].to_list()
    for bad in ("../secret.png", str(outside), "link.png"):
        refuses(edited(raw, file=pl.Series([bad, *names[1:]])), tmp_path / "store", "Row 1", "leaves the image folder")


def test_columns_that_are_no_features_are_left_out_and_named(raw: Request, tmp_path: Path) -> None:
    table = edited(
        raw,
        seats=pl.lit(5),
        note=pl.Series([f"a text of some words {i}" for i in range(40)]),
        code=pl.Series([f"x{i}" for i in range(40)]),
        empty=pl.lit(""),
        copy=pl.col("model").str.to_uppercase(),
    )
    store = prepare(table, tmp_path / "store")
    assert [column.name for column in store.schema.columns] == ["price", "gearbox"]
    found = {column.name: column for column in Findings.of(store).columns}
    for name, word in {
        "seats": "all its values",
        "note": "free text",
        "code": "identifier",
        "empty": "no values",
    }.items():
        assert found[name].role == "ignore"
        assert word in found[name].why
    assert "can be read off" in found["copy"].why
    assert any("'copy'" in warning for warning in Findings.of(store).warnings)
    assert not any("as declared" in warning for warning in Findings.of(store).warnings)
    declared = Declaration.from_json(
        {"columns": {"copy": {"kind": "categorical"}, "code": {"kind": "categorical"}}}, "x"
    )
    store = prepare(dataclasses.replace(table, schema=declared), tmp_path / "declared")
    assert [column.name for column in store.schema.columns] == ["price", "gearbox", "code", "copy"]
    assert any("'copy' is used as declared, though" in warning for warning in Findings.of(store).warnings)


def prepare_in_process(request: Request, out: Path, **options: object) -> subprocess.Popen:
    code = "import sys, pickle; from mmcl_jax.prepare.make import prepare; r, o = pickle.load(sys.stdin.buffer)\n"
    code += f"if __name__ == '__main__': prepare(r, o, **{options!r})"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(pickle.dumps((request, out)))
    child.stdin.close()
    return child


def test_a_killed_build_leaves_no_store_and_continues(digits_raw: Request, digits_store: Store, tmp_path: Path) -> None:
    """Killed at several moments, then run again: the same bits as a build that was never stopped."""
    out, partial = tmp_path / "store", tmp_path / ".store.partial"
    journal = partial / "flat" / "journal.jsonl"
    moments = [
        lambda: journal.is_file() and len(journal.read_text().splitlines()) >= 5,
        lambda: journal.is_file() and len(journal.read_text().splitlines()) >= 20,
        lambda: any(partial.glob("*.array_record-*")),
        lambda: (partial / "entries.json").is_file(),
    ]
    for moment in moments:
        child = prepare_in_process(digits_raw, out)
        while not moment():
            assert child.poll() is None
            time.sleep(0.002)
        child.kill()
        child.wait()
        assert not out.exists()
    done = len(journal.read_text().splitlines())
    assert done == -(-2000 // 64)  # nothing is decoded twice
    store = prepare(digits_raw, out)
    assert store.fingerprint == digits_store.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_build_of_another_request_is_begun_anew(raw: Request, tmp_path: Path) -> None:
    (tmp_path / ".store.partial" / "flat").mkdir(parents=True)
    (tmp_path / ".store.partial" / "request.sha256").write_text("of something else")
    (tmp_path / ".store.partial" / "stray").touch()
    store = prepare(raw, tmp_path / "store")
    assert not (store.directory / "stray").exists()


def test_two_builds_of_one_store_do_not_mix(raw: Request, tmp_path: Path) -> None:
    with (tmp_path / ".store.partial.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"Another process makes .*\.store\.partial"):
            prepare(raw, tmp_path / "store")


def test_several_processes_make_the_same_store(digits_raw: Request, digits_store: Store, tmp_path: Path) -> None:
    child = prepare_in_process(digits_raw, tmp_path / "store", workers=2)
    assert child.wait(120) == 0
    assert Store.open(tmp_path / "store").fingerprint == digits_store.fingerprint


def test_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a store"):
        Store.open(tmp_path)
