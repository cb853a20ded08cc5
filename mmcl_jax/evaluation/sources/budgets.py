"""Label budgets: the training labels that a head may use."""

import dataclasses

import numpy as np

from mmcl_jax.errors import check


@dataclasses.dataclass(frozen=True)
class Budget:
    """A label budget: `per_class` labels of every class, a `fraction` of each class, or a named `subset` of a store.

    Of a class that has fewer than `per_class` labels, all are used. The fraction 1.0 is all labels. A fraction may be
    the `first` rows in the order of the store, of all classes, as LoVT takes 1 % and 10 % of a data set.

    Example:
      >>> labels = np.array([0, 0, 0, 1, 1])
      >>> Budget(per_class=1).draw(labels, (0, 0)).tolist()
      [2, 4]
    """

    per_class: int | None = None
    fraction: float = 1.0
    subset: str | None = None
    first: bool = False

    def __post_init__(self) -> None:
        """Raise `UserError` if a number is out of range."""
        check(0 < self.fraction <= 1, f"--fraction: {self.fraction:g} is not above 0 and at most 1.")
        check(self.per_class is None or self.per_class > 0, f"--per-class: {self.per_class} is not positive.")

    def __str__(self) -> str:
        if self.subset is not None:
            return self.subset
        if self.per_class is not None:
            return f"{self.per_class} per class"
        return "all" if self.fraction == 1 else f"{'first ' if self.first else ''}{100 * self.fraction:g} %"

    @property
    def takes_all(self) -> bool:
        """Whether the budget is all labels."""
        return self.per_class is None and self.fraction == 1

    @property
    def drawn_once(self) -> bool:
        """Whether all draws are the same."""
        return self.takes_all or self.first

    def draw(self, labels: np.ndarray, seed: tuple[int, int], *, stratified: bool = True) -> np.ndarray:
        """Draw a random subset of rows, sorted, with at least one row per class.

        `seed` puts the rows of every class into a random order, and the first of them are drawn: so the draws of one
        seed are nested, smaller budgets within larger ones. If `labels` are numbers, all rows are put into one order,
        and at least two are drawn.

        Args:
          labels: `[N]` class codes, or numbers.
          seed: of pretraining, and the number of the draw.
          stratified: whether the labels are class codes.
        """
        if self.takes_all:
            return np.arange(len(labels))
        if self.first:
            return np.arange(max(2, round(self.fraction * len(labels))))
        if not stratified:
            count = max(2, round(self.fraction * len(labels)))
            return np.sort(np.random.default_rng(seed).permutation(len(labels))[:count])
        chosen = []
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            count = self.per_class or max(1, round(self.fraction * len(rows)))
            chosen.append(np.random.default_rng([*seed, int(label)]).permutation(rows)[:count])
        return np.sort(np.concatenate(chosen))
