"""The CCA term: golden values of released code, float64 references, and gradients where eigenvalues repeat."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.arrays import ArrayError
from mmcl_jax.objectives import cca
from mmcl_jax.objectives.correlation import norm_of, whitened_covariance
from mmcl_jax.objectives.terms.taxonomy.cca import check_rows
from mmcl_jax.training.mesh import by_example, make_mesh
from tests.objectives.lcg import lcg

pytestmark = pytest.mark.core

OLD, HEAD = {"r1": 1e-7, "r2": 1e-7, "cut": 1e-3}, {"r1": 1e-3, "r2": 1e-3, "cut": 1e-9}
X, Y = lcg((16, 4), 11), lcg((16, 4), 12)
NORMS = ("frobenius", "nuclear")


def reference(x: np.ndarray, y: np.ndarray, norm: str, *, r1: float, r2: float, cut: float) -> float:
    """Float64, by the eigenvalues that count and the singular values."""
    x, y = (z.astype(np.float64) - z.mean(axis=0, dtype=np.float64) for z in (x, y))

    def root(z: np.ndarray, r: float) -> np.ndarray:
        values, vectors = np.linalg.eigh(z.T @ z / (len(z) - 1) + r * np.eye(z.shape[1]))
        chosen = vectors[:, values > cut]
        return chosen @ np.diag(values[values > cut] ** -0.5) @ chosen.T

    singular = np.linalg.svd(root(x, r1) @ (x.T @ y) / (len(x) - 1) @ root(y, r2), compute_uv=False)
    return float(np.sqrt((singular**2).sum()) if norm == "frobenius" else singular.sum())


def value(x: jax.Array, y: jax.Array, norm: str = "frobenius", present: jax.Array | None = None, **options: float):
    return norm_of(whitened_covariance(x, y, present=present, **options), norm)


GRADIENT = jax.jit(jax.value_and_grad(value), static_argnames=("norm", "r1", "r2", "cut"))


def test_golden_values_of_the_released_code() -> None:
    """facts: both defaults, the nuclear norm that Andrew et al. define, and the singular values with r = 1e-3."""
    for options, frobenius, nuclear in ((OLD, 0.904223, 1.574081), (HEAD, 0.891351, 1.550783)):
        for norm, expected in (("frobenius", frobenius), ("nuclear", nuclear)):
            once = cca(norm=norm, orders="one", **options)(X, Y)
            both = cca(norm=norm, **options)(X, Y)
            np.testing.assert_allclose([once, both], [-expected, -2 * expected], atol=2e-6)
            np.testing.assert_allclose(reference(X, Y, norm, **options), expected, atol=2e-6)
    singular = jnp.linalg.svd(whitened_covariance(jnp.asarray(X), jnp.asarray(Y), **HEAD), compute_uv=False)
    np.testing.assert_allclose(singular, [0.689260, 0.473089, 0.294649, 0.093784], atol=2e-6)


def test_orders_differ_where_the_variances_are_regularised_differently() -> None:
    options = {"r1": 0.5, "r2": 1e-3, "cut": 1e-9}
    expected = [reference(X, Y, "frobenius", **options), reference(Y, X, "frobenius", **options)]
    assert abs(expected[0] - expected[1]) > 1e-3
    np.testing.assert_allclose(cca(**options)(X, Y), -sum(expected), rtol=1e-5)


def repeated() -> tuple[np.ndarray, np.ndarray]:
    """Embeddings whose covariance has one eigenvalue three times, to the bit: all signs of three dimensions."""
    signs = np.array([[1 - 2 * (row >> column & 1) for column in range(3)] for row in range(8)], np.float64)
    return signs, np.random.default_rng(3).normal(size=(8, 3))


def quotients(x: np.ndarray, y: np.ndarray, norm: str, some: tuple[slice, slice], options) -> np.ndarray:
    """Central differences of the float64 reference by some columns of x."""
    gradient, step = np.zeros(x[some].shape), 1e-5
    for index in np.ndindex(*gradient.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * step
            ends.append(reference(moved, y, norm, **options))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def few_rows() -> tuple[np.ndarray, np.ndarray]:
    """Eight rows of 64 dimensions, as small as an untrained encoder's: at least 57 eigenvalues are equal."""
    return tuple(np.random.default_rng(5).normal(scale=0.3, size=(2, 8, 64)))


