"""The preprocessing of scans: intensities made alike, and the window in the middle."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# In hundredths: the quantiles that are mapped to the landmarks.
PERCENTILES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)


class Scan(nn.Module):
    """Stored volumes [N, D, H, W, C] to what the encoder reads [N, C, d, h, w]."""

    def __init__(self, spec: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.steps, self.divide_by, self.size = spec["scan"], spec["divide_by"], spec["size"]
        for name, array in arrays.items():  # "landmarks" and "mask"
            self.register_buffer(name, array, persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Return masked, rescaled, standardised and normalised voxels of the window."""
        x = rows.float().movedim(-1, 1) / self.divide_by
        if self.steps["mask"]:
            x = torch.where(self.mask, x, x.amin((2, 3, 4), keepdim=True))
        shape, x = x.shape, x.flatten(2)
        if self.steps["rescale"]:
            low = x.amin(2, keepdim=True)
            x = _divided(x - low, x.amax(2, keepdim=True) - low)
        if self.steps["histogram"] != "none":
            x = self._standardised(x, self._counted(x, "histogram"))
        if self.steps["normalise"] != "none":
            x = _z_scores(x, self._counted(x, "normalise"))
        return _middle(x.view(shape), self.size)

    def _counted(self, x: Tensor, step: str) -> Tensor:
        """Return which voxels count: all, or those above the mean (all of a constant channel)."""
        above = x > x.mean(2, keepdim=True)
        return above | ~above.any(2, keepdim=True) if self.steps[step] == "above_mean" else torch.ones_like(above)

    def _standardised(self, x: Tensor, counted: Tensor) -> Tensor:
        found = _quantiles(x, counted)
        marks = self.landmarks[None].expand_as(found)
        slope = _divided(marks.diff(dim=2), found.diff(dim=2))
        slope = torch.where(found.diff(dim=2) > 0, slope, 0.0)
        # The piece of a voxel: that of the last inner quantile that it reaches, or the first.
        piece = torch.searchsorted(found[..., 1:-1].contiguous(), x.contiguous(), right=True)
        at = [values.gather(2, piece) for values in (marks, slope, found)]
        return at[0] + at[1] * (x - at[2])


def _divided(x: Tensor, by: Tensor) -> Tensor:
    return x / torch.where(by > 0, by, 1.0)


def _quantiles(x: Tensor, counted: Tensor) -> Tensor:
    """Return the quantiles [N, C, 11] of the voxels that count, interpolated linearly between sorted voxels."""
    ordered = torch.where(counted, x, torch.inf).sort(2).values
    last = counted.sum(2, keepdim=True) - 1
    share = torch.tensor(PERCENTILES, device=x.device).view(1, 1, -1)
    rest = share * (last % 100)
    index = share * (last // 100) + rest // 100
    between = (rest % 100).float() / 100
    lower, upper = (ordered.gather(2, ranks) for ranks in (index, torch.minimum(index + 1, last)))
    return lower + between * (upper - lower)


def _z_scores(x: Tensor, counted: Tensor) -> Tensor:
    count = counted.sum(2, keepdim=True)
    mean = torch.where(counted, x, 0.0).sum(2, keepdim=True) / count.clamp(min=1)
    squares = torch.where(counted, (x - mean) ** 2, 0.0).sum(2, keepdim=True)
    low = torch.where(counted, x, torch.inf).amin(2, keepdim=True)
    high = torch.where(counted, x, -torch.inf).amax(2, keepdim=True)
    std = (squares / (count - 1).clamp(min=1)).sqrt()
    return _divided(x - mean, torch.where(high > low, std, 0.0))


def _middle(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the middle window of a size, with zeros beyond the volume."""
    padding = []
    for length, side in reversed(list(zip(x.shape[2:], size, strict=True))):  # torch pads the last axis first
        start = (length - side) // 2
        padding += [-start, side - length + start]
    return functional.pad(x, padding)
