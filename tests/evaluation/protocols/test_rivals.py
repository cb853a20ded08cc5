"""Rivals of table encoders: what they learn, that trials and rows are fair, and what their cost is."""

import sys

import numpy as np
import pytest

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.boosting import TabularFeatures
from mmcl_jax.evaluation.protocols.rivals import (
    RIVALS,
    base,
    boosting,
    catboost,
    forest,
    lightgbm,
    mlp,
    pytabkit,
    search,
)
from mmcl_jax.evaluation.protocols.rivals.search import compete, settings_of
from mmcl_jax.evaluation.results.cost import cost_grids
from mmcl_jax.evaluation.results.ranks import rank_grids
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.tasks import Class, Number, Ordinal, Task

SIZES = {"train": 150, "val": 60, "test": 80}
TASKS: dict[str, Task] = {
    "class": Class(label="y", classes=4),
    "ordinal": Ordinal(label="y", classes=4),
    "number": Number(label="y"),
}
EXTRA = tuple(name for name, rival in RIVALS.items() if rival.package)
INCLUDED = tuple(name for name, rival in RIVALS.items() if not rival.package)


@pytest.fixture(autouse=True)
def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (forest, "TREES", 20), (boosting, "ROUND", 10), (boosting, "ROUNDS", 3), (mlp, "EPOCHS", 25),
        (lightgbm, "TREES", 40), (catboost, "TREES", 40),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(pytabkit.TabM, "fixed", {"n_epochs": 25, "d_block": 32, "tabm_k": 4})
    monkeypatch.setattr(pytabkit.RealMlp, "fixed", {"n_epochs": 12})


