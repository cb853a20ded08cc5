"""The scores of a job, by each of the protocols."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.dense import LinearSegmentation
from mmcl_jax.evaluation.heads.engine import Trained
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.standard import Standard
from mmcl_jax.evaluation.protocols.boosting import TABULAR, TabularFeatures, tabular
from mmcl_jax.evaluation.protocols.confounding import predicted, within_strata
from mmcl_jax.evaluation.protocols.finetune import Examples, FinetuneSettings, finetune
from mmcl_jax.evaluation.protocols.jobs import NO_LABELS, Job, JobSettings
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.protocols.knn import knn
from mmcl_jax.evaluation.protocols.logistic import LOGISTIC, logistic
from mmcl_jax.evaluation.protocols.probe import (
    BATCH_SIZE,
    DENSE_BATCH_SIZE,
    Labelled,
    ProbeSettings,
    train_heads,
)
from mmcl_jax.evaluation.protocols.retrieval import retrieval
from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.protocols.rivals.search import compete
from mmcl_jax.evaluation.results.per_row import of_people, packed, parts
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.confounders import Confounder
from mmcl_jax.evaluation.sources.features import What, unit_rows
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.missingness import HidingStore
from mmcl_jax.evaluation.sources.pairs import with_both
from mmcl_jax.evaluation.sources.reads import is_ensemble, modalities_of
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.tasks import Task, is_dense


@dataclasses.dataclass(frozen=True)
class HeadScores:
    """The result of one draw of labels: parts of its `Score`, the head, and the standardisation of its features."""

    metrics: dict[str, float]
    chosen: dict[str, float]
    rows: str
    trained: Trained | None = None
    standard: Standard | None = None
    cost: dict[str, float] = dataclasses.field(default_factory=dict)


def score_job(job: Job, store: Store, numbers: Sequence[int], settings: JobSettings) -> list[Score]:
    """Return the scores of some draws of a job, and save their heads.

    Raises:
      UserError: the store has changed since the evaluation began; no head is saved.
    """
    source, data, seed = job.source, job.data, job.source.run.config.seed
    if job.confounder is not None:
        confounding = _confounding(job, job.confounder, store)
        settings.unchanged()
        return [confounding]
    if data is None:
        retrieved = _retrieve(source, store, job.input)
        settings.unchanged()
        return [retrieved]
    if job.protocol == "probe" and not job.trains_views:
        results = _probe(source, data, job.input, job.rows, settings)
    elif job.protocol == "knn":
        results = [_knn(source, data, job.input, job.rows[number]) for number in numbers]
    elif job.protocol == LOGISTIC:
        results = [_logistic(job, data, number, settings) for number in numbers]
    elif job.protocol in RIVALS:
        results = [_rival(job, data, number, settings) for number in numbers]
    elif job.protocol in TABULAR:
        results = [_tabular(job, data, number) for number in numbers]
    else:
        name = f"{job.method}, {job.protocol}, {job.budget}"

        def log(text: str) -> None:
            settings.log(f"{name}: {text}")

        named = dataclasses.replace(settings, log=log)
        results = _finetune(job, data, numbers, named, frozen=job.protocol != "finetune")
    settings.unchanged()
    scores = []
    for draw, result in zip(numbers, results, strict=True):
        score = Score(
            method=job.method,
            seed=seed,
            protocol=job.protocol,
            input=job.input,
            label=data.task.label,
            budget=job.budget,
            draw=draw,
            metrics=result.metrics,
            chosen=result.chosen,
            absent=data.absent(job.rows),
            rows=result.rows,
            task=data.task.name,
            fold=data.fold,
            missing=job.missing.rate,
            missing_by=job.missing.by,
            cost=result.cost,
            order=data.store.order if isinstance(data.store, HidingStore) else {},
            encoder=source.encoder_of(job.input) if job.protocol == "finetune" else "",
        )
        scores.append(score)
        if settings.keep is not None and result.trained is not None:
            kept = KeptHead(
                source=source,
                trained=dataclasses.replace(result.trained, task=_named(result.trained.task, data.task.label)),
                standard=result.standard,
                labels=data.classes,
                of=job.of(store, settings),
                score=score,
            )
            kept.write(settings.keep(source.run))
    return scores


def _named(task: Task, label: str) -> Task:
    """Return the task of a head with its own label; the task of its program may be that of a like label."""
    return dataclasses.replace(task, label=label)


def _probe(
    source: Source, data: LabelledStore, input: str, rows: np.ndarray, settings: JobSettings
) -> list[HeadScores]:
    seed, task = source.run.config.seed, data.task
    dense = is_dense(task)
    what: What = "maps" if dense else "pooled"
    features = [source.features(data, modality, what=what) for modality in modalities_of(input)]
    joined = [np.concatenate([by_split[split] for by_split in features], axis=-1) for split in SPLITS]
    scale = Standard.of(joined[0])
    standard = [scale.apply(part) for part in joined]
    train, val, test = (Labelled(x, data.targets[split]) for x, split in zip(standard, SPLITS, strict=True))
    probe = ProbeSettings(
        task=task,
        reads=modalities_of(input),
        head=LinearSegmentation(zeros=True, size=data.targets["train"].shape[1:3]) if dense else LinearHead(zeros=True),
        batch_size=settings.tuning.batch_size or (DENSE_BATCH_SIZE if dense else BATCH_SIZE),
        learning_rates=settings.learning_rates,
        max_epochs=settings.max_epochs,
        cycle=settings.cycle,
        plateau=settings.plateau,
        optimizer=settings.optimizer,
        balanced=settings.balanced,
    )
    heads = train_heads(train, val, rows, probe, seeds=[(seed, draw) for draw in range(len(rows))])
    results = []
    for head in heads:
        reached = task.metrics(head.outputs(val.features), val.targets)[task.primary]
        outputs = head.outputs(test.features)
        metrics = {**task.metrics(outputs, test.targets), f"val_{task.primary}": reached}
        added = _contributions(data, outputs)
        results.append(HeadScores(metrics, {"learning_rate": head.rate}, added, head, scale))
    return results


def _knn(source: Source, data: LabelledStore, input: str, rows: np.ndarray) -> HeadScores:
    features = [source.features(data, modality) for modality in modalities_of(input)]
    train, val, test = (
        np.concatenate([unit_rows(by_split[split]) for by_split in features], axis=1) for split in SPLITS
    )
    queries = (val, data.targets["val"]), (test, data.targets["test"])
    return HeadScores(*knn(train[rows], data.targets["train"][rows], *queries, task=data.task), "")


def _logistic(job: Job, data: LabelledStore, number: int, settings: JobSettings) -> HeadScores:
    features = [job.source.features(data, modality) for modality in modalities_of(job.input)]
    joined = {split: np.concatenate([by_split[split] for by_split in features], axis=1) for split in SPLITS}
    metrics, chosen, outputs = logistic(
        joined,
        data.targets,
        job.rows[number],
        task=data.task,
        seed=(job.source.run.config.seed, number),
        trials=settings.trials_of(LOGISTIC),
        balanced=settings.balanced,
    )
    return HeadScores(metrics, chosen, _contributions(data, outputs))


def _tabular(job: Job, data: LabelledStore, number: int) -> HeadScores:
    source = job.source
    columns = TabularFeatures.of_columns(data.store, data.rows, data.fold) if job.reads_columns else None
    features = columns
    if source.kind != "raw":
        features = TabularFeatures.of_embeddings([source.features(data, one) for one in modalities_of(job.input)])
        features = features if columns is None else features.beside(columns)
    assert features is not None
    metrics, chosen, outputs = tabular(
        features,
        dict(data.targets),
        job.rows[number],
        protocol=job.protocol,
        task=data.task,
        seed=(source.run.config.seed, number),
    )
    return HeadScores(metrics, chosen, _contributions(data, outputs))


def _rival(job: Job, data: LabelledStore, number: int, settings: JobSettings) -> HeadScores:
    columns = TabularFeatures.of_columns(data.store, data.rows, data.fold, job.source.columns)
    result = compete(
        columns.by_split,
        columns.categorical,
        data.targets,
        job.rows[number],
        protocol=job.protocol,
        task=data.task,
        seed=(job.source.run.config.seed, number),
        trials=settings.trials_of(job.protocol),
    )
    rows = _contributions(data, result.outputs)
    return HeadScores(result.metrics, result.chosen, rows, cost=result.cost)


def _finetune(
    job: Job, data: LabelledStore, numbers: Sequence[int], settings: JobSettings, *, frozen: bool
) -> list[HeadScores]:
    """Return the result of one draw of labels, or the results of several random starts on the only draw."""
    source, modalities = job.source, modalities_of(job.input)

    def examples(split: str) -> Examples:
        arrays = source.rows(data.store, split, modalities)
        every = Examples(arrays, np.zeros(len(data.store.rows_of(split, data.fold))))
        chosen = data.rows[split]
        inputs = every.inputs if len(chosen) == len(every) else every.take(chosen).inputs
        return Examples(inputs, data.targets[split])

    splits = {split: examples(split) for split in SPLITS}
    drawn = job.rows[numbers[0] if len(job.rows) > 1 else 0]
    if len(drawn) < len(splits["train"]):
        splits["train"] = splits["train"].take(drawn)
    training = FinetuneSettings(
        task=data.task,
        modalities=modalities,
        ensemble=is_ensemble(job.input),
        frozen=frozen,
        learning_rates=settings.learning_rates,
        seeds=[(source.run.config.seed, number) for number in numbers],
        max_epochs=settings.max_epochs,
        cycle=settings.cycle,
        plateau=settings.plateau,
        optimizer=settings.optimizer,
        balanced=settings.balanced,
        **settings.tuning.settings(dense=is_dense(data.task), scratch=source.kind == "random"),
    )
    outcomes = finetune(
        source.model, source.run.config, splits, training, fitted=source.run.inputs.fitted, report=settings.log
    )
    return [
        HeadScores(tuned.metrics, tuned.chosen, _contributions(data, tuned.outputs), tuned.trained)
        for tuned in outcomes
    ]


def _contributions(data: LabelledStore, outputs: np.ndarray) -> str:
    """Return what every test row, or every person of a store with groups, adds to the primary metric, packed."""
    people = data.people("test")
    values = of_people(parts(data.task, outputs, data.targets["test"]), people)
    return packed(values, people=people is not None)


def _confounding(job: Job, confounder: Confounder, store: Store) -> Score:
    source, fold = job.source, job.source.run.inputs.fold
    group, known = store.group("test", fold), ~np.isnan(confounder.values)
    people = np.arange(len(known)) if group is None else group
    if job.pair is not None:
        keep = known & with_both(source.run, store, job.pair)
        _check_some(keep, job, store)
        first, second = (source.projections(store, "test", key)[keep] for key in job.pair)
        names = (job.pair[0], job.pair[1])
        metrics = within_strata(first, second, confounder.strata()[keep], people[keep], names=names)
    else:
        parts, keep = [], known
        for modality in modalities_of(job.input):
            features, having = source.of_split(store, "test", modality)
            parts.append(features)
            keep = keep & having
        _check_some(keep, job, store)
        features = np.concatenate([part[keep] for part in parts], axis=1)
        metrics = predicted(features, confounder.values[keep], people[keep], coded=confounder.coded)
    return Score(
        method=source.method("confounding", job.input),
        seed=source.run.config.seed,
        protocol="confounding",
        input=job.input,
        label=confounder.name,
        budget=NO_LABELS,
        draw=0,
        metrics=metrics,
        chosen={},
        fold=fold,
    )


def _check_some(keep: np.ndarray, job: Job, store: Store) -> None:
    check(
        bool(keep.any()),
        f"--protocol confounding: no test row of {store.directory} has both {job.input} and {job.label}; leave one "
        "out.",
    )


def _retrieve(source: Source, store: Store, input: str) -> Score:
    first, second = pair = modalities_of(input)
    keep = with_both(source.run, store, (first, second))
    metrics = retrieval(*(source.projections(store, "test", key)[keep] for key in pair), names=(first, second))
    return Score(
        method=source.method("retrieval", input),
        seed=source.run.config.seed,
        protocol="retrieval",
        input="-".join(pair),
        label="",
        budget=NO_LABELS,
        draw=0,
        metrics=metrics,
        chosen={},
        fold=source.run.inputs.fold,
    )
