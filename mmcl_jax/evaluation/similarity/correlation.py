"""Canonical correlations, and their means over singular directions (SVCCA) and by projection (PWCCA)."""

from typing import Any, Literal

import numpy as np

from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.similarity.moments import Pairing, Representation, check_rows, spectrum

CUTS = ("anatome", "google")
WEIGHTS = ("morcos", "google", "anatome")
Cut = Literal["anatome", "google"]
Weights = Literal["morcos", "google", "anatome"]


def canonical_correlations(x: Any, y: Any) -> np.ndarray:
    """Return the canonical correlations of two representations of the same rows, the largest first, `[k]`.

    Args:
      x: `[N, D]` numbers with N above D, or a `Representation`.
      y: `[N, E]` of the same rows with N above E, or a `Representation`.

    Returns:
      k is the smaller rank of the two: directions in which nothing varies have no correlation.

    Raises:
      UserError: there are no more rows than features; or as `linear_cka` does.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(100, 2))
      >>> y = np.concatenate([2 * x[:, :1], np.random.default_rng(1).normal(size=(100, 1))], axis=1)
      >>> [round(float(one), 2) for one in canonical_correlations(x, y)]
      [1.0, 0.1]
    """
    return Pairing.of(x, y).canonical[0]


def cca(x: Any, y: Any) -> float:
    """Return the mean canonical correlation, `|Q_x'Q_y|_* / k` with orthonormal bases Q of the centred columns.

    Fedorov et al. divide by the number of features; this divides by the smaller rank, which is the same for features
    that all vary. Independent features have a mean far above 0 unless rows are many times the features.

    Args:
      x: `[N, D]` numbers with N above D, or a `Representation`.
      y: `[N, E]` of the same rows with N above E, or a `Representation`.

    Raises:
      UserError: as `canonical_correlations` does.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(100, 3))
      >>> round(cca(x, x @ np.array([[1.0, 2, 0], [0, 1, 0], [5, 0, 1]])), 6)
      1.0
    """
    return mean_correlation(Pairing.of(x, y))


def svcca(x: Any, y: Any, *, cut: Cut = "anatome", threshold: float = 0.99) -> float:
    """Return the mean canonical correlation of the leading singular directions (Raghu et al., 2017).

    Args:
      x: `[N, D]` numbers, or a `Representation`.
      y: `[N, E]` of the same rows, or a `Representation`.
      cut: how directions are chosen. "anatome", as in the package that Fedorov et al. used: of the rows as they are,
        not centred, the directions while the share of the singular values up to and with them is below `threshold`, so
        that the direction that crosses it is dropped. "google", as in Google's code: of centred rows, the fewest
        directions whose share reaches `threshold`, so that the direction that crosses it is kept.
      threshold: the share, above 0 and at most 1.

    Raises:
      UserError: no direction is left, there are no more rows than directions, or a name or number is wrong; or as
        `linear_cka` does.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(50, 4)) * np.array([1.0, 1, 1, 1e-3])
      >>> y = np.concatenate([x[:, :3], np.random.default_rng(1).normal(size=(50, 1)) * 1e-3], axis=1)
      >>> round(cca(x, y), 2), round(svcca(x, y), 2)  # the fourth direction is noise, and so small that it is cut
      (0.83, 1.0)
    """
    return sv_correlation(Pairing.of(x, y), cut=cut, threshold=threshold)


def pwcca(x: Any, y: Any, *, weights: Weights = "morcos") -> float:
    """Return the mean of the canonical correlations, weighted by how much of `x` each variate explains.

    It is not symmetric. The three published definitions give different numbers:

    - "morcos" (the formula of Morcos et al., 2018): the weight of a variate is the sum over the features of the
      absolute products of the variate with the centred feature.
    - "google", that paper's released code: in place of the variates stand the centred features in the basis of the
      left singular vectors, with the mean of the k-th feature added to the k-th of them; they are made orthonormal (QR)
      and multiplied with the features as they are. The side with fewer features has the weights. The value depends on
      the signs of the singular vectors, which are arbitrary: those of LAPACK are taken, as there.
    - "anatome", the package that Fedorov et al. used: the coefficients of the variates are made orthonormal (QR), and
      the weight is the sum over the rows of the absolute projections of the features as they are.

    Args:
      x: `[N, D]` numbers with N above D, or a `Representation`.
      y: `[N, E]` of the same rows with N above E, or a `Representation`.
      weights: the definition.

    Raises:
      UserError: as `canonical_correlations` does; or the name is unknown, or features are linearly dependent, which the
        definition of "google" does not allow.

    Example:
      >>> x, y = np.random.default_rng(0).normal(size=(2, 40, 3))
      >>> [round(pwcca(x, y, weights=name), 2) for name in ("morcos", "google", "anatome")]
      [0.26, 0.27, 0.26]
    """
    return projected(Pairing.of(x, y), weights=weights)


