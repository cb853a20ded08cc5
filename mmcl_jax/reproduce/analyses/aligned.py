"""How a run embeds images and reports, whether it has collapsed, and where its sentences point: LoVT's analyses."""

import math
from typing import Any

from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.alignment.analyse import Analysing, analyse
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.reproduce.analyses.raw import Raw
from mmcl_jax.reproduce.plan import Evaluation
from mmcl_jax.training.runs.run import Run

ROWS = 1000  # of test, at most
# The metrics of a table by the scores of `mmcl align`: the part, what it is of, and the measure.
_METRICS = {
    "std": ("spread", "{image} pooled", "std x sqrt(D)"),
    "std_total": ("spread", "{image} local", "total std"),
    "std_within": ("spread", "{image} local", "std within samples"),
    "std_centroid": ("spread", "{image} local", "std of centroids"),
    "uniformity": ("spread", "{image} pooled", "uniformity"),
    "pair_distance": ("agreement", "pairs", "distance"),
    "rmse_image": ("agreement", "{image} local, from {report}", "RMSE"),
    "rmse_report": ("agreement", "{report} local, from {image}", "RMSE"),
    "recall": ("retrieval", "{image} to {report}", "top-5"),
    "pointing_alignment": ("pointing", "alignment", "pointing accuracy above chance"),
    "pointing_cosine": ("pointing", "cosine", "pointing accuracy above chance"),
}
_SCALED = ("std_total", "std_within", "std_centroid")  # by the root of the width, so that widths compare


def aligned(evaluation: Evaluation, run: Run, store: Store, raw: Raw | None) -> tuple[Score, dict[str, Any]]:
    """Return what `mmcl align` measures on at most 1,000 test rows of a run.

    Deviations are multiplied by the root of the width. `collapse` is the logarithm of the deviation of the centroids of
    images over that of the regions within an image: without LoVT's global term it falls.

    Args:
      evaluation: of the row.
      run: the pretraining.
      store: with the rows.
      raw: with the boxes of findings; None for no pointing.

    Raises:
      UserError: the run has no encoder of an image, or the boxes are wrong.
    """
    settings = Analysing(split="test", rows=ROWS, truth=None if raw is None else raw.findings)
    found = analyse(run, store, settings)
    names = {"image": found.pairing.image, "report": found.pairing.report}
    values = {(score.part, score.of, score.measure): score.value for score in found.scores if not score.column}
    metrics = {
        metric: values.get((part, of.format(**names), measure), math.nan)
        for metric, (part, of, measure) in _METRICS.items()
    }
    local = found.sides[0].local
    scale = math.nan if local is None else math.sqrt(local.shape[2])
    metrics |= {metric: scale * metrics[metric] for metric in _SCALED}
    ratio = metrics["std_centroid"] / metrics["std_within"] if metrics["std_within"] else math.nan
    metrics["collapse"] = math.log(ratio) if ratio > 0 else math.nan
    score = Score(
        method=evaluation.row.key,
        seed=run.config.seed,
        protocol=evaluation.protocol,
        input=evaluation.input,
        label="",
        budget="no labels",
        draw=0,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        chosen={},
    )
    return score, {}
