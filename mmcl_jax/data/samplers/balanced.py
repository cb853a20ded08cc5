"""Classes drawn evenly."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from mmcl_jax.data.samplers.base import SAMPLERS, Targets


@SAMPLERS.register("balanced")
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Balanced:
    """Every epoch has as many rows of one class as of another, up to one row.

    An epoch has as many rows as the split has labelled ones. A class's rows take turns: none is drawn again before all
    of its class were, within an epoch. So of a large class an epoch has some rows, and of a small one each several
    times. Rows without the label are not drawn.

    Attributes:
      targets: of the rows.
      label: which label says the class; "" for the first that is a class.

    Raises:
      ValueError: there is no such label, it is a number, or the rows do not have two classes.

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
            wanted = f"no label {self.label!r}" if self.label else "no label that is a class"
            raise ValueError(f"the store has {wanted}; {_choice(labels)}")
        if len(np.unique(self._codes[self._codes >= 0])) < 2:
            raise ValueError(f"the training rows have fewer than two classes of {self.label or next(iter(labels))!r}")

    @property
    def size(self) -> int:
        """The labelled rows."""
        return int((self._codes >= 0).sum())

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, "size"]:
        """Return the rows of an epoch, shuffled."""
        rng, codes = np.random.default_rng([seed, epoch]), self._codes
        classes = rng.permutation(np.unique(codes[codes >= 0]))  # the first ones get a row more
        counts = [self.size // len(classes) + (turn < self.size % len(classes)) for turn in range(len(classes))]
        drawn = [_turns(rng, np.flatnonzero(codes == one), count) for one, count in zip(classes, counts, strict=True)]
        return rng.permutation(np.concatenate(drawn))

    @property
    def _codes(self) -> Int[np.ndarray, "N"]:
        return self.targets.labels[self.label or next(iter(self.targets.labels))]


def _turns(rng: np.random.Generator, rows: Int[np.ndarray, "n"], count: int) -> Int[np.ndarray, "count"]:
    """Return `count` of the rows: one permutation of them after another."""
    return np.concatenate([rng.permutation(rows) for _ in range(-(-count // len(rows)))])[:count]


def _choice(labels: Iterable[str]) -> str:
    names = ", ".join(map(repr, labels))
    return f"config.sampler.label may be {names}" if names else "prepare it with --label, or use the sampler 'shuffle'"
