"""What gives answers away: columns that say the label, and images that are in two splits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.tree import DecisionTreeClassifier

from mmcl_jax.prepare.images.decode import THUMB

GIVEN_AWAY = 0.98  # balanced accuracy from one column alone
NEAR_COPY = 0.95  # share of rows that it gives right
SKILL = 0.9
SHARED = 0.85  # mutual information, of the label's entropy
SAME_ORDER = 0.999  # rank correlation with a label that is a number
ROWS = 2000
_WORTH_A_TREE = 0.4  # balanced accuracy of guessing by the next value
_FEWEST = 4  # rows that are not of the commonest class
_FEWEST_VALUES = 5
_FOLDS = 5
_REPEATED = 3  # rows per value on average, from which on equal values are counted
_LEAVES = (0.05, 0.5)  # least weight of a leaf, of a class's
_SAME_RANK = 0.04  # apart, as shares of the rows
_NEAR = 3.0  # mean difference of thumbnails, in grey levels of 255
_ALIKE = 0.1  # the same, as a share of the standard deviation of their pixels
_DIRECTIONS, _WINDOW = 4, 32


class Telling(NamedTuple):
    """By how much a column tells a label: the name of a measure, and its value."""

    measure: str
    value: float


def leaky_columns(table: np.ndarray, labels: np.ndarray, *, train: np.ndarray, seed: int = 0) -> dict[int, Telling]:
    """Return the columns from which, each alone, a class label can be read off.

    For each column the label of every row is guessed from the rows of other folds: by the commonest class among rows of
    the same value, and by decision trees. Classes weigh alike, so that a rare one is guessed where it is commoner than
    elsewhere. A column tells the label if the guesses

    - have a balanced accuracy (mean recall of the classes) of `GIVEN_AWAY`; or
    - are right in `NEAR_COPY` of the rows, and either have a balanced accuracy of `SKILL`, with half a row of each
      class more that is wrong, or leave 1 - `SKILL` of the errors of always guessing the commonest class: a copy with
      errors, which may hit a rare class; or
    - have `SHARED` of the label's entropy as mutual information, beyond that of chance: a copy with classes merged.

    Of more than `ROWS` rows, the rarest classes are drawn first. A label of which fewer than four rows are not of its
    commonest class tells nothing.

    Args:
      table: raw rows `[N, F]`, NaN for missing.
      labels: `[N]` codes, below 0 for none.
      train: row numbers.
      seed: of the choice of rows.

    Returns:
      By column, the first of these measures that is reached.
    """
    rows = np.random.default_rng(seed).permutation(train[labels[train] >= 0])
    rows = rows[np.argsort(labels[rows], kind="stable")]
    _, first, counts = np.unique(labels[rows], return_index=True, return_counts=True)
    within = np.arange(len(rows)) - np.repeat(first, counts)  # index in its class, by which classes take turns
    within[np.repeat(counts < 2, counts)] = len(rows)  # alone in its class, it cannot be both fitted and tried
    chosen = np.argsort(within, kind="stable")[: min(ROWS, int(counts[counts > 1].sum()))]
    rows, fold = rows[chosen], within[chosen] % _FOLDS
    known, truth = np.unique(labels[rows], return_inverse=True)
    everywhere = np.bincount(np.searchsorted(known, labels[train[np.isin(labels[train], known)]]), minlength=len(known))
    if len(known) < 2 or np.bincount(truth).sum() - np.bincount(truth).max() < _FEWEST:
        return {}
    guesses = _Guesses(truth, fold, len(known))
    found = {}
    for column in range(table.shape[1]):
        # Ranks, because to trees, in float32, large numbers are equal; what is missing stands before all numbers.
        _, ranks = np.unique(np.nan_to_num(table[rows, column], nan=-np.inf), return_inverse=True)
        for guess in guesses.of(ranks):
            told = _told(truth, guess, everywhere / everywhere.sum())
            if told is not None:
                found[column] = told
                break
    return found


def same_order(table: np.ndarray, values: np.ndarray, *, train: np.ndarray) -> dict[int, Telling]:
    """Return the columns in the order of a numeric label, or in the opposite order, up to a few rows.

    Args:
      table: raw rows `[N, F]`, NaN for missing.
      values: `[N]`, the label, NaN for missing.
      train: row numbers; at most `ROWS` are looked at.

    Returns:
      By column, Spearman's rank correlation over the rows that have both, where its size reaches `SAME_ORDER`; or else
      the share of rows whose ranks are as good as equal, where it reaches `NEAR_COPY`.
    """
    rows = train[~np.isnan(values[train])][:ROWS]
    found = {}
    for column in range(table.shape[1]):
        both = rows[~np.isnan(table[rows, column])]
        if min(len(np.unique(table[both, column])), len(np.unique(values[both]))) < _FEWEST_VALUES:
            continue
        one, other = (rankdata(of) / len(both) for of in (table[both, column], values[both]))
        correlation = float(np.corrcoef(one, other)[0, 1])
        apart = np.abs(one - (other if correlation > 0 else 1 + 1 / len(both) - other))
        if abs(correlation) >= SAME_ORDER:
            found[column] = Telling("rank correlation", correlation)
        elif (apart <= _SAME_RANK).mean() >= NEAR_COPY:
            found[column] = Telling("share of rows with the same rank", float((apart <= _SAME_RANK).mean()))
    return found


class _Guesses:
    """The label of every row, guessed from one column of the rows of other folds."""

    def __init__(self, truth: np.ndarray, fold: np.ndarray, classes: int) -> None:
        self._truth, self._fold, self._classes = truth, fold, classes
        self._folds = [(np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in np.unique(fold)]
        self._weight = (1 / np.bincount(truth))[truth]  # every class weighs 1

    def of(self, ranks: np.ndarray) -> Iterator[np.ndarray]:
        """Guess by equal values if values repeat, and by trees if they may be worth it; -1 for no guess."""
        values = int(ranks.max()) + 1
        if _REPEATED * values <= len(ranks):
            yield self._by_value(ranks, values)
        fit, tried = self._folds[0]
        order = fit[np.argsort(ranks[fit], kind="stable")]
        next_above = np.searchsorted(ranks[order], ranks[tried]).clip(max=len(order) - 1)
        guess = self._truth[order[next_above]]  # quick, and hardly worse than a tree where a tree is good
        if _recalls(self._truth[tried], guess).mean() >= _WORTH_A_TREE:
            for least in _LEAVES:
                yield self._by_tree(ranks, least / self._classes)

    def _by_value(self, ranks: np.ndarray, values: int) -> np.ndarray:
        guess = np.full(len(ranks), -1)
        for fit, tried in self._folds:
            cell = ranks[fit] * self._classes + self._truth[fit]
            weights = np.bincount(cell, self._weight[fit], minlength=values * self._classes).reshape(values, -1)
            best = np.where(weights.any(axis=1), weights.argmax(axis=1), -1)
            guess[tried] = best[ranks[tried]]
        return guess

    def _by_tree(self, ranks: np.ndarray, least: float) -> np.ndarray:
        """Guess by decision trees; a leaf has this weight at least, lest every row with an error has a leaf."""
        guess = np.full(len(ranks), -1)
        for fit, tried in self._folds:
            tree = DecisionTreeClassifier(random_state=0, min_weight_fraction_leaf=least)
            tree.fit(ranks[fit, None], self._truth[fit], sample_weight=self._weight[fit])
            guess[tried] = tree.predict(ranks[tried, None])
        return guess


def _told(truth: np.ndarray, guess: np.ndarray, shares: np.ndarray) -> Telling | None:
    """Return how well the guesses give the label away; `shares` are those of the classes among all rows."""
    recalls = _recalls(truth, guess)
    balanced, accuracy = float(recalls.mean()), float(recalls @ shares)
    if balanced >= GIVEN_AWAY:
        return Telling("balanced accuracy", balanced)
    skill = 1 - (1 - accuracy) / (1 - shares.max())
    counts = np.bincount(truth)
    sure = float((recalls * counts / (counts + 0.5)).mean())  # few rows of a class prove less
    if accuracy >= NEAR_COPY and max(sure, skill) >= SKILL:
        return Telling("accuracy", accuracy)
    if balanced < _WORTH_A_TREE:
        return None
    shared = float(adjusted_mutual_info_score(truth, guess, average_method="max"))
    return Telling("share of mutual information", shared) if shared >= SHARED else None


def _recalls(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Return the share of rows of each class that are guessed right."""
    _, place, counts = np.unique(truth, return_inverse=True, return_counts=True)
    return np.bincount(place, weights=truth == guess) / counts


