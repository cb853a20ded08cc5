"""A sampler that draws every class equally often."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from mmcl_jax.data.samplers.base import SAMPLERS, Targets
from mmcl_jax.text import nearest


@SAMPLERS.register("balanced")
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Balanced:
    """A sampler whose epochs have equally many rows of every class, up to one row.

    An epoch has as many rows as the split has labelled rows. Within an epoch, no row is drawn again before all rows of
    its class were: an epoch has some rows of a large class, and every row of a small class several times. Rows without
    the label are not drawn.

    Attributes:
      targets: labels of the rows.
      label: name of the label to balance; "" for the first label that is a class.

    Raises:
      ValueError: the rows have no such label, it is a number, or they have fewer than two classes.

    Example:
      >>> targets = Targets(labels={"sex": np.array([0, 0, 0, 0, 0, 1, -1])})
      >>> np.bincount(targets.labels["sex"][Balanced(targets=targets).order(seed=0, epoch=0)]).tolist()
      [3, 3]
    """

    repeats: ClassVar[bool] = True

    targets: Targets
    label: str = ""

    def __post_init__(self) -> None:
        labels, numbers = self.targets.labels, self.targets.numbers
        if self.label in numbers:
            raise ValueError(f"the label {self.label!r} is a number, and has no classes to balance; {_choice(labels)}")
        if not labels or (self.label and self.label not in labels):
            lack = f"no label {self.label!r}{nearest(self.label, labels)}" if self.label else "no label that is a class"
            raise ValueError(f"the store has {lack}; {_choice(labels)}")
        if len(np.unique(self._codes[self._codes >= 0])) < 2:
            name = self.label or next(iter(labels))
            raise ValueError(f"the training rows have fewer than two classes of {name!r}; use the sampler 'shuffle'")

    @property
    def size(self) -> int:
        """The number of labelled rows."""
        return int((self._codes >= 0).sum())

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, "size"]:
        """Return the rows of an epoch, shuffled."""
        rng, codes = np.random.default_rng([seed, epoch]), self._codes
        classes = rng.permutation(np.unique(codes[codes >= 0]))  # the first ones may have one row more
        counts = [self.size // len(classes) + (turn < self.size % len(classes)) for turn in range(len(classes))]
        drawn = [_turns(rng, np.flatnonzero(codes == code), count) for code, count in zip(classes, counts, strict=True)]
        return rng.permutation(np.concatenate(drawn))

    @property
    def _codes(self) -> Int[np.ndarray, "N"]:
        return self.targets.labels[self.label or next(iter(self.targets.labels))]


def _turns(rng: np.random.Generator, rows: Int[np.ndarray, "n"], count: int) -> Int[np.ndarray, "count"]:
    """Return `count` rows: permutations of the rows, one after another."""
    return np.concatenate([rng.permutation(rows) for _ in range(-(-count // len(rows)))])[:count]


def _choice(labels: Iterable[str]) -> str:
    names = ", ".join(map(repr, labels))
    return f"config.sampler.label may be {names}" if names else "prepare it with --label, or use the sampler 'shuffle'"
