"""The store that checkpoints of released code are imported for."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

import mmcl_jax as mj


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> mj.Store:
    """Colour images, and a table whose columns of both kinds alternate."""
    folder, rng = tmp_path_factory.mktemp("ads"), np.random.default_rng(0)
    for row in range(40):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / f"{row}.png")
    columns = {"gearbox": rng.choice(list("abc"), 40), "price": rng.normal(size=40), "seats": rng.normal(size=40)}
    table = {**columns, "fuel": rng.choice(list("xy"), 40), "model": [f"m{row % 4}" for row in range(40)]}
    frame = pl.DataFrame({"file": [f"{row}.png" for row in range(40)], **table})
    return mj.prepare(frame, folder, image_column="file", label="model", split=(0.5, 0.2, 0.3), out=folder / "store")