def mean_correlation(pairing: Pairing) -> float:
    """Return `cca` of a pairing."""
    return float(pairing.canonical[0].mean())


def sv_correlation(pairing: Pairing, *, cut: Cut, threshold: float = 0.99) -> float:
    """Return `svcca` of a pairing."""
    check_name(cut, CUTS, "cut: SVCCA has no cut")
    check(0 < threshold <= 1, f"threshold: the share of SVCCA must be above 0 and at most 1, not {threshold:g}.")
    first, second = (_directions(side, cut, threshold) for side in (pairing.x, pairing.y))
    check_rows(len(pairing.x), max(first.shape[1], second.shape[1]), pairing.x.name)
    whitened = []
    for side, directions in ((pairing.x, first), (pairing.y, second)):
        variances, vectors = spectrum(directions.T @ side.scatter @ directions, len(side))
        whitened.append(directions @ (vectors / np.sqrt(variances)))
    correlations = np.linalg.svd(whitened[0].T @ pairing.cross @ whitened[1], compute_uv=False)
    return float(np.minimum(correlations, 1).mean())


def projected(pairing: Pairing, *, weights: Weights) -> float:
    """Return `pwcca` of a pairing."""
    check_name(weights, WEIGHTS, "weights: PWCCA has no definition")
    if weights == "google":
        return _google(pairing if pairing.x.width <= pairing.y.width else pairing.swapped())
    correlations, coefficients = pairing.canonical
    if weights == "morcos":
        shares = np.abs(coefficients.T @ pairing.x.scatter).sum(axis=1)
    else:
        basis = np.linalg.qr(coefficients)[0]
        shares = np.sum([np.abs(block @ basis).sum(axis=0) for block in pairing.x.blocks()], axis=0)
    return float(shares @ correlations / shares.sum())


def _directions(side: Representation, cut: Cut, threshold: float) -> np.ndarray:
    """Return the directions `[D, k]` that SVCCA keeps."""
    variances, vectors = spectrum(side.raw_scatter if cut == "anatome" else side.scatter, len(side))
    sizes = np.sqrt(variances)
    reached = np.cumsum(sizes) / sizes.sum()
    kept = int((reached < threshold).sum()) + (cut == "google")
    check(
        kept > 0,
        f"{side.name}: its first singular direction has a share of {reached[0]:.3f}, and SVCCA with cut='anatome' "
        f"drops the direction that crosses the threshold {threshold:g}, so that none is left; use svcca_google "
        "(cut='google') or a higher threshold.",
    )
    return vectors[:, :kept]


def _google(pairing: Pairing) -> float:
    x, y = pairing.x, pairing.y
    for side in (x, y):
        check_rows(len(side), side.width, side.name)
        check(
            side.rank == side.width,
            f"{side.name}: {side.width - side.rank} of {side.width} features follow from the others, which Google's "
            "definition of PWCCA does not allow; use pwcca_morcos (weights='morcos').",
        )
    left, correlations, _ = np.linalg.svd(x.root @ pairing.cross @ y.root, full_matrices=False)
    # The Gram matrix of A = (X - mean) left + mean, and A'X: the QR of A is the Cholesky factor of the former.
    gram = left.T @ x.scatter @ left + len(x) * np.outer(x.mean, x.mean)
    products = left.T @ x.scatter + len(x) * np.outer(x.mean, x.mean)
    # The weight of a direction sums over the rows of |P'X'| of acts [features, rows]: over the features here.
    shares = np.abs(np.linalg.solve(np.linalg.cholesky(gram), products)).sum(axis=1)
    return float(shares @ np.minimum(correlations, 1) / shares.sum())
