"""Compare the two modalities of every run of a table: `python -m benchmarks.similar_modalities FOLDER NAME`.

FOLDER is that of `mmcl reproduce taxonomy/...`, with the runs of every method and seed. The pooled features of a run's
two modalities are compared by the measures of Fedorov et al., on training rows and on the hold-out, beside the mean
over permutations. `benchmarks/results/similar-NAME.json` has every value, and what the paper claims of them: that CCA
and SVCCA are highest for DCCAE, RR, RR-AE and AE, and that CKA is stable between training rows and hold-out, and CCA is
not. Values of one seed are compared with each other, and intervals are over seeds.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scipy.stats

import mmcl_jax as mj
from benchmarks.record import RESULTS, machine, show
from mmcl_jax.explain.planted import over_drawings

MEASURES = ("cka", "cka_debiased", "cca", "svcca_anatome", "pwcca_anatome")
HIGHEST = ("dccae", "rr", "rr_ae", "ae")
VALUES = ("train", "test", "train_permuted", "test_permuted")
Row = dict[str, Any]


def compared(run: Path) -> list[Row]:
    """Return a row per measure: its value on training rows and on the hold-out, and the means over permutations."""
    method, _, seed = run.name.rpartition("-")
    with tempfile.TemporaryDirectory() as folder:
        made = mj.similarity(run, out=Path(folder) / "out", measure=MEASURES, permutations=20)
    rows = []
    for measure in MEASURES:
        row: Row = {"method": method, "seed": int(seed), "measure": measure}
        for matrix in made.about["matrices"]:
            if matrix["measure"] == measure:
                row[matrix["split"]] = matrix["value"][0][1]
                row[f"{matrix['split']}_permuted"] = matrix["mean"][0][1]
        rows.append(row)
    return rows


def means(rows: list[Row]) -> list[Row]:
    """Return the mean over seeds of every method and measure, the highest on the hold-out first."""
    found = []
    for measure in MEASURES:
        of = [row for row in rows if row["measure"] == measure]
        methods = dict.fromkeys(row["method"] for row in of)
        table = [
            {
                "measure": measure,
                "method": method,
                **{name: statistics.mean(row[name] for row in of if row["method"] == method) for name in VALUES},
            }
            for method in methods
        ]
        found += sorted(table, key=lambda row: -row["test"])
    return found


def claims(rows: list[Row]) -> list[Row]:
    """Return what the paper claims, with the mean over seeds and its interval."""
    found = []
    seeds = sorted({row["seed"] for row in rows})
    for measure in MEASURES:
        of = {seed: [row for row in rows if (row["measure"], row["seed"]) == (measure, seed)] for seed in seeds}
        for what, value in _CLAIMS.items():
            by_seed = over_drawings([value(of[seed]) for seed in seeds])
            found.append({"measure": measure, "what": what, **by_seed})
    return found


def _above(rows: list[Row]) -> float:
    """Return how much the mean of the methods in `HIGHEST` is above that of all others, on the hold-out."""
    highest, others = (
        statistics.mean(row["test"] for row in rows if (row["method"] in HIGHEST) == inside) for inside in (True, False)
    )
    return highest - others


def _moved(rows: list[Row]) -> float:
    return statistics.mean(abs(row["train"] - row["test"]) for row in rows)


def _order(rows: list[Row]) -> float:
    return float(scipy.stats.spearmanr([row["train"] for row in rows], [row["test"] for row in rows]).statistic)


_CLAIMS: dict[str, Callable[[list[Row]], float]] = {
    "DCCAE, RR, RR-AE, AE minus all others": _above,
    "|train - hold-out|, mean of methods": _moved,
    "rank correlation of methods, train with hold-out": _order,
}


def main(folder: Path, name: str) -> None:
    """Compare the modalities of every finished run, print and write what was found."""
    rows = []
    for run in sorted((folder / "runs").iterdir()):
        print(run.name, flush=True)
        rows += compared(run)
    summary = {"claims": claims(rows), "means": means(rows)}
    show("Means over seeds", summary["means"])
    show("The paper's claims", summary["claims"])
    path = RESULTS / f"similar-{name}.json"
    command = {"command": f"python -m benchmarks.similar_modalities {folder} {name}"}
    content: dict[str, Any] = {"machine": machine() | command, **summary, "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
