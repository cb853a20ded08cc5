"""The matrices of similarities between representations, on each split."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.similarity.kernels import Kernelled
from mmcl_jax.evaluation.similarity.layers import Layer, common_rows
from mmcl_jax.evaluation.similarity.measures import KERNEL, Similarity, among
from mmcl_jax.evaluation.similarity.moments import Pairing, Representation
from mmcl_jax.progress import Bar

ASYMMETRIC = ("pwcca_morcos", "pwcca_anatome")  # which weigh by the first representation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matrix:
    """The similarities of R representations by one measure on one split.

    Attributes:
      split: whose rows are compared.
      rows: their number.
      measure: one of `MEASURES`.
      value: `[R, R]`; 1 on the diagonal. Row and column are the first and second argument of the measure.
      mean: the mean over permutations of the rows, `[R, R]`; NaN on the diagonal and without permutations.
      high: their 95th percentile, `[R, R]`.
      at_or_above: the share of permutations that reach the value, `[R, R]`.
      p_value: of that share, `[R, R]`.
    """

    split: str
    rows: int
    measure: str
    value: np.ndarray
    mean: np.ndarray
    high: np.ndarray
    at_or_above: np.ndarray
    p_value: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparing:
    """How representations are compared.

    Attributes:
      measures: names of `MEASURES`.
      permutations: of the rows, of each pair; 0 for none.
      fraction: of the median distance, the width of the RBF kernel.
      rows: most rows of a split; more are drawn from.
      seed: of the drawn rows and of the permutations.

    Raises:
      UserError: a number is out of range.
    """

    measures: Sequence[str]
    permutations: int
    fraction: float
    rows: int
    seed: int

    def __post_init__(self) -> None:
        check(self.permutations >= 0, f"--permutations: must be 0 (none) or above, not {self.permutations}.")
        check(self.rows > 1, f"--rows: must be at least 2, not {self.rows}.")
        check(self.seed >= 0, f"--seed: must be 0 or above, not {self.seed}.")


def matrices(
    layers: Sequence[Layer], names: Sequence[str], store: Store, splits: Sequence[str], settings: Comparing
) -> list[Matrix]:
    """Return the matrices of all splits and measures; the features of a split are dropped before the next.

    Args:
      layers: the representations, at least two.
      names: of each, for sentences.
      store: with the rows.
      splits: names of splits.
      settings: of the comparison.

    Raises:
      UserError: a measure cannot be computed of these rows and features; see `similarity`.
    """
    chosen = {split: common_rows(layers, store, split, most=settings.rows, seed=settings.seed) for split in splits}
    pairs = [(i, j) for i in range(len(layers)) for j in range(i + 1, len(layers))]
    found: list[Matrix] = []
    with Bar("similarity", len(splits) * (len(layers) + len(pairs))) as bar:
        for split, rows in chosen.items():
            made = []
            for layer, name in zip(layers, names, strict=True):
                made.append(Representation(layer.features(store, split, rows), f"{name} ({split})"))
                bar.advance(1)
            kernels = [Kernelled.of(one, "rbf", settings.fraction) for one in made] if _kernels(settings) else []
            cells: dict[tuple[int, int], Mapping[str, Similarity]] = {}
            for i, j in pairs:
                cells |= _both(made, kernels, i, j, settings)
                bar.advance(1)
            found += [_matrix(split, len(rows), name, cells, len(layers)) for name in settings.measures]
    return found


def _kernels(settings: Comparing) -> bool:
    return bool({*settings.measures} & {*KERNEL})


def _both(
    made: Sequence[Representation], kernels: Sequence[Kernelled], i: int, j: int, settings: Comparing
) -> dict[tuple[int, int], Mapping[str, Similarity]]:
    """Return the similarities of a pair, in both orders; those of symmetric measures are computed once."""
    options = {"permutations": settings.permutations, "seed": settings.seed}
    of_pair = [kernels[i], kernels[j]] if kernels else []
    straight = among(Pairing.of(made[i], made[j]), settings.measures, of_pair, **options)
    one_way = [name for name in settings.measures if name in ASYMMETRIC]
    back = among(Pairing.of(made[j], made[i]), one_way, [], **options) if one_way else {}
    return {(i, j): straight, (j, i): {**straight, **back}}


def _matrix(
    split: str, rows: int, measure: str, cells: Mapping[tuple[int, int], Mapping[str, Similarity]], count: int
) -> Matrix:
    values = {name: np.full((count, count), np.nan) for name in ("value", "mean", "high", "at_or_above", "p_value")}
    np.fill_diagonal(values["value"], 1)
    for at, by_measure in cells.items():
        for name, matrix in values.items():
            matrix[at] = getattr(by_measure[measure], name)
    return Matrix(split=split, rows=rows, measure=measure, **values)
