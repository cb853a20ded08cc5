"""Grain batches: epochs, shards, resumption."""

import json

import numpy as np
import pytest

from mmcl_jax.data.input import Batches, is_streamed, iterate
from mmcl_jax.data.inputs import OPTIONS, Inputs, input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError

pytestmark = pytest.mark.core


def arrays(rows: int) -> dict[str, np.ndarray]:
    return {"id": np.arange(rows, dtype=np.uint32), "value": np.arange(rows) * 2}


def test_an_epoch_holds_every_row_once_but_the_remainder() -> None:
    batches = Batches(arrays(10), batch_size=3, epochs=4, seed=0)
    assert (batches.steps_per_epoch, len(batches)) == (3, 12)
    epochs = [np.concatenate([batches[e * 3 + i]["id"] for i in range(3)]) for e in range(4)]
    for ids in epochs:
        assert len(set(ids)) == 9
    assert len({tuple(ids) for ids in epochs}) == 4
    batch = batches[5]
    np.testing.assert_array_equal(batch["value"], batch["id"] * 2)


def test_processes_read_disjoint_parts_of_the_same_batch() -> None:
    whole = Batches(arrays(50), batch_size=12, epochs=2, seed=7)
    parts = [Batches(arrays(50), batch_size=12, epochs=2, seed=7, process=p, processes=3) for p in range(3)]
    for step in (0, 3, 5):
        together = np.concatenate([part[step]["id"] for part in parts])
        np.testing.assert_array_equal(together, whole[step]["id"])


def test_the_iterator_continues_where_its_state_says() -> None:
    batches = Batches(arrays(20), batch_size=4, epochs=2, seed=0)
    first = iterate(batches)
    for _ in range(3):
        next(first)
    second = iterate(batches)
    second.set_state(first.get_state())
    rest = [[batch["id"].tolist() for batch in iterator] for iterator in (first, second)]
    assert rest[0] == rest[1]
    assert len(rest[0]) == 7


def test_a_batch_larger_than_the_split_is_refused() -> None:
    with pytest.raises(UserError, match=r"config.batch_size: 11 is larger than the training split, which has 10 rows"):
        Batches(arrays(10), batch_size=11, epochs=1, seed=0)
    with pytest.raises(UserError, match="does not divide among 3 processes"):
        Batches(arrays(10), batch_size=4, epochs=1, seed=0, processes=3)


def encoded(store: Store, split: str, modalities: list[str], *, streamed: bool = False) -> dict[str, np.ndarray]:
    inputs = Inputs.fit(dict.fromkeys(modalities, OPTIONS), store)
    return input_arrays(store, split, inputs, streamed=streamed)


def test_input_arrays(digits_store: Store) -> None:
    train = encoded(digits_store, "train", ["image", "table"])
    assert {name: (array.shape, array.dtype.name) for name, array in train.items()} == {
        "id": ((1200,), "uint32"),
        "image": ((1200, 16, 15, 1), "uint8"),
        "table": ((1200, 129), "float32"),
        "target/digit": ((1200,), "int32"),
    }
    assert encoded(digits_store, "train", ["image"]).keys() == {"id", "image", "target/digit"}
    np.testing.assert_allclose(train["table"].std(axis=0), 1, rtol=1e-4)
    with pytest.raises(UserError, match="no split 'trian'"):
        encoded(digits_store, "trian", ["image"])


@pytest.mark.parametrize("workers", [0, None])
def test_streamed_batches_are_the_mapped_ones(digits_store: Store, workers: int | None) -> None:
    """This also holds for batches from worker processes, and after a restart in the middle."""
    mapped, streamed = (
        Batches(encoded(digits_store, "train", ["image", "table"], streamed=streamed), batch_size=256, epochs=2, seed=3)
        for streamed in (False, True)
    )
    expected = list(iterate(mapped))
    iterator = iterate(streamed, workers=workers)
    actual = [next(iterator) for _ in range(3)]
    state = iterator.get_state()
    iterator = iterate(streamed, workers=1)  # a run may be continued with other workers
    iterator.set_state(json.loads(json.dumps(state)))
    actual += list(iterator)
    assert len(actual) == len(expected) == 8
    for one, other in zip(actual, expected, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])


def test_images_are_streamed_when_they_exceed_memory(digits_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_streamed("auto", digits_store)
    assert is_streamed("streamed", digits_store)
    monkeypatch.setattr("os.sysconf", lambda name: 1000 if name == "SC_PAGE_SIZE" else 100)
    assert is_streamed("auto", digits_store)
    assert not is_streamed("mapped", digits_store)


def test_a_row_without_a_label_has_the_code_minus_one(digits_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = digits_store.labels("val")
    labels, codes = np.array(rows["labels"]), np.array(rows["label"])
    labels[[3, 7, 9]], codes[[3, 7, 9]] = np.nan, -1
    monkeypatch.setattr(Store, "labels", lambda *a, **k: {**rows, "labels": labels, "label": codes})
    arrays = encoded(digits_store, "val", ["image"])
    np.testing.assert_array_equal(arrays["target/digit"], codes)
