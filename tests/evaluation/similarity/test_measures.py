"""The measures on arrays: golden values, the definitions in float64, bad input, and what few rows do to them."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.similarity import (
    MEASURES,
    Representation,
    canonical_correlations,
    cca,
    kernel_cka,
    kernels,
    linear_cka,
    moments,
    procrustes,
    pwcca,
    similarity,
    svcca,
)
from tests.objectives.lcg import lcg

X = lcg((20, 4), 51).astype(np.float64)
Y = X @ lcg((4, 4), 53) + 0.3 * lcg((20, 4), 52)


def centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(axis=0)


@pytest.mark.core
def test_the_golden_values_of_the_released_code() -> None:
    assert canonical_correlations(X, Y) == pytest.approx([0.944196, 0.869493, 0.655259, 0.157965], abs=1e-6)
    assert cca(X, Y) == pytest.approx(0.656728, abs=1e-6)
    assert linear_cka(X, Y) == pytest.approx(0.562244, abs=1e-6)
    assert linear_cka(X, Y, debiased=True) == pytest.approx(0.499601, abs=1e-6)
    assert svcca(X, Y, cut="anatome") == pytest.approx(0.747835, abs=1e-6)
    assert pwcca(X, Y, weights="anatome") == pytest.approx(0.647321, abs=1e-6)
    assert pwcca(X, Y, weights="morcos") == pytest.approx(0.660693, abs=1e-6)
    assert procrustes(X, Y) == pytest.approx(0.715512, abs=1e-6)


def test_googles_pwcca_is_that_of_one_choice_of_signs() -> None:
    """The released code's value depends on the signs of singular vectors; the golden value has those of its LAPACK."""
    inverse_root = []
    for one in (X, Y):
        values, vectors = np.linalg.eigh(centred(one).T @ centred(one))
        inverse_root.append((vectors / np.sqrt(values)) @ vectors.T)
    left, correlations, _ = np.linalg.svd(inverse_root[0] @ centred(X).T @ centred(Y) @ inverse_root[1])
    means, found = X.mean(axis=0)[:, None], []
    for signs in itertools.product((1, -1), repeat=4):
        directions = (left * signs).T @ (X.T - means) + means
        basis, _ = np.linalg.qr(directions.T)
        weights = np.abs(basis.T @ X).sum(axis=1)
        found.append(weights @ correlations / weights.sum())
    assert np.abs(np.array(found) - 0.690752).min() < 1e-6
    assert np.abs(np.array(found) - pwcca(X, Y, weights="google")).min() < 1e-9


def test_definitions_on_wider_features_read_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_CELLS", 60)
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 6)) + 3
    y = np.concatenate([x[:, :2] ** 2, random.normal(size=(50, 3)) * 0.1 - 1], axis=1)
    before = x.copy()
    first, second = centred(x), centred(y)
    bases = [np.linalg.svd(one, full_matrices=False)[0] for one in (first, second)]
    correlations = np.linalg.svd(bases[0].T @ bases[1])[1]
    assert canonical_correlations(x, y) == pytest.approx(correlations, abs=1e-10)
    norm = np.linalg.norm
    product = norm(first.T @ second) ** 2 / (norm(first.T @ first) * norm(second.T @ second))
    assert linear_cka(x, y) == pytest.approx(product, abs=1e-12)
    assert linear_cka(x, y) == pytest.approx(kernel_cka(x, y, kernel="linear"), abs=1e-12)
    assert linear_cka(x, y, debiased=True) == pytest.approx(kernel_cka(x, y, kernel="linear", debiased=True), abs=1e-12)
    nuclear = np.linalg.svd(first.T @ second)[1].sum()
    assert procrustes(x, y) == pytest.approx(nuclear / (norm(first) * norm(second)), abs=1e-12)
    # Google's SVCCA: centred, and with the direction that crosses the threshold.
    cut = []
    for one in (first, second):
        left, sizes, _ = np.linalg.svd(one, full_matrices=False)
        cut.append(left[:, : int(np.argmax(np.cumsum(sizes) / sizes.sum() >= 0.9)) + 1])
    assert svcca(x, y, cut="google", threshold=0.9) == pytest.approx(np.linalg.svd(cut[0].T @ cut[1])[1].mean())
    assert (x == before).all()  # the arrays of the caller are not centred in place


