"""The jobs of an evaluation: a method, by a protocol, from an input, with a label budget."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.heads.adam import Optimizer
from mmcl_jax.evaluation.heads.cycle import OneCycle
from mmcl_jax.evaluation.heads.plateau import Plateau
from mmcl_jax.evaluation.protocols import logistic
from mmcl_jax.evaluation.protocols.boosting import TABULAR
from mmcl_jax.evaluation.protocols.options import TRAINING, TUNING, EvaluationOptions
from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.protocols.rivals.search import TRIALS
from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.confounders import Confounder
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.missingness import (
    WHOLE,
    Hiding,
    Missingness,
    hiding_cells,
    part_of_columns,
    tables_of,
)
from mmcl_jax.evaluation.sources.pairs import Pair
from mmcl_jax.evaluation.sources.reads import modalities_of, pair_name
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.tasks import Detection, is_dense
from mmcl_jax.training.runs.run import Run

NO_LABELS = "no labels"
_UNNAMED = ("class", "number")  # the tasks of earlier versions, whose identities do not name the task


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobSettings:
    """The settings of protocols that train.

    Attributes:
      learning_rates: to choose from.
      max_epochs: the longest training.
      log: shows the progress of a training.
      keep: returns the folder to save the heads of a run in; None to save none.
      cycle: how the rates move; None for constant rates.
      plateau: how the rates fall while validation does not improve; None for rates that do not.
      trials: settings of each rival and of "logistic"; None for their defaults.
      optimizer: of heads.
      balanced: whether the classes of training rows are drawn as often.
      unchanged: raises `UserError` if the store has changed since the evaluation began.
      tuning: how protocols that read images in every step train.
    """

    learning_rates: tuple[float, ...]
    max_epochs: int
    log: Callable[[str], None]
    keep: Callable[[Run], Path] | None = None
    cycle: OneCycle | None = None
    plateau: Plateau | None = None
    trials: int | None = None
    optimizer: Optimizer = "adam"
    balanced: bool = False
    unchanged: Callable[[], None]
    tuning: Tuning = dataclasses.field(default_factory=Tuning)

    def trials_of(self, protocol: str) -> int:
        """Return the number of settings that validation chooses from."""
        default = logistic.TRIALS if protocol == logistic.LOGISTIC else TRIALS
        return default if self.trials is None else self.trials


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One method, input, protocol and label budget.

    Attributes:
      source: of the features.
      data: the labelled rows; None for protocols without labels.
      input: name of the input, as scores have it.
      protocol: one of `options.PROTOCOLS`.
      budget: of labels, in words.
      rows: the draws of training labels `[R, n]`.
      count: number of scores: one per draw, or per random start on a single draw.
      beside: whether the features stand beside the columns of the store's table (protocols of `boosting`).
      missing: what is hidden in the tables of the store of `data`.
      confounder: the covariate of the protocol "confounding"; None for others.
      pair: the features between which the protocol "confounding" retrieves; None where it predicts.
    """

    source: Source
    data: LabelledStore | None
    input: str
    protocol: str
    budget: str
    rows: np.ndarray
    count: int
    beside: bool = False
    missing: Missingness = WHOLE
    confounder: Confounder | None = None
    pair: Pair | None = None

    @property
    def label(self) -> str:
        """What is predicted, or the covariate of strata; "" for retrieval."""
        return self.data.task.label if self.data else self.confounder.name if self.confounder else ""

    @property
    def columns_alone(self) -> bool:
        """Whether the columns of the store's table are read as they are stored, and nothing else."""
        return self.protocol in RIVALS or (self.protocol in TABULAR and self.source.kind == "raw")

    @property
    def tables(self) -> list[str]:
        """The tables of the store that the job reads."""
        if self.data is None:
            return []
        of_features = [] if self.columns_alone else self.source.tables(*modalities_of(self.input))
        return list(dict.fromkeys([*of_features, *(tables_of(self.data.store) if self.reads_columns else ())]))

    @property
    def trains_views(self) -> bool:
        """Whether a head is trained on views that every step encodes, with the settings of `Tuning`."""
        return self.protocol in TUNING or (self.data is not None and isinstance(self.data.task, Detection))

    @property
    def reads_columns(self) -> bool:
        """Whether the columns of the store's table are read as they are stored."""
        return self.columns_alone or self.beside

    @property
    def method(self) -> str:
        """The name of the method in scores."""
        if self.columns_alone:
            return "columns"
        return self.source.method(self.protocol, self.input) + (" + columns" if self.beside else "")

    def parts(self) -> list[list[int]]:
        """Return the numbers of the draws in groups that are computed and stored together."""
        numbers = list(range(self.count))
        alone = self.protocol in ("finetune", "unet") or isinstance(self.data and self.data.task, Detection)
        alone = alone or (self.protocol == "augmented_probe" and len(self.rows) > 1)
        return [[number] for number in numbers] if alone else [numbers]

    def _drawn(self, settings: JobSettings) -> dict[str, Any]:
        """Return what the identity says of optimizer, batches and classes, where they are not the defaults."""
        trains, size = self.protocol in TRAINING, settings.tuning.batch_size
        return {
            **({"optimizer": settings.optimizer} if trains and settings.optimizer != "adam" else {}),
            **({"balanced": True} if settings.balanced and (trains or self.protocol == logistic.LOGISTIC) else {}),
            **({"batch_size": size} if size is not None and self.protocol == "probe" and not self.trains_views else {}),
        }

    def of(self, store: Store, settings: JobSettings) -> dict[str, Any]:
        """Return the identity of the job in results files: everything that can change its scores."""
        trains = self.protocol in TRAINING
        return {
            **self.source.of(),
            "store": store.fingerprint,
            "method": self.method,
            "protocol": self.protocol,
            "input": self.input,
            "label": self.label,
            "budget": self.budget,
            "learning_rates": list(settings.learning_rates) if trains else None,
            "max_epochs": settings.max_epochs if trains else None,
            **({"one_cycle": dataclasses.asdict(settings.cycle)} if trains and settings.cycle else {}),
            **({"plateau": dataclasses.asdict(settings.plateau)} if trains and settings.plateau else {}),
            **({"tuning": settings.tuning.changed} if self.trains_views and settings.tuning.changed else {}),
            **({"fold": self.source.run.inputs.fold} if self.source.run.inputs.fold is not None else {}),
            **({"task": self.data.task.name} if self.data and self.data.task.name not in _UNNAMED else {}),
            **({"trials": settings.trials_of(self.protocol)} if self.protocol in (logistic.LOGISTIC, *RIVALS) else {}),
            **self._drawn(settings),
            **self.missing.of,
            **(part_of_columns(self.data.store) if self.data else {}),
        }


