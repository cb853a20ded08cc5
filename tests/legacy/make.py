"""Make the store and the run of an earlier version that later versions must still read. Usage: python make.py OUT

`v0.1.0.tar.gz` beside this file was made with commit 2b3dd9b (version 0.1.0, store format 2), on
Python 3.11 with JAX 0.10.2:

    store/         60 rows of 10 x 12 RGB images and seven columns with missing values, two labels, people as groups
    run/           MMCL with tiny encoders, as a kill in its third epoch leaves it: checkpoints of steps 8 and 10
    expected.json  what evaluating it gives, the losses it logs when it is continued, and sums of its last parameters
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

OVERRIDES = [
    "epochs=4",
    "schedule.warmup_epochs=1",
    "batch_size=8",
    "batch_norm.group_size=8",
    "missing=iterative",
    "encoders.image.channels=(4, 8)",
    "encoders.table.hidden=16",
    "encoders.table.features=8",
    "projectors.image.hidden=8",
    "projectors.table.hidden=8",
    "log_every=1",
    "checkpoint_every=2",
    "keep_checkpoints=20",
    "monitor.epochs=None",
]
EVALUATE = [
    "--protocol",
    "probe,knn",
    "--input",
    "image,table",
    "--seeds",
    "2",
    "--max-epochs",
    "20",
    "--label",
    "model",
]


def mmcl(*words: str | Path) -> None:
    """Run a command of the installed version."""
    subprocess.run(["mmcl", *map(str, words)], check=True)


def raw(folder: Path) -> None:
    """Write a table with every kind of column, and its images."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    lines = ["file,person,length,doors,fuel,size,new,sold,year,model,price"]
    for i in range(60):
        model = i % 3
        pixels = rng.integers(0, 256, (10, 12, 3), np.uint8) // 2
        pixels[2 + 2 * model : 6 + model, 2:9] += 100
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        length = "" if i % 11 == 0 else f"{4000 + 150 * model + rng.normal(0, 60):.1f}"
        fuel = "" if i % 13 == 0 else ["petrol", "diesel", "electric"][int(rng.integers(3))]
        size = ["small", "medium", "large"][min(2, model + int(rng.integers(2)))]
        label = "" if i % 20 == 19 else f"m{model}"
        cells = [f"{i}.png", f"p{i // 2}", length, rng.integers(2, 6), fuel, size, ["yes", "no"][int(rng.integers(2))]]
        cells += [
            f"20{10 + i % 9}-0{1 + i % 9}-1{i % 10}",
            2000 + int(rng.integers(20)),
            label,
            f"{rng.normal(9, 2):.2f}",
        ]
        lines.append(",".join(map(str, cells)))
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    size = {"size": {"kind": "ordinal", "categories": ["small", "medium", "large"], "tags": ["shape"]}}
    (folder / "schema.json").write_text(json.dumps({"columns": size}))


def main(out: Path) -> None:
    """Make everything in the folder `out`, which must not exist, and pack it."""
    out.mkdir(parents=True)
    os.chdir(out)
    out = Path()  # so that no path of this machine is in what is packed
    raw(out / "raw")
    table, images, schema = out / "raw" / "table.csv", out / "raw" / "images", out / "raw" / "schema.json"
    reading = ["--image-column", "file", "--label", "model,price", "--group-column", "person", "--schema", schema]
    mmcl("prepare", "--table", table, "--images", images, *reading, "--out", out / "store", "--workers", "1")
    override = [f"--config.{override}" for override in OVERRIDES]
    whole, run = out / "whole", out / "run"
    mmcl("pretrain", "--config", "digits_mmcl", f"--config.data={out / 'store'}", *override, "--workdir", whole)
    shutil.copytree(whole, run, ignore=shutil.ignore_patterns("events"))
    for folder in (run / "checkpoints").iterdir():
        if int(folder.name) not in (8, 10):
            shutil.rmtree(folder)
    origin = json.loads((run / "store.json").read_text())
    (run / "store.json").write_text(json.dumps({**origin, "directory": "/elsewhere/store"}) + "\n")
    lines = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:11]))
    mmcl("evaluate", "--run", run, "--store", out / "store", *EVALUATE, "--out", out / "scores.json")
    expected = {
        "overrides": OVERRIDES,
        "evaluate": EVALUATE,
        "scores": json.loads((out / "scores.json").read_text())["scores"],
        "losses": {entry["step"]: entry["loss"] for entry in map(json.loads, lines)},
        "parameters": sums(whole),
    }
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    with tarfile.open(out / "v0.1.0.tar.gz", "w:gz") as archive:
        for name in ("store", "run", "expected.json"):
            archive.add(out / name, name)


def sums(directory: Path) -> dict[str, list[float]]:
    """Return the mean and the mean square of every parameter of a run's latest checkpoint, by path."""
    import jax
    from flax import nnx

    from mmcl_jax.training.runs.run import Run

    params = jax.tree_util.tree_leaves_with_path(nnx.state(Run.open(directory).model(), nnx.Param).to_pure_dict())
    return {
        jax.tree_util.keystr(path): [float(np.mean(value)), float(np.mean(np.square(value)))] for path, value in params
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