def same_pixels(sums: np.ndarray, images: np.ndarray, rows: Sequence[int]) -> dict[int, int]:
    """Return the rows whose image has exactly the pixels of an earlier row's: `{row: first row}`.

    Args:
      sums: `[N]`, a sum of each image's pixels; equal ones are compared.
      images: `[N, ...]`.
      rows: those to look at, in order.
    """
    first: dict[int, list[int]] = {}
    twins = {}
    for row in rows:
        candidates = first.setdefault(int(sums[row]), [])
        twin = next((other for other in candidates if np.array_equal(images[other], images[row])), None)
        if twin is None:
            candidates.append(row)
        else:
            twins[row] = twin
    return twins


def near_duplicates(
    thumbs: np.ndarray, splits: Mapping[str, np.ndarray], *, most: int = 1000
) -> list[tuple[int, int, float]]:
    """Find nearly equal images in different splits: (row, row, mean difference of thumbnails in grey levels).

    Args:
      thumbs: `[N, THUMB, THUMB]` uint8.
      splits: row numbers by split.
      most: return only so many, the nearest.
    """
    split = np.full(len(thumbs), -1)
    for number, rows in enumerate(splits.values()):
        split[rows] = number
    found: dict[tuple[int, int], float] = {}
    for one, other, difference in _near_pairs(thumbs, np.flatnonzero(split >= 0), split):
        found.update(zip(zip(one.tolist(), other.tolist(), strict=True), difference.tolist(), strict=True))
        if len(found) >= 10 * most:
            break
    nearest = sorted(found.items(), key=lambda item: (item[1], item[0]))[:most]
    return [(first, second, difference) for (first, second), difference in nearest]


