"""A small run on drawn advertisements, and the files that it was trained on."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import mmcl_jax as mj

ROWS = 40
TINY = {
    "epochs": 1, "schedule.warmup_epochs": 0, "batch_size": 8, "batch_norm.group_size": 8,
    "encoders.image.channels": (4, 8), "encoders.table.hidden": 8, "encoders.table.features": 4,
    "projectors.image.hidden": 8, "projectors.table.hidden": 8, "inputs.table.missing": "mean",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Drawn:
    run: mj.Run
    store: mj.Store
    table: Path
    photos: Path
    rows: int = ROWS


@pytest.fixture(scope="package")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """A run on images and a table of prices, gearboxes, with three labels."""
    root, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    (root / "photos").mkdir()
    for row in range(ROWS):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(root / "photos" / f"{row}.png")
    pl.DataFrame(
        {
            "ad": [f"ad{row}" for row in range(ROWS)],
            "file": [f"{row}.png" for row in range(ROWS)],
            "price": [None if row % 7 == 3 else 10.5 * row for row in range(ROWS)],
            "gearbox": ["manual", "manual", "automatic", "automatic"] * (ROWS // 4),
            "model": [f"m{row % 2}" for row in range(ROWS)],
            "tax": rng.normal(100, 10, ROWS),
            "sold": [("yes", "no", "no", "yes")[row % 4] for row in range(ROWS)],
        }
    ).write_csv(root / "ads.csv")
    store = mj.prepare(
        root / "ads.csv", root / "photos", image_column="file", key_column="ad", label=["model", "tax", "sold"],
        split=(0.5, 0.2, 0.3), out=root / "store",
    )  # fmt: skip
    run = mj.pretrain("digits_mmcl", root / "run", data=store, overrides=TINY)
    return Drawn(run, store, root / "ads.csv", root / "photos")
