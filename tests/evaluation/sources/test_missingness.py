"""Which cells are hidden: by every strategy the share that was asked for, nested, whatever rows are read together."""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl_jax.cli import types
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.missingness import (
    BY_COLUMN,
    STRATEGIES,
    WHOLE,
    Hiding,
    Missingness,
    check_missing,
    hiding_cells,
    missingness_of,
    part_of_columns,
)
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request

ROWS, COLUMNS = 2000, 10
rates = st.floats(0.0, 0.99)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Ten columns, of which `c3` tells the class and `c7` helps; one in ten cells of `c0` is missing."""
    root = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    kind = rng.choice(4, ROWS, p=[0.5, 0.3, 0.1, 0.1])
    frame = {f"c{i}": rng.normal(size=ROWS) for i in range(COLUMNS - 2)}
    frame["c3"] = kind + 0.5 * rng.normal(size=ROWS)
    frame["c7"] = kind + 1.5 * rng.normal(size=ROWS)
    frame["colour"] = rng.choice(["red", "green", "blue"], ROWS, p=[0.7, 0.2, 0.1])
    frame["zeros"] = np.where(rng.random(ROWS) < 0.6, 0.0, rng.exponential(size=ROWS))
    table = pl.DataFrame({"row": range(ROWS), **frame}).with_columns(
        c0=pl.when(pl.Series(rng.random(ROWS) < 0.1)).then(None).otherwise(pl.col("c0"))
    )
    table.write_csv(root / "table.csv")
    labels = {"row": range(ROWS), "kind": [f"k{code}" for code in kind], "size": rng.exponential(size=ROWS)}
    labels["weight"] = labels["size"] + rng.normal(size=ROWS)
    pl.DataFrame(labels).write_csv(root / "labels.csv")
    request = Request(
        key_column="row",
        split=(0.5, 0.2, 0.3),
        folds=4,
        entries={"table": {"kind": "table", "file": f"{root}/table.csv"}},
        targets={
            "kind": {"kind": "class", "file": f"{root}/labels.csv", "column": "kind"},
            **{name: {"kind": "number", "file": f"{root}/labels.csv", "column": name} for name in ("size", "weight")},
        },
    )
    return prepare(request, root / "store")


@pytest.fixture(scope="module")
def hidings(store: Store) -> dict[str, Hiding]:
    """By label."""
    return {label: Hiding(LabelledStore.of(store, label)) for label in ("kind", "size")}


def mask(hiding: Hiding, by: str, rate: float, *, split: str = "train", seed: int = 0, rows=slice(None)) -> np.ndarray:
    """Return the mask of the hidden cells of present cells, as the store's reader shows it."""
    data = hiding.data
    stored = np.asarray(data.store.read(split, ["table"], fold=data.fold)["table"][rows])
    hiding_store = hiding_cells(data, hiding, Missingness(rate, by), seed).store
    seen = hiding_store.read(split, ["table"], fold=data.fold)["table"][rows]
    kept = ~np.isnan(seen)
    np.testing.assert_array_equal(seen[kept], stored[kept])  # what is not hidden is as it was
    return np.isnan(seen) & ~np.isnan(stored)


@pytest.mark.parametrize("label", ["kind", "size"])
@pytest.mark.parametrize("by", STRATEGIES)
@settings(max_examples=8, deadline=None)
@given(rate=st.floats(0.05, 0.94), seed=st.integers(0, 2**31 - 1))
def test_the_share_is_as_asked(hidings: dict[str, Hiding], by: str, label: str, rate: float, seed: int) -> None:
    hiding = hidings[label]
    present = ~np.isnan(np.asarray(hiding.data.store.read("train", ["table"])["table"]))
    hidden = mask(hiding, by, rate, seed=seed)
    if by in BY_COLUMN:
        assert len(np.unique(hidden | ~present, axis=0)) <= 2  # the same columns in all rows; c0 has holes of its own
        assert (hidden.any(axis=0)).sum() == round(rate * COLUMNS)
        return
    sd = np.sqrt(rate * (1 - rate) / present.sum(axis=0))
    assert (np.abs(hidden.sum(axis=0) / present.sum(axis=0) - rate) < 5 * sd).all()  # of every column


