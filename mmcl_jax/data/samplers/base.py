"""What a sampler is, what it may choose by, and the registry of samplers."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Protocol

import numpy as np
from jaxtyping import Int

from mmcl_jax.data.store import Store
from mmcl_jax.registry import Registry

SAMPLERS = Registry("sampler")


class Sampler(Protocol):
    """Gives the rows of every epoch, as a pure function of seed and epoch. It is picklable: workers have one each.

    `repeats` says whether a batch may hold a row more than once; its copies get other views then.
    """

    repeats: ClassVar[bool]

    @property
    def size(self) -> int:
        """The number of rows in an epoch, the same in all."""

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, "size"]:
        """Return the rows of an epoch in order; a batch is the next `batch_size` of them."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What samplers choose rows by.

    Attributes:
      labels: class codes by label, -1 for a row without one.
      numbers: names of the labels that are no classes.
      groups: code of the group (person) of every row, negative for none; None where the store has no groups.
    """

    labels: Mapping[str, Int[np.ndarray, "N"]] = dataclasses.field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    groups: Int[np.ndarray, "N"] | None = None

    @classmethod
    def of(cls, store: Store, split: str, take: np.ndarray | None = None, *, fold: int | None = None) -> "Targets":
        """Read those of the rows `take` of a split (of a fold), or of all.

        Raises:
          UserError: there is no such split.
        """
        rows = slice(None) if take is None else take
        groups = store.group(split, fold)
        columns = store.schema.labels
        values = store.labels(split, fold=fold)["labels"][rows] if columns else np.empty((0, 0))
        return cls(
            labels={
                column.name: np.nan_to_num(values[:, place], nan=-1).astype(np.int64)
                for place, column in enumerate(columns)
                if column.coded
            },
            numbers=tuple(column.name for column in columns if not column.coded),
            groups=None if groups is None else groups[rows],
        )
