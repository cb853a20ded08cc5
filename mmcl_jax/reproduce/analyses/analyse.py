"""The analyses of a pretrained run that columns without a label name, by protocol."""

from collections.abc import Callable, Mapping
from typing import Any

from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.reproduce.analyses.aligned import aligned
from mmcl_jax.reproduce.analyses.association import associated
from mmcl_jax.reproduce.analyses.attribution import attributed
from mmcl_jax.reproduce.plan import Evaluation
from mmcl_jax.reproduce.spec import ALIGNMENT, ASSOCIATION, ATTRIBUTION
from mmcl_jax.training.runs.run import Run

# Returns the score of an evaluation, and what else its record holds; it reads a `Raw`, or None for alignment alone.
Analysis = Callable[[Evaluation, Run, Store, Any], tuple[Score, dict[str, Any]]]
ANALYSES: Mapping[str, Analysis] = {ASSOCIATION: associated, ATTRIBUTION: attributed, ALIGNMENT: aligned}
