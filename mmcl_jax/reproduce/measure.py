"""How a metric is written: in percent or in the unit of the label, and whether lower values are better."""

import dataclasses
import math

import numpy as np

from mmcl_jax.evaluation.results.summary import NAMES
from mmcl_jax.page.wording import LOWER_IS_BETTER
from mmcl_jax.reproduce.spec import COLUMNS_USED, COUNTS, FALSE, GLOBAL, INFLATION, LOCAL, PLANTED, REGIONS

# Of embeddings of length 1 (see `analyses.aligned`).
EMBEDDED = (
    "std", "std_total", "std_within", "std_centroid", "uniformity", "collapse", "pair_distance", "rmse_image",
    "rmse_report",
)  # fmt: skip
# Of the label, of logarithms, or of variances; all other metrics are shares.
_IN_UNITS = (
    "mse", "mae", "rmse", "log_loss", "standardised_mse_sum", *COUNTS, INFLATION, "inflation_largest",
    "inflation_permuted", "people", "components", *EMBEDDED,
)  # fmt: skip
_ALONE = (REGIONS, FALSE, INFLATION, *EMBEDDED)  # of which neither more nor less is better by itself
_SUM = "standardised_mse_sum"
_NAMES = {
    COLUMNS_USED: "share of pairs in which noise is used less",
    _SUM: "summed mean squared error",
    REGIONS: "independent regions",
    PLANTED: "planted variants found",
    FALSE: "regions with nothing planted",
    INFLATION: "genomic inflation",
    "inflation_largest": "largest inflation of a component",
    "inflation_permuted": "inflation of a permuted component",
    "variance": "variance in the components",
    "components": "components tested",
    GLOBAL: "AUROC of planted features",
    LOCAL: "AUROC of planted features, mean over people",
    "std": "deviation of images",
    "std_total": "deviation of regions",
    "std_within": "deviation of regions within images",
    "std_centroid": "deviation of the centroids of images",
    "uniformity": "uniformity of images",
    "collapse": "log of the deviation of centroids over that within images",
    "pair_distance": "distance of images from their reports",
    "rmse_image": "error of the alignment of regions",
    "rmse_report": "error of the alignment of sentences",
    "recall": "reports among the nearest five",
    "pointing_alignment": "pointing accuracy above chance, by the alignment",
    "pointing_cosine": "pointing accuracy above chance, by cosines",
}


@dataclasses.dataclass(frozen=True)
class Measure:
    """A metric of a table.

    Attributes:
      metric: the name in scores.
      primary: whether the contributions of test rows that scores have are of this metric, or determine it.
      labels: number of labels that are predicted together.
    """

    metric: str
    primary: bool = True
    labels: int = 1

    @classmethod
    def of(cls, metric: str, *, primary: str, labels: int = 1) -> "Measure":
        """Return the measure of a metric of a task with this primary metric, whose contributions scores have.

        Example:
          >>> [Measure.of(metric, primary="r2").primary for metric in ("r2", "standardised_mse_sum", "mae")]
          [True, True, False]
        """
        return cls(metric, primary=metric == primary or (metric, primary) == (_SUM, "r2"), labels=labels)

    def of_rows(self, contributions: np.ndarray) -> np.ndarray:
        """Return what test rows add to the metric, as tables show it, from their contributions to the primary metric.

        The summed error of K standardised numbers is K (1 - R2), with the mean R2 of the numbers.
        """
        return self.labels * (1 - contributions) if self.metric == _SUM else self.factor * contributions

    @property
    def lower(self) -> bool:
        """Whether lower values are better."""
        return self.metric in LOWER_IS_BETTER

    @property
    def ranked(self) -> bool:
        """Whether higher or lower values are better, so that one method is the best."""
        return self.metric not in _ALONE

    @property
    def percent(self) -> bool:
        """Whether values are in percent."""
        return self.metric not in _IN_UNITS

    @property
    def bounded(self) -> bool:
        """Whether the value A bounds its variance over n test rows, by A (1 - A) / n."""
        return self.metric in ("top1", "auroc")

    @property
    def factor(self) -> float:
        """The factor from the metric to what tables show."""
        return 100.0 if self.percent else 1.0

    @property
    def name(self) -> str:
        """The metric in words, such as "R² of age" for "r2/age"."""
        metric, _, label = self.metric.partition("/")
        words = _NAMES.get(metric, NAMES.get(metric, metric.replace("_", " ")))
        return f"{words} of {label}" if label else words

    @property
    def unit(self) -> str:
        """The words behind the name."""
        return "in percent" if self.percent else "(lower is better)" if self.lower else ""

    @property
    def difference_unit(self) -> str:
        """What differences are in."""
        if self.lower:
            return f"% less {self.name}"
        return "points" if self.percent else "variants" if self.metric == PLANTED else "units"

    def written(self, mean: float, sd: float = math.nan) -> str:
        """Return a text such as `91.43 ± 0.13`; "diverged" for NaN.

        Example:
          >>> Measure("top1").written(91.434, 0.126), Measure("mse").written(0.012341, 0.00071)
          ('91.43 ± 0.13', '0.01234 ± 0.00071')
        """
        if math.isnan(mean):
            return "diverged"
        two_digits = self.percent or self.metric.startswith(INFLATION)
        spread = "" if math.isnan(sd) else f" ± {sd:.2f}" if two_digits else f" ± {sd:.2g}"
        if self.metric in COUNTS:
            spread = "" if math.isnan(sd) else f" ± {sd:.1f}"
            return (f"{mean:g}" if mean == round(mean) else f"{mean:.1f}") + spread
        return (f"{mean:.2f}" if two_digits else f"{mean:.4g}") + spread

    def tick(self, value: float) -> str:
        """Return a value at the end of an axis."""
        return f"{value:g} %" if self.percent else f"{value:g}"
