"""From numbers of people to phenotypes: principal components, residuals, and ranks as normal scores."""

from collections.abc import Sequence

import numpy as np
from scipy import special, stats
from sklearn.decomposition import PCA

from mmcl_jax.errors import check
from mmcl_jax.text import brief

BLOM = 3 / 8
_COLLINEAR = 1e-8  # the share of a covariate's variance that the covariates before it leave unexplained


def principal_components(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first principal components `[N, count]`, and the share of the variance of each, `[count]`.

    They are fitted on these people and on no others. There are at most as many as columns, and as people less one.
    """
    count = min(count, values.shape[1], len(values) - 1)
    fitted = PCA(n_components=count, random_state=0)
    with np.errstate(invalid="ignore"):  # columns that are all constant have no variance to share
        scores = fitted.fit_transform(np.asarray(values, np.float64))
        return scores, np.nan_to_num(fitted.explained_variance_ratio_)


def residuals(values: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """Return what a linear regression on the covariates `[N, C]` and an intercept leaves of the values `[N, K]`."""
    columns = np.column_stack([np.ones(len(values)), covariates - covariates.mean(axis=0)])
    basis = np.linalg.qr(columns)[0]
    rest = values - basis @ (basis.T @ values)
    return rest - basis @ (basis.T @ rest)


def inverse_normal(values: np.ndarray, offset: float = BLOM) -> np.ndarray:
    """Return rank-based normal scores of the values of every column, `[N, K]`.

    A value of rank r among n gets the quantile (r - c) / (n - 2 c + 1) of the standard normal distribution, with
    c = 3/8 (Blom); equal values get the mean of their ranks, and NaN stays NaN.

    Example:
      >>> inverse_normal(np.array([[3.0], [1.0], [2.0], [2.0]])).round(4).ravel().tolist()
      [1.0491, -1.0491, 0.0, 0.0]
    """
    ranks = stats.rankdata(values, axis=0, nan_policy="omit")
    count = np.isfinite(values).sum(axis=0)
    return special.ndtri((ranks - offset) / (count - 2 * offset + 1))


def check_covariates(values: np.ndarray, names: Sequence[str], source: str, option: str = "--covariates") -> None:
    """Check that covariates `[N, C]` vary and are not linear combinations of one another.

    Raises:
      UserError: a covariate is constant, or determined by those before it; the sentence names it.
    """
    basis = np.ones((len(values), 1)) / np.sqrt(max(len(values), 1))
    for name, column in zip(names, values.T, strict=True):
        centred = column - column.mean()
        size = float(np.linalg.norm(centred))
        check(
            size > 1e-12 * max(1.0, float(np.abs(column).max(initial=0))),
            f"{option}: the covariate {brief(name)} of {source} is constant among the {len(values)} people who are "
            "analysed; leave the column out.",
        )
        rest = centred / size
        for _ in range(2):
            rest = rest - basis @ (basis.T @ rest)
        left = float(np.linalg.norm(rest))
        check(
            left**2 > _COLLINEAR,
            f"{option}: the covariate {brief(name)} of {source} is a linear combination of those before it; leave the "
            "column out.",
        )
        basis = np.column_stack([basis, rest / left])
