"""The image views against torchvision's operations, draws and pipelines; `golden/make.py` made the arrays."""

import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare, ks_2samp

from mmcl_jax.views import VIEWS
from mmcl_jax.views import image_ops as ops
from mmcl_jax.views.sampling import Blur, sample

FOLDER = Path(__file__).parent / "golden"
OPERATIONS = dict(np.load(FOLDER / "operations.npz"))
DRAWS = dict(np.load(FOLDER / "draws.npz"))
VIEWS_SEEN = dict(np.load(FOLDER / "views.npz"))
KEYS = jax.random.split(jax.random.key(0), 4000)
ADJUSTMENTS = ("brightness", "contrast", "saturation", "hue")
SAMPLE, ADJUST = jax.jit(sample, static_argnames=("size",)), jax.jit(ops.adjust)
OFF = {"flip": 0.0, "jitter": 0.0, "grayscale": 0.0, "crop_scale": (1.0, 1.0)}
SURPRISING = 1e-4  # a p-value below which two samples are of different laws


def picture(name: str) -> jax.Array:
    return jnp.asarray(OPERATIONS[name])


def crop(image: jax.Array, i: float, j: float, h: float, w: float, height: float, width: float) -> jax.Array:
    return SAMPLE(image, size=(int(height), int(width)), origin=jnp.array([i, j]), extent=jnp.array([h, w]))


def whole(image: jax.Array, size: tuple[int, int] | None = None, **options: object) -> jax.Array:
    extent = jnp.array(image.shape[:2], jnp.float32)
    return sample(image, size or image.shape[:2], origin=jnp.zeros(2), extent=extent, **options)


def adjust(image: jax.Array, **amounts: float) -> jax.Array:
    """Those of the adjustments that are named, in this order; the others come last and change nothing."""
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    names = ADJUSTMENTS[: 2 if image.shape[2] == 1 else 4]
    order = [*amounts, *(name for name in names if name not in amounts)]
    places = jnp.array([names.index(name) for name in order])
    changed = ADJUST(ops.planes(image), places, jnp.array([{**neutral, **amounts}[name] for name in names]))
    return jnp.stack(changed, axis=2)


OURS: dict[str, Callable[..., jax.Array]] = {
    "crop": lambda *window: crop(picture("colour"), *window),
    "resize": lambda *size: whole(picture("colour"), tuple(map(int, size))),
    "flip": lambda: whole(picture("colour"), mirrored=jnp.array([False, True])),
    "rotate": lambda degrees: ops.rotate(
        picture("colour"), jnp.float32(-degrees)
    ),  # torchvision's is counter-clockwise
    "greyscale": lambda: jnp.stack(ops.grey(ops.planes(picture("colour"))), axis=2),
    "blur": lambda window, sigma: whole(picture("large"), blur=Blur(jnp.float32(sigma), int(window))),
}


@pytest.mark.core
@pytest.mark.parametrize("operation", [*OURS, "adjust", "adjust_grey"])
def test_every_operation_is_torchvisions(operation: str) -> None:
    cases = [name for name in OPERATIONS if name.startswith(f"{operation}/")]
    assert cases
    for name in cases:
        words = [word for word in name.partition("/")[2].split(",") if word]
        if operation.startswith("adjust"):
            amounts = {word.partition(":")[0]: float(word.partition(":")[2]) for word in words}
            found = adjust(picture("grey" if operation == "adjust_grey" else "colour"), **amounts)
        else:
            found = OURS[operation](*map(float, words))
        np.testing.assert_allclose(found, OPERATIONS[name], atol=2e-6, rtol=0, err_msg=name)


def same_law(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    """Two samples are of one law: their means within 4.5 standard errors, and Kolmogorov and Smirnov not surprised."""
    error = math.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
    assert abs(ours.mean() - theirs.mean()) <= 4.5 * error + 1e-6, what
    assert ks_2samp(ours, theirs).pvalue > SURPRISING, what


@pytest.mark.core
@pytest.mark.parametrize("shape", [name.partition("/")[2] for name in DRAWS if name.startswith("crop/")])
def test_windows_follow_torchvisions_law(shape: str) -> None:
    height, width = map(int, shape.split(","))
    origin, extent = jax.jit(
        jax.vmap(lambda key: ops.crop_window(key, height, width, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)))
    )(KEYS)
    ours = np.column_stack([origin, extent]).astype(np.float64)
    np.testing.assert_array_equal(ours, np.rint(ours))
    theirs = DRAWS[f"crop/{shape}"].astype(np.float64)

    def features(windows: np.ndarray) -> dict[str, np.ndarray]:
        i, j, h, w = windows.T
        free = np.maximum([height - h, width - w], 1)
        down, right = i / free[0], j / free[1]
        return {
            "share of the area": h * w / (height * width),
            "logarithm of the aspect ratio": np.log(w / h),
            "position down": down,
            "position right": right,
            "at the first row": (i == 0).astype(float),
            "at the last row": (i + h == height).astype(float),
            "at the last column": (j + w == width).astype(float),
            "both positions": down * right,
        }

    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= [height, width]).all()
    expected = features(theirs)
    for what, values in features(ours).items():
        same_law(values, expected[what], what)


