"""The committed rankings of the training with a known truth."""

import json

from benchmarks.explained import NOISE, VISIBLE
from benchmarks.record import RESULTS


def test_every_column_that_shapes_the_pictures_ranks_before_all_noise() -> None:
    rows = json.loads((RESULTS / "explained-cars.json").read_text())["rows"]
    for seed in {row["seed"] for row in rows}:
        rank = {row["name"]: row["rank"] for row in rows if row["seed"] == seed}
        assert rank.keys() == {*VISIBLE, *NOISE}
        assert max(rank[name] for name in VISIBLE) < min(rank[name] for name in NOISE)
