"""Time and memory of `mmcl prepare`, of opening the store, and of a first and a resumed training, by number of rows.

    python -m benchmarks scale                  # 10^4 and 10^5 rows
    python -m benchmarks scale --size full      # and 10^6

The images are drawn when they are asked for, so that no files of images are needed: a function of the row alone. Each
step runs in a process of its own. Its memory is the most that belongs to the process alone: pages of mapped files,
which the system takes back when it needs them, do not count. `cpu_s` is processor time, `seconds` the time that passed.

What was measured is kept in the folder `mmcl-scale` of the folder of temporary files until all is done, so that the
same command continues where it was stopped. A million rows take 7 GB there.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.prepare.images.memory import ImageArrays

SIZES = {"small": (10**4, 10**5), "full": (10**4, 10**5, 10**6)}  # rows
PIXELS, CLASSES = 32, 10
STEPS = 10  # of training before it is stopped
OVERRIDES = {
    "epochs": 1, "schedule.warmup_epochs": 0, "batch_size": 64, "monitor.epochs": None, "validation.epochs": None,
    "inputs.table.missing": "mean", "log_every": 1, "encoders.image.channels": (8, 16), "views.image.size": (16, 16),
}  # fmt: skip


class Drawn(ImageArrays):
    """The images of rows, each a function of its index: squares of random colours with a tint of the row's class."""

    def __init__(self, rows: int, pixels: int) -> None:
        self._rows, self._pixels = rows, pixels

    def __len__(self) -> int:
        return self._rows

    @property
    def names(self) -> list[str | None]:
        """The names of all images."""
        return list(map(str, range(self._rows)))

    def fingerprint(self) -> str:
        """Return what determines all pixels."""
        return f"drawn {self._rows} {self._pixels}"

    def _image(self, name: str) -> np.ndarray:
        row = int(name)
        squares = np.random.Generator(np.random.Philox(row)).integers(0, 200, (8, 8, 3), np.uint8)
        squares[..., row % 3] += np.uint8(5 * (row % CLASSES))
        return squares.repeat(self._pixels // 8, 0).repeat(self._pixels // 8, 1)


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield seconds, processor seconds and peak memory of every step, by number of rows."""
    root = Path(tempfile.gettempdir()) / "mmcl-scale"
    for rows in SIZES[size]:
        folder = root / str(rows)
        for step in STEPS_OF:
            kept = root / f"{rows}-{step}.json"
            if not kept.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                program = [sys.executable, "-m", "benchmarks.scale", step, str(rows), str(folder)]
                printed = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout
                kept.write_text(printed.splitlines()[-1])
            yield {"rows": rows, "pixels": PIXELS, "step": step, **json.loads(kept.read_text())}
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(root)


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they are: their keys are short enough for a printed table."""
    return rows


def _prepare(rows: int, folder: Path) -> None:
    from mmcl_jax.prepare.make import prepare
    from mmcl_jax.prepare.request import Request

    rng = np.random.default_rng(0)
    images, kind = Drawn(rows, PIXELS), np.arange(rows) % CLASSES
    columns = {f"number{index}": kind * (index == 0) + rng.normal(size=rows) for index in range(6)}
    columns |= {f"word{index}": rng.choice(["red", "blue", "black"], rows) for index in range(2)}
    table = pl.DataFrame({"image": images.names, **columns, "kind": [f"k{code}" for code in kind]})
    request = Request(table=table, images=images, image_column=("image",), label=("kind",))
    prepare(request, folder / "store", progress=True)


def _open(rows: int, folder: Path) -> None:
    from mmcl_jax.data.input import Batches, iterate
    from mmcl_jax.data.store import Store

    store = Store.open(folder / "store")
    arrays = store.arrays("train")
    batches = iterate(Batches(arrays, batch_size=512, epochs=1, seed=0))
    assert len(next(batches)["image"]) == 512
    batches.close()


def _train(rows: int, folder: Path) -> None:
    """Train until a few steps are logged, and stop as a cluster would; called again, this resumes."""
    import mmcl_jax as mj

    run, done = folder / "run", threading.Event()

    def stop() -> None:
        log = run / "metrics.jsonl"
        before = _lines(log)
        while not done.wait(0.05):
            if _lines(log) >= before + STEPS:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=stop, daemon=True).start()
    mj.pretrain("digits_mmcl", run, data=folder / "store", overrides=OVERRIDES)
    done.set()


STEPS_OF: dict[str, Callable[[int, Path], None]] = {
    "prepare": _prepare,
    "open, first batch": _open,
    "train": _train,
    "resume": _train,
}


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _measured(step: str, rows: int, folder: Path) -> dict[str, Any]:
    """Run a step in this process, and return its times in seconds and its peak of memory in MB."""
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            most = max(most, next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))

    threading.Thread(target=watch, daemon=True).start()
    began = time.perf_counter()
    STEPS_OF[step](rows, folder)
    seconds = time.perf_counter() - began
    done.set()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "seconds": seconds,
        "cpu_s": sum(usage.ru_utime + usage.ru_stime for usage in used),
        "memory_mb": most / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
