"""The view `scan`: intensities against float64 definitions, windows, flips, turns and what is fitted for it."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.config import input
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.writing import finish, write
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.kinds.intensity import PERCENTILES, IntensityFit, fit_intensities
from mmcl_jax.data.schema import Entry
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.files import atomic
from mmcl_jax.views import VIEWS, View, asked_of_volumes

pytestmark = pytest.mark.core

KEYS = jax.random.split(jax.random.key(5), 16)
SHAPE = (5, 8, 6, 1)
OFF = {"histogram": "none", "normalise": "none", "pad": 0, "flip": (0.0, 0.0, 0.0)}


def build(**options: object) -> View:
    return VIEWS.build(VIEWS.spec("scan", **options), "config.views.v")


def heads(dtype: str, count: int = 16) -> np.ndarray:
    """Volumes with an empty border and levels that differ from scan to scan."""
    random = np.random.default_rng(1)
    volumes = np.zeros((count, *SHAPE))
    volumes[:, 1:, 1:7, 1:5] = random.gamma(3.0, 1.0, (count, 4, 6, 4, 1)) * random.uniform(1, 5, (count, 1, 1, 1, 1))
    top = {"uint8": 255, "uint16": 65535, "float16": 300.0}[dtype]
    volumes *= top / volumes.max()
    return (volumes - 20 if dtype == "float16" else volumes).astype(dtype)


def fit(rows: np.ndarray, asked: IntensityFit) -> dict[str, jax.Array]:
    return {name: jnp.asarray(array) for name, array in fit_intensities(rows, asked, name="t1").items()}


def volumes_store(directory: Path) -> Store:
    """A store with an entry of which some rows have none, and two folds."""
    at = np.where(np.arange(12) % 5 == 0, -1, np.arange(12))
    entry = Entry(kind="volume", shape=SHAPE, dtype="float16")
    content = Content(
        parts={"brain": Part(entry=entry, values=heads("float16", 12), at=at)},
        id=np.arange(12),
        keys=[str(row) for row in range(12)],
        splits={"train": np.arange(9), "val": np.array([9]), "test": np.array([10, 11])},
        folds=[np.arange(start, 12, 3) for start in range(3)],
    )
    with atomic(directory) as partial:
        partial.mkdir(parents=True)
        write(partial, content, description="Volumes")
        finish(partial)
    return Store.open(directory)


def nyul(volume: np.ndarray, landmarks: np.ndarray, voxels: str) -> np.ndarray:
    """The definition, a voxel at a time: the line between the two landmarks that a voxel's quantiles lie between."""
    values = volume.astype(np.float64).ravel()
    counted = values[values > values.mean()] if voxels == "above_mean" else values
    found = np.percentile(counted, PERCENTILES)
    mapped = np.empty_like(values)
    for index, value in enumerate(values):
        piece = min(max(int((found <= value).sum()) - 1, 0), len(found) - 2)
        extent = found[piece + 1] - found[piece]
        slope = (landmarks[piece + 1] - landmarks[piece]) / extent if extent > 0 else 0.0
        mapped[index] = landmarks[piece] + slope * (value - found[piece])
    return mapped.reshape(volume.shape)


