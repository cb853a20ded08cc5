r"""Canonical correlation of two sets of embeddings as a loss: gradients are finite where eigenvalues repeat.

The gradient of an eigendecomposition has the factors $1 / (\lambda_i - \lambda_j)$, which are infinite where two
eigenvalues are equal: in a batch with fewer rows than dimensions, most are. The inverse square root of a matrix itself
has a smooth gradient there, and this module computes that gradient without the factors.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Norm = Literal["frobenius", "nuclear"]


def whitened_covariance(
    x: Float[Array, "B d"],
    y: Float[Array, "B e"],
    *,
    r1: float = 1e-7,
    r2: float = 1e-7,
    cut: float = 1e-3,
    present: Bool[Array, "B"] | None = None,
) -> Float[Array, "d e"]:
    r"""Return $T = \Sigma_{11}^{-1/2} \Sigma_{12} \Sigma_{22}^{-1/2}$: its singular values are canonical correlations.

    Andrew et al., ICML 2013, section 3, with $\Sigma_{11} = X^\top X / (B - 1) + r_1 I$ of centred rows,
    $\Sigma_{22}$ alike, and $\Sigma_{12} = X^\top Y / (B - 1)$. The inverse square roots leave out eigenvalues of at
    most `cut`.

    Args:
      x: embeddings; float64 stays float64, other widths become float32.
      y: embeddings of the same samples.
      r1: added to the variances of x.
      r2: added to the variances of y.
      cut: eigenvalues up to this are left out.
      present: True where a row exists; the others may hold anything.

    Example:
      >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
      >>> jnp.linalg.svd(whitened_covariance(x, x[:, :1]), compute_uv=False).round(3).tolist()
      [1.0]
    """
    x, y = _centred(x, present), _centred(y, present)
    rows = jnp.asarray(len(x), x.dtype) if present is None else jnp.sum(present, dtype=x.dtype)
    degrees = jnp.maximum(rows - 1, 1)

    def root(z: Array, r: float) -> Array:
        return inverse_root(_product(z.T, z) / degrees + r * jnp.eye(z.shape[1], dtype=z.dtype), cut)

    return _product(_product(root(x, r1), _product(x.T, y) / degrees), root(y, r2))


def norm_of(matrix: Float[Array, "d e"], norm: Norm) -> Float[Array, ""]:
    r"""Return the Frobenius norm $\sqrt{\operatorname{tr} T^\top T}$ or the nuclear norm, the sum of singular values.

    The gradient of the Frobenius norm is 0 at a matrix of zeros. That of the nuclear norm counts the singular values
    that are not zeros.

    Example:
      >>> [float(norm_of(jnp.diag(jnp.array([3.0, 4.0])), norm)) for norm in ("frobenius", "nuclear")]
      [5.0, 7.0]
    """
    if norm == "nuclear":
        return _nuclear(matrix)
    square = jnp.sum(jnp.square(matrix))
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def inverse_root(matrix: Float[Array, "d d"], cut: float) -> Float[Array, "d d"]:
    r"""Return $V \operatorname{diag}(\lambda^{-1/2}) V^\top$ of a symmetric matrix, its eigenvalues above `cut`.

    The gradient is that of the function on matrices, by its divided differences (Daleckii and Krein): for two
    eigenvalues that count it is $-1 / (\sqrt a \sqrt b (\sqrt a + \sqrt b))$, also where a equals b; for an eigenvalue
    a that counts and a smaller b that does not, it is $a^{-1/2} / (a - b)$. The difference a - b is taken as at least
    the rounding error of the largest eigenvalue. At the cut itself the function jumps, and has no gradient.

    Example:
      >>> inverse_root(jnp.diag(jnp.array([4.0, 0.25, 0.0])), 1e-3).tolist()
      [[0.5, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    """
    return _inverse_root(matrix, cut)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _inverse_root(matrix: Float[Array, "d d"], cut: float) -> Float[Array, "d d"]:
    roots, vectors, _ = _spectrum(matrix, cut)
    return _product(vectors * roots[None], vectors.T)


@_inverse_root.defjvp
def _inverse_root_jvp(cut: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (matrix,), (tangent,) = primals, tangents
    roots, vectors, values = _spectrum(matrix, cut)
    a, b = roots[:, None], roots[None]
    gap = values[:, None] - values[None]
    least = jnp.finfo(values.dtype).eps * jnp.maximum(jnp.max(jnp.abs(values)), jnp.finfo(values.dtype).tiny)
    gap = jnp.where(gap < 0, -1, 1).astype(gap.dtype) * jnp.maximum(jnp.abs(gap), least)
    both, one = (a > 0) & (b > 0), (a > 0) ^ (b > 0)
    smooth = -jnp.square(a * b) / jnp.where(both, a + b, 1)
    differences = jnp.where(both, smooth, jnp.where(one, (a - b) / gap, 0))
    symmetric = (tangent + tangent.T) / 2
    inner = differences * _product(_product(vectors.T, symmetric), vectors)
    root = _product(vectors * roots[None], vectors.T)
    return root, _product(_product(vectors, inner), vectors.T)


def _spectrum(matrix: Array, cut: float) -> tuple[Array, Array, Array]:
    """Return 1 / sqrt of the eigenvalues, 0 for those left out; the eigenvectors; and the eigenvalues."""
    values, vectors = jnp.linalg.eigh(matrix)
    counts = values > cut
    return jnp.where(counts, jax.lax.rsqrt(jnp.where(counts, values, 1)), 0), vectors, values


@jax.custom_jvp
def _nuclear(matrix: Float[Array, "d e"]) -> Float[Array, ""]:
    return jnp.sum(jnp.linalg.svd(matrix, compute_uv=False))


@_nuclear.defjvp
def _nuclear_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (matrix,), (tangent,) = primals, tangents
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    rounding = jnp.finfo(values.dtype).eps * max(matrix.shape) * jnp.max(values)
    directions = _product(left * (values > rounding).astype(left.dtype)[None], right)
    return jnp.sum(values), jnp.sum(directions * tangent)


def _centred(x: Array, present: Array | None) -> Array:
    """Return the rows that are present minus their mean, zeros for the others, in float32 at least."""
    wide = x.astype(jnp.float32) if x.dtype.itemsize < 4 else x
    if present is None:
        return wide - wide.mean(axis=0, keepdims=True)
    rows = jnp.maximum(jnp.sum(present, dtype=wide.dtype), 1)
    wide = jnp.where(present[:, None], wide, 0)
    return jnp.where(present[:, None], wide - wide.sum(axis=0, keepdims=True) / rows, 0)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
