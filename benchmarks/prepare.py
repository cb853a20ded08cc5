"""Images/s of `mmcl prepare`, beside a loop that decodes the same files with as many processes and writes the pixels.

    python -m benchmarks prepare

The files are JPEGs of drawn cars (`mmcl generate dvm`), and the store keeps their size.
"""

import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from mmcl_jax.prepare.images.decode import CHUNK, DecodeJob, decode
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.synthetic.cars.generator import generate_dvm

SIZES = {"small": (10_000, 128), "full": (100_000, 128)}  # images, pixels
DRAWN = 500  # drawn cars; every file is one of them with a few pixels changed, so that no two files are equal


def run(size: str) -> list[dict[str, Any]]:
    """Return the images per second of a bare decode loop with and without writing, of `decode`, and of `prepare`.

    The times of `decode` and `prepare` include the start of their processes.
    """
    count, pixels = SIZES[size]
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        request = _written(root, count, pixels)
        assert isinstance(request.table, Path)
        assert isinstance(request.images, Path)
        names = [(name,) for name in pl.read_csv(request.table)["file"]]
        seconds: dict[str, float] = {}
        paths = [str(request.images / name) for (name,) in names]
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            chunks = [paths[start : start + CHUNK] for start in range(0, count, CHUNK)]
            warm = [(chunk, 0, "") for chunk in chunks]  # reads the files into memory, and starts the processes
            list(pool.map(_bare, warm))
            for what, times in {"bare decode loop": 0, "and written once": 1, "and written twice": 2}.items():
                began = time.perf_counter()
                work = [(chunk, times, str(root / f"bare-{index}")) for index, chunk in enumerate(chunks)]
                assert sum(pool.map(_bare, work)) == count
                seconds[what] = time.perf_counter() - began
                for file in root.glob("bare-*"):
                    file.unlink()
        (root / "decoded").mkdir()
        began = time.perf_counter()
        job = DecodeJob(root=os.path.realpath(request.images), shape=(pixels, pixels, 3))
        assert not decode(job, names, root / "decoded", engine=Processes(workers)).bad
        seconds["decoding into the array"] = time.perf_counter() - began
        shutil.rmtree(root / "decoded")
        began = time.perf_counter()
        store = prepare(request, root / "store", workers=workers)
        seconds["mmcl prepare, whole"] = time.perf_counter() - began
        assert sum(store.sizes.values()) == count
    return [
        {
            "what": what,
            "images": count,
            "pixels": pixels,
            "workers": workers,
            "seconds": value,
            "images_per_s": count / value,
            "of_bare_decode": seconds["bare decode loop"] / value,
            "of_written_twice": seconds["and written twice"] / value,
        }
        for what, value in seconds.items()
    ]


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they are: their keys are short enough for a printed table."""
    return rows


def _bare(work: tuple[list[str], int, str]) -> int:
    """Decode the files of a chunk and write the pixels `times` times; a store holds them twice (flat, shards)."""
    paths, times, target = work
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            pixels.append(np.asarray(image.convert("RGB")))
    for copy in range(times):
        with open(f"{target}-{copy}", "wb") as file:
            file.writelines(image.data for image in pixels)
    return len(paths)


def _written(root: Path, count: int, pixels: int) -> Request:
    """Write a folder of JPEG files and a table of them, and return the request to prepare them."""
    generate_dvm(root / "drawn", ads=DRAWN, image_size=pixels, broken=0, workers=os.cpu_count() or 1)
    drawn = [np.asarray(Image.open(path)) for path in sorted((root / "drawn").rglob("*.jpg"))]
    photos = root / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for row in range(count):
        pixels_of_row = drawn[row % len(drawn)].copy()
        pixels_of_row[:16, :16] = rng.integers(0, 256, (2, 2, 3)).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels_of_row).save(photos / f"{row}.jpg", quality=90)
    table = pl.DataFrame(
        {
            "file": [f"{row}.jpg" for row in range(count)],
            "price": rng.normal(10_000, 3_000, count),
            "colour": rng.choice(["red", "blue", "black"], count),
            "model": rng.choice([f"m{number}" for number in range(20)], count),
        }
    )
    table.write_csv(root / "ads.csv")
    return Request(table=root / "ads.csv", images=photos, image_column=("file",), label=("model",))
