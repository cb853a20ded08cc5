"""The probe protocol: runs and baselines, label budgets, draws; one list of scores."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

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
    runs: Sequence[Run], store: Store, budgets: Sequence[Budget], *, draws: int, baselines: Sequence[str] = BASELINES
) -> list[Score]:
    """Linear probes on the images of a store, for every run and, at every seed that occurs, every baseline.

    All methods get the same draws of labels at the same seed, so differences between methods can be paired by seed.

    Args:
      runs: of one or several experiments; those of one experiment differ by seed.
      store: with a label column.
      budgets: how many labels.
      draws: of labels, per seed and budget (a budget of all labels is drawn once).
      baselines: "random" (the runs' encoder before training) and "pixels".

    Raises:
      UserError: the store has no labels, lacks a class in a split or has another image shape, a baseline is unknown, or
        two runs are the same.
    """
    _check(runs, store, baselines)
    splits = {name: _with_label(store.arrays(name)) for name in SPLITS}
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
                    train = data["train"].take(budget.draw(data["train"].labels, (seed, draw)))
                    result = linear_probe(train, data["val"], data["test"])
                    scores.append(Score(method=method, seed=seed, budget=str(budget), draw=draw, **result))
                    bar.update(len(scores), f"{method}, {budget}: top-1 {result['top1']:.3f}")
    return scores


def _check(runs: Sequence[Run], store: Store, baselines: Sequence[str]) -> None:
    label, image = store.schema.label, store.schema.image
    if label is None:
        raise UserError(f"The store {store.directory} has no label; prepare it with --label COLUMN.")
    for split in SPLITS:
        present = set(np.unique(store.arrays(split)["label"]))  # -1, where a row has no label, is no class
        for code, text in enumerate(label.categories):
            check(code in present, f"The split {split!r} of {store.directory} has no row of class {text!r} to probe.")
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


def _with_label(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The images and labels of the rows that have a label."""
    rows = np.flatnonzero(arrays["label"] >= 0)
    if len(rows) == len(arrays["label"]):
        return {"image": arrays["image"], "label": arrays["label"]}
    return {"image": arrays["image"][rows], "label": arrays["label"][rows]}


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
