"""The linear association of variants with phenotypes, a block of variants at a time, on the accelerator.

For every variant and phenotype this is the least-squares regression of the phenotype on the copies of the counted
allele, the covariates and an intercept, among the people who have a call of the variant. All sums are of float64, for
which 64-bit mode is switched on around the programs here alone.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.data.kinds.vector import is_missing
from mmcl_jax.gwas.statistics.p_values import neg_log10_p

# Why a variant was not tested, by code; 0 stands for a variant that was.
REASONS = (
    "",
    "nobody has a call",
    "all people have the same number of copies",
    "the covariates determine it",
    "too few people have a call",
    "the covariates are collinear among the people who have a call",
)
_CONSTANT = 1e-10  # of the variance; dosages are rounded
_COLLINEAR = 1e-9  # the share of a variance that no other column explains


@dataclasses.dataclass(frozen=True)
class Block:
    """The associations of V variants with K phenotypes; NaN where a variant was not tested.

    Attributes:
      beta: effects of one copy of the counted allele, `[K, V]`.
      error: their standard errors, `[K, V]`.
      neg_log10_p: -log10 of the two-sided p-values, `[K, V]`.
      count: people who have a call, `[V]` int64.
      frequency: of the counted allele among them, `[V]`.
      reason: why a variant was not tested, `[V]` int8, an index of `REASONS`.
    """

    beta: np.ndarray
    error: np.ndarray
    neg_log10_p: np.ndarray
    count: np.ndarray
    frequency: np.ndarray
    reason: np.ndarray


class Regression:
    """The regression of phenotypes on blocks of variants, with the same covariates and people for all of them.

    Args:
      phenotypes: `[N, K]`, without missing values.
      covariates: `[N, C]`, without the intercept, constant or collinear columns.

    Example:
      >>> calls = np.array([[0, 2], [1, 1], [2, -127], [0, 0], [1, 2]], np.int8)
      >>> block = Regression(np.array([[0.1], [1.2], [1.9], [0.0], [0.8]]), np.zeros((5, 0)))(calls)
      >>> block.beta.round(3).tolist(), block.count.tolist()
      ([[0.929, 0.136]], [5, 4])
    """

    def __init__(self, phenotypes: np.ndarray, covariates: np.ndarray) -> None:
        people = len(phenotypes)
        centred = covariates - covariates.mean(axis=0)  # so that large values cost no digits
        basis = np.linalg.qr(np.column_stack([np.ones(people), centred]))[0]
        self.columns = basis.shape[1]
        # The regression has the intercept and the covariates, so residuals on them give the same effects; they are
        # orthogonal to the basis, and sums over all people but those without a call stay exact.
        rest = phenotypes - basis @ (basis.T @ phenotypes)
        rest -= basis @ (basis.T @ rest)
        self.phenotypes = rest.shape[1]
        upper = np.triu_indices(self.columns)
        products = [
            basis[:, upper[0]] * basis[:, upper[1]],
            (basis[:, :, None] * rest[:, None]).reshape(people, -1),
            rest**2,
        ]
        with jax.enable_x64(True):
            self._basis, self._rest = jnp.asarray(basis), jnp.asarray(rest)
            self._products = jnp.asarray(np.concatenate(products, axis=1))

    def __call__(self, calls: np.ndarray) -> Block:
        """Return the associations of a block.

        Args:
          calls: copies of the counted allele, `[N, V]`: int8 with -127 for a missing call, or float32 with NaN.
        """
        lacks = bool(is_missing(calls).any())
        with jax.enable_x64(True):
            program = _some_missing if lacks else _none_missing
            found = program(jnp.asarray(calls), self._basis, self._rest, self._products)
            beta, error, count, frequency, reason = map(np.asarray, found)
        degrees = count - self.columns - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            value = neg_log10_p(beta / error, np.maximum(degrees, 1))
        return Block(beta, error, value, count.astype(np.int64), frequency, reason)


@jax.jit
def _none_missing(
    calls: jax.Array, basis: jax.Array, rest: jax.Array, products: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return the associations of variants of which nobody lacks the call."""
    copies = calls.astype(jnp.float64)
    mean = copies.mean(axis=0, keepdims=True)
    centred = copies - mean
    own = jnp.square(centred).sum(axis=0)
    free = own - jnp.square(centred.T @ basis).sum(axis=1)
    cross = centred.T @ rest  # [V, K]
    total = jnp.broadcast_to(jnp.square(rest).sum(axis=0, keepdims=True), cross.shape)
    count, sound = jnp.full(own.shape, calls.shape[0], jnp.float64), jnp.ones(own.shape, bool)
    return _finished(own, free, cross, total, count, mean[0], sound, basis.shape[1])


