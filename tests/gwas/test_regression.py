"""The regression of blocks of variants, beside least squares of single variants, and p-values beside exact ones."""

import numpy as np
import pytest
from scipy import stats

from mmcl_jax.data.kinds.vector import MISSING
from mmcl_jax.gwas.statistics.association import REASONS, Block, Regression
from mmcl_jax.gwas.statistics.p_values import bonferroni, inflation, neg_log10_p, p_value

PEOPLE, VARIANTS = 120, 40


def data(missing: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    covariates = np.column_stack([random.integers(0, 2, PEOPLE), random.normal(3000, 2, PEOPLE), random.random(PEOPLE)])
    calls = random.binomial(2, random.uniform(0.05, 0.5, VARIANTS), (PEOPLE, VARIANTS)).astype(np.int8)
    phenotypes = random.normal(size=(PEOPLE, 2)) + covariates[:, :1] + 2 * calls[:, :1]
    calls[random.random(calls.shape) < missing] = MISSING
    return phenotypes, covariates, calls


def by_least_squares(y: np.ndarray, covariates: np.ndarray, copies: np.ndarray) -> tuple[float, float, float]:
    """Return the effect, its standard error and -log10 p among the people with a call."""
    kept = np.isfinite(copies)
    columns = np.column_stack([copies, np.ones(len(copies)), covariates - covariates.mean(axis=0)])[kept]
    beta, *_ = np.linalg.lstsq(columns, y[kept], rcond=None)
    degrees = len(columns) - columns.shape[1]
    left = np.square(y[kept] - columns @ beta).sum() / degrees
    error = np.sqrt(left * np.linalg.inv(columns.T @ columns)[0, 0])
    return beta[0], error, -np.log10(2 * stats.t.sf(abs(beta[0] / error), degrees))


def check(block: Block, phenotypes: np.ndarray, covariates: np.ndarray, copies: np.ndarray) -> None:
    assert (block.reason == 0).all()
    for variant in range(copies.shape[1]):
        for one in range(phenotypes.shape[1]):
            beta, error, value = by_least_squares(phenotypes[:, one], covariates, copies[:, variant])
            assert block.beta[one, variant] == pytest.approx(beta, abs=1e-9 * error)
            assert block.error[one, variant] == pytest.approx(error, rel=1e-9)
            assert block.neg_log10_p[one, variant] == pytest.approx(value, rel=1e-8, abs=1e-9)
        kept = np.isfinite(copies[:, variant])
        assert block.count[variant] == kept.sum()
        assert block.frequency[variant] == pytest.approx(copies[kept, variant].mean() / 2)


@pytest.mark.core
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_a_block_is_least_squares_of_every_variant(missing: float) -> None:
    phenotypes, covariates, calls = data(missing)
    block = Regression(phenotypes, covariates)(calls)
    check(block, phenotypes, covariates, np.where(calls == MISSING, np.nan, calls.astype(float)))
    assert block.neg_log10_p[0, 0] > 10


def test_dosages_are_numbers_of_copies_and_nan_is_missing() -> None:
    phenotypes, covariates, calls = data(0.1, seed=1)
    noise = np.random.default_rng(2).uniform(0, 0.3, calls.shape)
    dosages = np.where(calls == MISSING, np.nan, np.clip(calls + noise, 0, 2)).astype(np.float32)
    check(Regression(phenotypes, covariates)(dosages), phenotypes, covariates, dosages.astype(np.float64))


def test_a_variant_that_cannot_be_tested_has_a_reason_and_no_numbers() -> None:
    phenotypes, covariates, calls = data(0.1)
    sex = covariates[:, 0]
    calls[:, 0] = MISSING
    calls[:, 1] = np.where(calls[:, 1] == MISSING, MISSING, 1)
    calls[:, 2] = np.where(sex > 0, 2, 0)
    calls[0, 2] = MISSING
    calls[5:, 3], calls[:5, 3] = MISSING, [0, 1, 2, 1, 0]
    calls[sex > 0, 4] = MISSING
    block = Regression(phenotypes, covariates)(calls)
    assert [REASONS[code] for code in block.reason[:5]] == [
        "nobody has a call",
        "all people have the same number of copies",
        "the covariates determine it",
        "too few people have a call",
        "the covariates are collinear among the people who have a call",
    ]
    for values in (block.beta, block.error, block.neg_log10_p):
        assert np.isnan(values[:, :5]).all()
        assert np.isfinite(values[:, 5:]).all()


def test_the_logarithm_of_a_p_value_is_exact_in_the_far_tail() -> None:
    """The right values are those of mpmath with 60 digits."""
    t = np.array([3.0, -38.0, 60.0, 400.0, 45.0, 1e5])
    degrees = np.array([4.0, 30_000.0, 1000.0, 1000.0, 500_000.0, 5.0])
    right = [
        1.3985705398251151,
        307.9159323673110,
        332.9239770008812,
        1105.0097562902455,
        440.5857296298727,
        23.6716938,
    ]
    found = neg_log10_p(t, degrees)
    assert found[:5] == pytest.approx(right[:5], rel=1e-9)
    assert neg_log10_p(np.array([0.0, np.nan, np.inf]), np.array([9.0])).tolist() == pytest.approx(
        [0, np.nan, np.inf], nan_ok=True
    )


def test_both_branches_of_the_tail_meet() -> None:
    degrees = np.array([50.0, 400.0, 20_000.0])
    for target in (249.0, 250.0, 251.0, 252.0):
        t = np.sqrt(degrees * (10 ** (2 * target / degrees) - 1))  # p is near 10^-target
        steps = neg_log10_p(np.stack([t, t * 1.0001, t * 1.0002]), degrees)
        slope = np.diff(steps, axis=0)
        assert slope[1] == pytest.approx(slope[0], rel=1e-3)


def test_the_smallest_p_value_is_multiplied_by_the_number_of_phenotypes() -> None:
    values = -np.log10(np.array([[0.01, 0.5, np.nan, 0.9], [0.2, 1e-9, np.nan, np.nan]]))
    combined, best = bonferroni(values)
    assert p_value(combined) == pytest.approx([0.02, 2e-9, np.nan, 1.0], nan_ok=True)
    assert best.tolist() == [0, 1, -1, 0]


def test_inflation_is_the_median_statistic_over_its_expectation() -> None:
    chi = np.random.default_rng(0).chisquare(1, 20_001)
    values = -np.log10(stats.chi2.sf(1.3 * chi, 1))
    assert inflation(values) == pytest.approx(1.3 * np.median(chi) / 0.4549364, rel=1e-6)
    assert np.isnan(inflation(np.array([np.nan])))


@pytest.mark.foreign
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_statsmodels_finds_the_same(missing: float) -> None:
    linear = pytest.importorskip("statsmodels.api")
    phenotypes, covariates, calls = data(missing, seed=3)
    covariates = covariates - covariates.mean(axis=0)  # of which statsmodels' pseudo-inverse loses no digits
    block, worst = Regression(phenotypes, covariates)(calls), 0.0
    for variant in range(VARIANTS):
        kept = calls[:, variant] != MISSING
        columns = np.column_stack([calls[kept, variant].astype(float), np.ones(kept.sum()), covariates[kept]])
        for one in range(2):
            fit = linear.OLS(phenotypes[kept, one], columns).fit()
            ours = (block.beta[one, variant], block.error[one, variant], block.neg_log10_p[one, variant])
            theirs = (fit.params[0], fit.bse[0], -np.log10(fit.pvalues[0]))
            worst = max(worst, *(abs(a - b) for a, b in zip(ours, theirs, strict=True)))
    assert worst < 1e-6
