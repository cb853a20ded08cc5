"""Every cosine is that of the rows' directions, at any length of the rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.evaluation.protocols.retrieval import ranks
from mmcl_jax.evaluation.sources.features import unit_rows
from mmcl_jax.objectives import TERMS
from mmcl_jax.objectives.collapse import spread
from mmcl_jax.objectives.unit import unit

B, D = 6, 8
LENGTHS = [1e-9, 8e-4, 1.0, 8e6, 1e25]  # float32 ends at 3e38: squares of the last are infinite
FIELDS = {"prediction": "predictions", "teacher": "teacher"}
TERM_NAMES = ["clip", "siglip", "nt_xent", "byol", "simsiam", "nnclr"]


def rows(seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(B, D))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("length", LENGTHS)
def test_unit_is_the_direction_and_its_gradient_that_of_float64(length: float) -> None:
    x, cotangent = rows(0), rows(1)
    value, back = jax.vjp(unit, jnp.asarray(x * length, jnp.float32))
    np.testing.assert_allclose(value, x, atol=3e-7)
    tangent = cotangent - x * np.sum(x * cotangent, axis=1, keepdims=True)  # of x / |x|, times |x|
    np.testing.assert_allclose(back(jnp.asarray(cotangent, jnp.float32))[0] * length, tangent, atol=1e-6)


def test_unit_of_short_and_axis_aligned_rows() -> None:
    x = jnp.array([[0.0, 0.0], [3e-13, 4e-13], [2.0, 0.0], [-7e20, 0.0]])
    np.testing.assert_allclose(unit(x), [[0, 0], [0.3, 0.4], [1, 0], [-1, 0]], rtol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(unit(x) * jnp.array([[1.0, 2.0]])))(x)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[2], [0, 1], atol=1e-6)  # nothing along the row itself


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", TERM_NAMES)
def test_terms_see_directions_alone(name: str, length: float) -> None:
    options = {"queue": 8} if name == "nnclr" else {}
    term = TERMS.build(TERMS.spec(name, **options), "")
    queue = {"queue": jnp.asarray(rows(9), jnp.float32)} if term.queue else {}

    def value(arrays: list[jax.Array]) -> jax.Array:
        pairs = dict(zip(term.outputs, zip(arrays[::2], arrays[1::2], strict=True), strict=True))
        made = {field: pairs[kind] for kind, field in FIELDS.items() if kind in pairs}
        return term(*pairs.get("embedding", ()), **made, **queue)

    directions = [rows(seed) for seed in range(2 * len(term.outputs))]
    expected, gradients = jax.value_and_grad(value)([jnp.asarray(x, jnp.float32) for x in directions])
    scaled = [jnp.asarray(x * length, jnp.float32) for x in directions]
    loss, scaled_gradients = jax.value_and_grad(value)(scaled)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for gradient, reference in zip(scaled_gradients, gradients, strict=True):
        np.testing.assert_allclose(gradient * np.float32(length), reference, atol=1e-5)


@pytest.mark.parametrize("length", LENGTHS)
def test_collapse_and_retrieval_see_directions_alone(length: float) -> None:
    x, y = rows(0), rows(1)
    np.testing.assert_allclose(unit_rows(x * length), x, atol=3e-7)
    np.testing.assert_array_equal(ranks(x * length, y), ranks(x, y))
    scaled, expected = spread(jnp.asarray(x * length, jnp.float32)), spread(jnp.asarray(x, jnp.float32))
    for name, value in expected.items():
        np.testing.assert_allclose(scaled[name], value, rtol=1e-4)
