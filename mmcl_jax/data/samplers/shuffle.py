"""The default sampler: every row once per epoch."""

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from mmcl_jax.data.samplers.base import SAMPLERS


@SAMPLERS.register("shuffle")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Shuffle:
    """A sampler whose epochs are fresh permutations of all `rows` rows.

    Example:
      >>> Shuffle(rows=5).order(seed=0, epoch=0).tolist()
      [2, 4, 3, 0, 1]
    """

    repeats: ClassVar[bool] = False

    rows: int

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.rows

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, "size"]:
        """Return the permutation of an epoch."""
        return np.random.default_rng([seed, epoch]).permutation(self.rows)
