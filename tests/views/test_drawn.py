"""Views whose draws are part of the data: what they draw, and that the plain form is a function of the id alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.views import VIEWS, apply_views, noisy, rotated
from mmcl_jax.views.randomness import plain_keys

pytestmark = pytest.mark.core

IDS = jnp.arange(2000, dtype=jnp.uint32)
IMAGES = jnp.asarray(np.random.default_rng(0).integers(1, 256, (len(IDS), 8, 8, 1)), jnp.uint8)
VIEWS_OF = {"turned": ("rotated", {}), "noised": ("noisy", {}), "scaled": ("noisy", {"outside": "rescale"})}
TWO = {name: VIEWS.build(VIEWS.spec(view, modality=name, **options), "") for name, (view, options) in VIEWS_OF.items()}
BATCH = {"id": IDS, **dict.fromkeys(TWO, IMAGES)}


@jax.jit
def seen(batch: dict[str, jax.Array], seed: int, step: int) -> dict[str, dict[str, jax.Array]]:
    draws = {"seed": jnp.uint32(seed), "step": jnp.int32(step), "fitted": {}}
    forms = {
        "train": apply_views(TWO, batch, **draws),
        "plain": apply_views(TWO, batch, **draws, plain=True),
        "validation": apply_views(TWO, batch, **draws, validation=True),
    }
    return {form: {name: view.values for name, view in views.items()} for form, views in forms.items()}


FIRST, LATER = seen(BATCH, 0, 0), seen(BATCH, 1, 5)


@pytest.mark.parametrize("name", TWO)
def test_the_plain_form_is_a_function_of_the_id(name: str) -> None:
    plain = np.asarray(FIRST["plain"][name])
    np.testing.assert_array_equal(plain, FIRST["validation"][name])
    np.testing.assert_array_equal(plain, LATER["plain"][name])  # of another seed and step
    order = np.random.default_rng(1).permutation(len(IDS))
    shuffled = seen({key: values[order] for key, values in BATCH.items()}, 0, 0)["plain"][name]
    np.testing.assert_array_equal(plain[order], shuffled)
    alone = TWO[name](IMAGES[7:8], plain_keys(name, IDS[7:8]), train=False).values
    np.testing.assert_allclose(alone, plain[7:8], atol=1e-6)
    assert (np.abs(plain - FIRST["train"][name]).max(axis=(1, 2, 3)) > 0.01).mean() > 0.95
    assert (np.abs(np.asarray(FIRST["train"][name] - LATER["train"][name])).max(axis=(1, 2, 3)) > 0.01).mean() > 0.95


def test_two_inputs_of_one_image_draw_apart() -> None:
    noise = np.asarray(FIRST["plain"]["noised"]) - np.asarray(IMAGES) / np.float32(255)
    low = np.asarray(IMAGES) < 26
    angles = jax.vmap(lambda key: jax.random.uniform(key))(plain_keys("turned", IDS))
    others = jax.vmap(lambda key: jax.random.uniform(key))(plain_keys("noised", IDS))
    assert abs(np.corrcoef(angles, others)[0, 1]) < 0.1
    assert 0.4 < noise[low].mean() < 0.5  # the noise is uniform in [0, 1), a little of it clipped


def test_an_angle_is_uniform_and_a_pixel_is_a_stored_pixel_or_black() -> None:
    keys = plain_keys("image", IDS)
    geometry = np.asarray(rotated(degrees=45.0).plain(IMAGES, keys, {}).geometry)
    angles = np.degrees(np.arctan2(geometry[:, 1, 0], geometry[:, 0, 0]))
    assert np.abs(angles).max() <= 45
    assert np.abs(angles).max() > 44.5
    assert abs(angles.mean()) < 4 * 90 / np.sqrt(12 * len(IDS))
    assert abs(angles.std() - 90 / np.sqrt(12)) < 1
    values = np.rint(np.asarray(FIRST["plain"]["turned"]) * 255).astype(int)
    for image, view in zip(np.asarray(IMAGES)[:50], values[:50], strict=True):
        assert set(view.ravel()) <= {0, *image.ravel().tolist()}
    assert (values[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).mean() > 0.3  # the corners of most are black


def test_noise_is_clipped_or_rescaled() -> None:
    """A white pixel stays white under the released code's clamp, and not under the paper's rescaling."""
    white = jnp.zeros((3, 32, 32, 1), jnp.uint8).at[:, :16].set(255)
    keys = jax.random.split(jax.random.key(0), 3)
    clamped = np.asarray(noisy()(white, keys).values)
    scaled = np.asarray(noisy(outside="rescale")(white, keys).values)
    assert (clamped[:, :16] == 1).all()
    assert abs(clamped[:, 16:].mean() - 0.5) < 0.02
    assert (scaled.min(axis=(1, 2, 3)) == 0).all()
    np.testing.assert_allclose(scaled.max(axis=(1, 2, 3)), 1, atol=1e-6)
    assert abs(scaled[:, :16].mean() - 0.75) < 0.02
    assert abs(scaled[:, 16:].mean() - 0.25) < 0.02


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("rotated", {"degrees": 0.0}, "degrees must be positive"),
        ("noisy", {"noise": 0.0}, "noise must be positive"),
        ("noisy", {"outside": "wrap"}, "outside: 'wrap'"),
    ],
)
def test_bad_options(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        VIEWS.build(VIEWS.spec(name, **options), "config.views.image")


def test_a_plain_view_that_draws_needs_a_key() -> None:
    with pytest.raises(UserError, match="pass a key also for the plain view"):
        rotated()(IMAGES, train=False)
