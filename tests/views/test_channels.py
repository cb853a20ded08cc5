"""Every view on images of 1 to 8 channels, and what grey means for each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.step import prepared
from mmcl_jax.config import load, view
from mmcl_jax.data.input import Batches
from mmcl_jax.data.schema import Column, ImageSpec, Schema
from mmcl_jax.training.build import assemble
from mmcl_jax.training.mesh import by_example, put
from mmcl_jax.views import VIEWS
from mmcl_jax.views import image_ops as ops

CHANNELS = range(1, 9)
KEYS = jax.random.split(jax.random.key(0), 4)
STRONG = {
    "probability": 0.5, "flip": 0.5, "jitter": 1.0, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.3,
    "grayscale": 0.5, "blur": 0.5, "rotation": 30.0, "crop_scale": (0.2, 1.0),
}  # fmt: skip


def draw(channels: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(channels).random((*shape, channels)).astype(np.float32)


@pytest.mark.parametrize("channels", CHANNELS)
def test_every_image_view_works_on_any_number_of_channels(channels: int) -> None:
    images = jnp.asarray(draw(channels, 4, 10, 8) * 255, jnp.uint8)
    views = {"augment": STRONG, "frontal": {}, "resized": {}, "rotated": {"degrees": 90.0}, "noisy": {"noise": 2.0}}
    names = set(VIEWS.names()) - {"fused"}  # a fused view is made of features
    assert {name for name in names if VIEWS.build(VIEWS.spec(name), "").takes == "image"} == set(views)
    for name, options in views.items():
        view = VIEWS.build(VIEWS.spec(name, size=(6, 6), **options), "")
        seen = np.asarray(jax.jit(view.apply)(images, KEYS, {}).values)
        assert seen.shape == (4, 6, 6, channels)
        assert (seen >= 0).all()
        assert (seen <= 1 + 1e-6).all()


@pytest.mark.core
@pytest.mark.parametrize("channels", CHANNELS)
def test_grey_is_the_luma_of_three_channels_and_else_their_mean(channels: int) -> None:
    image = draw(channels, 5, 4)
    weights = np.array([0.2989, 0.587, 0.114]) if channels == 3 else np.full(channels, 1 / channels)
    level = (image.astype(np.float64) @ weights)[..., None]
    grey = np.stack(ops.grey(ops.planes(jnp.asarray(image))), axis=2)
    np.testing.assert_allclose(grey, np.broadcast_to(level, image.shape), atol=1e-6)


@pytest.mark.core
@pytest.mark.parametrize("channels", CHANNELS)
def test_adjustments_follow_their_definitions(channels: int) -> None:
    image = draw(channels, 5, 4)
    weights = np.array([0.2989, 0.587, 0.114]) if channels == 3 else np.full(channels, 1 / channels)
    level = (image.astype(np.float64) @ weights)[..., None]
    others = [np.zeros_like(image), np.full(image.shape, level.mean()), level][: 2 if channels == 1 else 3]
    for place, other in enumerate(others):
        amounts = jnp.ones(len(others)).at[place].set(0.6)
        changed = np.stack(ops.adjust(ops.planes(jnp.asarray(image)), jnp.arange(len(others)), amounts), axis=2)
        np.testing.assert_allclose(changed, 0.6 * image + 0.4 * other, atol=1e-6, err_msg=str(place))


@pytest.mark.core
@pytest.mark.parametrize(("channels", "adjustments"), [(1, 2), (2, 3), (3, 4), (4, 3), (8, 3)])
def test_only_three_channels_have_a_hue_and_only_one_has_no_saturation(channels: int, adjustments: int) -> None:
    order, amounts = ops.draw_jitter(KEYS[0], channels=channels, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2)
    assert sorted(order.tolist()) == list(range(adjustments))
    assert amounts.shape == (adjustments,)


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 8])
def test_a_step_is_trained_on_any_number_of_channels(channels: int) -> None:
    rng = np.random.default_rng(0)
    sizes = ["batch_size=8", "epochs=1", "schedule.warmup_epochs=0", "batch_norm.group_size=8", "data=drawn"]
    sizes += ["encoders.image.channels=(4,)", "encoders.table.hidden=4", "encoders.table.features=4"]
    sizes += [f"projectors.{name}.{key}=4" for name in ("image", "table") for key in ("hidden", "out")]
    config = load("digits_mmcl", sizes)
    config.views.image = view("augment", **STRONG)
    arrays = {
        "id": np.arange(8, dtype=np.uint32),
        "image": rng.integers(0, 255, (8, 8, 8, channels), np.uint8),
        "table": rng.normal(size=(8, 2)).astype(np.float32),
    }
    columns = tuple(Column(name=name, kind="continuous") for name in "ab")
    schema = Schema(columns=columns, image=ImageSpec(height=8, width=8, channels=channels, fit="as they are"))
    batches = Batches(arrays, batch_size=8, epochs=1, seed=0)
    made = assemble(config, schema, batches, jax.devices()[:1])
    compiled, state, constants = prepared(made)
    state, metrics = compiled(state, put(batches[0], by_example(made.mesh)), constants)
    assert np.isfinite(metrics["loss"])
    assert float(metrics["gradient_norm"]) > 0
