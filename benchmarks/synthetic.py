"""Experiments on random data: pixels, and a table with columns like those of MMCL's DVM runs."""

from collections.abc import Sequence

import jax
import numpy as np

from mmcl_jax.config import load
from mmcl_jax.data.input import Batches
from mmcl_jax.data.schema import Column, ImageSpec, Schema
from mmcl_jax.training.build import Experiment, assemble

CONTINUOUS, CATEGORIES = 13, (22, 13, 10, 5)  # 63 one-hot columns, as in DVM


def schema(size: int) -> Schema:
    """Return the schema of a table like DVM's, with RGB images of `size` pixels."""
    continuous = [Column(name=f"c{i}", kind="continuous") for i in range(CONTINUOUS)]
    categorical = [
        Column(name=f"k{i}", kind="categorical", categories=tuple(map(str, range(n)))) for i, n in enumerate(CATEGORIES)
    ]
    image = ImageSpec(height=size, width=size, channels=3, fit="bilinear")
    return Schema(columns=(*continuous, *categorical), image=image)


def experiment(
    name: str,
    *overrides: str,
    size: int,
    batch_size: int,
    batches: int = 2,
    devices: Sequence[jax.Device] | None = None,
) -> Experiment:
    """Return the experiment `name` on random images of `size` pixels, with `batches` batches per epoch."""
    rng = np.random.default_rng(0)
    rows = batch_size * batches
    table = [rng.normal(size=(rows, CONTINUOUS)), *(rng.integers(0, n, size=(rows, 1)) for n in CATEGORIES)]
    arrays: dict[str, np.ndarray] = {
        "id": np.arange(rows, dtype=np.uint32),
        "image": rng.integers(0, 256, size=(rows, size, size, 3), dtype=np.uint8),
        "table": np.concatenate(table, axis=1).astype(np.float32),
    }
    config = load(name, ["data=made-up", f"batch_size={batch_size}", *overrides])
    for view in config.views.values():
        if view.modality == "image":
            view.size = None  # views have the size of the stored images
    arrays = {key: array for key, array in arrays.items() if key == "id" or key in config.encoders}
    source = Batches(arrays, batch_size=batch_size, epochs=config.epochs, seed=config.seed)
    return assemble(config, schema(size), source, devices)