def planted(kind: str) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Two numbers and a category (without order in its codes) decide; a tenth of the cells, and a row, are missing."""
    rng = np.random.default_rng(0)
    columns, targets = {}, {}
    for split, size in SIZES.items():
        numbers, code = rng.normal(size=(size, 3)), rng.integers(0, 6, size)
        target = 2.0 * (numbers[:, 0] > 0) + np.isin(code, (1, 4))
        target[:4] = range(4)  # every class is in every split
        table = np.concatenate([numbers, code[:, None]], axis=1)
        table[rng.random(table.shape) < 0.1] = np.nan
        table[5] = np.nan
        if split != "train":
            table[7, 3] = 6  # a category that no training row has
        columns[split] = table
        targets[split] = target if kind == "number" else target.astype(np.int64)
    return columns, np.array([False, False, False, True]), targets


def run(name: str, kind: str, rows: np.ndarray | None = None, trials: int = 2, **more) -> search.RivalResult:
    columns, categorical, targets = planted(kind)
    rows = np.arange(SIZES["train"]) if rows is None else rows
    return compete(
        {**columns, **more}, categorical, targets, rows, protocol=name, task=TASKS[kind], seed=(0, 0), trials=trials
    )


def check_learns(name: str, kind: str) -> None:
    result, (_, _, targets) = run(name, kind), planted(kind)
    task = TASKS[kind]
    assert result.outputs.shape == (SIZES["test"], task.outputs)
    measured = task.metrics(result.outputs, targets["test"], shares=True)
    assert {key: result.metrics[key] for key in measured} == measured
    if kind == "number":
        assert result.metrics["r2"] > 0.15
    else:
        assert result.metrics["top1"] > 0.45
    assert result.cost["seconds"] > 0
    assert result.cost.get("leaves", result.cost.get("parameters")) > 3
    if kind != "class":
        return
    again = run(name, kind)
    np.testing.assert_array_equal(result.outputs, again.outputs)
    assert result.chosen == again.chosen


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", INCLUDED)
def test_rivals_learn_from_columns_with_holes_and_repeat_themselves(name: str, kind: str) -> None:
    check_learns(name, kind)


@pytest.mark.foreign
@pytest.mark.parametrize("name", EXTRA)
@pytest.mark.parametrize("kind", ["class", "number"])
def test_rivals_of_the_extra_learn_from_columns_with_holes(name: str, kind: str) -> None:
    pytest.importorskip(RIVALS[name].package)
    check_learns(name, kind)


@pytest.mark.parametrize("name", INCLUDED)
def test_test_rows_choose_nothing(name: str) -> None:
    """Other test rows change no setting, and predictions of a row do not depend on the other test rows."""
    columns, _, _ = planted("class")
    result = run(name, "class")
    other = columns["test"].copy()
    other[10:] = columns["test"][10:][::-1] * 3
    changed = run(name, "class", test=other)
    assert changed.chosen == result.chosen
    np.testing.assert_allclose(changed.outputs[:10], result.outputs[:10], rtol=1e-9)


def test_a_class_that_was_not_drawn_and_an_empty_column_are_no_end() -> None:
    columns, _, targets = planted("class")
    columns["train"][:, 1] = np.nan
    rows = np.flatnonzero(targets["train"] != 2)
    for name in INCLUDED:
        result = run(name, "class", rows, trials=1, train=columns["train"])
        assert (result.outputs[:, 2] == 0).all()
        np.testing.assert_allclose(result.outputs.sum(axis=1), 1)


def test_only_the_columns_that_the_run_reads_are_columns_of_a_rival(digits_store: Store) -> None:
    rows = {split: np.arange(3) for split in SPLITS}
    whole = TabularFeatures.of_columns(digits_store, rows, None)
    names = [column.name for column in digits_store.schema.columns]
    part = TabularFeatures.of_columns(digits_store, rows, None, {"table": {names[5], names[2]}})
    assert part.categorical.shape == (2,)
    np.testing.assert_array_equal(part.by_split["test"], whole.by_split["test"][:, [2, 5]])


@pytest.mark.parametrize("name", RIVALS)
def test_trials_begin_with_the_defaults_and_more_begin_with_fewer(name: str) -> None:
    """Drawn by seed and draw, the same for every budget and fold; each trial is another one."""
    few, many = settings_of(name, 3, (1, 2)), settings_of(name, 6, (1, 2))
    assert few == many[:3]
    assert many[0] == {}
    assert len({str(one) for one in many}) == 6
    assert settings_of(name, 6, (2, 2)) != many
    assert all(isinstance(value, int | float) for one in many for value in one.values())


def test_the_number_of_trials_is_that_of_the_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[base.Settings] = []
    original = forest.Forest.fit

    def counted(self: forest.Forest, data: base.RivalData, settings: base.Settings) -> base.FittedRival:
        fits.append(settings)
        return original(self, data, settings)

    monkeypatch.setattr(forest.Forest, "fit", counted)
    result = run("forest", "number", trials=4)
    assert fits == settings_of("forest", 4, (0, 0))
    assert {**fits[int(result.chosen["trial"])], "trial": result.chosen["trial"]} == result.chosen


@pytest.mark.parametrize("name", EXTRA)
def test_a_package_that_is_missing_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, RIVALS[name].package, None)
    with pytest.raises(UserError, match=r'is not installed; run `pip install "mmcl_jax\[rivals\]"`') as caught:
        RIVALS[name].check_installed(name)
    assert "\n" not in str(caught.value)


def score(protocol: str, method: str, fold: int, value: float, **more) -> Score:
    metrics = {"mse": value, "val_mse": 0.0}
    return Score(
        method=method, seed=0, protocol=protocol, input="table", label="y", budget="all", draw=0, metrics=metrics,
        chosen={}, task="number", fold=fold, **more,
    )  # fmt: skip


def test_ranks_are_means_over_sets_and_lower_errors_are_better() -> None:
    values = {("probe", "mmcl"): (1.0, 3.0, 1.0), ("forest", "columns"): (2.0, 2.0, 2.0), ("mlp", "columns"): (3, 1, 2)}
    scores = [score(*key, fold, value) for key, by_fold in values.items() for fold, value in enumerate(by_fold)]
    (grid,) = rank_grids(scores)
    assert [row[-1] for row in grid.rows] == ["1.67", "2.17", "2.17"]
    assert grid.rows[0][:2] == ["mmcl", "Linear probe on tables"]
    assert rank_grids([one for one in scores if one.protocol == "probe"]) == []
    costs = {"seconds": 2.0, "leaves": 1234.0}
    (grid,) = cost_grids([score("forest", "columns", 0, 1.0, cost=costs)])
    assert grid.rows == [["Random forest on tables", "y", "all", "2.0 s", "1,234 leaves"]]
