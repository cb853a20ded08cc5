"""Leaks between inputs and answers: columns that give the label away, and images that are in two splits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.tree import DecisionTreeClassifier

from mmcl_jax.prepare.images.decode import THUMB

GIVEN_AWAY = 0.98  # least balanced accuracy of guesses from one column alone
NEAR_COPY = 0.95  # least share of rows that are guessed right
SKILL = 0.9
SHARED = 0.85  # least mutual information, as a share of the label's entropy
SAME_ORDER = 0.999  # least rank correlation with a numeric label
ROWS = 2000
_WORTH_A_TREE = 0.4  # fit trees if guesses by the nearest value have this balanced accuracy
_FEWEST = 4  # least number of rows that are not of the commonest class
_FEWEST_VALUES = 5
_FOLDS = 5
_REPEATED = 3  # guess by equal values if a value has this many rows on average
_LEAVES = (0.05, 0.5)  # least weight of a leaf, as shares of the weight of a class
_SAME_RANK = 0.04  # largest distance of ranks that count as equal, as a share of the rows
_AT_ONCE = 4096  # thumbnails
_NEAR = 3.0  # largest mean difference of the thumbnails of near duplicates, in grey levels of 255
_ALIKE = 0.1  # the same limit as a share of the standard deviation of their pixels
_DIRECTIONS, _WINDOW = 4, 32


class Leak(NamedTuple):
    """How well a column gives a label away: the name of a measure, and its value."""

    measure: str
    value: float


def leaky_columns(table: np.ndarray, labels: np.ndarray, *, train: np.ndarray, seed: int = 0) -> dict[int, Leak]:
    """Return the columns from each of which alone a class label can be read off.

    For each column, the label of every row is guessed from the rows of other folds: by the commonest class among rows
    of the same value, and by decision trees. All classes weigh the same, so that a rare class is guessed where it is
    commoner than elsewhere. A column is leaky if the guesses

    - have a balanced accuracy (mean recall of the classes) of at least `GIVEN_AWAY`; or
    - are right in at least `NEAR_COPY` of the rows, and either have a balanced accuracy of `SKILL`, counting half a row
      of each class as a further error, or make at most 1 - `SKILL` of the errors of always guessing the commonest
      class: the column is a copy with errors, which may hit a rare class; or
    - have a mutual information with the label, beyond chance, of at least `SHARED` of its entropy: the column is a copy
      with classes merged.

    At most `ROWS` rows are used, which are drawn from the rarest classes first. No column is leaky if fewer than four
    rows are not of the commonest class.

    Args:
      table: raw rows `[N, F]`, NaN for missing.
      labels: `[N]` codes, below 0 for missing.
      train: row numbers of the training split.
      seed: of the draw of rows.

    Returns:
      The first of these measures that reaches its limit, by leaky column.
    """
    rows = np.random.default_rng(seed).permutation(train[labels[train] >= 0])
    rows = rows[np.argsort(labels[rows], kind="stable")]
    _, first, counts = np.unique(labels[rows], return_index=True, return_counts=True)
    within = np.arange(len(rows)) - np.repeat(first, counts)  # index in the class, so that classes take turns
    within[np.repeat(counts < 2, counts)] = len(rows)  # a class of one row cannot be both fitted and scored
    chosen = np.argsort(within, kind="stable")[: min(ROWS, int(counts[counts > 1].sum()))]
    rows, fold = rows[chosen], within[chosen] % _FOLDS
    classes, truth = np.unique(labels[rows], return_inverse=True)
    if len(classes) < 2 or np.bincount(truth).sum() - np.bincount(truth).max() < _FEWEST:
        return {}
    trained = labels[train[np.isin(labels[train], classes)]]
    sizes = np.bincount(np.searchsorted(classes, trained), minlength=len(classes))
    guesses = _Guesses(truth, fold, len(classes))
    leaky = {}
    for column in range(table.shape[1]):
        # Trees compute in float32, in which large numbers are equal, but not their ranks. Missing values rank first.
        _, ranks = np.unique(np.nan_to_num(table[rows, column], nan=-np.inf), return_inverse=True)
        for guess in guesses.of(ranks):
            leak = _leak(truth, guess, sizes / sizes.sum())
            if leak is not None:
                leaky[column] = leak
                break
    return leaky


def same_order(table: np.ndarray, values: np.ndarray, *, train: np.ndarray) -> dict[int, Leak]:
    """Return the columns that sort all but a few rows as a numeric label does, or in the opposite order.

    Args:
      table: raw rows `[N, F]`, NaN for missing.
      values: `[N]`, the label, NaN for missing.
      train: row numbers of the training split; at most `ROWS` are used.

    Returns:
      By column, Spearman's rank correlation over the rows that have both values, if its size reaches `SAME_ORDER`; or
      else the share of rows with nearly equal ranks, if it reaches `NEAR_COPY`.
    """
    rows = train[~np.isnan(values[train])][:ROWS]
    leaky = {}
    for column in range(table.shape[1]):
        both = rows[~np.isnan(table[rows, column])]
        if min(len(np.unique(table[both, column])), len(np.unique(values[both]))) < _FEWEST_VALUES:
            continue
        ranks, label_ranks = (rankdata(numbers) / len(both) for numbers in (table[both, column], values[both]))
        correlation = float(np.corrcoef(ranks, label_ranks)[0, 1])
        apart = np.abs(ranks - (label_ranks if correlation > 0 else 1 + 1 / len(both) - label_ranks))
        if abs(correlation) >= SAME_ORDER:
            leaky[column] = Leak("rank correlation", correlation)
        elif (apart <= _SAME_RANK).mean() >= NEAR_COPY:
            leaky[column] = Leak("share of rows with the same rank", float((apart <= _SAME_RANK).mean()))
    return leaky


class _Guesses:
    """Guesses of the label of every row from one column of the rows of other folds."""

    def __init__(self, truth: np.ndarray, fold: np.ndarray, classes: int) -> None:
        self._truth, self._fold, self._classes = truth, fold, classes
        self._folds = [(np.flatnonzero(fold != test), np.flatnonzero(fold == test)) for test in np.unique(fold)]
        self._weight = (1 / np.bincount(truth))[truth]  # every class has weight 1

    def of(self, ranks: np.ndarray) -> Iterator[np.ndarray]:
        """Yield guesses by equal values if values repeat, and by trees if those may be good; -1 for no guess."""
        values = int(ranks.max()) + 1
        if _REPEATED * values <= len(ranks):
            yield self._by_value(ranks, values)
        fit, test = self._folds[0]
        order = fit[np.argsort(ranks[fit], kind="stable")]
        next_above = np.searchsorted(ranks[order], ranks[test]).clip(max=len(order) - 1)
        guess = self._truth[order[next_above]]  # fast, and hardly worse than a tree wherever a tree is good
        if _recalls(self._truth[test], guess).mean() >= _WORTH_A_TREE:
            for least in _LEAVES:
                yield self._by_tree(ranks, least / self._classes)

    def _by_value(self, ranks: np.ndarray, values: int) -> np.ndarray:
        guess = np.full(len(ranks), -1)
        for fit, test in self._folds:
            cell = ranks[fit] * self._classes + self._truth[fit]
            weights = np.bincount(cell, self._weight[fit], minlength=values * self._classes).reshape(values, -1)
            best = np.where(weights.any(axis=1), weights.argmax(axis=1), -1)
            guess[test] = best[ranks[test]]
        return guess

    def _by_tree(self, ranks: np.ndarray, least: float) -> np.ndarray:
        """Guess by decision trees; the least weight of a leaf keeps single rows with errors from getting leaves."""
        guess = np.full(len(ranks), -1)
        for fit, test in self._folds:
            tree = DecisionTreeClassifier(random_state=0, min_weight_fraction_leaf=least)
            tree.fit(ranks[fit, None], self._truth[fit], sample_weight=self._weight[fit])
            guess[test] = tree.predict(ranks[test, None])
        return guess


def _leak(truth: np.ndarray, guess: np.ndarray, shares: np.ndarray) -> Leak | None:
    """Return how well the guesses give the label away; `shares` are the shares of the classes among all rows."""
    recalls = _recalls(truth, guess)
    balanced, accuracy = float(recalls.mean()), float(recalls @ shares)
    if balanced >= GIVEN_AWAY:
        return Leak("balanced accuracy", balanced)
    skill = 1 - (1 - accuracy) / (1 - shares.max())
    counts = np.bincount(truth)
    cautious = float((recalls * counts / (counts + 0.5)).mean())  # a class of few rows proves less
    if accuracy >= NEAR_COPY and max(cautious, skill) >= SKILL:
        return Leak("accuracy", accuracy)
    if balanced < _WORTH_A_TREE:
        return None
    shared = float(adjusted_mutual_info_score(truth, guess, average_method="max"))
    return Leak("share of mutual information", shared) if shared >= SHARED else None


def _recalls(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Return the recall of each class: the share of its rows that are guessed right."""
    _, index, counts = np.unique(truth, return_inverse=True, return_counts=True)
    return np.bincount(index, weights=truth == guess) / counts


