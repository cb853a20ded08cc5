"""Losses between local features of one sample: masks, and the sum over modalities; see `test_lovt.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import Features
from mmcl_jax.objectives import TERMS, Each
from mmcl_jax.objectives.local import attended, position_contrast
from tests.objectives.lcg import lcg

pytestmark = pytest.mark.core

MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)


def weights(shape: tuple[int, int], seed: int, mask: np.ndarray | None = None) -> np.ndarray:
    drawn = (lcg(shape, seed) + 0.5) * (1 if mask is None else mask)
    return (drawn / drawn.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("junk", [np.nan, 1e30])
def test_masked_positions_change_nothing(junk: float) -> None:
    x, y = lcg((3, 4, 5), 34), lcg((3, 4, 5), 35)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)

    def loss(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        forward, backward = position_contrast(x, y, temperature=0.3, mask=jnp.asarray(mask))
        seen = attended(x, jnp.where(mask[:, :, None], y, 0), y, jnp.asarray(mask))
        return (forward + backward).sum() + jnp.where(mask[:, :, None], seen, 0).sum(), forward

    spoiled = [jnp.asarray(np.where(mask[:, :, None], side, np.float32(junk))) for side in (x, y)]
    gradients, forward = jax.grad(loss, argnums=(0, 1), has_aux=True)(jnp.where(mask[:, :, None], x, 0), spoiled[1])
    short = position_contrast(jnp.asarray(x[1:2, :2]), jnp.asarray(y[1:2, :2]), temperature=0.3)
    np.testing.assert_allclose(forward[1], short[0][0], rtol=1e-6)
    assert forward[2] == 0
    for gradient in gradients:
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(np.asarray(gradient)[~mask], 0)
    spoiled_forward = position_contrast(*spoiled, temperature=0.3, mask=jnp.asarray(mask))[0]
    np.testing.assert_array_equal(spoiled_forward, forward)


def test_the_term_adds_the_losses_of_both_modalities() -> None:
    """With an attention that gives each side what LoVT's golden values compare it with."""
    x, seen, z, actual = (jnp.asarray(lcg((2, n, 5), seed)) for n, seed in ((9, 31), (9, 32), (4, 34), (4, 35)))

    class Fixed(nnx.Module):
        def __call__(self, own: jax.Array, *other: jax.Array | None, **given: object) -> jax.Array:
            return seen if own.shape[1] == 9 else actual

    features = (
        Features(pooled=x[:, 0], local=x, weight=jnp.asarray(weights((2, 9), 33)), grid=(3, 3)),
        Features(pooled=z[:, 0], local=z, mask=jnp.asarray(MASK), weight=jnp.asarray(weights((2, 4), 36, MASK))),
    )
    term = TERMS.build(TERMS.spec("local_alignment"), "")
    ids = jnp.arange(2, dtype=jnp.uint32)
    each = term.each(Each(ids=ids, features=features, embeddings=(x, z), layers={"align": Fixed()}))
    np.testing.assert_allclose(term(each=each), (2.809208 + 2.657899 + 1.292200 + 1.285935) / 2, rtol=2e-6)
