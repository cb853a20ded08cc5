"""Randomness is a function of (seed, step, stream, example id) and of nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.views import VIEWS, apply_views
from mmcl_jax.views.randomness import example_keys

pytestmark = pytest.mark.core

IDS = jnp.array([3, 1, 4, 15], jnp.uint32)


def numbers(seed: int = 0, step: int = 0, stream: str = "image", ids: jax.Array = IDS) -> np.ndarray:
    keys = example_keys(jnp.uint32(seed), jnp.int32(step), stream, ids)
    return np.asarray(jax.vmap(jax.random.bits)(keys))


def test_the_place_in_the_batch_does_not_matter() -> None:
    np.testing.assert_array_equal(numbers(ids=IDS[::-1]), numbers()[::-1])
    np.testing.assert_array_equal(numbers(ids=IDS[1:3]), numbers()[1:3])


def test_everything_else_does() -> None:
    drawn = [numbers(), numbers(seed=1), numbers(step=1), numbers(stream="table"), numbers(ids=IDS + 20)]
    assert len(np.unique(np.concatenate(drawn))) == 20


def test_views_of_one_example_do_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    batch = {
        "id": IDS,
        "image": jnp.asarray(rng.integers(0, 255, (4, 12, 10, 3)), jnp.uint8),
        "table": jnp.asarray(rng.normal(size=(4, 10)), jnp.float32),
    }
    views = {"image": VIEWS.build(VIEWS.spec("augment"), ""), "table": VIEWS.build(VIEWS.spec("scarf"), "")}
    fitted = {"table": {"population": jnp.asarray(rng.normal(size=(30, 10)), jnp.float32)}}
    order = jnp.array([2, 0, 3, 1])

    @jax.jit
    def seen(batch):
        return apply_views(views, batch, seed=jnp.uint32(0), step=jnp.int32(5), fitted=fitted)

    straight, shuffled = seen(batch), seen(jax.tree.map(lambda x: x[order], batch))
    for name in views:
        np.testing.assert_array_equal(straight[name].values[order], shuffled[name].values)


def test_two_views_of_one_image_differ() -> None:
    """As SimCLR's: the same augmentation under two names, of the same rows in the same step."""
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (4, 12, 10, 3)), jnp.uint8)
    views = {name: VIEWS.build(VIEWS.spec("augment"), "") for name in ("image_1", "image_2")}
    batch = {"id": IDS, "image": images}
    seen = jax.jit(lambda: apply_views(views, batch, seed=jnp.uint32(0), step=jnp.int32(0), fitted={}))()
    difference = np.abs(np.asarray(seen["image_1"].values) - np.asarray(seen["image_2"].values)).mean(axis=(1, 2, 3))
    assert (difference > 0.01).all()
