"""The modalities of a table's runs, and the committed comparison of those of the taxonomy."""

import json
from pathlib import Path

import pytest

from benchmarks.record import RESULTS
from benchmarks.similar_modalities import MEASURES, VALUES, claims, compared, means
from tests.evaluation.similarity.test_command import begun, stored, untrained

__all__ = ["untrained"]  # a fixture


def test_the_committed_claims_are_those_of_the_committed_rows() -> None:
    found = json.loads((RESULTS / "similar-two_view_mnist.json").read_text())
    assert (claims(found["rows"]), means(found["rows"])) == (found["claims"], found["means"])
    assert len(found["rows"]) == 22 * 3 * len(MEASURES)
    moved = {row["measure"]: row for row in found["claims"] if row["what"] == "|train - hold-out|, mean of methods"}
    assert moved["cka"]["high"] < moved["cca"]["low"]  # as docs/similarity.md says


def test_a_run_has_a_row_per_measure(tmp_path: Path) -> None:
    begun(tmp_path / "drawn-3", stored(tmp_path / "store"), 3)
    rows = compared(tmp_path / "drawn-3")
    assert [(row["method"], row["seed"], row["measure"]) for row in rows] == [("drawn", 3, name) for name in MEASURES]
    assert all(0 <= row[name] <= 1 or row["measure"] == "cka_debiased" for row in rows for name in VALUES)
    first, debiased = rows[:2]
    assert first["test"] == pytest.approx(debiased["test"], abs=0.1)
    assert first["train_permuted"] < first["test_permuted"]  # of 60 rows and of 48
