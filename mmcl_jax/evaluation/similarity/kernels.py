"""Centred kernel alignment of other kernels than the linear one, in tiles of rows: no matrix of N x N is held."""

import dataclasses
import functools
from typing import Any, Literal

import numpy as np

from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.similarity.linear import ratio
from mmcl_jax.evaluation.similarity.moments import Representation

KERNELS = ("rbf", "linear")
FRACTION = 0.5
TILE = 2048  # rows and columns of a tile: 32 MiB in float64
MEDIAN_ROWS = 2048
Kernel = Literal["rbf", "linear"]


def kernel_cka(
    x: Any, y: Any, *, kernel: Kernel = "rbf", fraction: float = FRACTION, debiased: bool = False, seed: int = 0
) -> float:
    """Return the centred kernel alignment of two representations of the same rows (Kornblith et al., 2019).

    It is `tr(KHLH) / sqrt(tr(KHKH) tr(LHLH))` with the centring matrix H, between 0 and 1. The RBF kernel is
    `exp(-|a - b|^2 / (2 w^2))`, whose width w is `fraction` of the median distance between rows of a representation;
    small fractions compare neighbours alone, and for large ones the alignment tends to the linear one. The median is of
    all pairs of distinct rows or, of more than 2,048 rows, of the pairs among 2,048 drawn ones.

    Args:
      x: `[N, D]` numbers, or a `Representation`.
      y: `[N, E]` of the same rows, or a `Representation`.
      kernel: "rbf", or "linear", which `linear_cka` computes faster.
      fraction: of the median distance; Kornblith et al. try 0.2, 0.4 and 0.8.
      debiased: whether the three terms are estimated without bias (Song et al., 2012); needs at least four rows.
      seed: of the rows that the median is drawn from.

    Raises:
      UserError: as `linear_cka` does; or half of the rows are equal, so that the median distance is 0.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(60, 3))
      >>> [round(kernel_cka(x, x**3, fraction=wide), 2) for wide in (0.5, 5, 50)]
      [0.7, 0.7, 0.69]
      >>> round(kernel_cka(x, x**3, kernel="linear"), 2), round(kernel_cka(x, -2 * x), 6)
      (0.69, 1.0)
    """
    given = ((x, "the first features"), (y, "the second features"))
    first, second = (
        Kernelled.of(one if isinstance(one, Representation) else Representation(one, name), kernel, fraction, seed)
        for one, name in given
    )
    return aligned_kernels(first, second, debiased=debiased)


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the cells of two kernel matrices, from which both estimates of their alignment follow.

    Attributes:
      products: of the products of their cells; of all, and of those off the diagonal, `[2]`.
      first: of the rows of the first matrix, with the diagonal and without, `[2, N]`.
      second: of the rows of the second matrix.
    """

    products: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def criterion(self, *, debiased: bool) -> float:
        """Return (N - 1)^2 times the Hilbert-Schmidt criterion, or N (N - 3) times its unbiased estimate."""
        at = int(debiased)
        rows, first, second = self.first.shape[1], self.first[at], self.second[at]
        totals, mixed = first.sum() * second.sum(), first @ second
        if debiased:
            return float(self.products[1] + totals / ((rows - 1) * (rows - 2)) - 2 * mixed / (rows - 2))
        return float(self.products[0] + totals / rows**2 - 2 * mixed / rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Kernelled:
    """A representation with a kernel between its rows.

    Attributes:
      rows: the representation, `[N, D]`.
      kernel: "rbf" or "linear".
      width: of the RBF kernel.
    """

    rows: Representation
    kernel: Kernel
    width: float

    @classmethod
    def of(cls, rows: Representation, kernel: Kernel, fraction: float, seed: int = 0) -> "Kernelled":
        """Return the representation with a kernel whose width is a fraction of the median distance.

        Raises:
          UserError: as `kernel_cka` does.
        """
        check_name(kernel, KERNELS, "kernel: there is no kernel")
        check(0 < fraction < np.inf, f"fraction: the width of the RBF kernel must be above 0, not {fraction:g} times.")
        return cls(rows, kernel, fraction * median_distance(rows, seed) if kernel == "rbf" else 1.0)

    def part(self, part: slice, order: np.ndarray | None = None) -> np.ndarray:
        """Return some centred rows, or those that a permutation has there, `[b, D]` float64."""
        at = part if order is None else order[part]
        return np.asarray(self.rows.values[at], np.float64) - self.rows.mean

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the kernel between centred rows `[b, D]` and `[c, D]`, `[b, c]`."""
        if self.kernel == "linear":
            return first @ second.T
        squares = squared_distances(first, second)
        squares *= -0.5 / self.width**2
        return np.exp(squares, out=squares)

    @functools.cached_property
    def within(self) -> Sums:
        """The sums of the kernel matrix with itself."""
        return summed(self, self)