def jobs_of(
    source: Source,
    labelled_inputs: Sequence[tuple[LabelledStore, str]],
    options: EvaluationOptions,
    hiding: Callable[[Source, LabelledStore], Hiding],
    pairs: Sequence[Pair] = (),
    columns: Sequence[tuple[LabelledStore, str]] = (),
    confounders: Sequence[Confounder] = (),
    inputs: Sequence[str] = (),
) -> Iterator[Job]:
    """Yield the jobs of a source: the labels and inputs of its fold by all protocols, and retrieval of `pairs`.

    Every one of the `confounders` is predicted from every one of the `inputs`, and is the stratum of every pair. What
    reads no table is evaluated once, on whole rows. `hiding` is that of a source. Rivals read the rows and tables of
    `columns` in place of `labelled_inputs`.
    """
    protocols = [name for name in options.predicting if name not in RIVALS]
    rivals = [name for name in options.predicting if name in RIVALS]
    every = itertools.chain(itertools.product(labelled_inputs, protocols), itertools.product(columns, rivals))
    for (data, input), protocol in every:
        if data.fold != source.run.inputs.fold or not _applies(source, data, input, protocol, options.baselines):
            continue
        for budget in options.budgets:
            rows = data.draws(budget, seed=source.run.config.seed, count=options.draws)
            # Protocols with random starts use several on labels that are drawn once.
            job = Job(
                source=source,
                data=data,
                input=input,
                protocol=protocol,
                budget=str(budget),
                rows=rows,
                count=len(rows),
            )
            if job.trains_views and len(rows) == 1:
                job = dataclasses.replace(job, count=options.draws)
            both = [job, dataclasses.replace(job, beside=True)]
            for one in both if protocol in TABULAR and source.kind != "raw" else [job]:
                for missing in options.missingness if one.tables else [WHOLE]:
                    hidden = hiding_cells(data, hiding(source, data), missing, source.run.config.seed)
                    yield dataclasses.replace(one, data=hidden, missing=missing)
    if source.kind == "raw":
        return
    alone: dict[str, Any] = {
        "source": source, "data": None, "budget": NO_LABELS, "rows": np.zeros((1, 0), int), "count": 1
    }  # fmt: skip
    for pair in pairs if "retrieval" in options.protocols else ():
        yield Job(**alone, input=pair_name(pair), protocol="retrieval")
    for confounder in confounders:
        for input in inputs:
            yield Job(**alone, input=input, protocol="confounding", confounder=confounder)
        for pair in pairs:
            yield Job(**alone, input="-".join(pair), protocol="confounding", confounder=confounder, pair=pair)


def so_far(job: Job, scores: Sequence[Score]) -> str:
    """Return the mean over the finished draws, in a few words."""
    metric = job.data.task.primary if job.data else next(iter(scores[0].metrics))  # the first is the main one
    values = [score.metrics[metric] for score in scores]
    over = f" (mean of {len(values)} of {job.count} draws)" if job.count > 1 else ""
    label = f" of {job.label}" if job.label else ""
    how = f"{job.protocol} on {job.input}{label}, {job.budget}{f', {job.missing}' if job.missing.rate else ''}"
    return f"{job.method}, {how}: {metric} {np.mean(values):.3f}{over}"


def _applies(source: Source, data: LabelledStore, input: str, protocol: str, baselines: Sequence[str]) -> bool:
    """Return whether the method exists: raw inputs are not fine-tuned or augmented, and must be in `baselines`."""
    if protocol in RIVALS:
        return source.kind == "raw"
    if source.kind != "raw":
        return True
    if protocol in TABULAR:
        return "columns" in baselines
    needed = {source.baseline(modality) for modality in modalities_of(input)}
    return protocol in ("probe", "knn", logistic.LOGISTIC) and needed <= set(baselines) and not is_dense(data.task)
