"""What gives answers away: columns that say the label, and images that are in two splits."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr
from sklearn.tree import DecisionTreeClassifier

from mmcl_jax.data.decode import THUMB

GIVEN_AWAY = 0.98  # balanced accuracy from one column alone
SAME_ORDER = 0.999  # rank correlation with a label that is a number
ROWS = 2000
_WORTH_A_TREE = 0.5  # balanced accuracy of guessing by the next value
_FEWEST = 5  # rows to be tried on that are not of the commonest class
_NEAR = 3.0  # mean difference of thumbnails, in grey levels of 255
_ALIKE = 0.1  # the same, as a share of the standard deviation of their pixels
_DIRECTIONS, _WINDOW = 4, 32


def telling_columns(table: np.ndarray, labels: np.ndarray, *, train: np.ndarray, seed: int = 0) -> dict[int, float]:
    """The columns from which, each alone, a class label can be read off.

    For each column a decision tree is fitted to half of the training rows and tried on the others; of more than `ROWS`,
    the rarest classes are drawn first. A label of which too few rows are not of its commonest class tells nothing.

    Args:
      table: raw rows `[N, F]`, NaN for missing.
      labels: `[N]` codes, below 0 for none.
      train: row numbers.
      seed: of the choice of rows.

    Returns:
      The balanced accuracy, by column, of those that reach `GIVEN_AWAY`.
    """
    rows = np.random.default_rng(seed).permutation(train[labels[train] >= 0])
    rows = rows[np.argsort(labels[rows], kind="stable")]
    _, first, counts = np.unique(labels[rows], return_index=True, return_counts=True)
    if len(counts) < 2:
        return {}
    within = np.arange(len(rows)) - np.repeat(first, counts)  # place in its class, by which classes take turns
    within[np.repeat(counts < 2, counts)] = len(rows)  # alone in its class, it cannot be both fitted and tried
    chosen = np.argsort(within, kind="stable")[: min(ROWS, int(counts[counts > 1].sum()))]
    fit, held_out = rows[chosen[within[chosen] % 2 == 0]], rows[chosen[within[chosen] % 2 == 1]]
    of_class = np.unique(labels[held_out], return_counts=True)[1]
    if len(of_class) < 2 or of_class.sum() - of_class.max() < _FEWEST:
        return {}
    both = np.concatenate([fit, held_out])
    found = {}
    for column in range(table.shape[1]):
        # Ranks, because to trees, in float32, large numbers are equal; what is missing stands before all numbers.
        values = np.nan_to_num(table[both, column], nan=-np.inf)
        _, ranks = np.unique(values, return_inverse=True)
        one, other = ranks[: len(fit)], ranks[len(fit) :]
        order = np.argsort(one, kind="stable")
        next_above = np.searchsorted(one[order], other).clip(max=len(one) - 1)
        guess = labels[fit][order[next_above]]  # quick, and hardly worse than a tree where a tree is good
        if _balanced_accuracy(labels[held_out], guess) < _WORTH_A_TREE:
            continue
        tree = DecisionTreeClassifier(random_state=0).fit(one[:, None], labels[fit])
        score = _balanced_accuracy(labels[held_out], tree.predict(other[:, None]))
        if score >= GIVEN_AWAY:
            found[column] = score
    return found


def same_order(table: np.ndarray, values: np.ndarray, *, train: np.ndarray) -> dict[int, float]:
    """The columns that are in the order of a label that is a number, or in the opposite one.

    Args:
      table: raw rows `[N, F]`, NaN for missing.
      values: `[N]`, the label, NaN for missing.
      train: row numbers; at most `ROWS` are looked at.

    Returns:
      Spearman's rank correlation over the rows that have both, by column, where its size reaches `SAME_ORDER`.
    """
    rows = train[~np.isnan(values[train])][:ROWS]
    found = {}
    for column in range(table.shape[1]):
        both = rows[~np.isnan(table[rows, column])]
        if min(len(np.unique(table[both, column])), len(np.unique(values[both]))) >= _FEWEST:
            correlation = float(spearmanr(table[both, column], values[both]).statistic)
            if abs(correlation) >= SAME_ORDER:
                found[column] = correlation
    return found


def _balanced_accuracy(truth: np.ndarray, guess: np.ndarray) -> float:
    classes, places, counts = np.unique(truth, return_inverse=True, return_counts=True)
    return float(np.mean(np.bincount(places, weights=truth == guess, minlength=len(classes)) / counts))


def same_pixels(sums: np.ndarray, images: np.ndarray, rows: Sequence[int]) -> dict[int, int]:
    """Rows whose image has exactly the pixels of an earlier row's: `{row: first row}`.

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


def near_twins(
    thumbs: np.ndarray, splits: Mapping[str, np.ndarray], *, most: int = 1000
) -> list[tuple[int, int, float]]:
    """Pairs of nearly equal images in different splits: (row, row, mean difference of thumbnails in grey levels).

    Images are sorted along each of the directions in which they differ most, and each is compared with its next
    neighbours; so it finds most copies, resized, recompressed or a little brighter, but not crops. The time grows with
    the number of images, not its square.

    Args:
      thumbs: `[N, THUMB, THUMB]` uint8.
      splits: row numbers by split.
      most: return only so many, the nearest.
    """
    names = list(splits)
    rows = np.concatenate([np.asarray(splits[name], int) for name in names])
    split = np.repeat(np.arange(len(names)), [len(splits[name]) for name in names])
    if len(rows) < 2:
        return []
    flat = np.asarray(thumbs)[rows].reshape(len(rows), -1)
    contrast = flat.std(axis=1)
    blocks = flat.reshape(-1, 8, THUMB // 8, 8, THUMB // 8).mean((2, 4), np.float32).reshape(len(rows), -1)
    _, directions = np.linalg.eigh(np.cov(blocks.T))  # in ascending order of variance
    found: dict[tuple[int, int], float] = {}
    for direction in directions.T[: -_DIRECTIONS - 1 : -1]:
        order = np.argsort(blocks @ direction, kind="stable")
        in_order = blocks[order]
        for step in range(1, min(_WINDOW, len(rows) - 1) + 1):
            one, other = order[:-step], order[step:]
            near = (split[one] != split[other]) & (np.abs(in_order[:-step] - in_order[step:]).mean(axis=1) <= _NEAR)
            one, other = one[near], other[near]
            difference = np.abs(flat[one].astype(np.int16) - flat[other]).mean(axis=1)
            alike = difference <= np.minimum(_NEAR, _ALIKE * np.maximum(contrast[one], contrast[other]))
            for first, second, value in zip(rows[one[alike]], rows[other[alike]], difference[alike], strict=True):
                found[min(first, second), max(first, second)] = float(value)
            if len(found) >= 10 * most:
                break
    nearest = sorted(found.items(), key=lambda item: (item[1], item[0]))[:most]
    return [(int(first), int(second), difference) for (first, second), difference in nearest]
