"""The probe protocol: runs and baselines, label budgets, draws; one list of scores."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.schema import Column
from mmcl_jax.data.splits import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.budgets import Budget
from mmcl_jax.evaluation.features import frozen_encoder, pixel_features
from mmcl_jax.evaluation.probe import Labelled, linear_probe, standardise
from mmcl_jax.progress import Bar
from mmcl_jax.training.run import Run

BASELINES = ("random", "pixels")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """One probe: features of `method` from pretraining seed `seed`, `budget` labels, the `draw`-th draw of them."""

    method: str
    seed: int
    budget: str
    draw: int
    top1: float
    auroc: float
    val_top1: float
    strength: float

    def to_json(self) -> dict[str, Any]:
        """As a dict."""
        return dataclasses.asdict(self)


def probe_runs(
    runs: Sequence[Run],
    store: Store,
    budgets: Sequence[Budget],
    *,
    draws: int,
    baselines: Sequence[str] = BASELINES,
    label: str | None = None,
) -> list[Score]:
    """Linear probes on the images of a store, for every run and, at every seed that occurs, every baseline.

    All methods get the same draws of labels at the same seed, so differences between methods can be paired by seed.

    Args:
      runs: of one or several experiments; those of one experiment differ by seed.
      store: with a label column.
      budgets: how many labels.
      draws: of labels, per seed and budget (a budget of all labels, or of a named subset, is drawn once).
      baselines: "random" (the runs' encoder before training) and "pixels".
      label: the column to predict; the store's first that is a class by default. Rows without it are left out.

    Raises:
      UserError: the store has no labels, lacks a class in a split or has another image shape, a baseline is unknown, or
        two runs are the same.
    """
    column = _label(store, label)
    _check(runs, store, baselines)
    splits = {name: _with_label(store, name, column) for name in SPLITS}
    _check_classes(splits, column, store)
    subsets = {b.subset: _rows_of(store, b.subset, splits["train"]["row"]) for b in budgets if b.subset is not None}
    sources = list(_sources(runs, baselines))
    scores = []
    work = len(sources) * sum(1 if budget.takes_all else draws for budget in budgets)
    with Bar("linear probes", work) as bar:
        for method, seed, features in sources:
            data = _labelled(splits, features)
            finite = all(np.isfinite(part.features).all() for part in data.values())
            check(finite, f"The features of {method!r} (seed {seed}) are not finite; nothing can be probed.")
            for budget in budgets:
                for draw in range(1 if budget.takes_all else draws):
                    labels = data["train"].labels
                    rows = subsets[budget.subset] if budget.subset else budget.draw(labels, (seed, draw))
                    train = data["train"].take(rows)
                    result = linear_probe(train, data["val"], data["test"])
                    scores.append(Score(method=method, seed=seed, budget=str(budget), draw=draw, **result))
                    bar.update(len(scores), f"{method}, {budget}: top-1 {result['top1']:.3f}")
    return scores


def _label(store: Store, name: str | None) -> Column:
    """The label column to predict. Raises `UserError` if there is none, or it is no class."""
    labels = {column.name: column for column in store.schema.labels}
    if name is None:
        if store.schema.label is None:
            raise UserError(
                f"The store {store.directory} has no label that is a class; prepare it with --label COLUMN."
            )
        return store.schema.label
    check(name in labels, f"--label: the store {store.directory} has no label {name!r}; it has {', '.join(labels)}.")
    check(labels[name].coded, f"--label: {name!r} is {labels[name].kind}; a linear probe predicts classes.")
    return labels[name]


def _with_label(store: Store, split: str, column: Column) -> dict[str, Any]:
    """The images and labels of the rows that have the label, and which rows of the split these are."""
    arrays = store.arrays(split)
    codes = np.asarray(arrays["labels"][:, store.schema.labels.index(column)])
    rows = np.flatnonzero(~np.isnan(codes))
    images = arrays["image"] if len(rows) == len(codes) else arrays["image"][rows]
    return {"image": images, "label": codes[rows].astype(np.int64), "row": rows}


def _rows_of(store: Store, subset: str, labelled: np.ndarray) -> np.ndarray:
    """The places of a subset's rows among the training rows that have a label."""
    split, rows = store.subset(subset)
    check(split == "train", f"--subset: {subset!r} is of the split {split}, and probes are trained on train.")
    return np.flatnonzero(np.isin(labelled, rows))


def _check_classes(splits: Mapping[str, Mapping[str, np.ndarray]], column: Column, store: Store) -> None:
    for split, arrays in splits.items():
        for code, text in enumerate(column.categories):
            sentence = f"The split {split!r} of {store.directory} has no row of class {text!r} to probe."
            check(bool((arrays["label"] == code).any()), sentence)


def _check(runs: Sequence[Run], store: Store, baselines: Sequence[str]) -> None:
    image = store.schema.image
    for name in baselines:
        check(name in BASELINES, f"--baselines: there is no baseline {name!r}; choose from {', '.join(BASELINES)}.")
    seen = set()
    for run in runs:
        check(
            run.schema.image.stored == image.stored,
            f"{run.directory} is of images of shape {run.schema.image.stored}, {store.directory} has {image.stored}.",
        )
        check("image" in run.config.encoders, f"{run.directory} has no image encoder to probe.")
        experiment = run.config.name, run.config.seed
        check(
            experiment not in seen, f"Two runs are of the experiment {experiment[0]!r} with the seed {experiment[1]}."
        )
        seen.add(experiment)


def _sources(runs: Sequence[Run], baselines: Sequence[str]) -> Iterator[tuple[str, int, Any]]:
    """(method, seed, function from images to features), baselines first."""
    by_seed = {run.config.seed: run for run in reversed(runs)}  # the first run of a seed lends its encoder
    for seed, run in sorted(by_seed.items()):
        if "pixels" in baselines:
            yield "pixels", seed, pixel_features
        if "random" in baselines:
            yield "random encoder", seed, frozen_encoder(run.untrained_model(), config=run.config)
    for run in runs:
        yield run.config.name, run.config.seed, frozen_encoder(run.model(), config=run.config)


def _labelled(splits: Mapping[str, Mapping[str, np.ndarray]], features: Any) -> dict[str, Labelled]:
    standard = standardise(*(features(splits[name]["image"]) for name in SPLITS))
    return {
        name: Labelled(array, np.asarray(splits[name]["label"])) for name, array in zip(SPLITS, standard, strict=True)
    }
