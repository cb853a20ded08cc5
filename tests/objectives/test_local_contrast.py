"""The taxonomy's estimator: golden values of its code, and float64 references, in every execution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mmcl_jax.objectives.pairs import Execution, contrast, local_contrast, mean_squared_product, present, same, within
from mmcl_jax.training.mesh import make_mesh
from tests.objectives.lcg import lcg

EXECUTIONS = ["dense", "gathered", "ring"]
B, L, D, CLIP = 8, 5, 3, 2.0
RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(B, D)).astype(np.float32), RNG.normal(size=(B, L, D)).astype(np.float32)
WEIGHTS, LOCAL_WEIGHTS = RNG.uniform(0.5, 2, size=B), RNG.uniform(0.5, 2, size=(B, L))
PRESENT = np.arange(B) % 4 != 1
MASK = RNG.uniform(size=(B, L)) < 0.6
MASK[3] = False  # a sample without any location
SLICE = 4


def walks(name: str, devices: int) -> Execution:
    return Execution(name=name, mesh=make_mesh(jax.devices()[:devices]), tile=3)


def on(execution: Execution, tree):
    assert execution.mesh is not None
    return jax.device_put(tree, NamedSharding(execution.mesh, PartitionSpec(execution.mesh.axis_names)))


@pytest.mark.core
@pytest.mark.parametrize("name", EXECUTIONS)
def test_golden_values_of_the_taxonomy(name: str) -> None:
    """facts: X of (4, 8, 9) and Y of (4, 8, 1), 32 times a location each; here locations come before dimensions."""
    walk = walks(name, 4)
    local, pooled, other = 6 * lcg((4, 8, 9), 1), 6 * lcg((4, 8, 1), 2)[..., 0], 6 * lcg((4, 8, 1), 4)[..., 0]
    np.testing.assert_allclose(local[0, 0, :3], [0.0832, -1.9456, -1.1481], atol=1e-4)
    ids = np.arange(4, dtype=np.uint32)

    @jax.jit
    def values(local, pooled, other, ids):
        metadata, options = {"id": ids}, {"rule": same("id"), "execution": walk}
        both = contrast(
            pooled,
            other,
            x_metadata=metadata,
            y_metadata=metadata,
            scale=8**-0.5,
            normalise=False,
            clip=20.0,
            **options,
        )
        rows = local.reshape(-1, 8)
        return {
            "loss": local_contrast(pooled, local, metadata=metadata, **options).forward.mean(),
            "loss, 10 times": local_contrast(10 * pooled, 10 * local, metadata=metadata, **options).forward.mean(),
            "penalty": 0.04 * mean_squared_product(pooled, rows),
            "penalty, 10 times": 0.04 * mean_squared_product(10 * pooled, 10 * rows),
            "RR": both.forward.mean(),
            "RR reversed": both.backward.mean(),
            "RR penalty": 0.04 * mean_squared_product(other, pooled),
        }

    golden = {
        "loss": 6.355828,
        "loss, 10 times": 25.705184,
        "penalty": 0.311149,
        "penalty, 10 times": 3111.4886,
        "RR": 4.464222,
        "RR reversed": 4.537112,
        "RR penalty": 0.239189,
    }
    actual = values(*on(walk, (local.swapaxes(1, 2), pooled, other, ids)))
    for key, value in golden.items():
        np.testing.assert_allclose(actual[key], value, rtol=3e-6, err_msg=key)


def reference(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """In float64, one location after another: the weighted sum, and the losses of rows and of locations."""
    s = CLIP * np.tanh(np.einsum("id,jld->ijl", x, y) / np.sqrt(D) / CLIP)
    valid = PRESENT[:, None] & MASK
    rows, locations = np.zeros(B), np.zeros((B, L))
    for i in range(B):
        near = [j for j in range(B) if j // SLICE == i // SLICE and PRESENT[j] and j != i]
        negatives = sum(np.exp(s[i, j][valid[j]]).sum() for j in near)
        losses = [np.log(np.exp(s[i, i, k]) + negatives) - s[i, i, k] for k in range(L) if valid[i, k]]
        rows[i] = np.mean(losses) if losses else 0
        for k in range(L):
            if valid[i, k]:
                negatives = sum(np.exp(s[j, i, k]) for j in near)
                locations[i, k] = np.log(np.exp(s[i, i, k]) + negatives) - s[i, i, k]
    return float(WEIGHTS @ rows + np.sum(LOCAL_WEIGHTS * locations)), rows, locations


def reference_gradient(x: np.ndarray, y: np.ndarray, side: int) -> np.ndarray:
    gradient = np.zeros_like((x, y)[side])
    for index in np.ndindex(gradient.shape):
        values = []
        for step in (1e-6, -1e-6):
            both = [x.copy(), y.copy()]
            both[side][index] += step
            values.append(reference(*both)[0])
        gradient[index] = (values[0] - values[1]) / 2e-6
    return gradient


@pytest.mark.core
@pytest.mark.parametrize("name", EXECUTIONS)
def test_absent_samples_masked_locations_and_slices_agree_with_float64(name: str) -> None:
    walk = walks(name, 8)
    x, y = X.copy(), Y.copy()
    x[~PRESENT] = np.nan
    y[~PRESENT], y[~MASK] = 1e30, np.nan

    def total(x, y, mask, metadata):
        rule = within(present(same("id")), size=SLICE)
        both = local_contrast(x, y, rule=rule, metadata=metadata, mask=mask, clip=CLIP, execution=walk)
        weights, local_weights = jnp.asarray(WEIGHTS, jnp.float32), jnp.asarray(LOCAL_WEIGHTS, jnp.float32)
        return weights @ both.forward.loss + local_weights.reshape(-1) @ both.backward.loss, both

    metadata = {"id": np.arange(B, dtype=np.uint32), "index": np.arange(B, dtype=np.int32), "present": PRESENT}
    gradients, both = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(*on(walk, (x, y, MASK, metadata)))
    wide = X.astype(np.float64), Y.astype(np.float64)
    _, rows, locations = reference(*wide)
    np.testing.assert_allclose(both.forward.loss, rows, rtol=2e-6)
    np.testing.assert_allclose(both.backward.loss, locations.reshape(-1), rtol=2e-6, atol=1e-7)
    np.testing.assert_array_equal(both.forward.valid, PRESENT & MASK.any(axis=1))
    np.testing.assert_array_equal(both.backward.valid, (PRESENT[:, None] & MASK).reshape(-1))
    for side, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, reference_gradient(*wide, side), rtol=1e-4, atol=5e-6)
    np.testing.assert_array_equal(np.asarray(gradients[0])[~PRESENT], 0)
    np.testing.assert_array_equal(np.asarray(gradients[1])[~(PRESENT[:, None] & MASK)], 0)


def test_hits_are_rows_of_which_a_location_is_above_all_negatives() -> None:
    x = jnp.eye(3)
    y = jnp.stack([jnp.eye(3)[jnp.array([a, b])] for a, b in ((0, 1), (2, 2), (0, 2))]) * jnp.array([[[1.0], [2.0]]])
    both = jax.jit(lambda x, y: local_contrast(x, y, rule=same("id"), metadata={"id": jnp.arange(3)}))(x, y)
    # Row 0 meets its like at location (0, 0), and equally at (2, 0); row 1 only elsewhere; row 2 equally often.
    assert both.forward.top1.tolist() == [True, False, True]
    assert both.backward.top1.tolist() == [True, False, False, False, False, True]


def test_a_lone_sample_has_nothing_to_tell_itself_from() -> None:
    lone = jax.jit(lambda x, y: local_contrast(x, y, rule=same("id"), metadata={"id": jnp.arange(1)}))
    both = lone(jnp.ones((1, 2)), jnp.ones((1, 3, 2)))
    assert both.forward.loss.tolist() == [0.0]
    assert both.forward.valid.tolist() == [True]


def test_the_penalty_is_the_mean_over_pairs_that_are_there() -> None:
    x, y = X.copy(), Y[:, 0].copy()
    rows, columns = PRESENT, np.arange(B) % 3 != 2
    x[~rows], y[~columns] = np.nan, 1e30
    squares = np.square(X[rows].astype(np.float64) @ Y[columns, 0].T / np.sqrt(D))

    def penalty(x, y):
        return mean_squared_product(x, y, x_present=jnp.asarray(rows), y_present=jnp.asarray(columns))

    value, (dx, dy) = jax.value_and_grad(penalty, argnums=(0, 1))(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(value, squares.mean(), rtol=1e-6)
    products = X[rows].astype(np.float64) @ Y[columns, 0].T
    np.testing.assert_allclose(dx[rows], 2 * products @ Y[columns, 0] / D / products.size, rtol=1e-5)
    np.testing.assert_allclose(dy[columns], 2 * products.T @ X[rows] / D / products.size, rtol=1e-5)
    np.testing.assert_array_equal(dx[~rows], 0)
    np.testing.assert_array_equal(dy[~columns], 0)
    assert mean_squared_product(jnp.asarray(x), jnp.asarray(X), x_present=jnp.zeros(B, bool)) == 0
