"""The published scores of MulTaBench's leaderboard, from the package `multabench` where it is installed."""

import importlib
from typing import NamedTuple

from mmcl_jax.data.store import Store

# The benchmark's metrics by our names; of a number the error is the root mean squared error.
METRICS = {"roc_auc": "auroc", "log_loss": "log_loss", "root_mean_squared_error": "rmse"}


class Published(NamedTuple):
    """A published score: the model with its encoder of images, our name of the metric, and its value on test."""

    model: str
    metric: str
    value: float


def split_of(store: Store) -> tuple[str, int, str] | None:
    """Return the data set's folder name, the split and the size that a store was made from; None for other stores."""
    recipe = store.made_by.get("recipe") or {}
    if recipe.get("name") != "multabench":
        return None
    options = dict(option.split("=", 1) for option in recipe["options"])
    return options["table"], int(options.get("split", 0)), options.get("size", "10k")


def published(store: Store) -> list[Published] | None:
    """Return the leaderboard's scores on the split that the store was made from; [] if it has none.

    None for a store of another data set, and where the package is not installed.
    """
    made = split_of(store)
    if made is None:
        return None
    try:
        package = importlib.import_module("multabench")
    except ImportError:
        return None
    table, split, size = made
    name = {one.value: one.name for one in package.MulTaBenchDatasetID}.get(table)
    runs = package.load_published_results(size=size)
    runs = runs[(runs["dataset"] == name) & (runs["fold"] == split) & (runs["status"] == "ok")]
    return [
        Published(
            f"{run['model']} ({run['image_encoder']})",
            METRICS[run["metric"]],
            run["test_score"] if run["metric"] == "roc_auc" else run["test_error"],
        )
        for run in runs.to_dict("records")
    ]
