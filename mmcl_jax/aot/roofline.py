"""The least time that a step can take: the roofline model (Williams et al., 2009)."""

import dataclasses
from typing import Literal

from mmcl_jax.training.chips import Chip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
    """The least time of a step, and what it is bound by.

    Attributes:
      by: "memory" if the bytes moved take longer than the FLOPs, else "compute".
      seconds: the least time of a step.
      intensity: FLOPs per byte of the step; None if the bytes are unknown.
      ridge: FLOPs per byte at which memory and compute take the same time on this chip.
    """

    by: Literal["memory", "compute"]
    seconds: float
    intensity: float | None
    ridge: float


def bound(chip: Chip | None, *, flops: float, moved: float | None, dtype: str) -> Bound | None:
    """Return the bound of a step that does `flops` and moves `moved` bytes on one chip; None if its peak is unknown.

    Where the bytes are unknown, it is the bound by compute alone.

    Example:
      >>> chip = Chip("slow", {"float32": 100.0}, bandwidth=10.0, memory=1)
      >>> bound(chip, flops=400.0, moved=50.0, dtype="float32")
      Bound(by='memory', seconds=5.0, intensity=8.0, ridge=10.0)
    """
    peak = chip.flops.get(dtype) if chip else None
    if chip is None or peak is None:
        return None
    compute, memory = flops / peak, (moved or 0.0) / chip.bandwidth
    return Bound(
        by="memory" if memory > compute else "compute",
        seconds=max(compute, memory),
        intensity=flops / moved if moved else None,
        ridge=peak / chip.bandwidth,
    )
