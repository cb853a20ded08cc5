"""Integrated gradients on plain arrays: the sum is f(x) - f(baseline), however the path is cut into pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mmcl_jax.explain import integrate
from mmcl_jax.explain.attributed import Attributed, attributed
from mmcl_jax.explain.integrate import Path, integrated_gradients, steps_of
from mmcl_jax.training.mesh import by_example, make_mesh, replicated

pytestmark = pytest.mark.core

X = np.array([[2, 3, 1], [0, 7, 200], [250, 0, 3]], np.uint8)  # uint8 minus a baseline above it wraps
BASELINE = np.array([1, 2, 0], np.float32)


def product(x: jax.Array) -> jax.Array:
    return x[:, 0] * x[:, 1] + 3 * x[:, 2]


def of_row(arrays: jax.Array, row: jax.Array, own: jax.Array) -> jax.Array:
    """Three outputs: the product, a product of three factors, and one that the row's own number scales."""
    return jnp.stack([product(row[None])[0], row.prod() * arrays, own[0] * row.sum()])


@pytest.mark.parametrize("chunk", [8, 64])
@pytest.mark.parametrize("steps", [1, 7, 64, 129])
def test_the_sum_is_the_change_for_every_number_and_chunk_of_steps(steps: int, chunk: int) -> None:
    rows = jnp.asarray(X, jnp.float32) / 50
    path = Path(of_row, jnp.float32(0.1), rows, jnp.asarray(BASELINE), jnp.array([1.0, 2.0, 3.0]))
    ((outputs, part),) = path.attributions(steps, chunk=chunk)
    assert outputs == slice(0, 3)
    exact = slice(0, 3) if steps > 1 else slice(0, 3, 2)  # one step is exact for gradients that are linear
    np.testing.assert_allclose(part.sum(axis=2)[:, exact], path.change[:, exact], rtol=1e-5, atol=1e-5)
    closed = (np.asarray(rows) - BASELINE) * np.stack(
        [(rows[:, 1] + 2) / 2, (rows[:, 0] + 1) / 2, np.full(3, 3.0)], axis=1
    )
    np.testing.assert_allclose(part[:, 0], closed, rtol=1e-5, atol=1e-5)


def test_uint8_and_a_baseline_that_is_not_zero() -> None:
    result = integrated_gradients(product, X, BASELINE, steps=7, chunk=3)
    x = X.astype(np.float32)
    np.testing.assert_allclose(result.change, x[:, 0] * x[:, 1] + 3 * x[:, 2] - 2)
    np.testing.assert_allclose(result.attributions.sum(axis=1), result.change, rtol=1e-5)
    assert np.abs(result.error).max() <= 1e-5 * np.abs(result.change).max()


def test_images_keep_their_shape_and_outputs_their_axis() -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 3, 1)).astype(np.float32)
    result = integrated_gradients(lambda x: jnp.stack([x.sum((1, 2, 3)), (x**2).sum((1, 2, 3))], 1), images, steps=2)
    np.testing.assert_allclose(result.attributions, np.stack([images, images**2], axis=1), rtol=1e-5, atol=1e-6)
    assert result.error.shape == (2, 2)


@pytest.mark.parametrize("bad", [{"steps": 0}, {"chunk": 0}])
def test_numbers_of_steps_are_positive(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        integrated_gradients(product, X, **bad)


def test_the_error_of_a_steep_relu_is_told() -> None:
    """Its gradient jumps, so no number of steps is exact."""
    result = integrated_gradients(lambda x: jax.nn.relu(1e4 * (x[:, 0] - 0.7321)), np.ones((1, 1)), steps=64)
    left = result.change - result.attributions.sum(axis=1)
    np.testing.assert_allclose(result.error, left)
    assert 0 < abs(result.error[0] / result.change[0]) < 0.05


def test_weights_sum_to_one_and_positions_lie_inside() -> None:
    for count in (1, 2, 50):
        shares, weights = steps_of(count)
        assert abs(weights.sum(dtype=np.float64) - 1) < 1e-6
        assert ((shares > 0) & (shares < 1)).all()


def wide(arrays: jax.Array, row: jax.Array, own: tuple) -> jax.Array:
    return jnp.tanh(arrays @ row)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)], ids=["forward", "reverse"])
def test_rows_over_devices_and_blocks_of_outputs_give_the_same(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three blocks of at most two of five outputs, the last of which repeats an output."""
    inputs = shape[1]
    rng = np.random.default_rng(0)
    arrays, rows = rng.normal(size=shape).astype(np.float32), rng.normal(size=(8, inputs)).astype(np.float32)
    columns = np.arange(inputs) % 2
    results = []
    for devices, bytes_of_row in ((1, 2**24), (8, 2**24), (8, 8 * inputs)):
        monkeypatch.setattr(integrate, "_BYTES_OF_ROW", bytes_of_row)
        mesh = make_mesh(jax.devices()[:devices])
        path = Path(
            wide,
            jax.device_put(arrays, replicated(mesh)),
            jax.device_put(rows, by_example(mesh)),
            jax.device_put(np.zeros(inputs, np.float32), NamedSharding(mesh, PartitionSpec())),
            (),
        )
        results.append(attributed([(slice(0, 7), path)], columns, 2, 16, chunk=5))
    assert results[0].attributions.shape == (7, 2)
    for other in results[1:]:
        for name in ("attributions", "change", "error"):
            np.testing.assert_allclose(getattr(other, name), getattr(results[0], name), rtol=1e-5, atol=1e-6)
    assert results[0].relative < 1e-3
    assert results[0].worst >= results[0].relative


def test_the_error_of_attributions_that_cancel_is_that_of_rounding() -> None:
    """The change is 0, so an error relative to it alone would be infinite."""
    attributions = np.array([[1.0, -1.0], [2.0, -2.0]], np.float32)
    found = Attributed(attributions, np.zeros(2, np.float32), np.array([3e-8, 0], np.float32))
    assert found.relative == pytest.approx(5e-3)
    assert found.worst == pytest.approx(1e-2)
    assert Attributed(0 * attributions, np.zeros(2), np.zeros(2)).relative == 0
