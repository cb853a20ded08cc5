"""The mean rank of every method over several sets: labels, budgets of labels, folds, or data sets."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from scipy.stats import rankdata

from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import Grid, protocol_words
from mmcl_jax.page.wording import LOWER_IS_BETTER, counted
from mmcl_jax.text import visible

Method = TypeVar("Method", bound=Hashable)


def mean_ranks(sets: Sequence[Mapping[Method, float]]) -> dict[Method, float]:
    """Return the mean rank of the methods that every set has, the best first; 1 is the best, ties share their mean.

    Args:
      sets: of each, the values of the methods, of which higher ones are better; NaN is the worst.

    Example:
      >>> mean_ranks([{"a": 0.9, "b": 0.8, "c": 0.8}, {"a": 0.1, "b": 0.2}])
      {'a': 1.5, 'b': 1.5}
      >>> mean_ranks([{"a": 0.9, "b": 0.8, "c": 0.8}])
      {'a': 1.0, 'b': 2.5, 'c': 2.5}
    """
    methods = [method for method in (sets[0] if sets else ()) if all(method in values for values in sets)]
    if not methods:
        return {}
    ranks = [rankdata(-np.nan_to_num([values[method] for method in methods], nan=-np.inf)) for values in sets]
    means = dict(zip(methods, np.mean(ranks, axis=0).tolist(), strict=True))
    return dict(sorted(means.items(), key=lambda item: item[1]))


def rank_grids(scores: Sequence[Score]) -> list[Grid]:
    """Return the table of mean ranks over labels, budgets, folds and hidden cells, if there are scores of a rival.

    A method is ranked by the mean of the label's primary metric on test over seeds and draws.
    """
    sets: dict[tuple[object, ...], dict[tuple[str, str, str], list[float]]] = {}
    for score in scores:
        primary = next((name[4:] for name in score.metrics if name.startswith("val_")), None)
        if primary is not None:
            sign = -1 if primary in LOWER_IS_BETTER else 1
            key = score.label, score.task, score.budget, score.fold, score.missing, score.missing_by
            of = sets.setdefault(key, {})
            of.setdefault((score.method, score.protocol, score.input), []).append(sign * score.metrics[primary])
    if not any(score.protocol in RIVALS for score in scores):
        return []
    values = [{method: float(np.mean(one)) for method, one in of.items()} for of in sets.values()]
    ranks = mean_ranks(values)
    if len(ranks) < 2:
        return []
    rows = [
        [visible(method), protocol_words(protocol, input), f"{rank:.2f}"]
        for (method, protocol, input), rank in ranks.items()
    ]
    others = len({method for one in values for method in one} - set(ranks))
    note = f"{counted(others, 'method has', 'methods have')} no score of some of them." if others else ""
    title = f"Mean rank of {len(ranks)} methods over {counted(len(sets), 'set')} (label, budget, fold, hidden cells)"
    return [Grid(title, ["features", "how", "mean rank"], rows, labels=2, note=note)]
