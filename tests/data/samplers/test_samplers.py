"""Samplers: functions of seed and epoch alone, which draw the documented rows."""

import dataclasses
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl_jax.config import sampler
from mmcl_jax.data.input import Batches
from mmcl_jax.data.samplers import SAMPLERS, Sampler, Targets
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.build import build_experiment, build_sampler
from mmcl_jax.views.randomness import example_keys

pytestmark = pytest.mark.core

ROWS, BATCH = 60, 8
RNG = np.random.default_rng(0)
TARGETS = Targets(
    labels={"sex": RNG.integers(-1, 2, ROWS), "rare": np.where(np.arange(ROWS) < 3, 1, 0)},
    numbers=("age",),
    groups=np.where(np.arange(ROWS) % 10 == 9, -1, np.arange(ROWS) // 3),
)
SPECS = {
    "shuffle": sampler("shuffle"),
    "balanced": sampler("balanced", label="rare"),
    "one per epoch": sampler("one_per_group"),
    "one per batch": sampler("one_per_group", per="batch"),
}


def build(spec, targets: Targets = TARGETS, rows: int = ROWS, batch: int = BATCH) -> Sampler:
    return SAMPLERS.build(spec, "config.sampler", rows=rows, batch_size=batch, targets=targets)


@pytest.mark.parametrize("name", SPECS)
def test_an_order_is_a_function_of_seed_and_epoch(name: str) -> None:
    one = build(SPECS[name])
    other = pickle.loads(pickle.dumps(one))  # as workers get it
    orders = {(seed, epoch): tuple(one.order(seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(set(orders.values())) == 9
    assert all(len(order) == one.size for order in orders.values())
    for (seed, epoch), order in reversed(orders.items()):
        assert tuple(other.order(seed, epoch)) == order


def test_shuffle_is_the_order_that_runs_were_always_trained_in() -> None:
    batches = Batches({"id": np.arange(ROWS)}, batch_size=BATCH, epochs=2, seed=7)
    for epoch in range(2):
        expected = np.random.default_rng([7, epoch]).permutation(ROWS)[: 7 * BATCH]
        drawn = np.concatenate([batches.rows_of(7 * epoch + step) for step in range(7)])
        np.testing.assert_array_equal(drawn, expected)


@given(codes=st.lists(st.integers(-1, 4), min_size=2, max_size=50), epoch=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_balanced_draws_classes_evenly_and_the_rows_of_each_in_turn(codes: list[int], epoch: int) -> None:
    labels = np.array(codes)
    classes = np.unique(labels[labels >= 0])
    spec, targets = sampler("balanced"), Targets(labels={"class": labels})
    if len(classes) < 2:
        with pytest.raises(UserError, match="fewer than two classes of 'class'"):
            build(spec, targets)
        return
    order = build(spec, targets).order(0, epoch)
    assert len(order) == (labels >= 0).sum()
    counts = [int((labels[order] == one).sum()) for one in classes]
    assert max(counts) - min(counts) <= 1
    for one in classes:
        times = np.bincount(order[labels[order] == one], minlength=len(labels))[labels == one]
        assert times.max() - times.min() <= 1


@given(groups=st.lists(st.integers(-1, 12), min_size=1, max_size=60), batch=st.integers(1, 8), epoch=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_one_per_group(groups: list[int], batch: int, epoch: int) -> None:
    codes = np.array(groups)
    alone = np.where(codes < 0, 1000 + np.arange(len(codes)), codes)
    targets = Targets(groups=codes)
    order = build(sampler("one_per_group"), targets, len(codes), batch).order(0, epoch)
    assert sorted(alone[order]) == sorted(set(alone))
    largest, steps = max(np.unique(alone, return_counts=True)[1]), len(codes) // batch
    spec = sampler("one_per_group", per="batch")
    if largest > steps > 0:
        with pytest.raises(UserError, match=f"a group has {largest} rows, more than the {steps} batches of an epoch"):
            build(spec, targets, len(codes), batch)
        return
    order = build(spec, targets, len(codes), batch).order(0, epoch)
    assert sorted(order) == list(range(len(codes)))
    for step in range(steps):
        rows = alone[order[step * batch : (step + 1) * batch]]
        assert len(set(rows)) == batch


def test_every_row_of_a_group_has_its_turn() -> None:
    one = build(sampler("one_per_group"))
    assert len({row for epoch in range(40) for row in one.order(0, epoch)}) == ROWS


@pytest.mark.parametrize(
    ("spec", "targets", "sentence"),
    [
        (sampler("balanced"), Targets(), "config.sampler: the store has no label that is a class; prepare it with"),
        (sampler("balanced", label="x"), TARGETS, "no label 'x'; config.sampler.label may be 'sex', 'rare'"),
        (sampler("balanced", label="age"), TARGETS, "the label 'age' is a number, and has no classes to balance; conf"),
        (
            sampler("one_per_group"),
            Targets(),
            "config.sampler: the store has no groups; prepare it with --gro",
        ),
    ],
)
def test_what_the_store_lacks_is_said(spec, targets: Targets, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build(spec, targets)


def test_a_batch_larger_than_an_epoch_is_refused() -> None:
    groups = dataclasses.replace(TARGETS, groups=np.arange(ROWS) // 20)
    with pytest.raises(UserError, match=r"8 is larger than an epoch of config.sampler, which has 3 rows"):
        Batches({"id": np.arange(ROWS)}, batch_size=8, epochs=1, seed=0, sampler=build(SPECS["one per epoch"], groups))


def test_a_config_chooses_the_sampler(tiny_config) -> None:
    config = tiny_config("digits_simclr", "sampler.name=balanced")
    store = Store.open(config.data)
    batches = build_experiment(config, store).batches
    expected = build_sampler(config, store, None).order(config.seed, 0)[:64]
    np.testing.assert_array_equal(batches.rows_of(0), expected)
    assert "1200 rows, 18 steps per epoch" in batches.describe()
    with pytest.raises(UserError, match=r"config.sampler: the store has no groups"):
        build_experiment(tiny_config("digits_simclr", "sampler.name=one_per_group"), store)


def test_the_groups_are_those_of_the_store(raw: Request, tiny_config, tmp_path: Path) -> None:
    store = prepare(dataclasses.replace(raw, group_column="seats"), tmp_path / "store")
    sizes = ["batch_size=2", "batch_norm.group_size=2", f"data={store.directory}", "sampler.name=one_per_group"]
    batches = build_experiment(tiny_config("digits_simclr", *sizes), store, jax.devices()[:1]).batches
    groups = store.group("train")
    assert groups is not None
    drawn = np.concatenate([batches.rows_of(step) for step in range(batches.steps_per_epoch)])
    assert len(set(groups[drawn])) == len(drawn) == len(set(groups)) // 2 * 2
    assert f"{len(set(groups))} drawn in an epoch" in batches.describe()


def test_the_copies_of_a_row_in_a_batch_are_told_apart() -> None:
    batches = Batches(
        {"id": np.arange(ROWS, dtype=np.uint32)},
        batch_size=32,
        epochs=2,
        seed=0,
        sampler=build(SPECS["balanced"], batch=32),
        process=1,
        processes=2,
    )
    for index in range(len(batches)):
        rows = batches.rows_of(index)
        expected = [list(rows[:place]).count(row) for place, row in enumerate(rows)][16:]
        assert batches[index]["occurrence"].tolist() == expected
    assert max(expected) > 2
    ids, copies = jax.numpy.array([5, 5, 5], "uint32"), jax.numpy.array([0, 1, 0])
    draws = jax.vmap(jax.random.uniform)(example_keys(jax.numpy.uint32(0), jax.numpy.int32(0), "image", ids, copies))
    assert draws[0] == draws[2] != draws[1]
    assert "occurrence" not in Batches({"id": np.arange(4)}, batch_size=2, epochs=1, seed=0)[0]
