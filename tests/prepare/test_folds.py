"""Folds: of one size, stratified, and never through a group."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl_jax.cli.main import main
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.splits.folds import draw_folds

pytestmark = pytest.mark.core


@given(
    rows=st.integers(5, 80),
    count=st.integers(3, 5),
    classes=st.integers(0, 6),
    groups=st.integers(0, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_one_fold_with_its_group(rows: int, count: int, classes: int, groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.integers(-1, classes, rows) if classes else None
    group = rng.integers(0, groups, rows) if groups else None
    units = rows if group is None else len(np.unique(group))
    if units < count:
        with pytest.raises(UserError, match=f"--folds: {units} groups cannot be divided into {count} folds"):
            draw_folds(rows, count, seed=seed, label=label, group=group)
        return
    folds = draw_folds(rows, count, seed=seed, label=label, group=group)
    assert len(folds) == count
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(rows))
    assert all((np.diff(fold) > 0).all() for fold in folds)
    if group is None:
        assert np.ptp([len(fold) for fold in folds]) <= 1
        for code in range(classes):
            if label is not None and (label == code).sum() >= count:
                assert np.ptp([(label[fold] == code).sum() for fold in folds]) <= 1
    else:
        assert sum(len(np.unique(group[fold])) for fold in folds) == units
    again = draw_folds(rows, count, seed=seed, label=label, group=group)
    assert all(map(np.array_equal, folds, again))


def test_folds_of_a_store(raw: Request, tmp_path: Path) -> None:
    store = prepare(dataclasses.replace(raw, folds=5), tmp_path / "store")
    assert "; 5 folds" in store.describe()
    tables = {}
    for fold in range(5):
        rows = {split: store.rows(split, fold=fold) for split in store.sizes}
        assert {split: len(one["id"]) for split, one in rows.items()} == {"train": 24, "val": 8, "test": 8}
        assert set(np.bincount(rows["test"]["label"])) == {2}
        ids = np.concatenate([one["id"] for one in rows.values()])
        assert sorted(ids) == list(range(40))
        tables[fold] = rows["train"]["table"]
        assert store.fitted("table", fold).statistics == Statistics.fit(tables[fold], store.schema)
        images = store.arrays("val", fold=fold)["image"]
        whole = {row: image for split in store.sizes for row, image in zip(
            store.rows(split)["id"], store.arrays(split)["image"], strict=True)}  # fmt: skip
        np.testing.assert_array_equal(images, [whole[row] for row in rows["val"]["id"]])
        assert len(store.keys("test", fold)) == 8
    assert len({store.fitted("table", fold).statistics.mean for fold in range(5)}) == 5


def test_refusals(raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["prepare", "--table", str(raw.table), "--images", str(raw.images), "--image-column", "file"]
    command += ["--out", str(tmp_path / "store"), "--workers", "1", "--folds"]
    for folds, words in (("2", "--folds: 2 is too few; one fold is for test"), ("41", "--folds: 40 rows cannot be")):
        assert main([*command, folds]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "store").exists()
