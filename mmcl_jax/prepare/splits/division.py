"""Dividing groups of rows: shares of rows and of classes, and every class in every split.

scikit-learn's StratifiedGroupKFold makes folds of one size. Splits of 0.98, 0.01 and 0.01 would need a hundred of them,
a group larger than a fold still fills one fold by itself, and so val or test by chance, nothing keeps a class of few
groups in every split, and its loop in Python takes minutes for 100,000 groups and a hundred folds.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

FEWEST = 3  # units (groups, or rows without groups) with which a class is in every split
_TRAIN, _VAL, _TEST = range(3)
_LARGE = 0.2  # a group that would be more than this share of val or test belongs into train
_ROWS = 10.0  # how much more a share of rows weighs than the same share of a class
_EXACT = 1e3
_GOLDEN = (5**0.5 - 1) / 2
_CANDIDATES = 32
_PASSES = 30


class Division:
    """A split of every unit, to be improved by moving and exchanging units.

    The cost is chi-squared: the sum over splits and columns of (rows - rows wanted)^2 / rows wanted.

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
          sizes: their rows, which are to be exact if every class of the first label has room in each.
        """
        blocks, needed, columns = [np.zeros((len(group), 1), int)], [0], 1
        for codes in labels.T:
            found, place = np.unique(codes, return_inverse=True)
            units = np.unique(np.stack([place, group]), axis=1)[0]
            enough = np.bincount(units, minlength=len(found)) >= FEWEST
            # Classes of fewer units cannot be in every split, and count together, as one class.
            to = columns + np.where(enough, np.cumsum(enough) - 1, enough.sum())
            blocks.append(to[place][:, None])
            needed += to[enough & (found >= 0)].tolist()
            columns = to.max() + 1
        column = np.concatenate(blocks, axis=1)
        unit = np.repeat(group, column.shape[1])
        self.counts = sparse.coo_matrix(
            (np.ones(len(unit)), (unit, column.ravel())), (group.max() + 1, columns)
        ).tocsr()
        self.has = self.counts.astype(bool).astype(float)
        self.size = self.counts[:, 0].toarray()[:, 0]
        self.needed = np.isin(np.arange(columns), needed)
        self.wanted = np.outer(fractions, np.asarray(self.counts.sum(axis=0)))
        few = np.where(self.needed, np.maximum(self.wanted, 1), self.wanted)
        few[few.argmax(axis=0), np.arange(columns)] -= (few - self.wanted).sum(axis=0)
        self.wanted[:, 1:] = few[:, 1:]
        self.weight = 1 / self.wanted
        self.weight[:, 0] *= _ROWS
        if sizes is not None and self.needed[1 : blocks[1].max() + 1].sum() <= min(sizes):
            self.wanted[:, 0], self.weight[:, 0] = sizes, _EXACT
        elif sizes is not None:  # no room: as many rows as it takes
            self.wanted[:, 0] = self.wanted[:, 1 : blocks[1].max() + 1].sum(axis=1)
        self.own = self.counts.power(2) @ self.weight.T
        self.importance = np.outer([1.0, columns, columns], self.needed)  # of having a row, or a class, by split
        self.importance[_TRAIN, 0] = columns
        self.large = np.zeros(len(self.size), bool)
        self.place(np.zeros(len(self.size), int))

    def place(self, split: np.ndarray) -> None:
        """Assign a split to every unit."""
        self.split = split
        member = sparse.csr_matrix((np.ones(len(split)), (split, np.arange(len(split)))), (3, len(split)))
        self.filled = (member @ self.counts).toarray()
        self.units = (member @ self.has).toarray()

    def draw(self, rng: np.random.Generator) -> None:
        """Draw a split of every unit: large ones are in train, the others spread by class.

        Units follow one another by the rarest of their classes and at random within it, and take the splits in
        proportion by a sequence of low discrepancy. So the groups of val and test are typical ones, and the shares
        nearly right.
        """
        smaller = min(self.wanted[_VAL, 0], self.wanted[_TEST, 0])
        by_size = np.argsort(-self.size, kind="stable")
        room = np.cumsum(self.size[by_size]) <= self.wanted[_TRAIN, 0] / 2
        beyond = self.size[by_size] > max(self.wanted[_VAL, 0], self.wanted[_TEST, 0])
        self.large[by_size] = (self.size[by_size] > _LARGE * smaller) & (room | beyond)
        rarity = np.argsort(np.argsort(self.wanted[_TRAIN], kind="stable"))
        entries = self.counts.tocoo()
        rarest = np.full(len(self.size), len(rarity))
        np.minimum.at(rarest, entries.row, rarity[entries.col])
        shuffled = rng.permutation(len(self.size))
        order = shuffled[np.argsort(rarest[shuffled], kind="stable")]
        order = order[~self.large[order]]
        at = (rng.random() + _GOLDEN * np.arange(len(order))) % 1
        val, test = self.wanted[_VAL:, 0] / max(self.size[order].sum(), self.wanted[_VAL:, 0].sum() / 0.9)
        split = np.full(len(self.size), _TRAIN)
        split[order] = np.where(at < val, _VAL, np.where(at < val + test, _TEST, _TRAIN))
        self.place(split)

    def complete(self, rng: np.random.Generator) -> None:
        """Move units so that every split has every class of `FEWEST` units, starting with the classes of fewest units.

        Where units of several classes contradict one another, units are moved to and fro for a while and the best is
        kept; a class is then rather left out of train than of val or test.
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
        self.place(best)

    def refine(self) -> None:
        """Move and exchange units as long as that lowers the cost and takes no class from a split."""
        steps = int(np.clip(2e7 / self.counts.nnz, 50, 2000))
        for _ in range(steps):
            units = np.arange(len(self.size))
            change, lost = self._changes(units)
            change[lost > 0] = np.inf
            change[self.large, _VAL:] = np.inf
            found = [self._exchange(change, *pair) for pair in ((_TRAIN, _VAL), (_TRAIN, _TEST), (_VAL, _TEST))]
            gain, moves = min(found, key=lambda one: one[0])
            if gain > -1e-9:
                break
            for unit, to in moves:
                self._move(unit, to)

    def _bring(self, units: np.ndarray, to: int, noise: np.ndarray) -> None:
        """Move one of `units` into a split: the unit that takes the last of the fewest classes away, at least cost."""
        change, lost = self._changes(units)
        unit = np.lexsort((change[:, to], lost + noise))[0]
        if to != _TRAIN or lost[unit] < self.importance[_VAL, 0] or self.units[_TRAIN, 0] == 0:
            self._move(units[unit], to)

    def _changes(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the change of the cost `[n, 3]` by moving each unit to each split; and the classes its split loses."""
        at, here = self.split[units], np.arange(len(units))
        pull = self.counts[units] @ (2 * (self.filled - self.wanted) * self.weight).T
        own = self.own[units]
        change = own + pull + (own - pull)[here, at][:, None]
        last = self.importance * (self.units == 1)
        return change, (self.has[units] @ last.T)[here, at]

    def _exchange(self, change: np.ndarray, one: int, other: int) -> tuple[float, list[tuple[int, int]]]:
        """Return the best move between two splits, or exchange, of the units that cost least to move."""
        sides = []
        for at, to in ((one, other), (other, one)):
            units = np.flatnonzero((self.split == at) & np.isfinite(change[:, to]))
            if len(units) > _CANDIDATES:
                units = units[np.argpartition(change[units, to], _CANDIDATES)[:_CANDIDATES]]
            sides.append((units, to))
        (left, _), (right, _) = sides
        costs = [np.append(change[units, to], 0.0) for units, to in sides]  # at the end: no unit of this side
        gain = costs[0][:, None] + costs[1]
        both = self.counts[left].multiply(self.weight[one] + self.weight[other]) @ self.counts[right].T
        gain[:-1, :-1] -= 2 * both.toarray()
        places = np.unravel_index(gain.argmin(), gain.shape)
        moves = [(units[p], to) for (units, to), p in zip(sides, places, strict=True) if p < len(units)]
        return float(gain[places]), moves

    def _move(self, unit: int, to: int) -> None:
        at = self.split[unit]
        columns = self.counts.indices[self.counts.indptr[unit] : self.counts.indptr[unit + 1]]
        rows = self.counts.data[self.counts.indptr[unit] : self.counts.indptr[unit + 1]]
        for split, sign in ((at, -1), (to, 1)):
            self.filled[split, columns] += sign * rows
            self.units[split, columns] += sign
        self.split[unit] = to