def near_groups(thumbs: np.ndarray) -> np.ndarray:
    """Return numbers `[N]`, from 0, of the sets of images that nearly equal images link, directly or by others.

    Images are nearly equal by the measure, and are compared in the order, of `near_duplicates`, so that no pair that it
    would return is in two sets.
    """
    graph = sparse.csr_matrix((len(thumbs), len(thumbs)))
    for one, other, _ in _near_pairs(thumbs, np.arange(len(thumbs)), np.arange(len(thumbs))):
        # Joined as they come: of many equal images, the pairs would be more than memory holds.
        links = sparse.coo_matrix((np.ones(len(one)), (one, other)), graph.shape)
        _, number = connected_components(graph + links, directed=False)
        first = np.unique(number, return_index=True)[1][number]
        graph = sparse.csr_matrix((np.ones(len(first)), (first, np.arange(len(first)))), graph.shape)
    return connected_components(graph, directed=False)[1]


def _near_pairs(
    thumbs: np.ndarray, rows: np.ndarray, apart: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Find nearly equal images among `rows` whose `apart` `[N]` differs: the smaller row, the other, difference.

    Images are sorted along each of the directions in which they differ most, and each is compared with its next
    neighbours; so it finds most copies, resized, recompressed or a little brighter, but not crops. The time grows with
    the number of images, not its square.
    """
    if len(rows) < 2:
        return
    flat = np.asarray(thumbs)[rows].reshape(len(rows), -1)
    contrast = flat.std(axis=1)
    blocks = flat.reshape(-1, 8, THUMB // 8, 8, THUMB // 8).mean((2, 4), np.float32).reshape(len(rows), -1)
    _, directions = np.linalg.eigh(np.cov(blocks.T))  # in ascending order of variance
    for direction in directions.T[: -_DIRECTIONS - 1 : -1]:
        order = np.argsort(blocks @ direction, kind="stable")
        in_order = blocks[order]
        for step in range(1, min(_WINDOW, len(rows) - 1) + 1):
            one, other = order[:-step], order[step:]
            near = np.abs(in_order[:-step] - in_order[step:]).mean(axis=1) <= _NEAR
            near &= apart[rows[one]] != apart[rows[other]]
            one, other = one[near], other[near]
            difference = np.abs(flat[one].astype(np.int16) - flat[other]).mean(axis=1)
            alike = difference <= np.minimum(_NEAR, _ALIKE * np.maximum(contrast[one], contrast[other]))
            first, second = rows[np.minimum(one, other)[alike]], rows[np.maximum(one, other)[alike]]
            yield first, second, difference[alike]