CASES = {
    "distinct": (X.astype(np.float64), Y.astype(np.float64), OLD),
    "repeated": (*repeated(), OLD),
    "few rows, ridge": (*few_rows(), HEAD),  # 57 equal eigenvalues that count
    "few rows, cut": (*few_rows(), OLD),  # 57 equal eigenvalues that are left out
    "left out": (X.astype(np.float64) * [1, 1, 1, 1e-2], Y.astype(np.float64), OLD),
}


@pytest.mark.parametrize(
    ("case", "norm"),
    [*((case, "frobenius") for case in CASES), ("repeated", "nuclear"), ("few rows, ridge", "nuclear")],
)
def test_gradients_are_those_of_finite_differences(case: str, norm: str) -> None:
    """In float64, and in float32 as near as its rounding allows."""
    x, y, options = CASES[case]
    some = (slice(None), slice(0, 3)) if x.shape[1] == 64 else (slice(None), slice(None))
    expected = quotients(x, y, norm, some, options)
    with jax.enable_x64(True):
        found, gradient = GRADIENT(jnp.asarray(x), jnp.asarray(y), norm, **options)
        assert gradient.dtype == jnp.float64
        np.testing.assert_allclose(found, reference(x, y, norm, **options), rtol=1e-9)
        np.testing.assert_allclose(gradient[some], expected, atol=1e-6 * max(1, np.abs(expected).max()))
    _, narrow = GRADIENT(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), norm, **options)
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, gradient, atol=2e-3 * max(1, np.abs(gradient).max()))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_finite_where_there_is_none(norm: str, dtype: str) -> None:
    """Rows that are all equal, eigenvalues at the cut or an ulp from each other, and one direction."""
    rng = np.random.default_rng(7)
    signs, other = repeated()
    at_cut = signs * np.sqrt([1e-3 * 7 / 8, 1e-3 * 7 / 8, 1]) * np.array([1, 1 + 2e-7, 1])
    cases = [
        (np.ones((8, 3)), other),
        (np.zeros((8, 3)), np.zeros((8, 3))),
        (at_cut, other),
        (signs * [1, 1 + 2e-7, 1], other),
        (rng.normal(size=(8, 3)) * [1, 0, 0], other),
    ]
    with jax.enable_x64(dtype == "float64"):
        for x, y in cases:
            arrays = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
            found, gradient = GRADIENT(*arrays, norm, r1=0.0, r2=0.0, cut=1e-3)
            assert np.isfinite(found)
            assert np.isfinite(gradient).all()


def test_absent_rows_change_nothing_on_any_number_of_devices() -> None:
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(2, 16, 3)).astype(np.float32)
    present = np.arange(16) % 4 != 1
    term = cca()
    expected = -2 * reference(x[present], y[present], "frobenius", **OLD)
    dirty = np.where(present[:, None], x, np.nan)

    def loss(x, y, present):
        return term(x, y, present=present)

    for devices in (1, 4):
        sharding = by_example(make_mesh(jax.devices()[:devices]))
        arrays = (jax.device_put(array, sharding) for array in (dirty, y, present))
        found, gradient = jax.jit(jax.value_and_grad(loss))(*arrays)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[~present], 0)
    assert float(term(x, y, present=np.zeros(16, bool))) == 0


def test_bfloat16_is_computed_in_float32() -> None:
    x, y = (jnp.asarray(z, jnp.bfloat16) for z in (X, Y))
    expected = reference(np.asarray(x, np.float64), np.asarray(y, np.float64), "frobenius", **OLD)
    np.testing.assert_allclose(value(x, y, **OLD), expected, rtol=1e-5)


def test_fewer_rows_than_dimensions_are_refused_and_few_are_told() -> None:
    with pytest.raises(ArrayError, match=r"8 rows, and with fewer rows than dimensions .* at least 64 rows"):
        cca()(*(array.astype(np.float32) for array in few_rows()))
    rng = np.random.default_rng(11)
    for rows, constant in ((64, "63 of 63"), (100, "29 of 64"), (128, "1 of 64")):
        assert f"dimensions, {constant} canonical correlations are 1" in check_rows(rows, [64, 64])
        bases = [np.linalg.svd(z - z.mean(0))[0][:, : min(rows - 1, 64)] for z in rng.normal(size=(2, rows, 64))]
        singular = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
        assert (singular > 1 - 1e-9).sum() == int(constant.split()[0]), rows
    assert check_rows(129, [64, 64]) == ""
    with pytest.raises(ValueError, match="cut must not be negative"):
        cca(cut=-1.0)
