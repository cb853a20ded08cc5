"""Where sentences look: on coloured squares, in made maps, and the committed maps of drawn chests."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.record import RESULTS
from benchmarks.sentence_maps import PARTS, TURNS, looked, over_seeds, rows_of
from mmcl_jax.training.runs.run import Run
from tests.evaluation.alignment.world import begun, knowing, prepared


def test_sentences_that_know_the_squares_look_at_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "model", knowing)
    monkeypatch.setattr(Run, "step", lambda run: 30)
    store, truth = prepared(tmp_path / "world")
    begun(tmp_path / "squares-2", store)
    rows = rows_of(tmp_path / "squares-2", truth)
    assert [(row["method"], row["seed"], row["map"]) for row in rows] == [
        ("squares", 2, "alignment"),
        ("squares", 2, "cosine"),
    ]
    for row in rows:
        assert row["hit"] == 1.0
        assert all(row[name] < 1.0 for name in TURNS if name != "hit")
    assert rows[0]["inside"] > 1 > rows[0]["chance"]


def test_each_part_of_a_map_has_its_weight() -> None:
    maps = np.arange(16, dtype=float).reshape(1, 4, 4) / 7.5  # of mean 1
    inside = np.zeros((1, 4, 4), bool)
    inside[0, 3, 3] = True
    found = looked(maps, inside)
    assert {name: found[name] for name in TURNS} == dict(zip(TURNS, (1.0, 0.0, 0.0, 1.0), strict=True))
    assert [found[name] for name in PARTS] == pytest.approx([1.0, 1.0, 1.0, 2.0])
    assert [looked(maps - 1, inside)[name] for name in PARTS] == [None] * 4


def test_the_committed_means_are_those_of_the_committed_rows() -> None:
    found = json.loads((RESULTS / "sentence-maps-chest.json").read_text())
    assert over_seeds(found["rows"]) == found["over_seeds"]
    means = {(one["method"], one["map"], one["what"]): one for one in found["over_seeds"]}
    assert means["lovt", "alignment", "hit"]["mean"] < means["lovt", "alignment", "chance"]["mean"]
    assert means["lovt", "alignment", "corners"]["mean"] > 1.9  # as docs/reproduce.md says
