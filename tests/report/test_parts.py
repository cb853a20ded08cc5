"""The numbers that a report computes: calibration, time, health, uniformity, groups of colours, config changes."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mmcl_jax as mj
from mmcl_jax.config import load
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.page.lines import Line, line_chart
from mmcl_jax.report.health import checks
from mmcl_jax.report.pictures import StoreRows
from mmcl_jax.report.scored import Scored
from mmcl_jax.report.sections.configs import closest_shipped
from mmcl_jax.report.sections.map import grouped, in_two_dimensions
from mmcl_jax.report.sections.meters import uniformity
from mmcl_jax.report.sections.predictions import reliability
from mmcl_jax.report.sections.results import results
from mmcl_jax.report.sections.timing import spent


def test_reliability_is_exact() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(4), 500)
    targets = np.array([rng.choice(4, p=row) for row in shares])
    confidence, accuracy, rows, error = reliability(shares, targets)
    top, hits = shares.max(axis=1), shares.argmax(axis=1) == targets
    wanted = 0.0
    for index in range(10):
        inside = (top > index / 10) & (top <= (index + 1) / 10)
        assert rows[index] == inside.sum()
        if inside.any():
            assert confidence[index] == pytest.approx(top[inside].mean())
            assert accuracy[index] == pytest.approx(hits[inside].mean())
            wanted += abs(hits[inside].mean() - top[inside].mean()) * inside.mean()
    assert error == pytest.approx(wanted)
    assert error < 0.1  # the labels were drawn from these probabilities
    assert reliability(np.eye(3), np.arange(3))[3] == 0
    assert reliability(np.eye(3), np.array([1, 2, 0]))[3] == 1


def test_where_the_seconds_went() -> None:
    """Ten steps of 0.1 s a line, validation of 2 s every third line, and a start of 3 s."""
    clock, lines = 3.0, []
    for number in range(1, 13):
        clock += 1.0 + (2.0 if number % 3 == 0 else 0.0)
        lines.append({"step": 10.0 * number, "seconds": clock, **({"validation/loss": 1.0} if number % 3 == 0 else {})})
    taken = spent(lines)
    assert taken is not None
    assert taken.step == pytest.approx(0.1)
    assert taken.stepping == pytest.approx(12)
    assert taken.measuring == pytest.approx(8)
    assert taken.other == pytest.approx(3)
    assert spent(lines[:1]) is None
    assert spent([]) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, ""),
        ({"loss": 9.0}, "it did not fall"),
        ({"loss": math.nan}, "The loss was not finite in 1 logged step."),
        ({"skipped": 2.0}, "2 steps of 3 were skipped"),
        ({"deviation/image": 0.01}, "The embeddings of image have collapsed to one point."),
        ({"validation/loss": 2.0}, "the run overfits"),
    ],
)
def test_what_health_finds(change: dict[str, float], sentence: str, tmp_path: Path) -> None:
    good = {"skipped": 0.0, "deviation/image": 0.9, "validation/loss": 1.0}
    lines: list[dict[str, float]] = [{"step": float(step), "loss": 4.0 - step, **good} for step in (1, 2, 3)]
    lines[-1] |= change
    found = checks(tmp_path, lines)
    failed = [check.sentence for check in found if not check.good]
    assert len(failed) == (1 if sentence else 0)
    assert sentence in "".join(failed)
    assert len(found) == 5
    (tmp_path / "status.json").write_text('{"state": "stopped", "step": 3, "steps": 9}')
    assert "was stopped" in "".join(check.sentence for check in checks(tmp_path, lines) if not check.good)


def test_uniformity_and_places() -> None:
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(200, 8))
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    assert uniformity(np.tile(spread[:1], (9, 1))) == pytest.approx(0)
    squares = np.square(spread[:, None] - spread[None]).sum(axis=2)[np.triu_indices(200, 1)]
    assert uniformity(spread) == pytest.approx(np.log(np.exp(-2 * squares).mean()))
    clusters = np.repeat(10 * np.eye(3, 16), 20, axis=0) + rng.normal(size=(60, 16))
    places = in_two_dimensions(clusters)
    centres = places.reshape(3, 20, 2).mean(axis=1)
    nearest = np.square(places[:, None] - centres[None]).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, np.repeat(np.arange(3), 20))
    np.testing.assert_array_equal(places, in_two_dimensions(clusters))
    np.testing.assert_array_equal(in_two_dimensions(np.ones((9, 4))), 0)  # collapsed
    assert np.isfinite(in_two_dimensions(rng.normal(size=(9, 1)))).all()


def test_colours_of_a_map(digits_store: mj.Store) -> None:
    run = SimpleNamespace(inputs=SimpleNamespace(fold=None))
    subject: Any = SimpleNamespace(store=digits_store, split="test", run=run)
    rows = np.arange(0, 600, 3)
    title, texts, codes = grouped(subject, rows, None)
    assert (title, texts) == ("digit", list("0123456789"))
    np.testing.assert_array_equal(codes, digits_store.labels("test")["label"][rows])
    column = digits_store.schema.columns[40].name
    title, texts, codes = grouped(subject, rows, column)
    assert title == column
    assert 2 <= len(texts) <= 5
    values = np.asarray(digits_store.rows("test")["table"])[rows, 40]
    lowest = [values[codes == code].min() for code in range(len(texts))]
    assert lowest == sorted(lowest)  # groups are ascending ranges
    with pytest.raises(mj.UserError, match="did you mean 'digit'"):
        grouped(subject, rows, "digits")


def test_what_a_row_looks_like(digits_store: mj.Store) -> None:
    rows = StoreRows(digits_store, "test", None)
    picture = rows.picture(3, 'a "three"')
    assert picture is not None
    assert 'alt="a &quot;three&quot;"' in picture
    assert rows.label(3) in set("0123456789")
    assert [name for name, _ in rows.cells(3)] == [column.name for column in digits_store.schema.columns[:2]]


def test_changes_are_from_the_nearest_shipped_experiment() -> None:
    for name in ("mmcl/simclr:digits", "mmcl/byol:cardiac"):
        found = closest_shipped(load(name, ["data=x", "schedule.learning_rate=0.5", "seed=1"]))
        assert found is not None
        assert found.name == name
        assert found.changed == ("schedule.learning_rate", "seed")
    mine = load("mmcl/mmcl:digits", ["name=mine"])
    assert closest_shipped(mine) is None


def test_lines_of_a_chart() -> None:
    assert line_chart("Nothing", [Line("a", [1], [math.nan])], x="step") is None
    one = line_chart("One", [Line("<b>", [1], [2.0])], x="step")
    assert one is not None
    assert "<circle" in one
    assert "<b>" not in one
    flat = line_chart("Flat", [Line("a", [1, 2, 3], [4.1601, 4.1602, 4.1603])], x="step")
    assert flat is not None
    marks = list(flat.split('text-anchor="end">')[1:])
    assert len({mark.split("<")[0] for mark in marks}) == len(marks) > 1  # marks can be told apart
    many = line_chart("Many", [Line("a", range(10_000), np.linspace(0, 1, 10_000).tolist())], x="step")
    assert many is not None
    assert len(many) < 10_000


def test_titles_name_the_task_of_a_label_that_was_predicted_as_several() -> None:
    def score(task: str, label: str = "grade") -> Score:
        return Score(
            method="run", seed=0, protocol="probe", input="image", label=label, budget="all", draw=0, task=task,
            metrics={"kappa": 0.5, "top1": 0.6, "mae": 0.4}, chosen={},
        )  # fmt: skip

    both = str(results([], Scored((score("ordinal"), score("ordinal_logits"), score("ordinal", "age")), 0, ())))
    assert ", as ordinal</h3>" in both
    assert ", as ordinal logits</h3>" in both
    alone = str(results([], Scored((score("ordinal"), score("ordinal", "age")), 0, ())))
    assert ", as ordinal" not in alone
