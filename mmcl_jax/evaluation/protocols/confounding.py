"""The protocol `confounding`: what embeddings know of covariates, and retrieval among people who share them.

An encoder that is trained on genetics may learn ancestry or sex in place of what it should. Two measures say how much:
a covariate is predicted from frozen embeddings of held-out people, and a person's own partner is retrieved from people
of the same stratum alone, where the stratum no longer helps.
"""

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmcl_jax.evaluation.sources.confounders import LEAST
from mmcl_jax.evaluation.sources.features import unit_rows

FOLDS = 5
RECALLS = (1, 5)
DRAWS = 1000  # of people, for intervals
_ALPHAS = tuple(10.0**power for power in range(-2, 7))
_CHUNK = 2**24  # similarities held at a time (64 MiB)


def predicted(features: np.ndarray, values: np.ndarray, people: np.ndarray, *, coded: bool) -> dict[str, float]:
    """Return how well a covariate is predicted from embeddings, by five-fold cross-validation over people.

    A person is one row: the mean of the embeddings of the person's rows, and of the numbers; of a class, that of the
    first row, where classes with fewer than ten people are left out. Ridge regression predicts a number, and a ridge
    classifier a class, from standardised features (scikit-learn); the penalty is chosen by leaving out one person of
    the training folds at a time. Intervals (`_low`, `_high`) are percentiles over a thousand draws of people.

    Args:
      features: embeddings `[N, D]`.
      values: the covariate `[N]`, without missing values.
      people: the person `[N]` of each row.
      coded: whether the covariate is a class.

    Returns:
      `r2` of a number (chance 0), or `auroc` of a class (chance 0.5; of several classes the mean over classes, each
      against the others), with its interval; and the number of `people`.
    """
    persons, first, inverse = np.unique(people, return_index=True, return_inverse=True)
    counts = np.bincount(inverse)
    pooled = np.zeros((len(persons), features.shape[1]))
    np.add.at(pooled, inverse, features.astype(np.float64))
    pooled /= counts[:, None]
    if coded:
        classes, of_class = np.unique(values[first], return_inverse=True)
        keep = np.bincount(of_class, minlength=len(classes))[of_class] >= LEAST
        labels = np.unique(of_class[keep], return_inverse=True)[1]
        outputs = _classified(pooled[keep], labels)
        found = _interval("auroc", lambda counts: _aurocs(labels, outputs, counts), len(labels))
        return {**found, "people": float(len(labels))}
    numbers = np.bincount(inverse, values) / counts
    regression = make_pipeline(StandardScaler(), RidgeCV(alphas=_ALPHAS))
    guesses = np.zeros(len(numbers))
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(pooled):
        guesses[test] = regression.fit(pooled[train], numbers[train]).predict(pooled[test])
    return {
        **_interval("r2", lambda counts: _r2s(numbers, guesses, counts), len(numbers)),
        "people": float(len(persons)),
    }


