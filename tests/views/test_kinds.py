"""Views of 16-bit pixels, volumes, vectors and texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.views import VIEWS, View, apply_views

pytestmark = pytest.mark.core

KEYS = jax.random.split(jax.random.key(0), 200)
SCALE = {"mean": jnp.arange(10.0), "std": jnp.full(10, 2.0)}
VOCABULARY = {"tokens": jnp.array([True, True, True, False, True]), "unknown": jnp.int32(0)}


def build(name: str, **options: object) -> View:
    return VIEWS.build(VIEWS.spec(name, **options), "config.views.v")


@pytest.mark.parametrize("name", ["resized", "resized_volume"])
@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("float16", 1)])
def test_pixels_are_shares_of_what_their_type_holds(name: str, dtype: str, top: int) -> None:
    shape = (2, 3, 4, 1) if name == "resized" else (2, 3, 4, 2, 1)
    stored = np.random.default_rng(0).uniform(0, top, shape).astype(dtype)
    seen = build(name).apply(jnp.asarray(stored), KEYS[:2], {}).values
    assert seen.dtype == jnp.float32
    np.testing.assert_allclose(seen, stored.astype(np.float64) / top, rtol=1e-6)


def test_pixels_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels are int32, and views take uint8, uint16 or float16"):
        build("resized").apply(jnp.zeros((2, 3, 4, 1), jnp.int32), KEYS[:2], {})


def test_a_volume_is_cropped_flipped_and_changed_in_intensity() -> None:
    stored = jnp.broadcast_to(jnp.full((4, 6, 5, 1), 100, jnp.uint8), (200, 4, 6, 5, 1))
    seen = np.asarray(build("augment_volume", scale=0.2, shift=0.1).apply(stored, KEYS, {}).values)
    np.testing.assert_allclose(seen, np.broadcast_to(seen[:, :1, :1, :1], seen.shape), atol=1e-6)
    levels, grey = seen[:, 0, 0, 0, 0], 100 / 255
    assert levels.min() >= 0.8 * grey - 0.1
    assert levels.max() <= 1.2 * grey + 0.1
    assert levels.std() > 0.05
    plain = build("augment_volume").plain(stored, KEYS, {}).values
    np.testing.assert_allclose(plain, grey, rtol=1e-6)


def test_one_of_several_volumes_is_taken() -> None:
    stored = jnp.broadcast_to(jnp.array([10, 20, 30], jnp.uint8)[None, :, None, None, None, None], (200, 3, 2, 2, 2, 1))
    first = np.asarray(build("resized_volume").apply(stored, KEYS, {}).values)[:, 0, 0, 0, 0] * 255
    assert set(np.rint(first)) == {10, 20, 30}
    second = build("resized_volume", picture=1).plain(stored, KEYS, {}).values
    np.testing.assert_allclose(np.asarray(second) * 255, 20, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_vectors_are_scaled_and_missing_values_are_the_mean(dtype: str) -> None:
    stored = np.random.default_rng(0).integers(-50, 50, (5, 10)).astype(dtype)
    expected = (stored.astype(np.float64) - np.arange(10)) / 2
    stored[1, 3] = stored[4, 0] = -127 if dtype == "int8" else np.nan
    expected[1, 3] = expected[4, 0] = 0
    for view in (build("vector"), build("vector_scarf", rate=0.0)):
        for look in (view.apply, view.plain):
            seen = look(jnp.asarray(stored), KEYS[:5], {**SCALE, "population": jnp.asarray(stored)})
            np.testing.assert_allclose(seen.values, expected, rtol=1e-6)


def test_corrupted_features_are_those_of_other_rows_and_are_named() -> None:
    """Feature f of the population is 10 f + 1, and of the rows 0."""
    population = 10 * jnp.arange(10.0)[None] + jnp.ones((4, 1))
    seen = build("vector_scarf", rate=0.3).apply(jnp.zeros((200, 10)), KEYS, {**SCALE, "population": population})
    raw = np.asarray(seen.values) * 2 + np.arange(10)
    np.testing.assert_array_equal(np.asarray(seen.changed).sum(axis=1), 3)
    np.testing.assert_allclose(raw, np.where(seen.changed, 10 * np.arange(10) + 1, 0), atol=1e-4)


def texts(*rows: list[int]) -> jax.Array:
    """Texts of these tokens, each in a sentence of its own."""
    return jnp.array([[[t, place if t >= 0 else -1] for place, t in enumerate(row)] for row in rows], jnp.int32)


def test_tokens_of_no_training_row_are_unknown() -> None:
    seen = build("tokens").apply(texts([3, 1, 4, -1], [2, -1, -1, -1]), KEYS[:2], VOCABULARY).values
    np.testing.assert_array_equal(seen, texts([0, 1, 4, -1], [2, -1, -1, -1]))


def test_dropped_tokens_leave_the_others_in_order() -> None:
    given = jnp.broadcast_to(texts([1, 2, 4, 1, 2, 4, -1, -1]), (200, 8, 2))
    view = build("tokens", drop=0.5)
    seen, pairs = np.asarray(view.apply(given, KEYS, VOCABULARY).values), set(map(tuple, np.asarray(given[0, :6])))
    lengths = (seen[..., 0] >= 0).sum(axis=1)
    assert lengths.min() >= 1
    assert abs(lengths.mean() - 3) < 0.4
    for text, length in zip(seen, lengths, strict=True):
        assert (text[length:] == -1).all()
        assert (np.diff(text[:length, 1]) > 0).all()
        assert set(map(tuple, text[:length])) <= pairs
    np.testing.assert_array_equal(view.plain(given, KEYS, VOCABULARY).values, given)


def test_what_an_absent_row_holds_is_not_seen() -> None:
    """A vector of numbers beyond reason, and a text: the first is zeros, the second no token."""
    views = {"a": build("vector", modality="a"), "t": build("tokens", modality="t")}
    batch = {
        "id": jnp.arange(3, dtype=jnp.uint32),
        "a": jnp.array([[1.0] * 10, [jnp.nan] * 10, [1e30] * 10]),
        "t": texts([1, 2], [1, 2], [1, 2]),
        "present/a": jnp.array([True, False, False]),
        "present/t": jnp.array([True, False, True]),
    }
    fitted = {"a": SCALE, "t": VOCABULARY}
    for plain in (False, True):
        seen = apply_views(views, batch, seed=jnp.uint32(0), step=jnp.int32(0), fitted=fitted, plain=plain)
        assert (np.asarray(seen["a"].values[1:]) == 0).all()
        assert (np.asarray(seen["t"].values[1]) == -1).all()
        np.testing.assert_array_equal(seen["t"].values[0], texts([1, 2])[0])


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("augment_volume", {"crop_scale": (0.5, 0.2)}, "crop_scale must rise within"),
        ("augment_volume", {"flip": (0.5, 2.0, 0.0)}, "flip must lie in"),
        ("resized_volume", {"size": (0, 2, 2)}, "size must be positive"),
        ("vector_scarf", {"rate": 1.5}, "rate must lie in"),
        ("vector_scarf", {"population": 0}, "population must be positive"),
        ("scarf", {"population": 0}, "population must be positive"),
        ("tokens", {"drop": 1.0}, "drop must lie in"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=f"config.views.v: {sentence}"):
        build(name, **options)


def test_a_picture_that_a_row_does_not_have_is_not_drawn() -> None:
    """Rows of one, two and three pictures of three, and one whose second is black."""
    levels = np.array([[10, 0, 0], [10, 20, 0], [10, 20, 30], [10, 0, 30]], np.uint8)
    stored = jnp.repeat(jnp.asarray(levels), 100, axis=0)[:, :, None, None, None] * jnp.ones((1, 1, 2, 2, 1), jnp.uint8)
    keys = jax.random.split(jax.random.key(3), 400)
    seen = np.rint(np.asarray(build("resized", picture=None).apply(stored, keys, {}).values)[:, 0, 0, 0] * 255)
    assert [sorted(set(part)) for part in np.split(seen, 4)] == [[10], [10, 20], [10, 20, 30], [0, 10, 30]]
    assert abs((np.split(seen, 4)[1] == 20).mean() - 0.5) < 0.2