@pytest.mark.parametrize("voxels", ["all", "above_mean"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_histograms_are_mapped_to_the_landmarks_as_defined(dtype: str, voxels: str) -> None:
    stored = heads(dtype)
    landmarks = fit(stored[:9], IntensityFit(voxels))["landmarks"]
    seen = build(histogram=voxels, normalise="none").plain(jnp.asarray(stored), KEYS, {"landmarks": landmarks})
    for volume, found in zip(stored, np.asarray(seen.values), strict=True):
        np.testing.assert_allclose(found, nyul(volume, np.asarray(landmarks[0], np.float64), voxels), atol=2e-3)


def test_landmarks_are_the_mean_quantiles_on_the_standard_scale() -> None:
    stored = heads("uint16", 4)
    quantiles = np.percentile(stored.reshape(4, -1).astype(np.float64), PERCENTILES, axis=1).T
    low, high = quantiles[:, :1], quantiles[:, -1:]
    expected = (100 * (quantiles - low) / (high - low)).mean(axis=0)
    constant = np.full((1, *SHAPE), 7, np.uint16)  # has no scale, and does not count
    rows = np.concatenate([stored, constant])
    np.testing.assert_allclose(
        fit_intensities(rows, IntensityFit("all"), name="t1")["landmarks"][0], expected, rtol=1e-6
    )
    with pytest.raises(UserError, match="no training volume has different intensities at its 1st and 99th percentile"):
        fit_intensities(constant, IntensityFit("all"), name="t1")


def test_channels_are_standardised_each_by_itself() -> None:
    first, second = heads("uint16"), heads("uint16")[::-1] // 3
    landmarks = [fit(part, IntensityFit("all"))["landmarks"] for part in (first, second)]
    both = np.concatenate([first, second], axis=-1)
    fitted = fit(both, IntensityFit("all"))
    np.testing.assert_array_equal(fitted["landmarks"], np.concatenate(landmarks))
    seen = np.asarray(build().plain(jnp.asarray(both), KEYS, fitted).values)
    for channel, (part, own) in enumerate(zip((first, second), landmarks, strict=True)):
        alone = build().plain(jnp.asarray(part), KEYS, {"landmarks": own}).values
        np.testing.assert_allclose(seen[..., channel], alone[..., 0], atol=1e-5)


@pytest.mark.parametrize("voxels", ["all", "above_mean"])
def test_z_scores_are_those_of_the_voxels_that_count(voxels: str) -> None:
    stored = heads("uint16").astype(np.float64)
    seen = build(**{**OFF, "normalise": voxels}).plain(jnp.asarray(stored.astype(np.uint16)), KEYS, {}).values
    for volume, found in zip(np.floor(stored), np.asarray(seen), strict=True):
        counted = volume[volume > volume.mean()] if voxels == "above_mean" else volume
        np.testing.assert_allclose(found, (volume - counted.mean()) / counted.std(ddof=1), atol=1e-4)


def test_a_mask_leaves_the_lowest_value_outside_and_is_fitted_before_the_landmarks() -> None:
    stored = heads("float16")
    fitted = fit(stored, IntensityFit("all", mask=True))
    np.testing.assert_array_equal(fitted["mask"], (stored[0] > -20)[..., 0])
    spoilt = stored.copy()
    spoilt[:3, 0, 0, 0] = 300  # outside of the mask, in too few volumes
    again = fit(spoilt, IntensityFit("all", mask=True))
    np.testing.assert_array_equal(again["landmarks"], fitted["landmarks"])
    view = build(mask=True)
    seen = [np.asarray(view.plain(jnp.asarray(rows), KEYS, fitted).values) for rows in (stored, spoilt)]
    np.testing.assert_array_equal(*seen)
    with pytest.raises(UserError, match="the mask is empty"):
        fit_intensities(np.zeros_like(stored), IntensityFit(mask=True), name="t1")


def test_rescaling_moves_values_to_the_unit_interval_and_changes_no_landmark() -> None:
    stored = jnp.asarray(heads("float16"))
    alone = np.asarray(build(**{**OFF, "rescale": True}).plain(stored, KEYS, {}).values)
    np.testing.assert_allclose(alone.reshape(16, -1).min(axis=1), 0)
    np.testing.assert_allclose(alone.reshape(16, -1).max(axis=1), 1, rtol=1e-6)
    fitted = fit(np.asarray(stored), IntensityFit("all"))
    seen = [np.asarray(build(rescale=on).plain(stored, KEYS, fitted).values) for on in (False, True)]
    np.testing.assert_allclose(*seen, atol=2e-3)


def test_rows_that_are_constant_stay_finite() -> None:
    stored = jnp.stack([jnp.zeros(SHAPE, jnp.float16), jnp.full(SHAPE, 0.1, jnp.float16)])
    fitted = {"landmarks": jnp.linspace(0.0, 100.0, 11)[None]}
    for voxels in ("all", "above_mean"):
        seen = build(histogram=voxels, rescale=True).plain(stored, KEYS[:2], fitted).values
        assert np.isfinite(np.asarray(seen)).all()
    np.testing.assert_allclose(build(histogram="none").plain(stored, KEYS[:2], {}).values, 0, atol=1e-6)


def shown(view: View, train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the stored volume that the voxels of the view show (+1, so that padding is 0), and those claimed."""
    indices = np.stack(np.meshgrid(*map(np.arange, SHAPE[:3]), indexing="ij"), axis=-1)
    stored = jnp.broadcast_to(((indices + 1) * 1000).astype(np.uint16), (16, *SHAPE[:3], 3))
    seen = jax.jit(view.apply if train else view.plain)(stored, KEYS, {})
    points = np.stack(np.meshgrid(*map(np.arange, seen.values.shape[1:4]), indexing="ij"), axis=-1)
    geometry = np.asarray(seen.geometry)
    claimed = np.einsum("bij,dhwj->bdhwi", geometry[..., :3], points) + geometry[:, None, None, None, :, 3]
    return np.asarray(seen.values) * 65.535 - 1, claimed


@pytest.mark.parametrize("size", [None, (4, 6, 5)])
def test_a_window_shows_what_its_geometry_says_and_zeros_beyond_the_volume(size: tuple[int, int, int] | None) -> None:
    view = build(**{**OFF, "pad": 2, "flip": (0.5, 0.5, 0.5)}, size=size)
    found, claimed = shown(view, train=True)
    inside = ((claimed >= 0) & (claimed <= np.array(SHAPE[:3]) - 1)).all(axis=-1)
    np.testing.assert_allclose(found[inside], claimed[inside], atol=1e-3)
    np.testing.assert_allclose(found[~inside], -1, atol=1e-6)
    corners = claimed[:, 0, 0, 0]
    assert len(np.unique(corners, axis=0)) > 10
    assert corners.min() >= -2
    assert (corners <= np.array(SHAPE[:3]) + 1).all()


def test_the_plain_form_shows_the_middle_without_flips() -> None:
    found, claimed = shown(build(**OFF), train=False)
    np.testing.assert_allclose(found, claimed, atol=1e-3)
    np.testing.assert_allclose(claimed[:, 0, 0, 0], 0)
    found, claimed = shown(build(**{**OFF, "pad": 3, "flip": (1.0, 1.0, 1.0)}, size=(3, 8, 8)), train=False)
    np.testing.assert_allclose(claimed[:, 0, 0, 0], np.broadcast_to([1, 0, -1], (16, 3)))
    np.testing.assert_allclose(found[:, :, :, 1:7], claimed[:, :, :, 1:7], atol=1e-3)


@pytest.mark.parametrize(
    "view",
    [
        lambda: build(**OFF, rotation=20.0),
        lambda: VIEWS.build(
            VIEWS.spec("augment_volume", rotation=20.0, scale=0.0, shift=0.0, crop_scale=(1.0, 1.0)), "view"
        ),
    ],
    ids=["scan", "augment_volume"],
)
def test_a_turn_is_trilinear_about_the_centre(view: Callable[[], View]) -> None:
    found, claimed = shown(view(), train=True)
    inside = ((claimed >= 0) & (claimed <= np.array(SHAPE[:3]) - 1)).all(axis=-1)
    assert 0.5 < inside.mean() < 0.95  # some voxels come from beyond the volume
    np.testing.assert_allclose(found[inside], claimed[inside], atol=1e-2)
    centre = claimed.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(centre, np.broadcast_to((np.array(SHAPE[:3]) - 1) / 2, (16, 3)), atol=1e-4)


def test_intensity_is_changed_by_one_factor_and_one_number_a_volume() -> None:
    stored = jnp.full((16, *SHAPE), 51, jnp.uint8)
    seen = np.asarray(build(**OFF, scale=0.5, shift=0.1).apply(stored, KEYS, {}).values)
    assert np.ptp(seen.reshape(16, -1), axis=1).max() < 1e-6
    assert np.ptp(seen) > 0.1
    np.testing.assert_allclose(build(**OFF, scale=0.5, shift=0.1).plain(stored, KEYS, {}).values, 0.2, rtol=1e-6)


def test_bad_options_are_one_sentence() -> None:
    for options, message in (
        ({"histogram": "some"}, "histogram must be all, above_mean or none, not 'some'"),
        ({"flip": (0.5, 2.0, 0.0)}, "flip must lie in"),
        ({"pad": -1}, "pad must not be negative, as -1 is"),
    ):
        with pytest.raises(UserError, match=message):
            build(**options)
    with pytest.raises(ValueError, match="is larger than the volume of"):
        build(**{**OFF, "size": (9, 9, 9), "pad": 1}).plain(jnp.zeros((1, *SHAPE), jnp.uint8), KEYS[:1], {})
    views = {"a": VIEWS.spec("scan", modality="t1"), "b": VIEWS.spec("scan", modality="t1", histogram="above_mean")}
    with pytest.raises(UserError, match=r"config.views.b: histogram is 'above_mean' and mask False, and in another"):
        asked_of_volumes(views)
    other = {"a": views["a"], "b": VIEWS.spec("resized_volume", modality="t1")}
    assert asked_of_volumes(other) == {"t1": IntensityFit("all")}


def test_what_is_fitted_on_the_rows_of_the_fold_is_read_back_from_the_run(tmp_path: Path) -> None:
    store = volumes_store(tmp_path / "store")
    options = {"t1": input(of="brain")}
    asked = {"t1": IntensityFit("above_mean", mask=True)}
    fits = [Inputs.fit(options, store, fold=fold, views=asked).fitted["t1"] for fold in (0, 1)]
    assert np.abs(fits[0]["landmarks"] - fits[1]["landmarks"]).max() > 0.1
    for fold, fitted in enumerate(fits):
        read = store.read("train", ["brain"], fold=fold)["brain"]
        expected = fit_intensities(np.asarray(read[np.flatnonzero(read.present)]), asked["t1"], name="t1")
        for name in ("landmarks", "mask"):
            np.testing.assert_array_equal(fitted[name], expected[name])
    inputs = Inputs.fit(options, store, fold=1, views=asked)
    inputs.write(tmp_path)
    again = Inputs.read(tmp_path, options, fold=1)
    for name, array in fits[1].items():
        np.testing.assert_array_equal(again.fitted["t1"][name], array)
    assert not Inputs.fit(options, store).fitted  # without a view that asks, nothing is read