def _classified(pooled: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the outputs for classes `[N, K]`, or `[N, 1]` of two, of each row from the folds without it."""
    outputs = np.zeros((len(labels), labels.max() + 1 if labels.max() > 1 else 1))
    ridge = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=_ALPHAS))
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(pooled, labels):
        found = ridge.fit(pooled[train], labels[train]).decision_function(pooled[test])
        outputs[test] = found.reshape(len(test), -1)
    return outputs


def _aurocs(labels: np.ndarray, outputs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the AUROC `[R]` for draws with these `counts` `[R, N]` of each row: the mean over classes in the draw.

    It is the share of pairs of a row of the class and a row of another that the outputs order rightly; of equal
    outputs, half count.
    """
    every = []
    for code in range(outputs.shape[1]):
        positive = labels == (1 if outputs.shape[1] == 1 else code)
        place = np.unique(outputs[:, code], return_inverse=True)[1]
        by_place = np.zeros((2, len(counts), place.max() + 1))
        for side, rows in enumerate((positive, ~positive)):
            np.add.at(by_place[side].T, place[rows], counts[:, rows].T)
        below = np.cumsum(by_place[1], axis=1) - by_place[1] / 2
        pairs = by_place[0].sum(axis=1) * by_place[1].sum(axis=1)
        ordered = (by_place[0] * below).sum(axis=1)
        every.append(np.divide(ordered, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))
    return np.nanmean(every, axis=0)


def _r2s(numbers: np.ndarray, guesses: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return R² `[R]` for draws with these `counts` `[R, N]` of each row."""
    means = counts @ numbers / counts.sum(axis=1)
    totals = counts @ np.square(numbers) - counts.sum(axis=1) * np.square(means)
    return 1 - counts @ np.square(numbers - guesses) / totals


def within_strata(
    first: np.ndarray, second: np.ndarray, strata: np.ndarray, people: np.ndarray, *, names: tuple[str, str]
) -> dict[str, float]:
    """Return recall among candidates of the query's own stratum, and among all, both ways, with chance.

    Other rows of the query's own person are no candidates, since two eyes of a person share the genetics. Ties count
    against the method. Intervals are percentiles over a thousand draws of people, whose candidates stay.

    Args:
      first: projections `[N, d]` of one modality.
      second: projections `[N, d]` of the other, in the same order.
      strata: the stratum `[N]` of each row.
      people: the person `[N]` of each row.
      names: of the modalities.

    Returns:
      Keys such as `image_to_pgs_recall@1`, with `_low` and `_high`, and `image_to_pgs_recall@1_all`; and
      `chance_recall@1`, the mean over queries of 1 / candidates, and `chance_recall@1_all`.
    """
    metrics: dict[str, float] = {}
    everybody = np.zeros(len(strata), int)
    persons = np.unique(people, return_inverse=True)[1]
    for direction, queries, candidates in (
        ("{}_to_{}".format(*names), first, second),
        ("{1}_to_{0}".format(*names), second, first),
    ):
        ranks, counts = ranks_within(queries, candidates, strata, people)
        of_all, all_counts = ranks_within(queries, candidates, everybody, people)
        for k in RECALLS:
            hits = ranks <= k
            sums = np.bincount(persons, hits), np.bincount(persons)
            metrics |= _interval(
                f"{direction}_recall@{k}",
                lambda counts, sums=sums: (counts @ sums[0]) / (counts @ sums[1]),  # type: ignore[misc]
                len(sums[0]),
            )
            metrics[f"{direction}_recall@{k}_all"] = float(np.mean(of_all <= k))
            metrics[f"chance_recall@{k}"] = float(np.minimum(k / counts, 1).mean())
            metrics[f"chance_recall@{k}_all"] = float(np.minimum(k / all_counts, 1).mean())
    return {**metrics, "people": float(persons.max() + 1)}


def ranks_within(
    queries: np.ndarray, candidates: np.ndarray, strata: np.ndarray, people: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each query's own candidate (1 is best) within its stratum, and the number of candidates.

    Example:
      >>> eye = np.eye(3)
      >>> ranks_within(eye, eye[[1, 0, 2]], np.array([0, 0, 1]), np.arange(3))
      (array([2, 2, 1]), array([2, 2, 1]))
    """
    queries, candidates = unit_rows(queries), unit_rows(candidates)
    ranks, counts = np.ones(len(strata), int), np.ones(len(strata), int)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        own = candidates[members]
        size = max(1, _CHUNK // len(members))
        for start in range(0, len(members), size):
            rows = members[start : start + size]
            cosines = queries[rows] @ own.T
            mine = cosines[np.arange(len(rows)), np.arange(start, start + len(rows))]
            other = people[rows][:, None] != people[members][None]
            ranks[rows] += (other & ~(cosines < mine[:, None])).sum(axis=1)  # a NaN is no hit
            counts[rows] += other.sum(axis=1)
    return ranks, counts


def _interval(name: str, metric: Callable[[np.ndarray], np.ndarray], people: int) -> dict[str, float]:
    """Return a metric of all people, and the 2.5th and 97.5th percentile over draws of people with replacement.

    The metric maps how often each draw has each person, `[R, N]`, to its values `[R]`.
    """
    draws = np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), size=DRAWS)
    low, high = np.nanpercentile(metric(draws), (2.5, 97.5))
    return {name: float(metric(np.ones((1, people)))[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