def aligned_kernels(
    first: Kernelled, second: Kernelled, order: np.ndarray | None = None, *, debiased: bool = False
) -> float:
    """Return `kernel_cka`, with the rows of the second representation in this order `[N]`."""
    x, y = first.rows, second.rows
    check(
        len(x) == len(y),
        f"{x.name} has {len(x)} rows and {y.name} has {len(y)}: similarity compares representations of the same rows, "
        "so give both the same rows in the same order.",
    )
    check(not debiased or len(x) > 3, f"The debiased CKA needs at least four rows, and {x.name} has {len(x)}.")
    own, other = (one.within.criterion(debiased=debiased) for one in (first, second))
    between = summed(first, second, order).criterion(debiased=debiased)
    return ratio(between, own, other, rows=len(x)) if debiased else float(between / np.sqrt(own * other))


def summed(first: Kernelled, second: Kernelled, order: np.ndarray | None = None) -> Sums:
    """Return the sums of two kernel matrices, with the rows of the second representation in this order `[N]`.

    Tiles above the diagonal stand for their mirror images, so that half of the cells are computed.
    """
    count, same = len(first.rows), second is first and order is None
    tiles = [slice(start, min(start + TILE, count)) for start in range(0, count, TILE)]
    products, sums, diagonals = 0.0, np.zeros((2, count)), np.zeros((2, count))
    for number, down in enumerate(tiles):
        rows = first.part(down), None if same else second.part(down, order)
        for across in tiles[number:]:
            whole = across == down
            of_first = first.between(rows[0], rows[0] if whole else first.part(across))
            of_second = of_first
            if rows[1] is not None:
                of_second = second.between(rows[1], rows[1] if whole else second.part(across, order))
            products += float(np.vdot(of_first, of_second)) * (1 if whole else 2)
            for at, tile in enumerate((of_first, of_second)):
                sums[at, down] += tile.sum(axis=1)
                if whole:
                    diagonals[at, down] = np.diagonal(tile)
                else:
                    sums[at, across] += tile.sum(axis=0)
    off = sums - diagonals
    return Sums(
        np.array([products, products - diagonals[0] @ diagonals[1]]),
        np.stack([sums[0], off[0]]),
        np.stack([sums[1], off[1]]),
    )


def median_distance(rows: Representation, seed: int = 0) -> float:
    """Return the median distance between distinct rows, of at most 2,048 drawn rows.

    Raises:
      UserError: it is 0.
    """
    drawn = np.sort(np.random.default_rng([seed, 0]).permutation(len(rows))[:MEDIAN_ROWS])
    some = np.asarray(rows.values[drawn], np.float64) - rows.mean
    above = np.triu_indices(len(some), k=1)
    median = float(np.sqrt(np.median(squared_distances(some, some)[above])))
    check(
        median > 0,
        f"{rows.name}: the median distance between rows is 0, as at least half of all pairs are equal, so the RBF "
        "kernel has no width; use cka.",
    )
    return median


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the squared distances between rows `[b, D]` and `[c, D]`, `[b, c]`, at least 0."""
    squares = first @ second.T
    squares *= -2
    squares += np.einsum("nd,nd->n", first, first)[:, None]
    squares += np.einsum("nd,nd->n", second, second)
    return np.maximum(squares, 0, out=squares)