def same_pixels(sums: np.ndarray, images: np.ndarray, rows: Sequence[int]) -> dict[int, int]:
    """Return the rows whose image is pixel for pixel the image of an earlier row: `{row: first row}`.

    Args:
      sums: `[N]`, a checksum of each image's pixels; only images of equal checksums are compared.
      images: `[N, ...]`, the pixels.
      rows: the rows to compare, in order.
    """
    first: dict[int, list[int]] = {}
    duplicates = {}
    for row in rows:
        candidates = first.setdefault(int(sums[row]), [])
        original = next((other for other in candidates if np.array_equal(images[other], images[row])), None)
        if original is None:
            candidates.append(row)
        else:
            duplicates[row] = original
    return duplicates


def near_duplicates(
    thumbs: np.ndarray, splits: Mapping[str, np.ndarray], *, most: int = 1000
) -> list[tuple[int, int, float]]:
    """Find nearly equal images in different splits: (row, row, mean difference of thumbnails in grey levels).

    Args:
      thumbs: `[N, THUMB, THUMB]` uint8.
      splits: row numbers by split.
      most: the number of pairs to return; the nearest pairs come first.
    """
    split = np.full(len(thumbs), -1)
    for number, rows in enumerate(splits.values()):
        split[rows] = number
    differences: dict[tuple[int, int], float] = {}
    for first, second, difference in _near_pairs(thumbs, np.flatnonzero(split >= 0), split):
        differences.update(zip(zip(first.tolist(), second.tolist(), strict=True), difference.tolist(), strict=True))
        if len(differences) >= 10 * most:
            break
    nearest = sorted(differences.items(), key=lambda item: (item[1], item[0]))[:most]
    return [(*pair, difference) for pair, difference in nearest]


