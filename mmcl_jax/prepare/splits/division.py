"""Dividing groups of rows into splits with the right shares of rows and classes, and with every class in every split.

scikit-learn's StratifiedGroupKFold cannot do this. It makes folds of equal size, and splits of 0.98, 0.01 and 0.01
would need a hundred folds. A group larger than a fold fills a fold by itself, which may become val or test. Nothing
keeps a class of few groups in every split. Its Python loop takes minutes for 100,000 groups and a hundred folds.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

FEWEST = 3  # a class of at least so many units (groups, or rows if there are no groups) is in every split
_TRAIN, _VAL, _TEST = range(3)
_LARGE = 0.2  # a group that would make up more than this share of val or test belongs in train
_ROWS = 10.0  # weight of a share of all rows in the cost, relative to the same share of a class
_EXACT = 1e3
_GOLDEN = (5**0.5 - 1) / 2
_CANDIDATES = 32
_PASSES = 30


class Division:
    """An assignment of units to splits, which is improved by moving and exchanging units.

    The cost is chi-squared: the sum over splits and columns (all rows, and each class) of (rows - target)^2 / target,
    where the target is the number of rows by the fractions.

    Attributes:
      split: `[U]`, 0 for train, 1 for val, 2 for test.
    """

    def __init__(
        self, group: np.ndarray, labels: np.ndarray, fractions: Sequence[float], sizes: Sequence[int] | None = None
    ) -> None:
        """Count the rows of every unit.

        Args:
          group: `[N]`, the unit of each row, from 0 without gaps.
          labels: `[N, L]` codes of class labels, below 0 for none.
          fractions: of train, val and test.
          sizes: exact numbers of rows, which hold as long as every class of the first label has room in each split.
        """
        blocks, needed, columns = [np.zeros((len(group), 1), int)], [0], 1
        for codes in labels.T:
            classes, index = np.unique(codes, return_inverse=True)
            units = np.unique(np.stack([index, group]), axis=1)[0]
            enough = np.bincount(units, minlength=len(classes)) >= FEWEST
            # Classes of fewer units cannot be in every split, and count together, as one class.
            to = columns + np.where(enough, np.cumsum(enough) - 1, enough.sum())
            blocks.append(to[index][:, None])
            needed += to[enough & (classes >= 0)].tolist()
            columns = to.max() + 1
        column = np.concatenate(blocks, axis=1)
        unit = np.repeat(group, column.shape[1])
        self.counts = sparse.coo_matrix(
            (np.ones(len(unit)), (unit, column.ravel())), (group.max() + 1, columns)
        ).tocsr()
        self.has = self.counts.astype(bool).astype(float)
        self.size = self.counts[:, 0].toarray()[:, 0]
        self.needed = np.isin(np.arange(columns), needed)
        self.target = np.outer(fractions, np.asarray(self.counts.sum(axis=0)))
        few = np.where(self.needed, np.maximum(self.target, 1), self.target)
        few[few.argmax(axis=0), np.arange(columns)] -= (few - self.target).sum(axis=0)
        self.target[:, 1:] = few[:, 1:]
        self.weight = 1 / self.target
        self.weight[:, 0] *= _ROWS
        if sizes is not None and self.needed[1 : blocks[1].max() + 1].sum() <= min(sizes):
            self.target[:, 0], self.weight[:, 0] = sizes, _EXACT
        elif sizes is not None:  # too little room for every class: the splits grow
            self.target[:, 0] = self.target[:, 1 : blocks[1].max() + 1].sum(axis=1)
        self.own = self.counts.power(2) @ self.weight.T
        # The importance of having a row, and each class, by split.
        self.importance = np.outer([1.0, columns, columns], self.needed)
        self.importance[_TRAIN, 0] = columns
        self.large = np.zeros(len(self.size), bool)
        self.assign(np.zeros(len(self.size), int))

    def assign(self, split: np.ndarray) -> None:
        """Assign a split to every unit."""
        self.split = split
        member = sparse.csr_matrix((np.ones(len(split)), (split, np.arange(len(split)))), (3, len(split)))
        self.rows = (member @ self.counts).toarray()
        self.units = (member @ self.has).toarray()

    def draw(self, rng: np.random.Generator) -> None:
        """Draw the split of every unit: large units are in train, and the rest is stratified by class.

        Units are ordered by the rarest of their classes, at random within a class, and get their splits from a
        sequence of low discrepancy. So the groups in val and test are typical, and the shares are nearly right.
        """
        smaller = min(self.target[_VAL, 0], self.target[_TEST, 0])
        by_size = np.argsort(-self.size, kind="stable")
        room = np.cumsum(self.size[by_size]) <= self.target[_TRAIN, 0] / 2
        beyond = self.size[by_size] > max(self.target[_VAL, 0], self.target[_TEST, 0])
        self.large[by_size] = (self.size[by_size] > _LARGE * smaller) & (room | beyond)
        rarity = np.argsort(np.argsort(self.target[_TRAIN], kind="stable"))
        entries = self.counts.tocoo()
        rarest = np.full(len(self.size), len(rarity))
        np.minimum.at(rarest, entries.row, rarity[entries.col])
        shuffled = rng.permutation(len(self.size))
        order = shuffled[np.argsort(rarest[shuffled], kind="stable")]
        order = order[~self.large[order]]
        quantile = (rng.random() + _GOLDEN * np.arange(len(order))) % 1
        val, test = self.target[_VAL:, 0] / max(self.size[order].sum(), self.target[_VAL:, 0].sum() / 0.9)
        split = np.full(len(self.size), _TRAIN)
        split[order] = np.where(quantile < val, _VAL, np.where(quantile < val + test, _TEST, _TRAIN))
        self.assign(split)

    def complete(self, rng: np.random.Generator) -> None:
        """Move units so that every split has every class of `FEWEST` units, starting with the classes of fewest units.

        Where that is impossible, since units hold several classes, units are moved to and fro for a while and the best
        assignment is kept; a class is left out of train rather than out of val or test.
        """
        by_column = self.has.tocsc()
        order = np.flatnonzero(self.needed)[np.argsort(np.diff(by_column.indptr)[self.needed], kind="stable")]
        least, noise = np.inf, 0.0
        for _ in range(_PASSES):
            for column in order:
                units = by_column.indices[by_column.indptr[column] : by_column.indptr[column + 1]]
                for split in (_VAL, _TEST, _TRAIN):
                    if self.units[split, column] == 0:
                        self._bring(units, split, noise * rng.random(len(units)))
            lacking = self.importance[self.units == 0].sum()
            if lacking < least:
                least, best = lacking, self.split.copy()
            if least == 0:
                break
            order = rng.permutation(order)
            noise = 1.5 if lacking < self.importance[_VAL, 0] else 1.5 * self.importance[_VAL, 0]
        self.assign(best)

    def refine(self) -> None:
        """Move and exchange units as long as the cost falls and no split loses a class."""
        steps = int(np.clip(2e7 / self.counts.nnz, 50, 2000))
        for _ in range(steps):
            units = np.arange(len(self.size))
            change, lost = self._changes(units)
            change[lost > 0] = np.inf
            change[self.large, _VAL:] = np.inf
            exchanges = [self._exchange(change, *pair) for pair in ((_TRAIN, _VAL), (_TRAIN, _TEST), (_VAL, _TEST))]
            gain, moves = min(exchanges, key=lambda exchange: exchange[0])
            if gain > -1e-9:
                break
            for unit, to in moves:
                self._move(unit, to)

    def _bring(self, units: np.ndarray, to: int, noise: np.ndarray) -> None:
        """Move one of `units` into a split: the unit whose own split loses the fewest classes, at the least cost."""
        change, lost = self._changes(units)
        unit = np.lexsort((change[:, to], lost + noise))[0]
        if to != _TRAIN or lost[unit] < self.importance[_VAL, 0] or self.units[_TRAIN, 0] == 0:
            self._move(units[unit], to)

    def _changes(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how the cost `[n, 3]` changes if a unit moves to each split, and the importance of lost classes."""
        source, index = self.split[units], np.arange(len(units))
        gradient = self.counts[units] @ (2 * (self.rows - self.target) * self.weight).T
        own = self.own[units]
        change = own + gradient + (own - gradient)[index, source][:, None]
        last = self.importance * (self.units == 1)
        return change, (self.has[units] @ last.T)[index, source]

    def _exchange(self, change: np.ndarray, first: int, second: int) -> tuple[float, list[tuple[int, int]]]:
        """Return the change of the cost and the moves of the best move or exchange between two splits.

        Only the units that cost least to move are tried.
        """
        sides = []
        for source, to in ((first, second), (second, first)):
            units = np.flatnonzero((self.split == source) & np.isfinite(change[:, to]))
            if len(units) > _CANDIDATES:
                units = units[np.argpartition(change[units, to], _CANDIDATES)[:_CANDIDATES]]
            sides.append((units, to))
        (left, _), (right, _) = sides
        costs = [np.append(change[units, to], 0.0) for units, to in sides]  # the last is the cost of moving no unit
        gain = costs[0][:, None] + costs[1]
        both = self.counts[left].multiply(self.weight[first] + self.weight[second]) @ self.counts[right].T
        gain[:-1, :-1] -= 2 * both.toarray()
        best = np.unravel_index(gain.argmin(), gain.shape)
        moves = [(units[index], to) for (units, to), index in zip(sides, best, strict=True) if index < len(units)]
        return float(gain[best]), moves

    def _move(self, unit: int, to: int) -> None:
        source = self.split[unit]
        columns = self.counts.indices[self.counts.indptr[unit] : self.counts.indptr[unit + 1]]
        rows = self.counts.data[self.counts.indptr[unit] : self.counts.indptr[unit + 1]]
        for split, sign in ((source, -1), (to, 1)):
            self.rows[split, columns] += sign * rows
            self.units[split, columns] += sign
        self.split[unit] = to
