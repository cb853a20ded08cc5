"""Linear centred kernel alignment, and the similarity of Procrustes."""

from typing import Any

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.evaluation.similarity.moments import Pairing, Representation


def linear_cka(x: Any, y: Any, *, debiased: bool = False) -> float:
    """Return the linear centred kernel alignment of two representations of the same rows (Kornblith et al., 2019).

    It is `|X'Y|^2 / (|X'X| |Y'Y|)` with centred columns and Frobenius norms, between 0 and 1, and does not change with
    rotations and one scale of either side. With few rows it is far above 0 for independent features; `debiased` takes
    the unbiased estimators of the three terms (Song et al., 2012), which are 0 on average then and may be negative.

    Args:
      x: `[N, D]` numbers, or a `Representation`, whose moments are computed once.
      y: `[N, E]` of the same rows, or a `Representation`.
      debiased: whether to estimate without bias; needs at least four rows.

    Raises:
      UserError: the rows differ in number, are too few or not finite, or no feature varies.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(50, 20))
      >>> round(linear_cka(x, 3 * x[:, ::-1]), 6)
      1.0
      >>> y = np.random.default_rng(1).normal(size=(50, 20))
      >>> round(linear_cka(x, y), 2), round(linear_cka(x, y, debiased=True), 2)
      (0.28, 0.01)
    """
    pairing = Pairing.of(x, y)
    return cka_debiased(pairing) if debiased else cka(pairing)


def procrustes(x: Any, y: Any) -> float:
    """Return the similarity of two representations after the best rotation (Procrustes; Ding et al., 2021).

    It is `|X'Y|_* / (|X| |Y|)` with centred columns, the nuclear norm and Frobenius norms: between 0 and 1, and 1 for a
    rotation and scaling. The distance of Procrustes of the two, each scaled to norm 1, is 2 minus twice this.

    Args:
      x: `[N, D]` numbers, or a `Representation`.
      y: `[N, E]` of the same rows, or a `Representation`.

    Raises:
      UserError: as `linear_cka` does.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(50, 2))
      >>> round(procrustes(x, x @ np.array([[0.0, 2.0], [-2.0, 0.0]])), 6)
      1.0
    """
    return aligned(Pairing.of(x, y))


def cka(pairing: Pairing) -> float:
    """Return `linear_cka` of a pairing."""
    size = np.linalg.norm(pairing.x.scatter) * np.linalg.norm(pairing.y.scatter)
    return float(np.square(pairing.cross).sum() / size)


def cka_debiased(pairing: Pairing) -> float:
    """Return `linear_cka(debiased=True)` of a pairing."""
    x, y, rows = pairing.x, pairing.y, len(pairing.x)
    check(rows > 3, f"The debiased CKA needs at least four rows, and {x.name} has {rows}.")
    between = _unbiased(np.square(pairing.cross).sum(), pairing.norms, x, y)
    within = [_unbiased(np.square(one.scatter).sum(), one.norms @ one.norms, one, one) for one in (x, y)]
    return ratio(between, *within, rows=rows)


def aligned(pairing: Pairing) -> float:
    """Return `procrustes` of a pairing."""
    nuclear = np.linalg.svd(pairing.cross, compute_uv=False).sum()
    return float(nuclear / np.sqrt(np.trace(pairing.x.scatter) * np.trace(pairing.y.scatter)))


def ratio(between: float, first: float, second: float, *, rows: int) -> float:
    """Return the alignment `between / sqrt(first * second)`; raise `UserError` if an estimate is not above 0."""
    check(
        min(first, second) > 0,
        f"The debiased CKA has no value: with {rows} rows, the estimate of a representation's own variance is not "
        "above 0; give more rows.",
    )
    return float(between / np.sqrt(first * second))


def _unbiased(product: float, norms: float, x: Representation, y: Representation) -> float:
    """Return N (N - 3) times the unbiased estimate of the Hilbert-Schmidt criterion of linear kernels."""
    rows, traces = len(x), np.trace(x.scatter) * np.trace(y.scatter)
    return float(product - rows / (rows - 2) * norms + traces / ((rows - 1) * (rows - 2)))
