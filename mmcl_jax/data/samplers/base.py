"""The protocol of samplers, the targets that they choose rows by, and their registry."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from jaxtyping import Int

from mmcl_jax.data.store import Store
from mmcl_jax.registry import Registry

SAMPLERS = Registry("sampler")


class Sampler(Protocol):
    """The choice and order of the rows of every epoch, a pure function of seed and epoch.

    A sampler is picklable, since every worker process has a copy. Where a batch `repeats` a row, the copies get
    different views.
    """

    @property
    def repeats(self) -> bool:
        """Whether a batch may hold a row more than once."""

    @property
    def size(self) -> int:
        """The number of rows in an epoch, which is the same for all epochs."""

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, "size"]:
        """Return the rows of an epoch in order; each batch takes the next `batch_size` rows."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """The labels and groups by which samplers choose rows.

    Attributes:
      labels: class codes by label, -1 for a row without that label.
      numbers: names of the labels that are numbers.
      groups: code of the group (such as the person) of every row, negative for none; None in a store without groups.
    """

    labels: Mapping[str, Int[np.ndarray, "N"]] = dataclasses.field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    groups: Int[np.ndarray, "N"] | None = None

    @classmethod
    def of(cls, store: Store, split: str, take: np.ndarray | None = None, *, fold: int | None = None) -> "Targets":
        """Read the targets of the rows `take` (None: all) of a split.

        Raises:
          UserError: the store has no such split or fold.
        """
        rows = slice(None) if take is None else take
        groups = store.group(split, fold)
        columns = store.schema.labels
        values = store.labels(split, fold=fold)["labels"][rows] if columns else np.empty((0, 0))
        return cls(
            labels={
                column.name: np.nan_to_num(values[:, index], nan=-1).astype(np.int64)
                for index, column in enumerate(columns)
                if column.coded
            },
            numbers=tuple(column.name for column in columns if not column.coded),
            groups=None if groups is None else groups[rows],
        )


class Repeated:
    """A sampler whose epochs have at least `least` rows: those of another sampler, over and over.

    Example:
      >>> from mmcl_jax.data.samplers.shuffle import Shuffle
      >>> sampler = Repeated(Shuffle(rows=2), least=5)
      >>> sampler.size, sorted(sampler.order(seed=0, epoch=0).tolist())[:2]
      (5, [0, 0])
    """

    def __init__(self, sampler: Sampler, *, least: int) -> None:
        """Take the other sampler; a batch holds a row more than once if a batch of `sampler` may (`repeats`)."""
        self._sampler = sampler
        self.repeats = sampler.repeats
        self.size = max(sampler.size, least)

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, "size"]:
        """Return the rows of an epoch."""
        return np.resize(self._sampler.order(seed, epoch), self.size)
