"""Scores, their summaries and their tables."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import ttest_rel

from mmcl_jax.evaluation.results.plot import plot_scores
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import ScoreCell, detail_grids, grids, only, paired, show, summarise

pytestmark = pytest.mark.core


def score(method: str, seed: int, draw: int, top1: float, **other) -> Score:
    kept = {"protocol": "probe", "input": "image", "budget": "all", "metrics": {"top1": top1, "auroc": 0.5}}
    return Score(method=method, seed=seed, draw=draw, label="digit", chosen={"learning_rate": 0.01}, **kept | other)


SCORES = [
    score("a", 0, 0, 0.5), score("a", 0, 1, 0.7), score("a", 1, 0, 0.8), score("a", 1, 1, 1.0),
    score("b", 0, 0, 0.5), score("b", 0, 1, 0.5), score("b", 1, 0, 1.0), score("b", 1, 1, 1.0),
]  # fmt: skip


def test_the_spread_is_over_seeds_of_means_over_draws() -> None:
    cell = summarise(SCORES)["a"]["all"]
    assert (cell.mean, cell.sd, cell.repeats) == pytest.approx((0.75, np.std([0.6, 0.9], ddof=1), 2))
    one_seed = summarise([s for s in SCORES if s.seed == 0])["a"]["all"]  # then it is over draws
    assert (one_seed.mean, one_seed.sd, one_seed.repeats) == pytest.approx((0.6, np.std([0.5, 0.7], ddof=1), 2))
    difference, wins = paired(SCORES, "a", "b", "all")
    assert (difference.mean, wins) == (pytest.approx(0.0), 1)


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    first, second = np.array([0.9, 0.93, 0.91, 0.95]), np.array([0.88, 0.92, 0.91, 0.9])
    scores = [score("a", seed, 0, value) for seed, value in enumerate(first)]
    scores += [score("b", seed, 0, value) for seed, value in enumerate(second)]
    cell, _ = paired(scores, "a", "b", "all")
    expected = ttest_rel(first, second).confidence_interval(0.95)
    assert cell.interval == pytest.approx((expected.low, expected.high))
    assert all(math.isnan(end) for end in ScoreCell(0.5, float("nan"), 1).interval)


def test_tables_of_details_have_one_share_of_hidden_cells() -> None:
    calibrated = {"top1": 0.5, "log_loss": 1.0, "brier": 0.3}
    scores = [
        score("a", seed, 0, 0.5, task="class", metrics={**calibrated, "ece": ece}, missing=rate, missing_by=by)
        for seed in (0, 1)
        for rate, by, ece in ((0.0, "", 0.1), (0.5, "cells", 0.2), (0.5, "columns", 0.4))
    ]
    found = detail_grids(scores)
    assert [table.title.partition(", test ")[2] for table in found] == [
        "calibration",
        "calibration, random cells hidden: 50 %",
        "calibration, random columns hidden: 50 %",
    ]
    assert [table.rows[0][-1].partition(" ")[0] for table in found] == ["0.100", "0.200", "0.400"]


def test_protocols_and_inputs_are_not_mixed() -> None:
    mixed = [*SCORES, score("a", 0, 0, 0.1, protocol="knn"), score("a", 0, 0, 0.1, input="table")]
    with pytest.raises(ValueError, match="several protocols"):
        summarise(mixed)
    assert only(mixed, protocol="probe", input="image") == SCORES
    assert len(only(mixed, input="table")) == 1


def printed(scores: list[Score], *, width: int, terminal: bool = False) -> str:
    file = io.StringIO()
    show(grids(scores), Console(width=width, file=file, force_terminal=terminal, color_system=None))
    return file.getvalue()


def shown(scores: list[Score]) -> str:
    return " ".join(printed(scores, width=200).split())


def test_a_table_per_protocol_input_and_metric() -> None:
    text = shown([*SCORES, score("c", 0, 0, 0.25, protocol="knn", input="both", budget="1 %")])
    assert "Linear probe on images, test top-1 accuracy, mean ± sd over 2 pretraining seeds" in text
    assert "0.750 ± 0.212" in text
    assert "Nearest neighbours on images and tables, test AUROC" in text
    numbers = {"mse": 4.0, "mae": 1234.56, "pearson": 0.5}
    text = shown([score("a", 0, 0, 0.0, metrics=numbers)])
    assert "mean absolute error" in text
    assert "1234.6" in text


def test_budgets_keep_their_order_and_may_be_missing_for_a_method() -> None:
    text = shown([score("a", 0, 0, 0.125, budget="all"), score("b", 0, 0, 0.5, budget="1 %")])
    assert text.index("labels: all") < text.index("labels: 1 %")
    assert "0.125" in text


def test_retrieval_has_a_table_of_its_own() -> None:
    directions = ("image_to_table", "table_to_image")
    metrics = {f"{d}_{m}": 0.25 for d in directions for m in ("recall@1", "recall@5", "recall@10", "median_rank")}
    chance = {"chance_recall@1": 0.002, "chance_recall@5": 0.01, "chance_recall@10": 0.02, "chance_median_rank": 250.5}
    one = score("a", 0, 0, 0.0, protocol="retrieval", input="image-table", budget="no labels", metrics=metrics | chance)
    text = shown([one])
    assert "table to image" in text
    assert "250.5" in text


def test_scores_survive_json() -> None:
    one = score("a", 0, 0, 0.5, metrics={"mse": 1.0, "pearson": float("nan")})
    text = json.dumps(one.to_json(), allow_nan=False)
    back = Score.from_json(json.loads(text))
    assert math.isnan(back.metrics.pop("pearson"))
    assert back.metrics == {"mse": 1.0}
    assert (back.method, back.chosen, back.budget) == ("a", {"learning_rate": 0.01}, "all")


def test_the_picture(tmp_path: Path) -> None:
    plot_scores(SCORES, tmp_path / "curves.png", title="Made up")
    assert (tmp_path / "curves.png").stat().st_size > 5_000


MANY = [
    score(method, 0, draw, 0.25, budget=budget)
    for method in ("digits_mmcl", "supervised image+table")
    for budget in ("1 %", "5 %", "10 %", "20 %", "50 %", "all")
    for draw in (0, 1)
]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("width", [40, 60, 80, 132])
def test_no_line_is_wider_than_the_console_and_no_cell_is_wrapped(width: int, terminal: bool) -> None:
    text = printed(MANY, width=width, terminal=terminal)
    assert max(map(len, text.splitlines())) <= max(width, 44)  # of one column beside the names
    assert text.count("supervised image+table") == text.count("digits_mmcl")
    assert text.count("0.250 ± 0.000") == 2 * 6


def test_a_script_can_read_what_is_printed_into_a_pipe() -> None:
    found = {}
    for line in printed(MANY, width=80).splitlines():
        if line.startswith("| features"):
            head = [cell.strip() for cell in line.strip("|").split("|")]
        elif line.startswith("|") and not line.startswith("|-"):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found |= {(name, column): cell for column, cell in zip(head[1:], cells, strict=True)}
    budgets = ("1 %", "5 %", "10 %", "20 %", "50 %", "all")
    assert {column for _, column in found} == {f"labels: {budget}" for budget in budgets}
    assert len(found) == 12


def test_classes_without_rows_are_named_below_the_table() -> None:
    text = shown([score("a", 0, 0, 0.5, absent={"test": ["m3", "m4"], "train": ["m5"]})])
    assert "Classes without rows: test: 'm3', 'm4'; train: 'm5'." in text
