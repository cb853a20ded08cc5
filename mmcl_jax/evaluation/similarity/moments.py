"""Representations, and the moments that their linear measures are computed from, in float64 and in blocks of rows."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from mmcl_jax.errors import check

_CELLS = 2**22  # of a block of rows: 32 MiB in float64


@dataclasses.dataclass(frozen=True, eq=False)
class Representation:
    """Features of the same rows, as one network or layer has them, and their moments, computed once.

    A measure of rows with D features needs memory for a few `[D, D]` arrays and a block of rows, beside the features.

    Attributes:
      values: `[N, D]` finite numbers, an array or a memory map; they are read in blocks and not copied.
      name: what errors call it.

    Raises:
      UserError: it is no matrix of numbers, or has fewer than two rows; later, from its moments, a value is not finite
        or no feature varies.

    Example:
      >>> rows = Representation(np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]))
      >>> rows.mean.tolist(), rows.scatter.tolist(), rows.rank
      ([2.0, 1.0], [[8.0, 0.0], [0.0, 0.0]], 1)
    """

    values: Any
    name: str = "the features"

    def __post_init__(self) -> None:
        shape: tuple[int, ...] = getattr(self.values, "shape", ())
        check(
            len(shape) == 2 and np.issubdtype(self.values.dtype, np.number) and shape[1] > 0,
            f"{self.name}: similarity compares matrices of numbers [rows, features], and this has the shape "
            f"{'x'.join(map(str, shape)) or '()'}; flatten or average what has more axes.",
        )
        check(shape[0] > 1, f"{self.name}: similarity needs at least two rows, and there is {shape[0]}.")

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        """The number of features D."""
        return int(self.values.shape[1])

    def blocks(self, order: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yield the rows, or the rows in this order `[N]`, as float64 blocks `[b, D]`."""
        step = max(1, _CELLS // self.width)
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            yield np.asarray(self.values[part if order is None else order[part]], np.float64)

    @functools.cached_property
    def mean(self) -> np.ndarray:
        """The mean of every feature, `[D]`."""
        mean = np.sum([block.sum(axis=0) for block in self.blocks()], axis=0) / len(self)
        check(bool(np.isfinite(mean).all()), f"{self.name}: a feature is not finite; leave such rows out.")
        return np.asarray(mean)

    @functools.cached_property
    def _centred(self) -> tuple[np.ndarray, np.ndarray]:
        scatter, norms = np.zeros((self.width, self.width)), []
        for block in self.blocks():
            block = block - self.mean  # a new array: float64 blocks are parts of the caller's
            scatter += block.T @ block
            norms.append(np.einsum("nd,nd->n", block, block))
        varies = np.trace(scatter) > 0
        check(bool(varies), f"{self.name}: no feature varies over the {len(self)} rows, so nothing can be compared.")
        return scatter, np.concatenate(norms)

    @property
    def scatter(self) -> np.ndarray:
        """The centred second moments, not divided by N, `[D, D]`."""
        return self._centred[0]

    @property
    def norms(self) -> np.ndarray:
        """The squared norms of the centred rows, `[N]`."""
        return self._centred[1]

    @property
    def raw_scatter(self) -> np.ndarray:
        """The second moments about zero, not divided by N, `[D, D]`."""
        return self.scatter + len(self) * np.outer(self.mean, self.mean)

    @functools.cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        return spectrum(self.scatter, len(self))

    @property
    def rank(self) -> int:
        """The number of directions in which the rows vary, beyond rounding."""
        return len(self._spectrum[0])

    @functools.cached_property
    def whitening(self) -> np.ndarray:
        """The matrix `[D, rank]` that turns centred rows into orthonormal columns."""
        variances, directions = self._spectrum
        return directions / np.sqrt(variances)

    @functools.cached_property
    def root(self) -> np.ndarray:
        """The symmetric inverse root of the scatter, `[D, D]`; of deficient rank, that of its varying directions."""
        return self.whitening @ self._spectrum[1].T


def spectrum(scatter: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues `[r]` of a scatter `[D, D]` above rounding, the largest first, and eigenvectors `[D, r]`.

    Eigenvalues below max(rows, D) times the spacing of float64, relative to the largest, are those of directions in
    which nothing varies.
    """
    values, vectors = np.linalg.eigh(scatter)
    kept = values > values[-1] * max(rows, len(scatter)) * np.finfo(np.float64).eps
    return values[kept][::-1], vectors[:, kept][:, ::-1]


@dataclasses.dataclass(frozen=True, eq=False)
class Pairing:
    """Two representations whose rows belong together, and the moments between them.

    Attributes:
      x: the first, `[N, D]`.
      y: the second, `[N, E]`.
      order: `[N]`, the rows of `y` that stand beside those of `x`, in a permutation; None for its own order.
      cross: the centred moments between them, `[D, E]`.
      norms: the sum over the rows of the products of their squared norms.
    """

    x: Representation
    y: Representation
    order: np.ndarray | None
    cross: np.ndarray
    norms: float

    @classmethod
    def of(cls, x: Any, y: Any, order: np.ndarray | None = None) -> "Pairing":
        """Return the pairing of two representations, or of arrays `[N, D]` and `[N, E]`.

        Raises:
          UserError: they have unequal numbers of rows, or either is no representation.
        """
        x = x if isinstance(x, Representation) else Representation(x, "the first features")
        y = y if isinstance(y, Representation) else Representation(y, "the second features")
        check(
            len(x) == len(y),
            f"{x.name} has {len(x)} rows and {y.name} has {len(y)}: similarity compares representations of the same "
            "rows, so give both the same rows in the same order.",
        )
        cross = np.zeros((x.width, y.width))
        # Both have the blocks of the wider, so that rows stay beside each other.
        step = max(1, _CELLS // max(x.width, y.width))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            first = np.asarray(x.values[part], np.float64) - x.mean
            cross += first.T @ (np.asarray(y.values[part if order is None else order[part]], np.float64) - y.mean)
        norms = float(x.norms @ (y.norms if order is None else y.norms[order]))
        return cls(x, y, order, cross, norms)

    def swapped(self) -> "Pairing":
        """Return the pairing with `y` first; in a permutation, the rows of `y` keep their order and those of `x` move.

        The sums over the rows do not depend on which side moves.
        """
        order = None if self.order is None else np.argsort(self.order)
        return Pairing(self.y, self.x, order, self.cross.T, self.norms)

    @functools.cached_property
    def canonical(self) -> tuple[np.ndarray, np.ndarray]:
        """The canonical correlations `[k]`, the largest first, and the coefficients `[D, k]` of the variates of `x`.

        Raises:
          UserError: there are no more rows than features, so that all correlations would be 1 whatever the features.
        """
        for side in (self.x, self.y):
            check_rows(len(side), side.width, side.name)
        left, correlations, _ = np.linalg.svd(self.x.whitening.T @ self.cross @ self.y.whitening, full_matrices=False)
        return np.minimum(correlations, 1), self.x.whitening @ left


def check_rows(rows: int, width: int, name: str) -> None:
    """Raise `UserError` unless there are more rows than features, as canonical correlations need."""
    check(
        rows > width,
        f"{name} has {rows} rows of {width} features: with no more rows than features, canonical correlations are 1 "
        "whatever the features are; give more rows, or use cka (--measure cka).",
    )
