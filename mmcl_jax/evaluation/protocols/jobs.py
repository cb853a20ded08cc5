"""What there is to evaluate: a method, by a protocol, from an input, with a budget of labels."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.protocols.options import TRAINING, EvaluationOptions
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.pairs import Pair
from mmcl_jax.evaluation.sources.reads import modalities_of, pair_name
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.tasks import Segmentation
from mmcl_jax.training.runs.run import Run

NO_LABELS = "no labels"
_ALWAYS = ("class", "number")  # the tasks there were before scores said which they are of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Of protocols that train.

    Attributes:
      learning_rates: to choose from.
      max_epochs: the longest training.
      log: shows how far one is.
      keep: the folder that the heads of a run are kept in; None if none is kept.
    """

    learning_rates: tuple[float, ...]
    max_epochs: int
    log: Callable[[str], None]
    keep: Callable[[Run], Path] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One method, input, protocol and budget, with the draws of labels (`rows` `[R, n]`) or the random starts of it.

    `data` is None for retrieval, which has no labels.
    """

    source: Source
    data: LabelledStore | None
    given: str
    protocol: str
    budget: str
    rows: np.ndarray
    count: int

    @property
    def method(self) -> str:
        """The name that its scores have."""
        return self.source.method(self.protocol, self.given)

    def parts(self) -> list[list[int]]:
        """Return the numbers of the draws, divided into those that are computed, and kept, together."""
        numbers = list(range(self.count))
        alone = self.protocol == "finetune" or (self.protocol == "augmented_probe" and len(self.rows) > 1)
        return [[number] for number in numbers] if alone else [numbers]

    def of(self, store: Store, how: Settings) -> dict[str, Any]:
        """Return what is evaluated, and all that can change its scores."""
        trains = self.protocol in TRAINING
        return {
            **self.source.of(),
            "store": store.fingerprint,
            "method": self.method,
            "protocol": self.protocol,
            "input": self.given,
            "label": self.data.task.label if self.data else "",
            "budget": self.budget,
            "learning_rates": list(how.learning_rates) if trains else None,
            "max_epochs": how.max_epochs if trains else None,
            **({"fold": self.source.run.inputs.fold} if self.source.run.inputs.fold is not None else {}),
            **({"task": self.data.task.name} if self.data and self.data.task.name not in _ALWAYS else {}),
        }


def jobs_of(
    source: Source,
    asked: Sequence[tuple[LabelledStore, str]],
    options: EvaluationOptions,
    pairs: Sequence[Pair] = (),
) -> Iterator[Job]:
    """Yield what there is to evaluate of a source: every label and input that is `asked` for, by every protocol.

    What is asked for is of several folds, if runs are; a source is evaluated on its own. Retrieval is between `pairs`.
    """
    for (data, given), protocol in itertools.product(asked, options.predicting):
        if data.fold != source.run.inputs.fold or not _applies(source, data, given, protocol, options.baselines):
            continue
        for budget in options.budgets:
            rows = data.draws(budget, seed=source.run.config.seed, count=options.draws)
            # Labels that are drawn once are learnt from several random starts, where there are such.
            starts = options.draws if protocol in ("augmented_probe", "finetune") else 1
            yield Job(
                source=source,
                data=data,
                given=given,
                protocol=protocol,
                budget=str(budget),
                rows=rows,
                count=starts if len(rows) == 1 else len(rows),
            )
    for pair in pairs if source.kind != "raw" else ():
        yield Job(
            source=source,
            data=None,
            given=pair_name(pair),
            protocol="retrieval",
            budget=NO_LABELS,
            rows=np.zeros((1, 0), int),
            count=1,
        )


def so_far(job: Job, scores: Sequence[Score]) -> str:
    """Return the mean over the draws that are done, in a few words."""
    metric = job.data.task.primary if job.data else next(iter(scores[0].metrics))
    values = [score.metrics[metric] for score in scores]
    over = f" (mean of {len(values)} of {job.count} draws)" if job.count > 1 else ""
    label = f" of {job.data.task.label}" if job.data else ""
    return f"{job.method}, {job.protocol} on {job.given}{label}, {job.budget}: {metric} {np.mean(values):.3f}{over}"


def _applies(source: Source, data: LabelledStore, given: str, protocol: str, baselines: Sequence[str]) -> bool:
    """Return whether the method exists: raw inputs have nothing to fine-tune or augment, and are asked for by name."""
    if source.kind != "raw":
        return True
    needed = {source.baseline(modality) for modality in modalities_of(given)}
    return protocol in ("probe", "knn") and needed <= set(baselines) and not isinstance(data.task, Segmentation)
