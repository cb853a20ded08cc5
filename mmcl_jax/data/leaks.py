"""What gives answers away: columns that say the label, and images that are in two splits."""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import balanced_accuracy_score
from sklearn.tree import DecisionTreeClassifier

from mmcl_jax.data.decode import THUMB

GIVEN_AWAY = 0.98  # balanced accuracy from one column alone
ROWS = 2000
_NEAR = 2.0  # mean difference of thumbnails, in grey levels of 255


def telling_columns(table: np.ndarray, labels: np.ndarray, *, train: np.ndarray, seed: int = 0) -> dict[int, float]:
    """The columns from which, each alone, a class label can be read off.

    For each column a decision tree is fitted to half of the training rows (of `ROWS` at most) and tried on the others.

    Args:
      table: raw rows `[N, F]`, NaN for missing.
      labels: `[N]` codes, below 0 for none.
      train: row numbers.
      seed: of the choice of rows.

    Returns:
      The balanced accuracy, by column, of those that reach `GIVEN_AWAY`.
    """
    rows = train[labels[train] >= 0]
    rows = np.random.default_rng(seed).permutation(rows)[:ROWS]
    fit, held_out = rows[::2], rows[1::2]
    shared = np.intersect1d(labels[fit], labels[held_out])
    fit, held_out = (part[np.isin(labels[part], shared)] for part in (fit, held_out))
    if len(shared) < 2:
        return {}
    found = {}
    for column in range(table.shape[1]):
        values = table[:, column : column + 1]
        if len(np.unique(values[fit])) < 2:
            continue
        tree = DecisionTreeClassifier(random_state=0).fit(values[fit], labels[fit])
        score = float(balanced_accuracy_score(labels[held_out], tree.predict(values[held_out])))
        if score >= GIVEN_AWAY:
            found[column] = score
    return found


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

    Images are compared that agree in all the signs of differences between neighbouring blocks of 8 x 8, and within such
    a bucket each with the nearest `window` before it in brightness; so it finds copies, resized, recompressed or a
    little brighter, not crops.

    Args:
      thumbs: `[N, THUMB, THUMB]` uint8.
      splits: row numbers by split.
      most: stop after so many pairs.
    """
    split_of = {int(row): name for name, rows in splits.items() for row in rows}
    rows = np.array(sorted(split_of), int)
    if len(rows) == 0:
        return []
    blocks = thumbs[rows].reshape(len(rows), 8, THUMB // 8, 8, THUMB // 8).mean((2, 4))
    signs = np.packbits(np.diff(blocks, axis=2) > 0, axis=2).reshape(len(rows), -1)
    order = np.lexsort((blocks.mean((1, 2)), *signs.T[::-1]))
    pairs, window = [], 8
    for place in range(1, len(order)):
        for earlier in range(place - 1, max(-1, place - 1 - window), -1):
            one, other = order[earlier], order[place]
            if not np.array_equal(signs[one], signs[other]):
                break
            if split_of[int(rows[one])] == split_of[int(rows[other])]:
                continue
            difference = float(np.abs(thumbs[rows[one]].astype(int) - thumbs[rows[other]]).mean())
            if difference <= _NEAR:
                first, second = sorted((int(rows[one]), int(rows[other])))
                pairs.append((first, second, difference))
                if len(pairs) == most:
                    return sorted(pairs, key=lambda pair: pair[2])
    return sorted(pairs, key=lambda pair: pair[2])
