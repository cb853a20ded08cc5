"""Equal trials of every method, chosen on validation."""

import json
import math
import re
from pathlib import Path

import pytest

from mmcl_jax.border import to_json
from mmcl_jax.cli.main import main
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.reproduce.tables import TABLES
from mmcl_jax.reproduce.work.tune import choose, read_grid, trial_rows, tuned
from tests.reproduce.test_reproduce import changes, command

TABLE1 = TABLES["mmcl/table1"]
ROWS = tuple(row for row in TABLE1.rows if row.key in ("simclr", "mmcl", "pixels"))
KNOWN = [row.key for row in TABLE1.rows]


def test_the_best_trial_on_validation_is_pretrained_with_all_seeds(
    digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid, out = tmp_path / "grid.toml", tmp_path / "out"
    grid.write_text('mmcl = [["schedule.learning_rate=1e-6"], ["schedule.learning_rate=0.01"]]\n')
    words = command("mmcl/table3", digits_store, out, "--methods", "mmcl", "--seeds", "2", "--tune", str(grid))
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "trials, with the first seed: 2 pretrainings: 0 done, 2 missing" in printed
    results = json.loads((out / "mmcl/table3/results.json").read_text())
    scores = {trial["number"]: trial["score"] for trial in results["trials"]}
    (chosen,) = [trial for trial in results["trials"] if trial["chosen"]]
    assert chosen["score"] == max(scores.values()) > scores[0]
    assert f"chosen: trial {chosen['number']} of mmcl" in printed
    runs = [f"mmcl-trial{chosen['number']}-{seed}" for seed in (0, 1)]
    assert list(results["runs"]) == runs
    assert {results["configs"][run]["schedule"]["learning_rate"] for run in runs} == {0.01}
    # The first seed's score is that of the trial, which is not evaluated again.
    (first,) = [score for score in results["scores"] if score["seed"] == 0]
    assert first["metrics"]["val_top1"] == chosen["score"]
    assert len(changes(out)) == 2 * 3
    for name in ("table.txt", "table.html"):
        text = (out / "mmcl/table3" / name).read_text()
        assert "Trials of pretraining" in text
        assert f"{100 * chosen['score']:.2f} (chosen)" in text
        assert f"{100 * scores[0]:.2f}" in text
    before = changes(out)
    assert main(words) == 0
    assert changes(out) == before
    assert main([*words, "--folds", "2"]) == 2
    assert "--folds 2: the store" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("mmcl = [", "is not a TOML file"),
        ("mmcl = [[]]\nsimclr = [[]]\nsinclr = [[]]", "there is no method 'sinclr' (did you mean 'simclr'?)"),
        ("mmcl = [[]]", "has no trials of simclr; add them, or leave it out by --methods."),
        ("mmcl = []\nsimclr = []", "mmcl must be a list of trials, each a list of overrides"),
        ('mmcl = ["epochs=3"]\nsimclr = [[]]', "mmcl must be a list of trials, each a list of overrides"),
        ('mmcl = [["epochs"]]\nsimclr = [[]]', "mmcl must be a list of trials, each a list of overrides"),
        ("mmcl = [[], []]\nsimclr = [[], []]", "mmcl has the trial [[]] twice"),
        ('mmcl = [[], ["epochs=3"]]\nsimclr = [[]]', "the numbers are 1 of simclr, 2 of mmcl."),
    ],
)
def test_a_file_that_is_not_fair_or_not_readable_is_refused(text: str | None, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_grid(path, ROWS, KNOWN)
    assert sentence in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("seed=3", "--config.seed: this key cannot be overridden"),
        ("schedule.learning_rat=3", "config.schedule.learning_rat: there is no such key"),
        ("projectors.image.hidden=0", "mmcl-trial1: config.projectors.image"),
        ("epochs=3", "--config.epochs: this key cannot be overridden, since --epochs sets it"),
    ],
)
def test_a_trial_that_cannot_be_trained_is_found_before_any_is(
    override: str, sentence: str, digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid, out = tmp_path / "grid.toml", tmp_path / "out"
    grid.write_text(f'mmcl = [[], ["{override}"]]\n')
    assert main(command("mmcl/table3", digits_store, out, "--methods", "mmcl", "--tune", str(grid))) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("metric", "scores", "best"),
    [
        ("top1", [0.2, 0.4, 0.4], 1),  # the first of equals
        ("mse", [0.2, 0.4, 0.1], 2),  # an error
        ("top1", [None, 0.1, None], 1),  # diverged
        ("top1", [None, None, None], None),
    ],
)
def test_the_best_is_the_first_highest_or_the_lowest_error(
    metric: str, scores: list[float | None], best: int | None, tmp_path: Path
) -> None:
    """Of pixels, which are not pretrained, nothing is chosen."""
    grid = {row.key: ((), ("epochs=1",), ("epochs=2",)) for row in filter(tuned, ROWS)}
    rows = trial_rows(ROWS, grid)
    evaluations = []
    for index, row in enumerate(rows):
        path = tmp_path / f"{row.key}.json"
        value = scores[index % 3]
        score = Score(
            method=row.key, seed=0, protocol="probe", input="image", label="digit", budget="all", draw=0, chosen={},
            metrics={f"val_{metric}": math.nan if value is None else value},
        )  # fmt: skip
        path.write_text(to_json({"seconds": 1.0, "scores": [score.to_json()] * 2}))
        evaluations.append(type("Made", (), {"row": row, "path": path}))
    plan = type("Plan", (), {"table": TABLE1, "evaluations": evaluations})
    if best is None:
        with pytest.raises(UserError, match="no trial of simclr has a score on validation"):
            choose(plan, ROWS, grid)
        return
    trials = choose(plan, ROWS, grid)
    assert [trial.method for trial in trials] == ["simclr"] * 3 + ["mmcl"] * 3
    assert [trial.number for trial in trials if trial.chosen] == [best, best]
    assert [math.isnan(trial.score) for trial in trials[:3]] == [score is None for score in scores]


def test_the_committed_grid_is_fair_to_every_method_of_the_tables_it_is_for() -> None:
    """Each method has the same trials, up to the names of its views, and each trial is a config."""
    path = Path(__file__).parents[2] / "benchmarks" / "grids" / "cars64.toml"
    known = [row.key for table in TABLES.values() for row in table.rows]
    said = {}
    left_out = {"nnclr", "vicreg", "siglip"}  # see docs/reproduce.md
    for name in ("mmcl/table1", "mmcl/table2", "mmcl/table3"):
        rows = [row for row in TABLES[name].rows if row.key not in left_out]
        for row in filter(tuned, rows):
            for overrides in read_grid(path, rows, known)[row.key]:
                load(f"{row.config}:cars", [*row.overrides, *overrides])
                same = tuple(dict.fromkeys(re.sub(r"views\.image(_[12])?\.", "views.", text) for text in overrides))
                said.setdefault(row.key, []).append(same)
    (trials,) = {tuple(dict.fromkeys(trials)) for trials in said.values()}
    assert len(trials) == 4
