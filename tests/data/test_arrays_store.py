"""A store of arrays that a program holds, and kinds of entries that it registers."""

from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.data.arrays_store import store_of_arrays
from mmcl_jax.data.kinds import KINDS, register_kind
from mmcl_jax.data.kinds.image import ImageKind
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.views import View, Viewed

VECTORS = np.arange(60, dtype=np.float32).reshape(20, 3)


class Signals(ImageKind):
    name, axes, dtypes, baseline = "signal", ("time", "leads"), ("float16",), "samples"


@pytest.fixture
def signal(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(KINDS, "signal", None)  # so that it is forgotten behind the test
    del KINDS["signal"]
    register_kind(Signals())
    return "signal"


def test_rows_come_back_in_three_splits(tmp_path: Path, signal: str) -> None:
    waves = np.random.default_rng(0).normal(size=(20, 5, 2)).astype(np.float16)
    store = store_of_arrays(tmp_path / "s", {"ecg": (signal, waves), "pgs": ("vector", VECTORS)}, split=(0.5, 0.2, 0.3))
    assert store.sizes == {"train": 10, "val": 4, "test": 6}
    seen = []
    for split in store.sizes:
        rows = store.read(split, ["ecg", "pgs"])
        at = np.array([int(key) for key in store.keys(split)])
        np.testing.assert_array_equal(np.asarray(rows["ecg"][np.arange(len(at))]), waves[at])
        np.testing.assert_array_equal(np.asarray(rows["pgs"][np.arange(len(at))]), VECTORS[at])
        seen += at.tolist()
    assert sorted(seen) == list(range(20))
    assert Store.open(tmp_path / "s").fingerprint == store.fingerprint


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"a": ("vector", VECTORS), "b": ("vector", VECTORS[:7])}, "number of rows"),
        ({"a": ("wave", VECTORS)}, "unknown kind 'wave'"),
        ({"a": ("vector", VECTORS.astype(np.float64))}, "float64; a vector is stored as"),
        ({"a": ("vector", np.where(VECTORS == 4, np.inf, VECTORS))}, "'1': it has an infinite value"),
        ({}, "no array"),
    ],
)
def test_what_cannot_be_stored_leaves_nothing(arrays: dict, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        store_of_arrays(tmp_path / "s", arrays)
    assert list(tmp_path.iterdir()) == []


def test_a_kind_has_one_class(signal: str) -> None:
    with pytest.raises(ValueError, match="the kind 'signal' is registered twice"):
        register_kind(Signals())


def test_a_view_of_a_kind_of_ones_own_takes_arrays() -> None:
    def doubled(rows, keys, fitted):
        return Viewed(2 * rows)

    view = View(modality="ecg", takes="signal", apply=doubled, plain=doubled)
    np.testing.assert_array_equal(view(np.ones((2, 5, 3), np.float32), train=False).values, 2)
