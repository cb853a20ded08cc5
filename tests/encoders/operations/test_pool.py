"""Maximum pooling: its gradient on CPUs is XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders.operations.pool import max_pool_3x3

pytestmark = pytest.mark.core


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (2, 5, 4, 1), (1, 1, 2, 2), (1, 3, 7, 1)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_gradient_is_that_of_xla(shape: tuple[int, ...], dtype: str) -> None:
    """Values are few, so that most windows have several maxima, and many are negative."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-2, 2, shape), dtype)

    def gradients(x: jax.Array) -> list[jax.Array]:
        forms = (max_pool_3x3, lambda x: nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1))))
        pairs = [jax.vjp(form, x) for form in forms]
        slopes = (1 + jnp.arange(pairs[0][0].size) % 7).astype(x.dtype).reshape(pairs[0][0].shape)
        return [back(slopes)[0] for _, back in pairs]

    mine, theirs = jax.jit(gradients)(x)
    assert mine.dtype == dtype
    assert np.abs(theirs.astype(jnp.float32)).max() > 0
    np.testing.assert_array_equal(mine, theirs)
