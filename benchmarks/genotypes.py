"""Time and memory of reading genotypes, by number of people and of variants.

    python -m benchmarks genotypes

A drawn `.bed` file has one chromosome. Each line is measured in a process of its own: `read` opens the file, counts the
calls of the chosen variants and returns them in blocks; `store` writes them as `mmcl prepare` does, people by variants.
Memory is the largest anonymous memory beyond that of the process before it opens the file, and so without the mapped
pages of the store, which the system may drop.
"""

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.genotypes import open_genotypes
from mmcl_jax.prepare.entries.genotypes import read_genotypes
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.sources import Source

# People, variants of the file, and every how many of them is stored.
SIZES = {
    "small": [(2_000, 2_000, 10), (4_000, 2_000, 10), (4_000, 2_000, 1)],
    "full": [
        (25_000, 10_000, 100),
        (50_000, 10_000, 100),
        (100_000, 10_000, 100),
        (100_000, 10_000, 10),
        (100_000, 10_000, 1),
        (500_000, 2_000, 1),
    ],
}
_CODES = (0.1, 0.02, 0.35, 0.53)  # probabilities of two copies of A1, no call, one copy, none
_POOL = 2**22  # drawn bytes, of which every variant takes a part
_BLOCK = 64 * 2**20


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield a row per size and measurement."""
    with tempfile.TemporaryDirectory() as folder:
        drawn: tuple[int, int] | None = None
        path = Path(folder) / "drawn.bed"
        for people, variants, every in SIZES[size]:
            if drawn != (people, variants):
                _write(path, people, variants)
                drawn = people, variants
            for what in ("read", "store"):
                found = _measured(what, path, every)
                bytes_stored = people * -(-variants // every)
                yield {
                    "what": what,
                    "people": people,
                    "variants": variants,
                    "every": every,
                    "file_MB": path.stat().st_size / 1e6,
                    "stored_MB": bytes_stored / 1e6,
                    "calls_per_s": bytes_stored / found["seconds"],
                    **found,
                }


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they are: their keys are short enough for a printed table."""
    return rows


def _write(path: Path, people: int, variants: int) -> None:
    """Write a drawn `.bed` file with its `.bim` and `.fam`."""
    rng = np.random.default_rng(0)
    of_byte = np.array([np.prod([_CODES[byte >> shift & 3] for shift in (0, 2, 4, 6)]) for byte in range(256)])
    width = -(-people // 4)
    pool = rng.choice(256, size=max(_POOL, 2 * width), p=of_byte / of_byte.sum()).astype(np.uint8)
    with path.open("wb") as file:
        file.write(b"\x6c\x1b\x01")
        for start in rng.integers(0, len(pool) - width, variants):
            row = pool[start : start + width].copy()
            if people % 4:
                row[-1] &= (1 << 2 * (people % 4)) - 1
            file.write(row.tobytes())
    lines = (f"1\trs{number}\t0\t{1000 + number}\tA\tG\n" for number in range(variants))
    path.with_suffix(".bim").write_text("".join(lines))
    path.with_suffix(".fam").write_text("".join(f"{n} {n} 0 0 0 -9\n" for n in range(1_000_000, 1_000_000 + people)))


def _measured(what: str, path: Path, every: int) -> dict[str, Any]:
    """Return the seconds and the memory of one measurement in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_child, args=(queue, what, path, every))
    process.start()
    found: dict[str, Any] = queue.get()
    process.join()
    return found


def _child(queue: Any, what: str, path: Path, every: int) -> None:
    from bed_reader import open_bed  # loaded beforehand, as its library is no memory of the file's

    del open_bed
    before, peak, done = _anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    (_read if what == "read" else _store)(path, every)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    queue.put({"seconds": seconds, "memory_MB": (peak[0] - before) / 1e6})


def _read(path: Path, every: int) -> None:
    genotypes = open_genotypes([path], where="benchmark")
    columns = np.arange(0, len(genotypes.variants), every)
    size = max(1, _BLOCK // len(genotypes.people))
    for start in range(0, len(columns), size):
        genotypes.read(variants=columns[start : start + size])


def _store(path: Path, every: int) -> None:
    source = Source(kind="genotypes", genotypes=(str(path),), every=every)
    matrix = read_genotypes(source, "benchmark", Limits())
    rows = np.arange(len(matrix.keys))
    out = np.lib.format.open_memmap(
        path.with_name("stored.npy"), mode="w+", dtype=np.int8, shape=(len(rows), len(matrix.names))
    )
    matrix.store(rows, out)
    out.flush()


def _anonymous() -> float:
    """Return the anonymous memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
