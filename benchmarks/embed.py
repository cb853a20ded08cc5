"""Rows/s of `mmcl embed`, end to end: a table alone, and small images.

    python -m benchmarks embed --size full     # a million rows of each; the default on accelerators

The files are made first, which is not timed: a Parquet table, and PNG files of 32 pixels, each of which many rows name.
Each case runs in a process of its own, so that its peak of memory is its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

import mmcl_jax as mj

SIZES = {"small": (1_000_000, 5_000), "full": (1_000_000, 1_000_000)}  # rows of a table, rows with images
PIXELS, FILES, COLUMNS, SHORT = 32, 10_000, 16, 50_000
ENCODERS: dict[str, dict[str, Any]] = {
    "small": {"encoders.image.channels": (16, 32, 64)},  # of the small CNN
    "full": {"encoders.image.name": "resnet18", "encoders.image.stem": "cifar", "encoders.image.width": 1.0},
}
OVERRIDES = {
    "epochs": 1, "schedule.warmup_epochs": 0, "batch_size": 64, "batch_norm.group_size": 32, "monitor.epochs": None,
    "validation.epochs": None, "inputs.table.missing": "mean",
}  # fmt: skip


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield rows per second, the share of the time in which the devices were busy, and peak memory, by case.

    The first case embeds a shorter table: the difference of the two peaks is what further rows cost.
    """
    rows, pictures = SIZES[size]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write(root, max(rows, pictures))
        _train(root, size)
        for what, input, count in (
            ("a shorter table", "table", SHORT),
            ("table", "table", rows),
            ("image", "image", pictures),
        ):
            yield _timed(root, what, input, count)


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
    frame = pl.read_parquet(root / "rows.parquet", n_rows=128)
    store = mj.prepare(
        frame, root / "photos", image_column="file", key_column="id", duplicates="keep", out=root / "store"
    )
    mj.pretrain("digits_mmcl", root / "run", data=store, overrides={**OVERRIDES, **ENCODERS[size]})


def _timed(root: Path, what: str, input: str, rows: int) -> dict[str, Any]:
    """Embed the first rows in a process of its own, and return what it took."""
    table = root / "asked.parquet"
    pl.scan_parquet(root / "rows.parquet").head(rows).sink_parquet(table)
    out = root / "embeddings.parquet"
    arguments = json.dumps({"root": str(root), "input": input, "out": str(out)})
    program = [sys.executable, "-m", "benchmarks.embed", arguments]
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # this process holds a part of the memory
    printed = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    measured = json.loads(printed.splitlines()[-1])
    assert pl.scan_parquet(out).select(pl.len()).collect().item() == rows
    size = out.stat().st_size / 1e6
    out.unlink()
    return {"what": what, "rows": rows, "rows_per_s": rows / measured["seconds"], **measured, "output_mb": size}


def _embed(root: str, input: str, out: str) -> None:
    """Embed, and print the measurements as JSON."""
    # Imported here, since the processes that decode images import this file, too.
    from mmcl_jax.export.embeddings.encoders import Reader

    busy, read = 0.0, Reader.__call__

    def timed(self: Reader, rows: Any) -> Any:
        nonlocal busy
        began = time.perf_counter()
        result = read(self, rows)
        busy += time.perf_counter() - began
        return result

    Reader.__call__ = timed  # type: ignore[method-assign]
    folder, workers = Path(root), os.cpu_count() or 1
    began = time.perf_counter()
    made = mj.embed(folder / "run", folder / "asked.parquet", folder / "photos", input=input, out=out, workers=workers)
    seconds = time.perf_counter() - began
    measured = {
        "seconds": seconds,
        "device_share": busy / seconds,
        "width": made.metadata["width"],
        "workers": workers,
        "peak_mb": _peak(),
    }
    print(json.dumps(measured))


def _peak() -> float:
    """Return the peak of this process's memory in MB; `getrusage` would count that of the process that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    _embed(**json.loads(sys.argv[1]))
