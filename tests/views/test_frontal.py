"""The view of radiographs: what it draws, its plain form, and rows with several images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.views import VIEWS, apply_views

pytestmark = pytest.mark.core

KEYS = jax.random.split(jax.random.key(5), 64)
OFF = {
    "crop_scale": (1.0, 1.0), "flip": 0.0, "rotation": 0.0, "shift": 0.0, "zoom": (1.0, 1.0), "jitter": 0.0,
    "blur": 0.0,
}  # fmt: skip
IMAGE = np.random.default_rng(0).integers(40, 200, (12, 12, 1), np.uint8)


def build(**options: object):
    return VIEWS.build(VIEWS.spec("frontal", **options), "config.views.image")


def seen(images: np.ndarray | jax.Array, **options: object) -> np.ndarray:
    return np.asarray(build(**{**OFF, **options}).apply(jnp.asarray(images), KEYS[: len(images)], {}).values)


def test_the_plain_form_pads_by_half_of_the_missing_pixels_rounded_down() -> None:
    for shape, padded in (((4, 7), (6, 7)), ((7, 4), (7, 6)), ((6, 6), (6, 6))):
        image = jnp.full((1, *shape, 1), 255, jnp.uint8)
        rows, columns = ((side - own) // 2 for side, own in zip(padded, shape, strict=True))
        by_hand = np.zeros(padded)
        by_hand[rows : rows + shape[0], columns : columns + shape[1]] = 1
        view = build(size=padded)
        np.testing.assert_allclose(view.plain(image, KEYS[:1], {}).values[0, :, :, 0], by_hand, atol=1e-6)
        np.testing.assert_allclose(seen(image, size=padded)[0, :, :, 0], by_hand, atol=1e-6)  # everything off
    assert build().plain(jnp.zeros((1, 4, 7, 1), jnp.uint8), KEYS[:1], {}).values.shape == (1, 7, 7, 1)


def test_maps_are_drawn_in_their_ranges() -> None:
    """Three corners of the view show how it was turned, enlarged and shifted."""
    view = build(**{**OFF, "rotation": 20.0, "shift": 0.1, "zoom": (0.95, 1.05)}, size=(40, 40))
    keys = jax.random.split(jax.random.key(1), 400)
    images = jnp.zeros((400, 40, 40, 1), jnp.uint8)
    geometry = np.asarray(view.apply(images, keys, {}).geometry, np.float64)
    degrees = np.rad2deg(np.arctan2(geometry[:, 1, 0], geometry[:, 0, 0]))
    scale = 1 / np.hypot(geometry[:, 0, 0], geometry[:, 1, 0])
    centre = geometry[:, :, :2] @ np.full(2, 19.5) + geometry[:, :, 2] - 19.5
    shift = -np.linalg.solve(geometry[:, :, :2], centre[..., None])[..., 0]
    for values, low, high in ((degrees, -20, 20), (scale, 0.95, 1.05), (shift, -4, 4)):
        assert low - 1e-4 <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high + 1e-4
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-4)


def test_brightness_contrast_and_blur_always_change_the_image() -> None:
    images = np.broadcast_to(IMAGE, (64, *IMAGE.shape))
    factors = seen(np.full((64, 4, 4, 1), 100, np.uint8), jitter=1.0, contrast=0.0).mean(axis=(1, 2, 3)) * 255 / 100
    assert 0.6 - 1e-4 <= factors.min() < 0.65
    assert 1.35 < factors.max() <= 1.4 + 1e-4
    spread = seen(images, blur=1.0, blur_sigma=(0.5, 3.0)).std(axis=(1, 2, 3))
    assert (spread < 0.9 * (IMAGE / 255).std()).all()
    assert np.unique(spread).size == 64


def test_a_view_that_is_not_augmented_is_the_plain_one() -> None:
    images = np.broadcast_to(IMAGE[:, :9], (64, 12, 9, 1))
    view = build(size=(10, 10), probability=0.5)
    drawn, plain = (np.asarray(form(jnp.asarray(images), KEYS, {}).values) for form in (view.apply, view.plain))
    same = np.isclose(drawn, plain, atol=1e-5).all(axis=(1, 2, 3))
    assert 0.3 < same.mean() < 0.7


def test_grey_images_are_repeated() -> None:
    repeated = seen(IMAGE[None], channels=3)
    np.testing.assert_array_equal(repeated, np.repeat(seen(IMAGE[None]), 3, axis=-1))
    with pytest.raises(ValueError, match="channels is 3, and the images have 2"):
        seen(np.zeros((1, 4, 4, 2), np.uint8), channels=3)


def test_all_views_of_a_row_draw_the_same_of_its_images() -> None:
    """Image v of row i has the grey level 10 v + 1; rows have one to three images, and zeros behind them."""
    counts = 1 + np.arange(48) % 3  # of a row's images
    rows = np.where(np.arange(3) < counts[:, None], 10 * np.arange(3) + 1, 0).astype(np.uint8)
    batch = {
        "id": jnp.arange(48, dtype=jnp.uint32),
        "image": jnp.asarray(np.broadcast_to(rows[:, :, None, None, None], (48, 3, 4, 4, 1))),
    }
    views = {"image_1": build(**OFF), "image_2": build(**OFF), "other": VIEWS.build(VIEWS.spec("resized"), "view")}

    def levels(step: int, **options: bool) -> dict[str, np.ndarray]:
        viewed = apply_views(views, batch, seed=jnp.uint32(0), step=jnp.int32(step), fitted={}, **options)
        return {name: np.round(np.asarray(one.values)[:, 0, 0, 0] * 255) for name, one in viewed.items()}

    drawn = [levels(step) for step in range(8)]
    indices = np.stack([(one["image_1"] - 1) / 10 for one in drawn])
    for one in drawn:
        np.testing.assert_array_equal(one["image_1"], one["image_2"])
        assert (one["other"] > 0).all()  # no view shows the zeros
    assert (indices >= 0).all()
    assert (indices < counts).all()
    assert {int(index) for index in indices[:, counts == 3].ravel()} == {0, 1, 2}
    assert any((one["other"] != one["image_1"]).any() for one in drawn)  # a view of another kind draws by itself
    assert (levels(0, plain=True)["image_1"] == 1).all()  # the first image
