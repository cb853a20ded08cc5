"""Views of images and volumes say where their pixels lie: an image of its own indices shows the indices they claim."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.views import VIEWS

STEP = 1000  # of a uint16 pixel per index, so that indices are read to a hundredth
KEYS = jax.random.split(jax.random.key(3), 24)
PLAIN = {"jitter": 0.0, "grayscale": 0.0, "blur": 0.0}
PLAIN_OF = {"augment": PLAIN, "frontal": {"jitter": 0.0, "blur": 0.0}}
VIEWS_OF = {
    "resized": ("resized", {"size": (9, 14)}),
    "as stored": ("resized", {}),
    "crop and flip": ("augment", {"size": (9, 14), "flip": 0.5, "crop_scale": (0.3, 1.0)}),
    "flip": ("augment", {"flip": 1.0, "crop_scale": (1.0, 1.0)}),
    "rotation": ("augment", {"flip": 0.0, "crop_scale": (1.0, 1.0), "rotation": 40.0}),
    "turned, as part of the data": ("rotated", {"degrees": 40.0}),
    "turned and resized": ("rotated", {"size": (9, 14), "degrees": 40.0}),
    "noisy": ("noisy", {"size": (9, 14), "noise": 1e-6}),
    "all, of half of them": (
        "augment",
        {"size": (9, 14), "flip": 0.5, "crop_scale": (0.3, 1.0), "rotation": 40.0, "probability": 0.5},
    ),
    "frontal": ("frontal", {"size": (11, 11), "crop_scale": (1.0, 1.0)}),
    "frontal, crop and flip": ("frontal", {"size": (9, 14), "rotation": 0.0, "shift": 0.0, "zoom": (1.0, 1.0)}),
    "volume": ("augment_volume", {"size": (5, 9, 4), "scale": 0.0, "shift": 0.0, "probability": 0.7}),
    "resized volume": ("resized_volume", {"size": (5, 9, 4)}),
}


def indices(shape: tuple[int, ...]) -> np.ndarray:
    """An array of this shape whose channels are its own indices."""
    return (STEP * np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)).astype(np.uint16)


@pytest.mark.parametrize("form", ["apply", "plain"])
@pytest.mark.parametrize("case", VIEWS_OF)
def test_pixels_lie_where_the_geometry_says(case: str, form: str) -> None:
    name, options = VIEWS_OF[case]
    shape = (6, 12, 8) if "volume" in name else (20, 12)
    view = VIEWS.build(VIEWS.spec(name, **PLAIN_OF.get(name, {}), **options), "view")
    stored = jnp.broadcast_to(indices(shape), (len(KEYS), *shape, len(shape)))
    seen = jax.jit(getattr(view, form))(stored, KEYS, {})
    geometry = np.asarray(seen.geometry, np.float64)
    assert seen.geometry.dtype == jnp.float32
    assert geometry.shape == (len(KEYS), len(shape), len(shape) + 1)
    found = np.asarray(seen.values, np.float64) * 65535 / STEP
    points = np.stack(np.meshgrid(*map(np.arange, found.shape[1:-1]), indexing="ij"), axis=-1)
    claimed = np.einsum("bij,...j->b...i", geometry[:, :, :-1], points) + geometry[:, None, None, :, -1].reshape(
        len(KEYS), *[1] * len(shape), len(shape)
    )
    # Pixels beyond the centres of the border are those of the border; a rotation takes the nearest, black outside.
    last = np.array(shape) - 1
    inside = ((claimed >= 0) & (claimed <= last)).all(axis=-1)
    assert inside.mean() > 0.5
    error = np.abs(found - claimed)
    turns = name == "rotated" or (name == "frontal" and "rotation" not in options) or options.get("rotation", 0) > 0
    if name != "rotated" and (not turns or form == "plain"):
        edge = _beyond_window(geometry, points.shape[:-1], claimed)
        assert error[inside & ~edge].max() < 0.02
        assert error[inside].max() < 0.5 + 0.02
    else:
        far = ((claimed >= 2) & (claimed <= last - 2)).all(axis=-1)  # from the black
        assert error[far].max() < 1.3  # a diagonal half of the nearest pixel, and the border of a window
        assert np.median(error[far]) < 0.35
        assert np.abs((found - claimed)[far].mean()) < 0.02  # and none on average


def _beyond_window(geometry: np.ndarray, size: tuple[int, ...], claimed: np.ndarray) -> np.ndarray:
    """Which pixels lie beyond the centres of the outermost pixels of a crop, which are repeated there."""
    corners = np.array([np.zeros(len(size)) - 0.5, np.array(size) - 0.5])
    ends = np.einsum("bij,cj->cbi", geometry[:, :, :-1], corners) + geometry[None, :, :, -1]
    low, high = (end.reshape(len(geometry), *[1] * len(size), len(size)) for end in (ends.min(0), ends.max(0)))
    return ((claimed < low + 0.5 - 1e-3) | (claimed > high - 0.5 + 1e-3)).any(axis=-1)


def test_geometries_differ_between_examples() -> None:
    for name, shape in (("augment", (20, 12)), ("augment_volume", (6, 12, 8))):
        view = VIEWS.build(VIEWS.spec(name), "view")
        stored = jnp.broadcast_to(indices(shape)[..., :1], (len(KEYS), *shape, 1))
        geometry = np.asarray(jax.jit(view.apply)(stored, KEYS, {}).geometry)
        pairs = itertools.pairwise(geometry)
        assert np.mean([not np.allclose(a, b) for a, b in pairs]) > 0.9
