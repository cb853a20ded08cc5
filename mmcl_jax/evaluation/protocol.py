"""The probe protocol: runs and baselines, label budgets, draws; one list of scores."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.budgets import Budget
from mmcl_jax.evaluation.features import frozen_features, pixel_features
from mmcl_jax.evaluation.probe import Labelled, linear_probe, standardise
from mmcl_jax.progress import Bar
from mmcl_jax.training.run import Run

BASELINES = ("random", "pixels")
_SPLITS = ("train", "val", "test")


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
      UserError: the store has no labels or another image shape, a baseline is unknown, or two runs are the same.
    """
    check(
        store.schema.label is not None,
        f"The store {store.directory} has no label; prepare it with --label COLUMN.",
    )
    for name in baselines:
        check(
            name in BASELINES,
            f"--baselines: there is no baseline {name!r}; choose from {', '.join(BASELINES)}.",
        )
    for run in runs:
        check(
            run.schema.image == store.schema.image,
            f"{run.directory} was trained on images of shape {run.schema.image.shape}, {store.directory} has "
            f"{store.schema.image.shape}.",
        )
    splits = {name: store.arrays(name) for name in _SPLITS}
    sources = list(_sources(runs, baselines))
    seen = [(method, seed) for method, seed, _ in sources]
    for method, seed in seen:
        check(
            seen.count((method, seed)) == 1,
            f"Two runs are of the experiment {method!r} with the seed {seed}.",
        )
    scores = []
    work = len(sources) * sum(1 if budget.takes_all else draws for budget in budgets)
    with Bar("linear probes", work) as bar:
        for method, seed, features in sources:
            data = _labelled(splits, features)
            for budget in budgets:
                for draw in range(1 if budget.takes_all else draws):
                    train = data["train"].take(budget.draw(data["train"].labels, (seed, draw)))
                    result = linear_probe(train, data["val"], data["test"])
                    scores.append(Score(method=method, seed=seed, budget=str(budget), draw=draw, **result))
                    bar.update(len(scores), f"{method}, {budget}: top-1 {result['top1']:.3f}")
    return scores


def _sources(runs: Sequence[Run], baselines: Sequence[str]) -> Iterator[tuple[str, int, Any]]:
    """(method, seed, function from images to features), baselines first."""
    by_seed = {run.config.seed: run for run in reversed(runs)}  # the first run of a seed lends its encoder
    for seed, run in sorted(by_seed.items()):
        if "pixels" in baselines:
            yield "pixels", seed, pixel_features
        if "random" in baselines:
            yield "random encoder", seed, _encoder(run, run.untrained_model())
    for run in runs:
        yield run.config.name, run.config.seed, _encoder(run, run.model())


def _encoder(run: Run, model: Any) -> Any:
    return lambda images: frozen_features(model, images, config=run.config)


def _labelled(splits: Mapping[str, Mapping[str, np.ndarray]], features: Any) -> dict[str, Labelled]:
    standard = standardise(*(features(splits[name]["image"]) for name in _SPLITS))
    return {
        name: Labelled(array, np.asarray(splits[name]["label"])) for name, array in zip(_SPLITS, standard, strict=True)
    }
