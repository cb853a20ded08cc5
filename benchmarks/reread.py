"""Judge committed tables again: `python -m benchmarks.reread benchmarks/results/reproduce/*/*.json`.

Cells, differences, claims and the text file are computed again from the scores by the current version. Early versions
stored no score per test row: their tables are judged by the bound for methods that are not paired by row, which needs
only the size of the test set. No other number changes.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.reproduce.grid import Sample
from mmcl_jax.reproduce.outcome import TableOutcome
from mmcl_jax.reproduce.plan import EvaluationSettings, Plan, Training
from mmcl_jax.reproduce.results import conclusions
from mmcl_jax.reproduce.tables import find
from mmcl_jax.reproduce.text import render_text


def outcome_of(results: dict[str, Any]) -> TableOutcome:
    """Return the outcome that a results file holds; its store has only the fields that the file has.

    Raises:
      ValueError: the metric is not top-1; the bound of another metric needs the class counts of the test set.
    """
    if results["metric"] != "top1":
        raise ValueError(f"the metric is {results['metric']}, and the file does not say how many rows its classes have")
    table = find(results["table"])
    seeds = {name: run["seed"] for name, run in results["runs"].items()}
    trainings = [
        Training(table.row(name.rpartition("-")[0]), seed, ConfigDict(), Path(name)) for name, seed in seeds.items()
    ]
    scores: dict[tuple[str, str], list[Score]] = {}
    for raw in results["scores"]:
        score = Score.from_json({key: value for key, value in raw.items() if key not in ("row", "column")})
        scores.setdefault((raw["row"], raw["column"]), []).append(score)
    store: Any = SimpleNamespace(
        directory=Path(results["store"]["directory"]),
        sizes=results["store"]["rows"],
        fingerprint=results["store"]["fingerprint"],
    )
    measured = {row for row, _ in scores}
    plan = Plan(
        table=table,
        rows=tuple(row for row in table.rows if row.key in measured),
        store=store,
        settings=EvaluationSettings(**results["evaluation"]),
        trainings=tuple(trainings),
        evaluations=(),
    )
    rows = results["store"]["rows"]["test"]
    return TableOutcome(
        plan=plan,
        variant=results["variant"],
        title=results["title"],
        metric=results["metric"],
        test=Sample(rows=rows, smallest=rows),
        scores=scores,
        seconds={},
    )


def main(paths: list[str]) -> None:
    """Judge the tables again and print every claim's old and new verdict."""
    for path in map(Path, paths):
        results = json.loads(path.read_text())
        before = [claim["verdict"] for claim in results["claims"]]
        outcome = outcome_of(results)
        results |= conclusions(outcome)
        path.write_text(json.dumps(results, indent=2) + "\n")
        path.with_suffix(".txt").write_text(render_text(outcome), encoding="utf-8")
        print(path)
        for old, claim in zip(before, results["claims"], strict=True):
            print(f"  {old} -> {claim['verdict']}: {claim['text']}")


if __name__ == "__main__":
    main(sys.argv[1:])
