"""Linkage disequilibrium of two variants: r2 of haplotypes, whose frequencies have the largest likelihood."""

import numpy as np

from mmcl_jax.data.kinds.vector import is_missing


def r2_of_haplotypes(first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return r2 between one variant and others, as plink1.9 --clump computes it.

    Of people who are heterozygous at both variants it is unknown which alleles lie on one chromosome; the frequencies
    of the four haplotypes that make all calls most likely solve a cubic equation. A person without one of the two calls
    does not count.

    Args:
      first: calls, `[N]` int8, -127 for missing.
      others: calls, `[N, V]` int8.

    Returns:
      r2 `[V]`; NaN where a variant of the pair is constant.

    Example:
      >>> calls = np.array([[0, 0], [0, 1], [1, 1], [2, 2], [2, 1], [1, 2]], np.int8)
      >>> r2_of_haplotypes(calls[:, 0], calls).round(4).tolist()
      [1.0, 0.221]
    """
    indicators = [(first == copies).astype(np.float64) for copies in range(3)]
    counts = np.array([[of_first @ (others == copies) for copies in range(3)] for of_first in indicators])
    return np.array([_r2(counts[:, :, other]) for other in range(others.shape[1])])


def r2_of_dosages(first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared correlation of the dosages of one variant `[N]` with those of others `[N, V]`.

    NaN is a missing dosage; a person without one of the two does not count.
    """
    both = np.isfinite(first)[:, None] & np.isfinite(others)
    count = np.maximum(both.sum(axis=0), 1)
    x, y = np.where(both, first[:, None], 0.0).astype(np.float64), np.where(both, others, 0.0).astype(np.float64)
    x, y = np.where(both, x - x.sum(axis=0) / count, 0), np.where(both, y - y.sum(axis=0) / count, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.square((x * y).sum(axis=0)) / ((x * x).sum(axis=0) * (y * y).sum(axis=0))


def r2(first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return r2 between one variant `[N]` and others `[N, V]`: of haplotypes for calls, else of dosages."""
    return r2_of_dosages(first, others) if first.dtype.kind == "f" else r2_of_haplotypes(first, others)


def correlations(calls: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the correlations of calls `[N, V]` with others `[N, W]`, with missing calls at the mean; `[V, W]`.

    This is the fast estimate by which variants are pruned.
    """
    return standardised(calls).T @ standardised(others)


def standardised(calls: np.ndarray) -> np.ndarray:
    """Return calls or dosages `[N, V]` with mean 0 and length 1, with 0 for missing ones and for constant variants."""
    absent = is_missing(calls)
    copies = np.where(absent, 0, calls).astype(np.float32)
    mean = copies.sum(axis=0) / np.maximum((~absent).sum(axis=0), 1)
    centred = np.where(absent, np.float32(0), copies - mean)
    size = np.sqrt(np.square(centred).sum(axis=0))
    return centred / np.where(size > 0, size, 1)


def _r2(counts: np.ndarray) -> float:
    """Return r2 of the numbers of people `[3, 3]` by copies of either variant."""
    total = 2 * counts.sum()
    if total == 0:
        return float("nan")
    both = counts[1, 1]
    with_both = 2 * counts[2, 2] + counts[2, 1] + counts[1, 2]  # haplotypes that certainly have both counted alleles
    first = (2 * counts[2].sum() + counts[1].sum()) / total
    second = (2 * counts[:, 2].sum() + counts[:, 1].sum()) / total
    variance = first * (1 - first) * second * (1 - second)
    if variance < 1e-12:  # constant, but for rounding
        return float("nan")
    low, high = with_both / total, (with_both + both) / total
    candidates = [low, high]
    if both > 0:
        sums = 1 - 2 * (first + second)
        cubic = (
            2 * total,
            total * sums - 2 * with_both - both,
            total * first * second - with_both * sums - both * (1 - first - second),
            -with_both * first * second,
        )
        roots = np.roots(cubic)
        candidates += [float(root.real) for root in roots if abs(root.imag) < 1e-7 and low <= root.real <= high]
    at = np.array(candidates)
    frequencies = np.stack([at, first - at, second - at, 1 - first - second + at])
    certain = np.array([low, first - high, second - high, 1 - first - second + low]) * total
    safe = np.maximum(frequencies, 1e-300)
    likelihood = (certain[:, None] * np.log(safe)).sum(axis=0)
    likelihood += both * np.log(np.maximum(safe[0] * safe[3] + safe[1] * safe[2], 1e-300))
    best = float(at[int(np.argmax(likelihood))])
    return (best - first * second) ** 2 / variance
