"""A crude lateral radiograph of a drawn chest, which no frontal model reads; data sets have such images, too."""

import numpy as np
from scipy import ndimage

from mmcl_jax.synthetic.chests.anatomy import Chest


def lateral(chest: Chest, size: int, random: np.random.Generator) -> np.ndarray:
    """Return the lateral radiograph `[size, size]` uint8 of a chest: the front is on the left."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    x, y = np.meshgrid(axis - random.normal(0, 0.03), axis - random.normal(0, 0.03))

    def step(inside: np.ndarray, soft: float = 0.03) -> np.ndarray:
        return 0.5 + 0.5 * np.tanh(inside / soft)

    def ellipse(centre: tuple[float, float], radii: tuple[float, float], soft: float = 0.03) -> np.ndarray:
        away = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
        return step((1 - away) * min(radii), soft)

    bright = 0.62 * ellipse((0.0, 0.15), (0.72, 1.25))
    dome = chest.base - 0.2 + 0.5 * (x + 0.1) ** 2
    lung = ellipse((0.02, 0.0), (0.52, 0.85)) * step(dome - y)
    bright = bright + 0.8 * lung * (0.24 - bright)
    bright = bright + 0.8 * ellipse((-0.2, 0.15), (0.28, 0.3 * chest.ratio / 0.44)) * (0.6 - bright)
    spine = step(0.1 - np.abs(x - 0.42 - 0.1 * y))
    bright = bright + 0.5 * spine * np.clip(0.66 - bright, 0, None) * (1 + 0.2 * np.sin(2 * np.pi * y / 0.12))
    ribs = step(np.cos(2 * np.pi * ((y - 0.35 * x) / chest.ribs + chest.phase)) - 0.3, 0.3)
    bright = ndimage.gaussian_filter(bright + 0.06 * ribs * lung, 0.004 * size)
    noise = 0.015 * random.standard_normal(bright.shape)
    return np.clip(255 * (0.03 + 0.94 * bright + noise), 0, 255).astype(np.uint8)
