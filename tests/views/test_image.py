"""Image augmentations, each against what it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.views import VIEWS
from mmcl_jax.views import image_ops as ops

IMAGE = jnp.asarray(np.random.default_rng(0).random((12, 10, 3)), jnp.float32)
KEYS = jax.random.split(jax.random.key(0), 200)
OFF = {"flip": 0.0, "jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "crop_scale": (1.0, 1.0)}


def build(**options: object):
    return VIEWS.build(VIEWS.spec("augment", **options), "config.views.image")


def cropped(image: jax.Array, keys: jax.Array, **options: object) -> jax.Array:
    """The view with a crop alone, of copies of an image of bytes; in the image's own numbers."""
    view = build(**{**OFF, **options})
    return view.apply(jnp.broadcast_to(image.astype(jnp.uint8), (len(keys), *image.shape)), keys, {}).values * 255


def test_a_crop_of_a_ramp_shows_a_window_of_it() -> None:
    rows = jnp.broadcast_to(jnp.arange(16.0)[:, None, None], (16, 16, 1))
    crops = cropped(rows, KEYS, size=(8, 8), crop_scale=(0.2, 1.0))
    low, high = crops.min(axis=(1, 2, 3)), crops.max(axis=(1, 2, 3))
    assert (low >= 0).all()
    assert (high <= 15 + 1e-5).all()
    share = (high - low + 1) / 16
    assert share.min() < 0.5
    assert share.max() > 0.9
    np.testing.assert_allclose(crops[:, :, :1], crops[:, :, -1:], atol=1e-5)  # columns of a row are alike


ALMOST_ALL = (1 - 1e-6, 1.0)  # of the area: a share of exactly 1 leaves out cropping


def test_the_whole_image_as_crop_is_the_image() -> None:
    image = (IMAGE * 255).astype(jnp.uint8)
    crop = cropped(image, KEYS[:1], size=(12, 10), crop_scale=ALMOST_ALL, crop_ratio=(10 / 12, 10 / 12))[0]
    np.testing.assert_allclose(crop / 255, image.astype(jnp.float32) / 255, atol=1e-6)


def test_a_crop_that_cannot_fit_falls_back_to_the_centre() -> None:
    column = jnp.broadcast_to(jnp.arange(40.0)[:, None, None], (40, 4, 1))
    crop = cropped(column, KEYS[:1], size=(4, 4), crop_scale=ALMOST_ALL, crop_ratio=(1.0, 1.0))[0]
    np.testing.assert_allclose(crop[:, 0, 0], [18, 19, 20, 21], atol=1e-4)


def test_resizing_is_bilinear_without_antialiasing() -> None:
    ramp = jnp.arange(4, dtype=jnp.uint8)[None, :, None, None]
    view = VIEWS.build(VIEWS.spec("resized", size=(2, 1)), "")
    resized = view.apply(ramp, KEYS[:1], {}).values * 255
    np.testing.assert_allclose(resized.ravel(), [0.5, 2.5], rtol=1e-6)  # antialiasing would give 0.71 and 2.29


def test_flips_happen_at_their_rate() -> None:
    image = (IMAGE * 255).astype(jnp.uint8)
    flipped = jnp.round(cropped(image, KEYS, crop_scale=(1.0, 1.0), flip=0.25)).astype(jnp.uint8)
    mirrored = (flipped == image[None, :, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (flipped == image[None]).all(axis=(1, 2, 3))).all()
    assert 0.15 < mirrored.mean() < 0.35


def test_rotation_keeps_the_centre_and_reaches_both_sides() -> None:
    image = jnp.zeros((200, 9, 9, 1), jnp.uint8).at[:, 4, 4].set(255).at[:, 0, 4].set(255)
    turned = build(**OFF, rotation=45.0).apply(image, KEYS, {}).values
    assert (turned[:, 4, 4, 0] == 1).all()
    assert turned[:, :4, :4].sum() > 10
    assert turned[:, :4, 5:].sum() > 10
    np.testing.assert_array_equal(ops.rotate(IMAGE, jnp.float32(0)), IMAGE)


def jittered(key: jax.Array, **strength: float) -> jax.Array:
    full = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, **strength}
    return jnp.stack(ops.color_jitter(key, ops.planes(IMAGE), **full), axis=2)


def test_jitter_of_strength_zero_changes_nothing() -> None:
    np.testing.assert_allclose(jittered(KEYS[0]), IMAGE, atol=1e-6)


def test_jitter_follows_its_definitions() -> None:
    grey = np.asarray(IMAGE) @ np.array([0.2989, 0.587, 0.114])
    for name, other in {
        "brightness": np.zeros_like(IMAGE),
        "contrast": np.full(IMAGE.shape, grey.mean()),
        "saturation": np.repeat(grey[..., None], 3, axis=-1),
    }.items():
        changed = np.asarray(jittered(KEYS[1], **{name: 0.3}))
        inside = (changed > 0) & (changed < 1)
        factors = ((changed - other) / (np.asarray(IMAGE) - other))[inside]
        np.testing.assert_allclose(factors, np.median(factors), rtol=2e-2, err_msg=name)
        assert 0.7 <= np.median(factors) <= 1.3
    turned = jittered(KEYS[1], hue=0.2)
    np.testing.assert_allclose(turned.max(axis=2), IMAGE.max(axis=2), atol=1e-5)  # hue keeps the HSV value
    assert float(jnp.abs(turned - IMAGE).max()) > 0.1


def test_a_blur_keeps_a_flat_image_and_smooths_a_rough_one() -> None:
    images = (jnp.stack([jnp.full((12, 10, 3), 0.3), IMAGE]) * 255).astype(jnp.uint8)
    blurred = build(**{**OFF, "blur": 1.0}, blur_kernel=7, blur_sigma=(1.0, 2.0)).apply(images, KEYS[:2], {}).values
    np.testing.assert_allclose(blurred[0] * 255, images[0].astype(jnp.float32), atol=1e-4)
    assert blurred[1].std() < 0.5 * IMAGE.std()


def test_all_parts_off_is_the_image_itself() -> None:
    images = (IMAGE[None] * 255).astype(jnp.uint8)
    seen = build(**OFF).apply(images, KEYS[:1], {}).values
    np.testing.assert_allclose(seen, images.astype(jnp.float32) / 255)
    assert build(**OFF, size=(6, 5)).apply(images, KEYS[:1], {}).values.shape == (1, 6, 5, 3)


def test_the_share_of_augmented_images() -> None:
    images = jnp.broadcast_to((IMAGE * 255).astype(jnp.uint8), (200, 12, 10, 3))
    seen = build(probability=0.8, blur=0.0).apply(images, KEYS, {}).values
    untouched = (seen == images.astype(jnp.float32) / 255).all(axis=(1, 2, 3)).mean()
    assert 0.1 < untouched < 0.3
    assert seen.min() >= 0
    assert seen.max() <= 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("flip", 1.5), ("crop_scale", (0.5, 0.2)), ("blur_kernel", 4), ("rotation", -1.0), ("hue", 0.7), ("size", (0, 3))],
)
def test_numbers_out_of_range_are_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(UserError, match=f"config.views.image: {option}"):
        build(**{option: value})
