"""A sampler that keeps the rows of a group, such as a person, out of each other's batches."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int

from mmcl_jax.data.samplers.base import SAMPLERS, Targets


@SAMPLERS.register("one_per_group")
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OnePerGroup:
    """A sampler whose batches have at most one row of a group: two rows would be each other's negatives.

    A row without a group is a group of its own.

    Attributes:
      targets: groups of the rows.
      rows: number of rows.
      batch_size: global batch size.
      per: "epoch" draws one random row of every group per epoch. "batch" draws all rows, and puts the rows of a group
        into different batches.

    Raises:
      ValueError: the store has no groups; or a group has more rows than an epoch has batches.

    Example:
      >>> targets = Targets(groups=np.array([7, 7, 7, 8]))
      >>> sorted(targets.groups[OnePerGroup(targets=targets, rows=4, batch_size=1).order(seed=0, epoch=0)].tolist())
      [7, 8]
    """

    repeats: ClassVar[bool] = False

    targets: Targets
    rows: int
    batch_size: int
    per: Literal["epoch", "batch"] = "epoch"

    def __post_init__(self) -> None:
        if self.targets.groups is None:
            raise ValueError("the store has no groups; prepare it with --group-column, or use the sampler 'shuffle'")
        batches, largest = self.rows // self.batch_size, int(np.bincount(self._codes).max())
        if self.per == "batch" and largest > batches > 0:
            raise ValueError(
                f"a group has {largest} rows, more than the {batches} batches of an epoch, so that two of them would "
                f"meet; use a smaller config.batch_size, or config.sampler.per=epoch"
            )

    @property
    def size(self) -> int:
        """The number of groups with `per="epoch"`, the number of rows with `per="batch"`."""
        return int(self._codes.max()) + 1 if self.per == "epoch" else self.rows

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, "size"]:
        """Return the rows of an epoch."""
        rng, codes = np.random.default_rng([seed, epoch]), self._codes
        shuffled = rng.permutation(self.rows)
        if self.per == "epoch":
            _, first = np.unique(codes[shuffled], return_index=True)
            return rng.permutation(shuffled[first])
        # Sorting makes rows of a group neighbours; neighbours are then dealt to different batches, like cards.
        rank = rng.permutation(int(codes.max()) + 1)
        in_batches, rest = np.split(shuffled, [self.rows // self.batch_size * self.batch_size])
        dealt = in_batches[np.argsort(rank[codes[in_batches]], kind="stable")].reshape(self.batch_size, -1).T
        return np.concatenate([rng.permuted(rng.permutation(dealt), axis=1).reshape(-1), rest])

    @property
    def _codes(self) -> Int[np.ndarray, "N"]:
        """The group of every row, counted from 0."""
        groups = self.targets.groups
        assert groups is not None
        alone = -1 - np.arange(len(groups))
        return np.unique(np.where(groups < 0, alone, groups), return_inverse=True)[1]
