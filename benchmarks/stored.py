"""Effect of storing DVM-CAR's images at 128 pixels, in place of the original 300, on the published views.

    python -m benchmarks stored

The released code blurs (window of 29 pixels) and crops images of 300 pixels, and resizes them to 128 afterwards. Here,
cars are drawn at 300 pixels and stored at both sizes, and the views of `mmcl/mmcl:dvm` are made from both with the same
random numbers.
"""

import random
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.config import load
from mmcl_jax.datasets.dvm.recipe import IMAGE_SIZE
from mmcl_jax.prepare.images.files import Fit, read_image
from mmcl_jax.synthetic.cars.generator import generate_dvm
from mmcl_jax.views import VIEWS

SIZES = {"small": 64, "full": 512}  # images
DRAWS = 200_000
VIEW = 128
_PLAIN = {"probability": 1.0, "jitter": 0.0, "grayscale": 0.0, "blur": 0.0}


def run(size: str) -> list[dict[str, Any]]:
    """Return a row per stored size.

    `sharpness` is the mean difference of neighbouring pixels (grey levels, 0 to 1) in cropped views without blur and
    colour changes, divided by that of the resized images of 300 pixels. `enlarged` is the share of crops that are
    smaller than the view on one side. `blur` is the mean standard deviation of the blur, in pixels of the view.
    """
    pictures, published = _pictures(SIZES[size]), load("mmcl/mmcl:dvm").views.image
    crop = VIEWS.build(ConfigDict({**published, **_PLAIN}, convert_dict=False), "view")
    keys = jax.random.split(jax.random.key(0), SIZES[size])
    sides = _crops(published)
    sigma = _uniform(1, published.blur_sigma, len(sides))
    plain = _steps(VIEWS.build(VIEWS.spec("resized", size=(VIEW, VIEW)), "view").apply(pictures[300], keys, {}).values)
    rows = []
    for stored, images in pictures.items():
        windows = sides * stored
        rows.append(
            {
                "stored": stored,
                "sharpness": _steps(crop.apply(images, keys, {}).values) / plain,
                "enlarged": float((windows < VIEW).any(axis=1).mean()),
                "blur": float((sigma * VIEW / np.sqrt(windows.prod(axis=1))).mean()),
                "bytes_per_image": stored * stored * 3,
            }
        )
    return rows


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they are: their keys are short enough for a printed table."""
    return rows


def _pictures(count: int) -> dict[int, jax.Array]:
    """Return the same drawn cars, stored at either size, `[N, H, W, 3]` uint8."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "raw"
        generate_dvm(root, models=12, ads=2 * count, broken=0, min_ads=4)
        files = sorted(root.rglob("*.jpg"))
        chosen = random.Random(0).sample(files, count)
        shapes = {size: (size, size, 3) for size in (IMAGE_SIZE[0], VIEW)}
        return {
            size: jnp.asarray(np.stack([read_image(str(file), shape, Fit())[0] for file in chosen]))
            for size, shape in shapes.items()
        }


def _crops(view: Any) -> np.ndarray:
    """Return height and width of random crops, `[N, 2]`, as shares of the sides; crops that do not fit are dropped."""
    area = _uniform(2, view.crop_scale, DRAWS)
    ratio = np.exp(_uniform(3, np.log(view.crop_ratio), DRAWS))
    sides = np.sqrt(np.stack([area / ratio, area * ratio], axis=1))
    return sides[(sides <= 1).all(axis=1)]


def _uniform(seed: int, ends: Any, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(ends[0], ends[1], count)


def _steps(views: jax.Array) -> float:
    grey = views.mean(axis=3)
    return float((jnp.abs(jnp.diff(grey, axis=1)).mean() + jnp.abs(jnp.diff(grey, axis=2)).mean()) / 2)