def near_groups(thumbs: np.ndarray) -> np.ndarray:
    """Return the group `[N]`, from 0, of every image; chains of nearly equal images are one group.

    Images are compared as by `near_duplicates`, so that no pair that it returns is in two groups.
    """
    graph = sparse.csr_matrix((len(thumbs), len(thumbs)))
    for rows, others, _ in _near_pairs(thumbs, np.arange(len(thumbs)), np.arange(len(thumbs))):
        # Merge groups as pairs arrive: all pairs of many equal images do not fit into memory.
        links = sparse.coo_matrix((np.ones(len(rows)), (rows, others)), graph.shape)
        _, number = connected_components(graph + links, directed=False)
        first = np.unique(number, return_index=True)[1][number]
        graph = sparse.csr_matrix((np.ones(len(first)), (first, np.arange(len(first)))), graph.shape)
    return connected_components(graph, directed=False)[1]


def _near_pairs(
    thumbs: np.ndarray, rows: np.ndarray, apart: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield nearly equal images among `rows` whose `apart` `[N]` differs: smaller rows, larger rows, differences.

    Images are sorted along each of the directions in which they differ most, and each image is compared with its next
    neighbours. This finds most copies that were resized, recompressed or made a little brighter, but not crops, in time
    proportional to the number of images rather than its square.
    """
    if len(rows) < 2:
        return
    contrast, blocks = np.empty(len(rows)), np.empty((len(rows), 64), np.float32)
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(rows), _AT_ONCE)]
    for part in parts:  # all thumbnails and their deviations in double precision need not be in memory at once
        flat = np.asarray(thumbs[rows[part]])
        contrast[part] = flat.reshape(len(flat), -1).std(axis=1)
        blocks[part] = flat.reshape(-1, 8, THUMB // 8, 8, THUMB // 8).mean((2, 4), np.float32).reshape(len(flat), -1)
    _, directions = np.linalg.eigh(np.cov(blocks.T))  # in ascending order of variance
    for direction in directions.T[: -_DIRECTIONS - 1 : -1]:
        order = np.argsort(blocks @ direction, kind="stable")
        in_order = blocks[order]
        for step in range(1, min(_WINDOW, len(rows) - 1) + 1):
            left, right = order[:-step], order[step:]
            apart_by = [np.abs(in_order[:-step][part] - in_order[step:][part]).mean(axis=1) for part in parts]
            near = np.concatenate(apart_by) <= _NEAR
            near &= apart[rows[left]] != apart[rows[right]]
            left, right = left[near], right[near]
            pair = [np.asarray(thumbs[rows[one]]).reshape(-1, THUMB * THUMB) for one in (left, right)]
            difference = np.abs(pair[0].astype(np.int16) - pair[1]).mean(axis=1)
            alike = difference <= np.minimum(_NEAR, _ALIKE * np.maximum(contrast[left], contrast[right]))
            first, second = rows[np.minimum(left, right)[alike]], rows[np.maximum(left, right)[alike]]
            yield first, second, difference[alike]
