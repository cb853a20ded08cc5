"""The committed memory of the taxonomy's edges."""

import json

from benchmarks.record import RESULTS


def test_no_committed_program_holds_the_scores_of_all_places() -> None:
    """One edge's scores alone would take 32 GiB a device; all eight edges take less than a sixth of that."""
    (path,) = RESULTS.glob("places-*.json")
    rows = json.loads(path.read_text())["rows"]
    assert {(row["program"], row["execution"]) for row in rows} == {
        ("edges", "gathered"), ("edges", "ring"), ("step", "gathered"),
    }  # fmt: skip
    for row in rows:
        assert row["all_pairs_bytes"] == 4 * row["batch"] ** 2 * row["places"] // 8
        assert row["temporary_bytes"] < row["all_pairs_bytes"] / 6
