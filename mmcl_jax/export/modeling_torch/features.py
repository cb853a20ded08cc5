"""The output of an encoder."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Features(NamedTuple):
    """The features of N rows.

    `pooled` is [N, D]; `local` [N, L, C] with a `mask` [N, L], or None; `stages` are the maps of an image
    [N, C, h, w] or volume [N, C, d, h, w], the finest first; `grid` is the shape of the map of the local features.
    """

    pooled: Tensor
    local: Tensor | None = None
    mask: Tensor | None = None
    stages: tuple[Tensor, ...] = ()
    grid: tuple[int, ...] = ()

    def map(self) -> Tensor:
        """Return the map of the local features [N, h, w, C] (or [N, d, h, w, C])."""
        if self.local is None or not self.grid:
            raise ValueError("this encoder has no map")
        return self.local.unflatten(1, self.grid)

    def part(self, *, local: bool) -> tuple[Tensor, Tensor]:
        """Return the tokens [N, L, C] that enter a fusion, zero where they do not exist, and their mask [N, L]."""
        tokens = self.local if local and self.local is not None else self.pooled[:, None]
        mask = self.mask if local and self.mask is not None else tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        return tokens * mask[..., None], mask


def of_maps(stages: Sequence[Tensor]) -> Features:
    """Return the features of maps: their last is `local`, its mean `pooled`."""
    local = stages[-1].flatten(2).transpose(1, 2)
    return Features(local.mean(1), local, None, tuple(stages), tuple(stages[-1].shape[2:]))