@jax.jit
def _some_missing(
    calls: jax.Array, basis: jax.Array, rest: jax.Array, products: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return the associations of variants of which some people lack the call.

    The sums over the people with a call are those over all people, which the orthonormal basis makes trivial, less the
    sums over the people without; a Cholesky factor of the basis' products then takes the covariates out of the rest.
    """
    columns, phenotypes, variants = basis.shape[1], rest.shape[1], calls.shape[1]
    absent = is_missing(calls)
    copies = jnp.where(absent, 0.0, calls.astype(jnp.float64))
    lost = absent.astype(jnp.float64).T @ products  # [V, products]
    count = (~absent).sum(axis=0).astype(jnp.float64)
    mean = copies.sum(axis=0) / jnp.maximum(count, 1.0)
    centred = jnp.where(absent, 0.0, copies - mean[None])

    rows, cols = np.triu_indices(columns)
    pairs = len(rows)
    upper = jnp.zeros((variants, columns, columns)).at[:, rows, cols].set(lost[:, :pairs])
    gram = jnp.eye(columns)[None] - (upper + jnp.triu(upper, 1).swapaxes(1, 2))
    of_basis = -lost[:, pairs : pairs + columns * phenotypes].reshape(variants, columns, phenotypes)
    total = jnp.square(rest).sum(axis=0, keepdims=True) - lost[:, pairs + columns * phenotypes :]

    factor = jnp.linalg.cholesky(gram)
    left = jnp.square(jnp.diagonal(factor, axis1=1, axis2=2)) / jnp.diagonal(gram, axis1=1, axis2=2)
    sound = (left > _COLLINEAR).all(axis=1)  # NaN, of a matrix that is not positive definite, is not
    factor = jnp.where(sound[:, None, None], factor, jnp.eye(columns)[None])
    sides = jnp.concatenate([(centred.T @ basis)[:, :, None], of_basis], axis=2)
    solved = jax.scipy.linalg.solve_triangular(factor, sides, lower=True)  # [V, C, 1 + K]
    own = jnp.square(centred).sum(axis=0)
    free = own - jnp.square(solved[:, :, 0]).sum(axis=1)
    cross = centred.T @ rest - (solved[:, :, :1] * solved[:, :, 1:]).sum(axis=1)
    total = total - jnp.square(solved[:, :, 1:]).sum(axis=1)
    return _finished(own, free, cross, total, count, mean, sound, columns)


def _finished(
    own: jax.Array,
    free: jax.Array,
    cross: jax.Array,
    total: jax.Array,
    count: jax.Array,
    mean: jax.Array,
    sound: jax.Array,
    columns: int,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return effects, standard errors, people, frequencies and reasons of sums of squares and products.

    Args:
      own: sums of squares of the centred variants, `[V]`.
      free: the same of what the covariates leave of them, `[V]`.
      cross: products of that with the phenotypes, `[V, K]`.
      total: sums of squares of what the covariates leave of the phenotypes, `[V, K]`.
      count: people with a call, `[V]`.
      mean: of the copies, `[V]`.
      sound: whether the covariates are independent among these people, `[V]`.
      columns: covariates and intercept.
    """
    degrees = count - (columns + 1)
    reason = jnp.where(free <= _COLLINEAR * own, 3, 0)
    reason = jnp.where(sound, reason, 5)
    reason = jnp.where(degrees < 1, 4, reason)
    reason = jnp.where(own <= _CONSTANT * jnp.maximum(count, 1.0), 2, reason)
    reason = jnp.where(count == 0, 1, reason)
    tested = reason == 0
    safe = jnp.where(tested, free, 1.0)[:, None]
    beta = cross / safe
    left = jnp.maximum(total - cross * beta, 0.0)
    error = jnp.sqrt(left / jnp.maximum(degrees, 1.0)[:, None] / safe)
    blank = jnp.where(tested, 0.0, jnp.nan)[:, None]
    frequency = jnp.where(count > 0, mean / 2, jnp.nan)
    return (beta + blank).T, (error + blank).T, count, frequency, reason.astype(jnp.int8)
