"""Samples/s of the input, beside a bare NumPy gather of the same bytes and loaders of single samples.

The loaders of single samples are a Grain pipeline and PyTorch's DataLoader over the same mapped array: every row is
copied into a tensor of its own, as FFCV decodes raw images, and joined to a batch, in PyTorch's worker processes.

python -m benchmarks input
"""

import functools
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np
from absl import flags

from benchmarks.synthetic import schema
from benchmarks.timing import race
from mmcl_jax.data.format import flat, writing
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.input import Batches, iterate
from mmcl_jax.data.store import Store

SIZES = {"small": (64, 20_000), "full": (128, 100_000)}  # pixels, rows
BATCH = 512


def run(size: str) -> list[dict[str, Any]]:
    """Return the samples per second of each reader of one store, in one random order; the readers take turns."""
    pixels, count = SIZES[size]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        store = _written(directory, pixels, count)
        arrays = {how: _as_training_reads(store, streamed=how == "streamed") for how in ("mapped", "streamed")}
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        batches = {how: Batches(part, batch_size=BATCH, epochs=1000, seed=0) for how, part in arrays.items()}
        workers = iterate(
            batches["streamed"], workers=2
        )  # the same in all turns; their buffers are small beside a turn
        readers: dict[str, tuple[int, Callable[[], Iterator[Any]]]] = {
            "bare NumPy gather": (100, lambda: _gather(arrays["mapped"], store.sizes["train"])),
            "mapped": (100, lambda: iterate(batches["mapped"])),
            "streamed": (20, lambda: iterate(batches["streamed"], workers=0)),  # the default starts processes
            "streamed, 2 workers": (60, lambda: workers),
            "Grain, one sample at a time": (15, lambda: _samples(arrays["mapped"])),
        }
        if importlib.util.find_spec("torch"):
            from benchmarks.torch_forms import loader

            mapped = {**arrays["mapped"], "image": arrays["mapped"]["image"].values}
            for number in (0, 2):
                loaded = loader(mapped, batch_size=BATCH, workers=number)
                readers[f"PyTorch DataLoader, {number} workers"] = 15, functools.partial(iter, loaded)
        seconds = race({name: _turn(steps, make) for name, (steps, make) in readers.items()}, rounds=5)
    rate = {name: steps * BATCH / seconds[name] for name, (steps, _) in readers.items()}
    row_bytes = sum(int(np.prod(a.shape[1:])) * a.dtype.itemsize for a in arrays["mapped"].values())
    return [
        {
            "input": name,
            "pixels": pixels,
            "row_bytes": row_bytes,
            "samples_per_s": value,
            "of_bare_gather": value / rate["bare NumPy gather"],
            "over_samples": value / rate["Grain, one sample at a time"],
        }
        for name, value in rate.items()
    ]


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they are: their keys are short enough for a printed table."""
    return rows


def _written(directory: Path, pixels: int, count: int) -> Store:
    """Write a store of `count` random images of `pixels` pixels, and return it."""
    rng = np.random.default_rng(0)
    columns = schema(pixels)
    images = flat.allocate(directory, "image", (count, *columns.image.stored), "uint8")
    for start in range(0, count, 1000):
        images[start : start + 1000] = rng.integers(0, 256, size=images[start : start + 1000].shape, dtype=np.uint8)
    coded = [len(column.categories) if column.coded else 0 for column in columns.columns]
    table = np.stack([rng.integers(0, n, count) if n else rng.normal(size=count) for n in coded], axis=1)
    values = {"image": images, "table": table.astype(np.float64)}
    third = np.array_split(np.arange(count), [count - 2, count - 1])
    content = Content(
        parts={name: Part(entry=columns.entries[name], values=array) for name, array in values.items()},
        id=np.arange(count),
        keys=list(map(str, range(count))),
        splits=dict(zip(("train", "val", "test"), third, strict=True)),
    )
    writing.write(directory, content, description="random pixels")
    writing.finish(directory, made_by={})
    return Store.open(directory)


def _as_training_reads(store: Store, *, streamed: bool) -> dict[str, Any]:
    """Return the training rows, with the table in float32, like an encoded one."""
    arrays = store.arrays("train", streamed=streamed)
    return {
        "id": arrays["id"].astype(np.uint32),
        "image": arrays["image"],
        "table": arrays["table"].astype(np.float32),
    }


def _gather(arrays: dict[str, Any], count: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches that are gathered from the mapped file in random order, without any other work: an upper bound."""
    rng = np.random.default_rng(1)
    image = arrays["image"].values
    while True:
        rows = rng.integers(0, count, BATCH)
        yield {"id": arrays["id"][rows], "image": image[rows], "table": arrays["table"][rows]}


def _samples(arrays: dict[str, Any]) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of a plain Grain pipeline (source, global shuffle, map per sample, batch) over the same arrays."""
    plain = {"id": arrays["id"], "image": arrays["image"].values, "table": arrays["table"]}
    data = grain.MapDataset.range(len(plain["id"])).seed(0).shuffle().repeat()
    data = data.map(lambda row: {name: array[row] for name, array in plain.items()})
    return iter(data.batch(BATCH).to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def _turn(steps: int, make: Callable[[], Iterator[Any]]) -> Callable[[], None]:
    """Return a function that reads `steps` batches of a new iterator, which has read nothing ahead."""

    def turn() -> None:
        reader = make()
        for _ in range(steps):
            batch = next(reader)
        assert len(batch["id"]) == BATCH

    return turn
