"""How well two sides agree: distances and ranks of pairs, entropy of attention, and smoothness over a grid.

Embeddings have length 1 (see `spread.unit_length`); everything is computed in float64.
"""

import itertools
from typing import NamedTuple

import numpy as np

_COSINES = 2**25  # held at a time (256 MiB)


def pair_distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance of the two embeddings of every sample, `[N]` of `[N, d]` and `[N, d]`.

    Example:
      >>> pair_distance(np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])).round(4).tolist()
      [0.8944]
    """
    return np.linalg.norm(np.asarray(x, np.float64) - y, axis=1)


def alignment_rmse(local: np.ndarray, attended: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    r"""Return of every sample $\sqrt{\operatorname{mean}_k \|z_k - z'_k\|^2}$, `[N]`; NaN for a sample without any k.

    Args:
      local: z, the local embeddings `[N, L, d]` of one modality.
      attended: z', what attention gives for the same positions from the other modality, `[N, L, d]`.
      mask: `[N, L]`, which exist; None for all.

    Example:
      >>> alignment_rmse(np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.array([[[1.0, 0.0], [1.0, 0.0]]])).tolist()
      [1.0]
    """
    squared = ((np.asarray(local, np.float64) - attended) ** 2).sum(axis=2)
    exist = np.ones(squared.shape, bool) if mask is None else mask
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.where(exist, squared, 0).sum(axis=1) / exist.sum(axis=1))


def position_ranks(local: np.ndarray, attended: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Return the rank (1 is best) of every position's own attended embedding among those of its sample, `[N, L]`.

    The cosine decides; ties count against the method. Positions outside the mask have the rank 0.

    Args:
      local: `[N, L, d]`.
      attended: `[N, L, d]`.
      mask: `[N, L]`, which exist; None for all.

    Example:
      >>> regions = np.eye(3)[None]
      >>> position_ranks(regions, regions).tolist(), position_ranks(regions, np.ones((1, 3, 3))).tolist()
      ([[1, 1, 1]], [[3, 3, 3]])
    """
    ranks = np.zeros(local.shape[:2], np.int64)
    for index, (x, y) in enumerate(zip(local, attended, strict=True)):
        exist = np.ones(len(x), bool) if mask is None else mask[index]
        cosines = np.asarray(x[exist], np.float64) @ np.asarray(y[exist], np.float64).T
        ranks[index, exist] = (cosines >= np.diag(cosines)[:, None]).sum(axis=1)
    return ranks


def entropy(weights: np.ndarray) -> np.ndarray:
    r"""Return $-\sum_k w_k \log w_k$ of weights `[..., L]` that sum to 1, in nats; at most log L.

    Example:
      >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4).tolist()
      [0.6931, 0.0]
    """
    weights = np.asarray(weights, np.float64)
    return -np.where(weights > 0, weights * np.log(np.where(weights > 0, weights, 1)), 0).sum(axis=-1) + 0.0


class Smoothness(NamedTuple):
    """The cosine of two regions of an image by their distance on the grid.

    Attributes:
      distances: distinct Euclidean distances, in regions, ascending, `[n]`.
      means: the mean over pairs of regions and samples, `[n]`.
      stds: their standard deviations, `[n]`.
      low: the 5th percentile, `[n]`.
      high: the 95th percentile, `[n]`.
    """

    distances: np.ndarray
    means: np.ndarray
    stds: np.ndarray
    low: np.ndarray
    high: np.ndarray


def smoothness(local: np.ndarray, grid: tuple[int, ...]) -> Smoothness:
    """Return how similar regions are by their distance on the grid.

    Args:
      local: regions `[N, L, C]` of length 1. If all pairs of regions are more than 2^25, as on fine grids, they are
        those of every k-th sample.
      grid: shape of the map, whose product is L.

    Example:
      >>> near = smoothness(np.array([[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]]), (1, 3))
      >>> near.distances.tolist(), near.means.round(2).tolist()
      ([1.0, 2.0], [0.7, 0.0])
    """
    positions = np.array(list(itertools.product(*map(range, grid))))
    first, second = np.triu_indices(len(positions), 1)
    squared = ((positions[first] - positions[second]) ** 2).sum(axis=1)  # whole numbers, so equal distances are equal
    step = -(-len(local) * len(first) // _COSINES)
    samples = [np.asarray(one, np.float64) for one in local[:: max(step, 1)]]
    cosines = np.stack([(one @ one.T)[first, second] for one in samples])
    kinds = np.unique(squared)
    by_distance = [cosines[:, squared == kind].ravel() for kind in kinds]
    return Smoothness(
        distances=np.sqrt(kinds),
        means=np.array([one.mean() for one in by_distance]),
        stds=np.array([one.std() for one in by_distance]),
        low=np.array([np.percentile(one, 5) for one in by_distance]),
        high=np.array([np.percentile(one, 95) for one in by_distance]),
    )