@pytest.mark.core
def test_the_jitter_follows_torchvisions_law() -> None:
    strengths = {"brightness": 0.8, "contrast": 0.4, "saturation": 1.5, "hue": 0.2}
    order, amounts = jax.jit(jax.vmap(lambda key: ops.draw_jitter(key, channels=3, **strengths)))(KEYS)
    for column, name in enumerate(ADJUSTMENTS):
        same_law(np.asarray(amounts[:, column], np.float64), DRAWS["factors"][:, column].astype(np.float64), name)
    correlation = np.corrcoef(np.asarray(amounts), rowvar=False)
    assert np.abs(correlation - np.eye(4)).max() < 4.5 / math.sqrt(len(KEYS))  # the amounts do not depend on each other
    for orders in (np.asarray(order), DRAWS["order"]):
        codes = orders.astype(int) @ [64, 16, 4, 1]
        _, counts = np.unique(codes, return_counts=True)
        assert len(counts) == 24
        assert chisquare(counts).pvalue > SURPRISING


@pytest.mark.core
def test_the_blur_follows_torchvisions_law() -> None:
    """The standard deviation is read off a blurred point: the middle of a window of 29 is 1 / (sum of the weights)."""
    point = jnp.zeros((1000, 31, 31, 1), jnp.uint8).at[:, 15, 15].set(255)
    view = VIEWS.build(VIEWS.spec("augment", **OFF, blur=1.0, blur_kernel=29, blur_sigma=(0.1, 2.0)), "")
    middle = jax.jit(view.apply)(point, KEYS[:1000], {}).values[:, 15, 15, 0]
    sigmas = np.linspace(0.1, 2.0, 4001)
    weights = np.exp(-(np.arange(-14, 15)[:, None] ** 2) / (2 * sigmas**2))
    of = 1 / weights.sum(axis=0) ** 2  # falls from 1 as sigma grows
    ours = np.interp(-np.asarray(middle, np.float64), -of, sigmas)
    blurred = sigmas[of < 0.999][0]  # below, a blur cannot be told from none
    same_law(np.maximum(ours, blurred), np.maximum(DRAWS["sigma"], blurred).astype(np.float64), "sigma")


def measures(views: np.ndarray) -> np.ndarray:
    """Measures of views [N, H, W, 3]: [N, 11]. The same stand in `golden/make.py`."""
    mean, deviation = views.mean((1, 2)), views.std((1, 2))
    across = np.abs(np.diff(views, axis=2)).mean((1, 2, 3))
    down = np.abs(np.diff(views, axis=1)).mean((1, 2, 3))
    grey = (np.ptp(views, axis=3) < 1e-4).all((1, 2)).astype(np.float64)
    tilt = views[:, :, :8].mean((1, 2, 3)) - views[:, :, 8:].mean((1, 2, 3))
    black = (views == 0).mean((1, 2, 3))
    return np.column_stack([mean, deviation, across, down, grey, tilt, black])


MEASURES = (
    *("mean " + c for c in "rgb"),
    *("deviation " + c for c in "rgb"),
    "across",
    "down",
    "grey",
    "tilt",
    "black",
)
CARDIAC = {
    "rotation": 45.0, "jitter": 1.0, "brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "grayscale": 0.0,
    "blur": 0.0, "crop_scale": (0.2, 1.0),
}  # fmt: skip


@pytest.mark.parametrize(("name", "options"), [("dvm", {}), ("cardiac", CARDIAC)], ids=["dvm", "cardiac"])
def test_whole_views_are_distributed_as_torchvisions(name: str, options: dict[str, object]) -> None:
    """Mean and standard deviation of each measure over 3,000 views are within 4.5 standard errors."""
    view = VIEWS.build(VIEWS.spec("augment", size=(16, 16), **options), "")
    images = jnp.broadcast_to(jnp.asarray(VIEWS_SEEN["picture"]), (1000, 32, 32, 3))
    augment = jax.jit(lambda keys: view.apply(images, keys, {}).values)
    keys = jax.random.split(jax.random.key(1), 3000)
    found = measures(np.concatenate([augment(keys[i : i + 1000]) for i in (0, 1000, 2000)]).astype(np.float64))
    mean, deviation, count = VIEWS_SEEN[f"{name}/mean"], VIEWS_SEEN[f"{name}/deviation"], int(VIEWS_SEEN["count"])
    for column, what in enumerate(MEASURES):
        values = found[:, column]
        error = math.sqrt(values.var() / len(values) + deviation[column] ** 2 / count)
        assert abs(values.mean() - mean[column]) <= 4.5 * error + 1e-6, what
        fourth = ((values - values.mean()) ** 4).mean()  # the standard error of a variance is by the fourth moment
        error = math.sqrt((fourth - values.var() ** 2) * (1 / len(values) + 1 / count))
        assert abs(values.var() - deviation[column] ** 2) <= 4.5 * error + 1e-9, what
