"""The analyses of a pretrained run that columns without a label name, by protocol."""

from collections.abc import Callable, Mapping
from typing import Any

from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.reproduce.analyses.association import associated
from mmcl_jax.reproduce.analyses.attribution import attributed
from mmcl_jax.reproduce.analyses.raw import Raw
from mmcl_jax.reproduce.plan import Evaluation
from mmcl_jax.reproduce.spec import ASSOCIATION, ATTRIBUTION
from mmcl_jax.training.runs.run import Run

# Returns the score of an evaluation, and what else its record holds.
Analysis = Callable[[Evaluation, Run, Store, Raw], tuple[Score, dict[str, Any]]]
ANALYSES: Mapping[str, Analysis] = {ASSOCIATION: associated, ATTRIBUTION: attributed}
