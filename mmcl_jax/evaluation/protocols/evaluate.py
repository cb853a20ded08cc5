"""Runs and baselines, by every protocol, from every input, with every budget of labels: one list of scores."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.finetune import Examples, finetune
from mmcl_jax.evaluation.protocols.knn import knn
from mmcl_jax.evaluation.protocols.probe import LEARNING_RATES, MAX_EPOCHS, Labelled, standardise, train_heads
from mmcl_jax.evaluation.protocols.retrieval import retrieval
from mmcl_jax.evaluation.results.file import NoRecords, Records
from mmcl_jax.evaluation.results.per_row import packed, parts
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.checks import check_choice, check_distinct, check_inputs, check_retrieval
from mmcl_jax.evaluation.sources.features import unit_rows
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.overlap import check_overlap
from mmcl_jax.evaluation.sources.remarks import remarks_on
from mmcl_jax.evaluation.sources.source import BASELINES, INPUTS, Source, sources
from mmcl_jax.progress import Bar
from mmcl_jax.training.run import Run

PROTOCOLS = ("probe", "augmented_probe", "finetune", "knn", "retrieval")
NO_LABELS = "no labels"

Result = tuple[dict[str, float], dict[str, float], str]  # metrics, chosen, and what every test row adds (`per_row`)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Settings:
    """Of protocols that train; `say` shows how far one is."""

    learning_rates: tuple[float, ...]
    max_epochs: int
    say: Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
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

    def of(self, store: Store, how: _Settings) -> dict[str, Any]:
        """Return what is evaluated, and all that can change its scores."""
        trains = self.protocol in ("probe", "augmented_probe", "finetune")
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
        }


def evaluate_runs(
    runs: Sequence[Run],
    store: Store,
    *,
    protocols: Sequence[str] = ("probe",),
    inputs: Sequence[str] = ("image",),
    budgets: Sequence[Budget] = (Budget(),),
    draws: int = 5,
    baselines: Sequence[str] = BASELINES,
    only_baselines: bool = False,
    label: str | None = None,
    learning_rates: Sequence[float] | None = None,
    max_epochs: int | None = None,
    allow_overlap: bool = False,
    records: Records | None = None,
    say: Callable[[str], None] = print,
) -> list[Score]:
    """Evaluates every run and then, at every seed that occurs, every baseline.

    All methods get the same draws of labels at the same seed, so differences between methods can be paired by seed.
    Settings are chosen by the task's primary metric on validation, and only then tested.

    Args:
      runs: of one or several experiments; those of one experiment differ by seed.
      store: with a label column, unless retrieval is all that is asked for.
      protocols: "probe", a linear head on frozen features (`probe.train_heads`); "knn", their nearest neighbours;
        "augmented_probe" and "finetune", Hager et al.'s own, with augmented images, of the head or of all weights (see
        `finetune`); "retrieval" between the projections of image and table of the test split.
      inputs: what is predicted from: "image", "table", or "both", their features side by side (for kNN, each of length
        1). Retrieval takes no notice.
      budgets: how many labels.
      draws: of labels, per seed and budget. A budget of all labels, or of a named subset, is drawn once; the protocols
        that train from a random start then do so from so many.
      baselines: "random" (the runs' encoders before training; fine-tuned, it is the supervised baseline and is called
        so), "pixels" and "columns" (the input itself, where it is the image or the table, and frozen).
      only_baselines: of the runs, evaluate nothing but the baselines that they lend their encoders and inputs to.
      label: the column to predict; by default the store's first that is a class, or its first. Rows without it are left
        out.
      learning_rates: to choose from, by default the six of Hager et al.
      max_epochs: the longest training, 500 by default.
      allow_overlap: whether test rows may be rows that a run has seen in pretraining.
      records: where scores are found that are there already, and kept as they come.
      say: is told what to know about the scores: classes without rows, rows that a run has seen.

    Returns:
      The scores, those of the baselines first.

    Raises:
      UserError: the store lacks the label, has rows in its test split that a run has seen, or has other images or
        columns than a run; a run lacks an encoder, or its weights are not finite; a name is unknown; or two runs are
        the same.
    """
    check_choice("--protocol", "protocol", protocols, PROTOCOLS)
    check_choice("--baselines", "baseline", baselines, BASELINES, some=False)
    check_distinct(runs)
    predicting = [name for name in protocols if name != "retrieval"]
    data = LabelledStore.of(store, label) if predicting else None
    if data is not None:
        check_choice("--input", "input", inputs, tuple(INPUTS))
        for run in runs:
            for given in inputs:
                check_inputs(run, store, given, data.task.label)
        for budget in budgets:
            data.draws(budget, seed=0, count=1)  # what is wrong with a budget is said now
    if "retrieval" in protocols:
        for run in runs:
            check_retrieval(run, store)
    rates = tuple(LEARNING_RATES if learning_rates is None else learning_rates)
    check(len(rates) > 0 and min(rates) > 0, "--learning-rates: give at least one, all above 0.")
    epochs = MAX_EPOCHS if max_epochs is None else max_epochs
    check(epochs > 0, f"--max-epochs: must be positive, not {epochs}.")
    for line in [*check_overlap(runs, store, allow=allow_overlap), *(remarks_on(data, budgets) if data else [])]:
        say(line)
    records = NoRecords() if records is None else records
    every = sources(runs, baselines, only_baselines=only_baselines)
    jobs = {
        place: list(_jobs(source, store, data, predicting, inputs, budgets, draws, baselines, "retrieval" in protocols))
        for place, source in enumerate(every)
    }
    scores: dict[int, list[Score]] = {place: [] for place in jobs}
    done = 0
    with Bar("evaluation", sum(job.count for some in jobs.values() for job in some)) as bar:
        how = _Settings(learning_rates=rates, max_epochs=epochs, say=lambda text: bar.update(done, text))
        # Runs first: raw pixels, which have the most features, take as long as all others together.
        for place in sorted(jobs, key=lambda place: ("run", "random", "raw").index(every[place].kind)):
            for job in jobs.pop(place):
                of, mine = job.of(store, how), list[Score]()
                for numbers in job.parts():
                    found = records.find(of, numbers)
                    if found is None:
                        found = _evaluate(job, store, numbers, how)
                        records.keep(of, found)
                    mine += found
                    done += len(numbers)
                    bar.update(done, _so_far(job, mine))
                scores[place] += mine
            every[place].forget()
    return [score for place in sorted(scores) for score in scores[place]]


def _jobs(
    source: Source,
    store: Store,
    data: LabelledStore | None,
    protocols: Sequence[str],
    inputs: Sequence[str],
    budgets: Sequence[Budget],
    draws: int,
    baselines: Sequence[str],
    retrieving: bool,
) -> Iterator[_Job]:
    """Yield what there is to evaluate of a source."""
    for given in inputs if data is not None else ():
        for protocol in protocols:
            if _applies(source, given, protocol, baselines):
                for budget in budgets:
                    assert data is not None
                    rows = data.draws(budget, seed=source.run.config.seed, count=draws)
                    # Labels that are drawn once are learnt from several random starts, where there are such.
                    starts = draws if protocol in ("augmented_probe", "finetune") else 1
                    yield _Job(
                        source=source,
                        data=data,
                        given=given,
                        protocol=protocol,
                        budget=str(budget),
                        rows=rows,
                        count=starts if len(rows) == 1 else len(rows),
                    )
    if retrieving and source.kind != "raw":
        nothing = np.zeros((1, 0), int)
        yield _Job(
            source=source, data=None, given="both", protocol="retrieval", budget=NO_LABELS, rows=nothing, count=1
        )


def _so_far(job: _Job, scores: Sequence[Score]) -> str:
    """Return the mean over the draws that are done, in a few words."""
    metric = job.data.task.primary if job.data else next(iter(scores[0].metrics))
    values = [score.metrics[metric] for score in scores]
    over = f" (mean of {len(values)} of {job.count} draws)" if job.count > 1 else ""
    return f"{job.method}, {job.protocol} on {job.given}, {job.budget}: {metric} {np.mean(values):.3f}{over}"


def _applies(source: Source, given: str, protocol: str, baselines: Sequence[str]) -> bool:
    """Whether there is such a method: raw inputs have nothing to fine-tune or augment, and are asked for by name."""
    if source.kind != "raw":
        return True
    needed = {"image": {"pixels"}, "table": {"columns"}, "both": {"pixels", "columns"}}[given]
    return protocol in ("probe", "knn") and needed <= set(baselines)


def _evaluate(job: _Job, store: Store, numbers: Sequence[int], how: _Settings) -> list[Score]:
    """Return the scores of some draws of a job."""
    source, data, seed = job.source, job.data, job.source.run.config.seed
    if data is None:
        return [_retrieve(source, store)]
    if job.protocol == "probe":
        results = _probe(source, data, job.given, job.rows, how)
    elif job.protocol == "knn":
        results = [_knn(source, data, job.given, job.rows[number]) for number in numbers]
    else:
        name = f"{job.method}, {job.protocol}, {job.budget}"

        def say(text: str) -> None:
            how.say(f"{name}: {text}")

        mine = dataclasses.replace(how, say=say)
        results = _finetune(job, data, numbers, mine, frozen=job.protocol == "augmented_probe")
    return [
        Score(
            method=job.method,
            seed=seed,
            protocol=job.protocol,
            input=job.given,
            label=data.task.label,
            budget=job.budget,
            draw=draw,
            metrics=metrics,
            chosen=chosen,
            absent=data.absent(job.rows),
            rows=rows,
        )
        for draw, (metrics, chosen, rows) in zip(numbers, results, strict=True)
    ]


def _probe(source: Source, data: LabelledStore, given: str, rows: np.ndarray, how: _Settings) -> list[Result]:
    seed, task = source.run.config.seed, data.task
    features = [source.features(data, modality) for modality in INPUTS[given]]
    standard = standardise(*(np.concatenate([one[split] for one in features], axis=1) for split in SPLITS))
    train, val, test = (Labelled(x, data.targets[split]) for x, split in zip(standard, SPLITS, strict=True))
    heads = train_heads(
        train,
        val,
        rows,
        task=task,
        seeds=[(seed, draw) for draw in range(len(rows))],
        learning_rates=how.learning_rates,
        max_epochs=how.max_epochs,
    )
    results = []
    for draw in range(len(rows)):
        reached = task.metrics(heads.outputs(draw, val.features), val.targets)[task.primary]
        outputs = heads.outputs(draw, test.features)
        metrics = {**task.metrics(outputs, test.targets), f"val_{task.primary}": reached}
        chosen = {"learning_rate": float(heads.learning_rates[draw])}
        results.append((metrics, chosen, packed(parts(task, outputs, test.targets))))
    return results


def _knn(source: Source, data: LabelledStore, given: str, rows: np.ndarray) -> Result:
    features = [source.features(data, modality) for modality in INPUTS[given]]
    train, val, test = (np.concatenate([unit_rows(one[split]) for one in features], axis=1) for split in SPLITS)
    queries = (val, data.targets["val"]), (test, data.targets["test"])
    return *knn(train[rows], data.targets["train"][rows], *queries, task=data.task), ""


def _finetune(job: _Job, data: LabelledStore, numbers: Sequence[int], how: _Settings, *, frozen: bool) -> list[Result]:
    """Return the results of one draw of labels, or of several random starts on labels that are drawn once."""
    source, modalities = job.source, INPUTS[job.given]

    def examples(split: str) -> Examples:
        arrays = {modality: source.inputs(data.store, split, modality) for modality in modalities}
        every = Examples(arrays, np.zeros(data.store.sizes[split]))
        chosen = data.rows[split]
        inputs = every.inputs if len(chosen) == len(every) else every.take(chosen).inputs
        return Examples(inputs, data.targets[split])

    train, val, test = map(examples, SPLITS)
    drawn = job.rows[numbers[0] if len(job.rows) > 1 else 0]
    outcomes = finetune(
        source.model,
        source.run.config,
        train if len(drawn) == len(train) else train.take(drawn),
        val,
        test,
        task=data.task,
        modalities=modalities,
        frozen=frozen,
        learning_rates=how.learning_rates,
        seeds=[(source.run.config.seed, number) for number in numbers],
        max_epochs=how.max_epochs,
        report=how.say,
    )
    return [(one.metrics, one.chosen, packed(parts(data.task, one.outputs, test.targets))) for one in outcomes]


def _retrieve(source: Source, store: Store) -> Score:
    names = ("image", "table")
    metrics = retrieval(*(source.projections(store, "test", modality) for modality in names), names=names)
    return Score(
        method=source.method("retrieval", "both"),
        seed=source.run.config.seed,
        protocol="retrieval",
        input="-".join(names),
        label="",
        budget=NO_LABELS,
        draw=0,
        metrics=metrics,
        chosen={},
    )