@pytest.mark.parametrize("by", STRATEGIES)
@settings(max_examples=8, deadline=None)
@given(pair=st.tuples(rates, rates).map(sorted), seed=st.integers(0, 5))
def test_what_is_hidden_stays_hidden_at_larger_rates(
    hidings: dict[str, Hiding], by: str, pair: list[float], seed: int
) -> None:
    less, more = (mask(hidings["kind"], by, rate, seed=seed, split="test") for rate in pair)
    assert not (less & ~more).any()


@pytest.mark.parametrize("by", STRATEGIES)
@settings(max_examples=4, deadline=None)
@given(rows=st.lists(st.integers(0, 599), min_size=1, max_size=30), rate=st.floats(0.1, 0.9))
def test_a_row_is_hidden_alike_beside_any_others(
    hidings: dict[str, Hiding], by: str, rows: list[int], rate: float
) -> None:
    every = mask(hidings["kind"], by, rate, split="test")
    np.testing.assert_array_equal(mask(hidings["kind"], by, rate, split="test", rows=np.array(rows)), every[rows])


@pytest.mark.parametrize("by", ["cells", "value", "label"])
def test_splits_and_folds_share_the_cells_of_a_row(store: Store, by: str) -> None:
    """By the id of the row; ranks are those of the training rows, and nearly the same in a fold."""
    whole, fold = (Hiding(LabelledStore.of(store, "kind", fold=fold)) for fold in (None, 1))
    by_row = []
    for hiding in (whole, fold):
        every = np.zeros((ROWS, COLUMNS), bool)
        for split in ("train", "val", "test"):
            every[store.rows_of(split, hiding.data.fold)] = mask(hiding, by, 0.4, split=split)
        by_row.append(every)
    differing = (by_row[0] != by_row[1]).mean()
    assert differing == 0 if by == "cells" else differing < 0.05
    others = mask(whole, by, 0.4, seed=1)
    assert by == "value" or (others != by_row[0][store.rows_of("train")]).mean() > 0.2  # another seed, other cells


def test_the_largest_values_are_hidden(hidings: dict[str, Hiding]) -> None:
    stored = np.asarray(hidings["kind"].data.store.read("train", ["table"])["table"])
    hidden = mask(hidings["kind"], "value", 0.3)
    for values, cells in zip(stored.T, hidden.T, strict=True):
        assert np.nanmin(values[cells]) >= np.nanmax(values[~cells])  # all above all others, ties apart
    zeros = mask(hidings["kind"], "value", 0.7)[:, COLUMNS - 1]  # three in ten are hidden among equal values
    at_zero = stored[:, COLUMNS - 1] == 0
    assert zeros[~at_zero].all()
    assert 0.4 < zeros[at_zero].mean() < 0.6


@pytest.mark.parametrize("label", ["kind", "size"])
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_rows_with_large_labels_have_more_hidden(hidings: dict[str, Hiding], label: str, rate: float) -> None:
    hiding = hidings[label]
    targets = hiding.data.targets["test"]
    hidden = mask(hiding, "label", rate, split="test")[:, 1:].mean(axis=1)  # c0 has holes
    groups = [targets == code for code in range(4)] if label == "kind" else None
    if groups is None:
        groups = [np.isin(np.arange(len(targets)), part) for part in np.array_split(np.argsort(targets), 4)]
    shares = [hidden[group].mean() for group in groups]
    assert (np.diff(shares) > 0).all()
    assert shares[-1] - shares[0] > 0.2
    assert hidden.mean() == pytest.approx(rate, abs=0.04)


@pytest.mark.parametrize("fold", [None, 2])
def test_importance_is_that_of_the_training_rows_alone(store: Store, fold: int | None, tmp_path: Path) -> None:
    data = LabelledStore.of(store, "kind", fold=fold)
    names = hiding_cells(data, Hiding(data), Missingness(0.3, "most_important"), 0).store.order["table"]
    assert names[:2] == ["c3", "c7"]
    again = hiding_cells(data, Hiding(data), Missingness(0.9, "least_important"), 7).store.order["table"]
    assert again == names[::-1]  # whatever the seed
    poisoned = {split: targets[::-1].copy() for split, targets in data.targets.items()}
    poisoned["train"] = data.targets["train"]
    other = Hiding(LabelledStore(data.store, data.task, data.rows, poisoned, data.columns, fold))
    np.testing.assert_array_equal(other.importance("table"), Hiding(data).importance("table"))


