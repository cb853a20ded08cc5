"""Named subsets of the splits: small ones for training with few labels, and balanced ones for a rare class."""

from collections.abc import Mapping, Sequence

import numpy as np

RARE = 0.2  # a class below this share of the training rows is rare


def subset_name(fraction: float, base: str = "train") -> str:
    """Return the name of a subset: `train_10` for a tenth of train.

    Example:
      >>> subset_name(0.1), subset_name(0.005)
      ('train_10', 'train_0.5')
    """
    return f"{base}_{100 * fraction:g}"


def nested(labels: np.ndarray | None, fractions: Sequence[float], *, rows: np.ndarray, seed: int) -> list[np.ndarray]:
    """Draw stratified subsets of `rows`, each within the larger ones, with at least one row of each class.

    Their sizes are the shares, rounded, unless there are more classes than such a subset has rows.

    Args:
      labels: `[N]` integer codes by row number (below 0: none), or None.
      fractions: sizes, as shares of `rows`.
      rows: row numbers to draw from.
      seed: of the draw.

    Returns:
      Sorted row numbers, one array per fraction.
    """
    rng = np.random.default_rng(seed)
    codes = np.zeros(len(rows), int) if labels is None else labels[rows]
    drawn, when = [], []  # rows, and the fraction from which each is in the subset; 0 for the first row of a class
    for code in np.unique(codes):
        members = rng.permutation(rows[codes == code])
        drawn.append(members)
        when.append((np.arange(len(members)) + 0.5) / len(members))
        if code >= 0:
            when[-1][0] = 0.0
    order = np.concatenate(drawn)[np.argsort(np.concatenate(when), kind="stable")]
    least = len(np.unique(codes[codes >= 0]))
    return [np.sort(order[: max(least, round(fraction * len(rows)))]) for fraction in fractions]


def balanced(labels: np.ndarray, *, rows: np.ndarray, seed: int) -> np.ndarray:
    """Return all `rows` of the rarer of two classes and as many, drawn once, of the other class; sorted row numbers."""
    classes = [rows[labels[rows] == code] for code in (0, 1)]
    rare, common = sorted(classes, key=len)
    drawn = np.random.default_rng(seed).permutation(common)[: len(rare)]
    return np.sort(np.concatenate([rare, drawn]))


def standard_subsets(
    splits: Mapping[str, np.ndarray], labels: np.ndarray | None, classes: int, fractions: Sequence[float], *, seed: int
) -> dict[str, np.ndarray]:
    """Return the subsets of a store: `train_10` and so on, and balanced subsets for a rare binary label.

    The balanced subsets are the fine-tuning sets of Hager et al. (CVPR 2023), section 4.1.
    """
    train = splits["train"]
    parts = nested(labels, fractions, rows=train, seed=seed)
    subsets = {subset_name(fraction): part for fraction, part in zip(fractions, parts, strict=True)}
    if labels is None or classes != 2:
        return subsets
    counts = [int((labels[train] == code).sum()) for code in (0, 1)]
    if 0 < min(counts) < RARE * sum(counts):
        even = balanced(labels, rows=train, seed=seed)
        subsets["train_balanced"] = even
        for fraction, part in zip(fractions, nested(labels, fractions, rows=even, seed=seed), strict=True):
            subsets[subset_name(fraction, "train_balanced")] = part
        if len(even := balanced(labels, rows=splits["val"], seed=seed)):
            subsets["val_balanced"] = even
    return subsets
