"""The measures by their names, and their values under permutations of the rows.

All measures of a pairing share its moments, and those of one representation are computed once for all pairings.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.similarity.correlation import mean_correlation, projected, sv_correlation
from mmcl_jax.evaluation.similarity.kernels import FRACTION, Kernelled, aligned_kernels
from mmcl_jax.evaluation.similarity.linear import aligned, cka, cka_debiased
from mmcl_jax.evaluation.similarity.moments import Pairing, Representation

LINEAR: Mapping[str, Callable[[Pairing], float]] = {
    "cka": cka,
    "cka_debiased": cka_debiased,
    "cca": mean_correlation,
    "svcca_anatome": lambda pairing: sv_correlation(pairing, cut="anatome"),
    "svcca_google": lambda pairing: sv_correlation(pairing, cut="google"),
    "pwcca_morcos": lambda pairing: projected(pairing, weights="morcos"),
    "pwcca_google": lambda pairing: projected(pairing, weights="google"),
    "pwcca_anatome": lambda pairing: projected(pairing, weights="anatome"),
    "procrustes": aligned,
}
KERNEL: Mapping[str, bool] = {"kernel_cka": False, "kernel_cka_debiased": True}  # whether it is debiased
MEASURES = (*LINEAR, *KERNEL)
PUBLISHED = ("cka", "cca", "svcca_anatome", "pwcca_anatome")  # of Fedorov et al., by the package that they used


@dataclasses.dataclass(frozen=True, kw_only=True)
class Similarity:
    """A similarity, and the same measure of rows that do not belong together.

    Attributes:
      value: of the measure.
      null: its values with the rows of one side in random orders, `[P]`; empty without permutations.

    Example:
      >>> found = Similarity(value=0.5, null=np.array([0.1, 0.2, 0.6, 0.3]))
      >>> found.at_or_above, found.p_value, round(found.mean, 2)
      (0.25, 0.4, 0.3)
    """

    value: float
    null: np.ndarray

    @property
    def at_or_above(self) -> float:
        """The share of permutations whose value is at or above the measured one; NaN without permutations."""
        return float((self.null >= self.value).mean()) if len(self.null) else float("nan")

    @property
    def p_value(self) -> float:
        """The p-value of that share, in which the measured order counts as a permutation; NaN without permutations."""
        return float(((self.null >= self.value).sum() + 1) / (len(self.null) + 1)) if len(self.null) else float("nan")

    @property
    def mean(self) -> float:
        """The mean over the permutations: what the measure says of unrelated rows; NaN without permutations."""
        return float(self.null.mean()) if len(self.null) else float("nan")

    @property
    def high(self) -> float:
        """The 95th percentile over the permutations; NaN without permutations."""
        return float(np.quantile(self.null, 0.95)) if len(self.null) else float("nan")


def similarity(
    x: Any,
    y: Any,
    measures: Sequence[str] = PUBLISHED,
    *,
    permutations: int = 100,
    seed: int = 0,
    fraction: float = FRACTION,
) -> dict[str, Similarity]:
    """Return measures of the similarity of two representations, each with its values under permutations of the rows.

    The measures, and those of CCA most of all, are far above 0 for unrelated features unless rows are many times the
    features, so a value says nothing by itself; what permutations reach says what it must be above.

    Args:
      x: `[N, D]` numbers, or a `Representation`.
      y: `[N, E]` of the same rows, or a `Representation`.
      measures: names of `MEASURES`.
      permutations: of the rows of `y`; 0 for none.
      seed: of the permutations, each of which follows from the seed and its number.
      fraction: of the median distance, the width of the RBF kernel.

    Raises:
      UserError: a measure is unknown, or cannot be computed of these features.

    Example:
      >>> x, y = np.random.default_rng(0).normal(size=(2, 60, 20))
      >>> found = similarity(x, y, ["cka", "cca"])
      >>> {name: (round(one.value, 2), round(one.mean, 2)) for name, one in found.items()}  # unrelated, and far above 0
      {'cka': (0.25, 0.25), 'cca': (0.52, 0.51)}
    """
    check(len(measures) > 0, f"--measure: name at least one of {', '.join(MEASURES)}.")
    for name in measures:
        check_name(name, MEASURES, "--measure: there is no measure")
        check(measures.count(name) == 1, f"--measure: {name!r} is named twice; name it once.")
    check(permutations >= 0, f"--permutations: must be 0 (none) or above, not {permutations}.")
    pairing = Pairing.of(x, y)
    kernelled = (
        [Kernelled.of(side, "rbf", fraction) for side in (pairing.x, pairing.y)] if {*measures} & {*KERNEL} else []
    )
    return among(pairing, measures, kernelled, permutations=permutations, seed=seed)


def among(
    pairing: Pairing, measures: Sequence[str], kernelled: Sequence[Kernelled], *, permutations: int, seed: int
) -> dict[str, Similarity]:
    """Return `similarity` of a pairing, and of the two representations with kernels where a measure needs them."""

    def measured(moved: Pairing) -> list[float]:
        kernels = {
            name: aligned_kernels(kernelled[0], kernelled[1], moved.order, debiased=debiased)
            for name, debiased in KERNEL.items()
            if name in measures
        }
        return [kernels[name] if name in KERNEL else LINEAR[name](moved) for name in measures]

    values = measured(pairing)
    rows = len(pairing.x)
    orders = (np.random.default_rng([seed, number]).permutation(rows) for number in range(permutations))
    nulls = [measured(Pairing.of(pairing.x, pairing.y, order)) for order in orders]
    by_measure = np.array(nulls, np.float64).reshape(permutations, len(measures)).T
    found = zip(measures, values, by_measure, strict=True)
    return {name: Similarity(value=value, null=null) for name, value, null in found}


def represented(values: Any, name: str) -> Representation:
    """Return a representation `[N, D]`, whose moments are computed now, so that bad features are told first."""
    made = Representation(values, name)
    assert made.scatter is not None
    return made
