"""Rows/s of `mmcl embed`, end to end: a table alone, and small images with the table.

    python -m benchmarks embed                                  # a million rows on an accelerator, fewer on a CPU
    python -m benchmarks embed --table-rows 1000000 --image-rows 20000

The files are made first, which is not timed: a Parquet table, and PNG files of 32 pixels of which many rows are copies.
Each case runs in a process of its own, so that its peak of memory is its own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

import mmcl_jax as mj

SIZES = {"small": (200_000, 10_000), "full": (1_000_000, 1_000_000)}  # rows of a table, rows with images
PIXELS, FILES, COLUMNS, SHORT = 32, 10_000, 16, 4_096
OVERRIDES = {
    "small": {"encoders.image.name": "resnet18", "encoders.image.width": 0.25},
    "full": {"encoders.image.name": "resnet50"},
}
COMMON = {
    "epochs": 1, "schedule.warmup_epochs": 0, "batch_size": 64, "batch_norm.group_size": 32, "monitor.epochs": None,
    "validation.epochs": None, "inputs.table.missing": "mean", "encoders.image.stem": "cifar",
}  # fmt: skip


def run(size: str, *, table_rows: int | None = None, image_rows: int | None = None) -> list[dict[str, Any]]:
    """Return rows per second, share of time in which the devices computed, and peak memory, by case.

    The first case embeds a short table, so that the peak of the long one beside it shows what a row costs.
    """
    rows, pictures = (given or default for given, default in zip((table_rows, image_rows), SIZES[size], strict=True))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write(root, max(rows, pictures))
        _train(root, size)
        cases = [("table, few rows", "table", min(SHORT, rows)), ("table", "table", rows), ("image", "image", pictures)]
        return [_timed(root, what, input, count) for what, input, count in cases]


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they are: their keys are short enough for a printed table."""
    return rows


def _write(root: Path, rows: int) -> None:
    """Write the image files, and a table whose rows name them in turn."""
    rng = np.random.default_rng(0)
    (root / "photos").mkdir()
    for number, pixels in enumerate(rng.integers(0, 256, (min(FILES, rows), PIXELS, PIXELS, 3), np.uint8)):
        Image.fromarray(pixels).save(root / "photos" / f"{number}.png", compress_level=1)
    columns = {f"number{index}": rng.normal(size=rows).astype(np.float32) for index in range(COLUMNS - 2)}
    columns |= {f"class{index}": rng.choice(["red", "blue", "black"], rows) for index in range(2)}
    files = pl.Series([f"{row % min(FILES, rows)}.png" for row in range(rows)])
    pl.DataFrame({"id": np.arange(rows), "file": files, **columns}).write_parquet(root / "rows.parquet")


def _train(root: Path, size: str) -> None:
    """Train a run for a moment on the first rows."""
    frame = pl.read_parquet(root / "rows.parquet", n_rows=512)
    store = mj.prepare(
        frame, root / "photos", image_column="file", key_column="id", duplicates="keep", out=root / "store"
    )
    mj.pretrain("digits_mmcl", root / "run", data=store, overrides={**COMMON, **OVERRIDES[size]})


def _timed(root: Path, what: str, input: str, rows: int) -> dict[str, Any]:
    """Embed the first rows in a process of its own, and return what it took."""
    table = root / "asked.parquet"
    pl.scan_parquet(root / "rows.parquet").head(rows).sink_parquet(table)
    out = root / f"{what.replace(', ', '-').replace(' ', '-')}.parquet"
    arguments = json.dumps({"root": str(root), "input": input, "out": str(out)})
    program = [sys.executable, "-m", "benchmarks.embed", arguments]
    printed = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured = json.loads(printed.splitlines()[-1])
    assert measured.pop("rows") == rows
    return {
        "what": what,
        "rows": rows,
        "seconds": measured["seconds"],
        "rows_per_s": rows / measured["seconds"],
        **{name: value for name, value in measured.items() if name != "seconds"},
        "output_mb": out.stat().st_size / 1e6,
    }


def _embed(root: str, input: str, out: str) -> None:
    """Embed, and print the measurements as JSON."""
    from mmcl_jax.export.embeddings import make

    computing = 0.0
    part = make.Embedding.part

    def timed(self: make.Embedding, *arguments: Any) -> Any:
        nonlocal computing
        began = time.perf_counter()
        result = part(self, *arguments)
        computing += time.perf_counter() - began
        return result

    make.Embedding.part = timed  # type: ignore[method-assign]
    folder = Path(root)
    began = time.perf_counter()
    made = mj.embed(
        folder / "run", folder / "asked.parquet", folder / "photos", input=input, out=out, workers=os.cpu_count() or 1
    )
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "rows": made.to_frame().height if made.rows <= SHORT else made.rows,
                "width": made.metadata["width"],
                "seconds": seconds,
                "device_share": computing / seconds,
                "workers": os.cpu_count(),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
                "peak_worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3,
            }
        )
    )


if __name__ == "__main__":
    _embed(**json.loads(sys.argv[1]))
