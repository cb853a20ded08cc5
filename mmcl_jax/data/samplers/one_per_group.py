"""One row per person, or whatever else a group is."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int

from mmcl_jax.data.samplers.base import SAMPLERS, Targets


@SAMPLERS.register("one_per_group")
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OnePerGroup:
    """No two rows of a group meet in a batch, where they would be each other's negatives.

    A row without a group is a group of its own.

    Attributes:
      targets: of the rows.
      rows: how many there are.
      batch_size: global.
      per: "epoch" takes one random row of every group, another one in the next epoch. "batch" takes all rows, and
        puts those of one group into different batches.

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
        """The number of groups, or, per batch, of rows."""
        return int(self._codes.max()) + 1 if self.per == "epoch" else self.rows

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, "size"]:
        """Return the rows of an epoch."""
        rng, codes = np.random.default_rng([seed, epoch]), self._codes
        shuffled = rng.permutation(self.rows)
        if self.per == "epoch":
            _, first = np.unique(codes[shuffled], return_index=True)
            return rng.permutation(shuffled[first])
        # Rows of a group are made neighbours, and neighbours are dealt to different batches, like cards.
        rank = rng.permutation(int(codes.max()) + 1)
        kept, rest = np.split(shuffled, [self.rows // self.batch_size * self.batch_size])
        dealt = kept[np.argsort(rank[codes[kept]], kind="stable")].reshape(self.batch_size, -1).T
        return np.concatenate([rng.permuted(rng.permutation(dealt), axis=1).reshape(-1), rest])

    @property
    def _codes(self) -> Int[np.ndarray, "N"]:
        """The group of every row, counted from 0."""
        groups = self.targets.groups
        assert groups is not None
        alone = -1 - np.arange(len(groups))
        return np.unique(np.where(groups < 0, alone, groups), return_inverse=True)[1]
