"""LoVT's projector by hand: padded positions in and out of the norm, absent rows, and the initial parameters."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.projectors import lovt_mlp

pytestmark = pytest.mark.core

X = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)  # the last row is absent


@pytest.mark.parametrize("padding", ["mask", "include"])
def test_padded_positions_enter_the_norm_as_zeros_if_asked_for(padding: Literal["mask", "include"]) -> None:
    projector = lovt_mlp(features=5, hidden=6, out=2, padding=padding, rngs=nnx.Rngs(0))
    projector.out.bias[...] = jnp.array([0.5, -0.5])
    x = np.where(MASK[:, :, None], X, 0)
    hidden = x.astype(np.float64) @ np.asarray(projector.hidden.kernel[...], np.float64)
    entering = hidden[MASK] if padding == "mask" else hidden[:2].reshape(-1, 6)
    normalised = (hidden - entering.mean(axis=0)) / np.sqrt(entering.var(axis=0) + 1e-5)
    expected = np.maximum(normalised, 0) @ np.asarray(projector.out.kernel[...], np.float64) + [0.5, -0.5]
    junk = jnp.asarray(np.where(MASK[:, :, None], X, np.nan))
    actual = projector(zero_absent(junk, jnp.asarray(MASK)), train=True, present=jnp.asarray(MASK))
    np.testing.assert_allclose(np.asarray(actual)[MASK], expected[MASK], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(projector.norm.mean[...], 0.1 * entering.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_without_a_norm_it_has_biases_and_both_begin_kaiming_normal() -> None:
    projector = lovt_mlp(features=128, hidden=256, out=64, normalise="none", rngs=nnx.Rngs(0))
    for layer, variance in ((projector.hidden, 2 / 256), (projector.out, 1 / 64)):
        np.testing.assert_allclose(np.var(layer.kernel[...]), variance, rtol=0.05)
        np.testing.assert_array_equal(layer.bias[...], 0)
    assert projector.norm is None
    assert lovt_mlp(features=4, hidden=4, out=4, rngs=nnx.Rngs(0)).hidden.bias is None
    with pytest.raises(ValueError, match="hidden and out must be positive"):
        lovt_mlp(features=4, hidden=0, rngs=nnx.Rngs(0))
