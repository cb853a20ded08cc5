"""How far embeddings spread: deviation of channels, uniformity, covariance, and distances to centroids.

Every function takes embeddings of length 1 (`unit_length`), as LoVT's analyses do (Mueller et al., ECCV 2022), and
computes in float64. Local embeddings have a mask; outside of it they may hold anything.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

_CHUNK = 64  # samples whose local embeddings are float64 at a time
_PAIRS = 2**22  # distances held at a time (32 MiB)


def unit_length(x: np.ndarray) -> np.ndarray:
    """Return vectors `[..., D]` scaled to length 1, in their dtype; vectors of zeros stay zeros.

    Example:
      >>> unit_length(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
      [[0.6, 0.8], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1).astype(x.dtype)


def channel_std(x: np.ndarray) -> float:
    """Return the mean over channels of the standard deviation (ddof 1) over N vectors `[N, D]`; NaN for one.

    It is 0 if all vectors are the same. For vectors of length 1 it is at most about 1 / sqrt(D), the value of vectors
    with the mean 0; multiplied by sqrt(D), values of different widths compare.

    Example:
      >>> round(channel_std(np.array([[1.0, 0.0], [0.0, 1.0]])), 4)
      0.7071
    """
    if len(x) < 2:
        return float("nan")
    return float(np.asarray(x, np.float64).std(axis=0, ddof=1).mean())


@dataclasses.dataclass(frozen=True)
class LocalStd:
    """Standard deviations of local embeddings, each the mean over channels.

    Attributes:
      total: over all local embeddings of all samples.
      within: over the local embeddings of a sample; the mean over samples with at least two.
      centroid: over samples, of their mean local embeddings.
    """

    total: float
    within: float
    centroid: float

    @property
    def centroid_over_within(self) -> float:
        """The ratio that is near 0 where samples do not differ, as without LoVT's global term; NaN if `within` is 0."""
        return self.centroid / self.within if self.within > 0 else float("nan")


def local_std(local: np.ndarray, mask: np.ndarray | None = None) -> LocalStd:
    """Return the standard deviations (ddof 1) of local embeddings.

    Args:
      local: `[N, L, C]`.
      mask: `[N, L]`, which exist; None for all. Samples without any do not count.

    Example:
      >>> regions = np.array([[[1.0], [-1.0]], [[1.0], [-1.0]]])  # two samples, which do not differ
      >>> spread = local_std(regions)
      >>> round(spread.within, 3), spread.centroid
      (1.414, 0.0)
    """
    centroids, within = [], []
    count, total, squares = 0, np.zeros(local.shape[2]), np.zeros(local.shape[2])
    for values, weights in _chunks(local, mask):
        sizes = weights.sum(axis=1)
        sums = np.einsum("nlc,nl->nc", values, weights)
        means = sums / np.maximum(sizes, 1)[:, None]
        deviations = np.einsum("nlc,nl->nc", (values - means[:, None]) ** 2, weights)
        several = sizes > 1
        within.append(np.sqrt(deviations[several] / (sizes[several] - 1)[:, None]).mean(axis=1))
        centroids.append(means[sizes > 0])
        count += int(sizes.sum())
        total += sums.sum(axis=0)
        squares += np.einsum("nlc,nl->c", values**2, weights)
    variance = np.maximum(squares - total**2 / max(count, 1), 0) / (count - 1) if count > 1 else np.full(1, np.nan)
    per_sample = np.concatenate(within)
    return LocalStd(
        total=float(np.sqrt(variance).mean()),
        within=float(per_sample.mean()) if len(per_sample) else float("nan"),
        centroid=channel_std(np.concatenate(centroids)),
    )


def centroids_of(local: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Return the mean local embedding of every sample that has any, `[n, C]` float64.

    Example:
      >>> centroids_of(np.ones((2, 3, 1)), np.array([[True, False, True], [False, False, False]])).tolist()
      [[1.0]]
    """
    found = []
    for values, weights in _chunks(local, mask):
        sizes = weights.sum(axis=1)
        means = np.einsum("nlc,nl->nc", values, weights) / np.maximum(sizes, 1)[:, None]
        found.append(means[sizes > 0])
    return np.concatenate(found)


def uniformity(x: np.ndarray, *, scale: float = 2.0) -> float:
    r"""Return $\log \operatorname{mean}_{i < j} e^{-t \|x_i - x_j\|^2}$ over all pairs of N vectors `[N, D]`.

    It is 0 if all vectors are the same, and the lower the more evenly they spread over the sphere (Wang and Isola,
    ICML 2020). LoVT's released code averages estimates of batches; here all pairs count.

    Args:
      x: vectors of length 1.
      scale: t.

    Example:
      >>> round(uniformity(np.array([[1.0, 0.0], [0.0, 1.0]])), 4)  # the squared distance is 2
      -4.0
    """
    x = np.asarray(x, np.float64)
    if len(x) < 2:
        return float("nan")
    sums = [np.exp(-scale * squared).sum() for squared in _later_pairs(x)]
    return float(np.log(sum(sums) / (len(x) * (len(x) - 1) / 2)))


def pairwise_distance(x: np.ndarray) -> float:
    """Return the mean Euclidean distance over all pairs of N vectors `[N, D]`; NaN for one.

    Example:
      >>> pairwise_distance(np.array([[0.0], [1.0], [2.0]]))
      1.3333333333333333
    """
    x = np.asarray(x, np.float64)
    if len(x) < 2:
        return float("nan")
    return float(sum(np.sqrt(squared).sum() for squared in _later_pairs(x)) / (len(x) * (len(x) - 1) / 2))


def centroid_distance(local: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return the mean distance of local embeddings `[N, L, C]` from the centroid of their sample; NaN without any.

    Example:
      >>> centroid_distance(np.array([[[1.0], [-1.0]]]))
      1.0
    """
    total, count = 0.0, 0.0
    for values, weights in _chunks(local, mask):
        sizes = np.maximum(weights.sum(axis=1), 1)
        means = np.einsum("nlc,nl->nc", values, weights) / sizes[:, None]
        total += float((np.linalg.norm(values - means[:, None], axis=2) * weights).sum())
        count += float(weights.sum())
    return total / count if count else float("nan")


def off_diagonal_covariance(x: np.ndarray) -> float:
    r"""Return $\sum_{i \ne j} C_{ij}^2 / D$ of the covariance C (ddof 1) of N vectors `[N, D]`; NaN for one.

    It is 0 if channels are uncorrelated (the covariance term of VICReg, Bardes et al., ICLR 2022).

    Example:
      >>> off_diagonal_covariance(np.array([[1.0, 1.0], [-1.0, -1.0]]))
      4.0
    """
    if len(x) < 2:
        return float("nan")
    centred = np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=np.float64)
    covariance = centred.T @ centred / (len(x) - 1)
    np.fill_diagonal(covariance, 0)
    return float((covariance**2).sum() / x.shape[1])


def _chunks(local: np.ndarray, mask: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield chunks of samples in float64, zeros outside of the mask, with weights 1 and 0."""
    for start in range(0, len(local), _CHUNK):
        values = np.asarray(local[start : start + _CHUNK], np.float64)
        exist = np.ones(values.shape[:2], bool) if mask is None else mask[start : start + _CHUNK]
        yield np.where(exist[:, :, None], values, 0), exist.astype(np.float64)


def _later_pairs(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the squared distances of every vector to those behind it, for chunks of vectors."""
    squared = (x**2).sum(axis=1)
    rows = max(1, _PAIRS // len(x))
    for start in range(0, len(x) - 1, rows):
        stop = min(start + rows, len(x) - 1)
        distances = squared[start:stop, None] + squared[None] - 2 * x[start:stop] @ x.T
        later = np.arange(len(x))[None] > np.arange(start, stop)[:, None]
        yield np.maximum(distances[later], 0)