@pytest.mark.parametrize("debiased", [False, True])
def test_kernel_alignment_is_that_of_whole_matrices_for_any_tiles(
    debiased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(30, 4))
    y = np.sin(3 * x[:, :3]) + 0.1 * random.normal(size=(30, 3))

    def kernel(rows: np.ndarray) -> np.ndarray:
        distances = np.sqrt(np.square(rows[:, None] - rows[None]).sum(axis=2))
        width = 0.4 * np.median(distances[np.triu_indices(30, k=1)])
        return np.exp(-(distances**2) / (2 * width**2))

    def criterion(first: np.ndarray, second: np.ndarray) -> float:
        n, one = 30, np.ones(30)
        if not debiased:
            middle = np.eye(n) - 1 / n
            return float(np.trace(first @ middle @ second @ middle))
        first, second = first - np.diag(np.diag(first)), second - np.diag(np.diag(second))
        total = (one @ first @ one) * (one @ second @ one) / ((n - 1) * (n - 2))
        return float(np.trace(first @ second) + total - 2 / (n - 2) * (one @ first @ second @ one))

    first, second = kernel(x), kernel(y)
    expected = criterion(first, second) / np.sqrt(criterion(first, first) * criterion(second, second))
    assert kernel_cka(x, y, fraction=0.4, debiased=debiased) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(kernels, "TILE", 7)
    assert kernel_cka(x, y, fraction=0.4, debiased=debiased) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_of_all_rows_is_that_of_moved_rows(measure: str) -> None:
    """Permuting both sides alike changes nothing, and a permutation is told from the measured order."""
    order = np.random.default_rng(2).permutation(20)
    (straight,) = similarity(X, Y, [measure], permutations=0).values()
    (moved,) = similarity(X[order], Y[order], [measure], permutations=25).values()
    assert moved.value == pytest.approx(straight.value, abs=1e-9)
    assert np.isnan(straight.at_or_above)
    assert moved.null.shape == (25,)
    assert moved.mean < moved.value
    assert moved.at_or_above == (moved.null >= moved.value).mean() <= 0.08
    again = similarity(X[order], Y[order], [measure], permutations=3)[measure]
    assert (again.null == moved.null[:3]).all()  # a permutation follows from the seed and its number
    alone = similarity(X[order], Y[order][np.random.default_rng([0, 1]).permutation(20)], [measure], permutations=0)
    if measure != "pwcca_google":  # whose signs may differ
        assert alone[measure].value == pytest.approx(moved.null[1], abs=1e-9)


def test_unrelated_features_look_alike_unless_rows_are_many() -> None:
    random = np.random.default_rng(3)
    few, many = ([random.normal(size=(rows, 32)) for _ in range(2)] for rows in (40, 4000))
    for side, floor in ((few, 0.6), (many, 0.05)):
        found = similarity(side[0], side[1], ["cka", "cka_debiased", "cca"], permutations=20)
        assert found["cca"].value > floor
        assert found["cca"].mean == pytest.approx(found["cca"].value, abs=0.03)
        assert abs(found["cka_debiased"].value) < 0.05
    assert cca(*many) < 0.1
    assert linear_cka(*few) > 0.3 > 0.02 > linear_cka(*many)


def test_constant_features_and_dependent_ones() -> None:
    dead = np.concatenate([X, np.ones((20, 2)), X[:, :1] - X[:, 1:2]], axis=1)
    assert Representation(dead).rank == 4
    assert cca(dead, Y) == pytest.approx(cca(X, Y), abs=1e-9)
    with pytest.raises(UserError, match="3 of 7 features follow from the others"):
        pwcca(dead, Y, weights="google")


@pytest.mark.parametrize(
    ("x", "y", "measure", "sentence"),
    [
        (X, Y[:19], "cka", "has 20 rows and the second features has 19"),
        (X[:4], Y[:4], "cca", "4 rows of 4 features: with no more rows than features"),
        (X[:4], Y[:4], "pwcca_google", "with no more rows than features"),
        (X[:3], Y[:3], "cka_debiased", "at least four rows"),
        (X[:3], Y[:3], "kernel_cka_debiased", "at least four rows"),
        (X, np.full((20, 2), 3.0), "cka", "no feature varies over the 20 rows"),
        (X, np.where(np.arange(80).reshape(20, 4) == 7, np.nan, Y), "cka", "is not finite"),
        (X, np.repeat([[0.0], [1.0]], [15, 5], axis=0), "kernel_cka", "median distance between rows is 0"),
        (X, np.ones((20, 1)) + 1e-3 * X[:, :1], "svcca_anatome", "so that none is left; use svcca_google"),
        (X[:, :, None], Y, "cka", "has the shape 20x4x1"),
        (X[:1], Y[:1], "cka", "at least two rows"),
        (X, Y, "cak", "no measure 'cak'"),
    ],
)
def test_bad_input_is_one_sentence(x: np.ndarray, y: np.ndarray, measure: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        similarity(x, y, [measure], permutations=0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: svcca(X, Y, cut="other"), "cut: SVCCA has no cut"),  # type: ignore[arg-type]
        (lambda: svcca(X, Y, threshold=0), "above 0 and at most 1"),
        (lambda: pwcca(X, Y, weights="other"), "PWCCA has no definition"),  # type: ignore[arg-type]
        (lambda: kernel_cka(X, Y, kernel="other"), "no kernel 'other'"),  # type: ignore[arg-type]
        (lambda: kernel_cka(X, Y, fraction=0), "must be above 0"),
        (lambda: similarity(X, Y, []), "name at least one"),
        (lambda: similarity(X, Y, ["cka", "cka"]), "named twice"),
        (lambda: similarity(X, Y, permutations=-1), "must be 0"),
    ],
)
def test_bad_options_are_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        call()
