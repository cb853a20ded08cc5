"""Where in the image sentences look, for every run of a table: `python -m benchmarks.sentence_maps FOLDER TRUTH NAME`.

FOLDER is that of `mmcl reproduce lovt/...`, with the runs of every method and seed; TRUTH is the table of where
findings are. A map over the regions belongs to every sentence that names a finding: its attention in the local term
(`alignment`), and the cosine of regions and sentence. `benchmarks/results/sentence-maps-NAME.json` has how often the
largest value lies in the finding, beside chance and beside the same maps mirrored, turned upside down and with rows and
columns exchanged, which would be better if regions or boxes were in another order; and the mean weight, relative to an
even map, of the four corners, of the border, of the middle, and inside the finding. Intervals are over seeds.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import RESULTS, machine, show
from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.alignment.analyse import Analysing, analyse
from mmcl_jax.evaluation.alignment.pairing import pairing_of
from mmcl_jax.evaluation.alignment.pointing import pointing
from mmcl_jax.explain.planted import over_drawings
from mmcl_jax.reproduce.analyses.aligned import ROWS
from mmcl_jax.training.runs.run import Run

TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hit": lambda maps: maps,
    "hit_mirrored": lambda maps: maps[:, :, ::-1],
    "hit_upside_down": lambda maps: maps[:, ::-1],
    "hit_exchanged": lambda maps: maps.swapaxes(1, 2),
}
PARTS = ("corners", "border", "middle", "inside")
Row = dict[str, Any]


def looked(maps: np.ndarray, inside: np.ndarray) -> Row:
    """Return where maps `[Q, h, h]` are large, for findings `inside` `[Q, h, h]` bool.

    Weights are relative to the mean of the map, so 1 is an even map; they are None for maps with negative values.

    Example:
      >>> maps = np.zeros((1, 3, 3)); maps[0, 0, 2] = 1.0
      >>> inside = np.zeros((1, 3, 3), bool); inside[0, 0, 0] = True
      >>> {name: looked(maps, inside)[name] for name in ("hit", "hit_mirrored", "corners", "middle")}
      {'hit': 0.0, 'hit_mirrored': 1.0, 'corners': 2.25, 'middle': 0.0}
    """
    flat = inside.reshape(len(inside), -1)
    row: Row = {"sentences": len(maps), "chance": float(flat.mean())}
    for name, turned in TURNS.items():
        row[name] = float(pointing(turned(maps).reshape(flat.shape), flat).hit.mean())
    if maps.min() < 0:
        return row | dict.fromkeys(PARTS)
    relative = maps / maps.mean(axis=(1, 2), keepdims=True)
    border = np.ones(maps.shape[1:], bool)
    border[1:-1, 1:-1] = False
    corners = np.ix_((0, -1), (0, -1))
    values = (
        np.mean([weights[corners] for weights in relative]),
        relative[:, border].mean(),
        relative[:, ~border].mean(),
        np.mean([weights[where].mean() for weights, where in zip(relative, inside, strict=True)]),
    )
    return row | dict(zip(PARTS, map(float, values), strict=True))


def rows_of(run: Path, truth: Path) -> list[Row]:
    """Return a row per kind of map of a run; none for a run without images and reports."""
    opened = Run.open(run)
    if len(pairing_of(opened, ()).modalities) < 2:
        return []
    store = Store.open(opened.config.data)
    located = analyse(opened, store, Analysing(split="test", rows=ROWS, truth=truth)).located
    assert located is not None
    of = located.inside.any(axis=1)
    method, _, seed = run.name.rpartition("-")
    inside = located.inside[of].reshape(-1, *located.grid)
    return [
        {"method": method, "seed": int(seed), "map": kind} | looked(maps[of].reshape(inside.shape), inside)
        for kind, maps in located.maps.items()
    ]


def over_seeds(rows: list[Row]) -> list[Row]:
    """Return the mean over seeds and its interval, for each number of each method and map."""
    found = []
    for method, kind in dict.fromkeys((row["method"], row["map"]) for row in rows):
        of = [row for row in rows if (row["method"], row["map"]) == (method, kind)]
        names = [name for name in ("chance", *TURNS, *PARTS) if of[0][name] is not None]
        found += [
            {"method": method, "map": kind, "what": name, **over_drawings([row[name] for row in of])} for name in names
        ]
    return found


def main(folder: Path, truth: Path, name: str) -> None:
    """Look at every run with images and reports, print and write what was found."""
    rows: list[Row] = []
    for run in sorted((folder / "runs").iterdir()):
        print(run.name, flush=True)
        rows += rows_of(run, truth)
    summary = over_seeds(rows)
    show("Over seeds", summary)
    path = RESULTS / f"sentence-maps-{name}.json"
    command = {"command": f"python -m benchmarks.sentence_maps {folder} {truth} {name}"}
    path.write_text(json.dumps({"machine": machine() | command, "over_seeds": summary, "rows": rows}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