def test_random_columns_differ_between_seeds(hidings: dict[str, Hiding]) -> None:
    orders = {tuple(hidings["kind"].order(Missingness(0.5, "columns"), seed, "table")) for seed in range(5)}
    assert len(orders) > 1
    assert all(sorted(order) == list(range(COLUMNS)) for order in orders)


@pytest.mark.parametrize("by", BY_COLUMN)
def test_a_share_of_the_columns_is_of_those_that_are_read(hidings: dict[str, Hiding], by: str) -> None:
    read = [f"c{i}" for i in (1, 3, 4, 8)]
    hiding = Hiding(hidings["kind"].data, {"table": read})
    names = [column.name for column in hiding.data.store.schema.entries["table"].columns]
    for rate, count in ((0.25, 1), (0.5, 2), (0.75, 3)):
        store = hiding_cells(hiding.data, hiding, Missingness(rate, by), 0).store
        values = store.read("train", ["table"])["table"][:]
        gone = {names[i] for i in np.flatnonzero(np.isnan(values).all(axis=0))}
        assert len(gone) == count
        assert gone == set(store.order["table"][:count]) < set(read)
        assert part_of_columns(store) == {"missing_of": {"table": 4}}
    with pytest.raises(UserError, match="0 of the 4 columns of 'table' would be hidden"):
        check_missing(Missingness(0.1, by), hiding, ["table"])
    if by == "most_important":
        assert store.order["table"][0] == "c3"


def test_shares_that_cannot_be_hidden_are_refused(hidings: dict[str, Hiding], store: Store) -> None:
    for rate in (0.02, 0.97):
        with pytest.raises(UserError, match=r"(0|10) of the 10 columns of 'table' would be hidden"):
            check_missing(Missingness(rate, "columns"), hidings["kind"], ["table"])
        check_missing(Missingness(rate, "cells"), hidings["kind"], ["table"])
    several = LabelledStore.of(store, "size+weight")
    with pytest.raises(UserError, match=r"--missing-by label: 'size\+weight' has no rank"):
        check_missing(Missingness(0.5, "label"), Hiding(several), ["table"])
    alone = [Hiding(LabelledStore.of(store, label)).importance("table") for label in ("size", "weight")]
    np.testing.assert_allclose(Hiding(several).importance("table"), np.mean(alone, axis=0))


@pytest.mark.parametrize("text", ["1", "-0.1", "0.3,1.5", "", "nan", "half"])
def test_the_command_line_takes_shares_below_1(text: str) -> None:
    assert types.shares("0,0.3,0.9") == (0.0, 0.3, 0.9)
    with pytest.raises(argparse.ArgumentTypeError, match=r"at least 0 and below 1|is not a list of numbers"):
        types.shares(text)


def test_rates_and_strategies_are_checked() -> None:
    assert missingness_of((0, 0.5), ("cells", "label")) == [WHOLE, Missingness(0.5, "cells"), Missingness(0.5, "label")]
    assert EvaluationOptions().missingness == EvaluationOptions(missing=(0,)).missingness == [WHOLE]
    for bad in (1.0, -0.1, 7, float("nan")):
        with pytest.raises(UserError, match=r"--missing: .* is not at least 0 and below 1"):
            EvaluationOptions(missing=(0, bad))
    for options, words in (
        ({"missing": (0.5, 0.5)}, "--missing: '0.5' is named twice"),
        ({"missing": (0.5,), "missing_by": ("cell",)}, "no strategy 'cell' .*did you mean 'cells'"),
        ({"missing_by": ("label",)}, "also give rates, such as --missing 0,0.3,0.5"),
        ({"missing": (0, 0.5), "keep": True}, "--keep: .* leave --keep or --missing out"),
        ({"missing": (0.5,), "protocols": ("retrieval",)}, "--protocol retrieval: it compares whole rows"),
    ):
        with pytest.raises(UserError, match=words):
            EvaluationOptions(**options)
