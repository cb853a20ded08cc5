"""Runs and baselines, by every protocol, from every input, with every budget of labels: one list of scores."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from mmcl_jax.data.splits import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.budgets import Budget
from mmcl_jax.evaluation.checks import check_choice, check_distinct, check_inputs, check_retrieval
from mmcl_jax.evaluation.features import unit_rows
from mmcl_jax.evaluation.finetune import Examples, finetune
from mmcl_jax.evaluation.knn import knn
from mmcl_jax.evaluation.labelled import LabelledStore
from mmcl_jax.evaluation.probe import LEARNING_RATES, MAX_EPOCHS, Labelled, standardise, train_heads
from mmcl_jax.evaluation.retrieval import retrieval
from mmcl_jax.evaluation.scores import Score
from mmcl_jax.evaluation.sources import BASELINES, INPUTS, Source, sources
from mmcl_jax.progress import Bar
from mmcl_jax.training.run import Run

PROTOCOLS = ("probe", "augmented_probe", "finetune", "knn", "retrieval")
NO_LABELS = "no labels"

Result = tuple[dict[str, float], dict[str, float]]  # metrics, chosen


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Settings:
    """Of protocols that train; `say` shows how far one is."""

    learning_rates: Sequence[float]
    max_epochs: int
    say: Callable[[str], None]


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
) -> list[Score]:
    """Evaluates every run and, at every seed that occurs, every baseline.

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

    Raises:
      UserError: the store lacks the label or a class of it in a split, or has other images or columns than a run; a run
        lacks an encoder; a name is unknown; or two runs are the same.
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
    scores: list[Score] = []
    seeds = len({run.config.seed for run in runs})
    kinds = seeds * (("random" in baselines) + bool({"pixels", "columns"} & set(baselines)))
    kinds += 0 if only_baselines else len(runs)
    parts = len(predicting) * len(inputs) * len(budgets) + ("retrieval" in protocols)
    done = 0
    with Bar("evaluation", kinds * parts) as bar:
        how = _Settings(learning_rates=rates, max_epochs=epochs, say=lambda text: bar.update(done, text))
        for place, source in enumerate(sources(runs, baselines, only_baselines=only_baselines)):
            for given in inputs if data is not None else ():
                for protocol in predicting:
                    assert data is not None
                    if _applies(source, given, protocol, baselines):
                        for budget in budgets:
                            new = _predict(source, data, given, protocol, budget, draws, how)
                            scores += new
                            primary = f"{data.task.primary} {new[-1].metrics[data.task.primary]:.3f}"
                            done += 1
                            bar.update(done, f"{new[-1].method}, {protocol}, {budget}: {primary}")
            if "retrieval" in protocols and source.model is not None:
                scores.append(_retrieve(source, store))
            done = (place + 1) * parts
            bar.update(done)
    return scores


def _applies(source: Source, given: str, protocol: str, baselines: Sequence[str]) -> bool:
    """Whether there is such a method: raw inputs have nothing to fine-tune or augment, and are asked for by name."""
    if source.kind != "raw":
        return True
    needed = {"image": {"pixels"}, "table": {"columns"}, "both": {"pixels", "columns"}}[given]
    return protocol in ("probe", "knn") and needed <= set(baselines)


def _predict(
    source: Source, data: LabelledStore, given: str, protocol: str, budget: Budget, draws: int, how: _Settings
) -> list[Score]:
    """The scores of all draws of a budget."""
    seed = source.run.config.seed
    rows = data.draws(budget, seed=seed, count=draws)
    if protocol == "probe":
        results = _probe(source, data, given, rows, how)
    elif protocol == "knn":
        results = [_knn(source, data, given, drawn) for drawn in rows]
    else:
        name = f"{source.method(protocol, given)}, {protocol}, {budget}"

        def say(text: str) -> None:
            how.say(f"{name}: {text}")

        mine = dataclasses.replace(how, say=say)
        results = _finetune(source, data, given, rows, draws, mine, frozen=protocol == "augmented_probe")
    return [
        Score(
            method=source.method(protocol, given),
            seed=seed,
            protocol=protocol,
            input=given,
            label=data.task.label,
            budget=str(budget),
            draw=draw,
            metrics=metrics,
            chosen=chosen,
        )
        for draw, (metrics, chosen) in enumerate(results)
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
        metrics = task.metrics(heads.outputs(draw, test.features), test.targets)
        chosen = {"learning_rate": float(heads.learning_rates[draw])}
        results.append(({**metrics, f"val_{task.primary}": reached}, chosen))
    return results


def _knn(source: Source, data: LabelledStore, given: str, rows: np.ndarray) -> Result:
    features = [source.features(data, modality) for modality in INPUTS[given]]
    train, val, test = (np.concatenate([unit_rows(one[split]) for one in features], axis=1) for split in SPLITS)
    queries = (val, data.targets["val"]), (test, data.targets["test"])
    return knn(train[rows], data.targets["train"][rows], *queries, task=data.task)


def _finetune(
    source: Source, data: LabelledStore, given: str, rows: np.ndarray, draws: int, how: _Settings, *, frozen: bool
) -> list[Result]:
    assert source.model is not None
    seed, model, config = source.run.config.seed, source.model, source.run.config

    def examples(split: str) -> Examples:
        arrays = {modality: source.inputs(data.store, split, modality) for modality in INPUTS[given]}
        every = Examples(arrays, np.zeros(data.store.sizes[split]))
        chosen = data.rows[split]
        inputs = every.inputs if len(chosen) == len(every) else every.take(chosen).inputs
        return Examples(inputs, data.targets[split])

    train, val, test = map(examples, SPLITS)
    # Labels that are drawn once are learnt from several random starts; each other draw is learnt from one.
    starts = [range(draws)] if len(rows) == 1 else [range(draw, draw + 1) for draw in range(len(rows))]
    outcomes = []
    for drawn, numbers in zip(rows, starts, strict=True):
        outcomes += finetune(
            model,
            config,
            train if len(drawn) == len(train) else train.take(drawn),
            val,
            test,
            task=data.task,
            modalities=INPUTS[given],
            frozen=frozen,
            learning_rates=how.learning_rates,
            seeds=[(seed, number) for number in numbers],
            max_epochs=how.max_epochs,
            report=how.say,
        )
    return [(outcome.metrics, outcome.chosen) for outcome in outcomes]


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
