"""Generating radiographs of chests with reports in the layout of MIMIC-CXR, and downstream data of other persons."""

from pathlib import Path

from mmcl_jax.errors import check
from mmcl_jax.synthetic.chests.mimic import write_mimic

LEAST = 24  # studies, so that each split has a person


def generate_chest(
    root: Path,
    *,
    count: int = 2000,
    size: int = 128,
    missing: float = 0.03,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Write drawn radiographs of chests with reports.

    Args:
      root: the folder to write to.
      count: number of studies.
      size: height and width of a radiograph in pixels.
      missing: share of studies whose report has neither findings nor impression.
      seed: the seed of all random numbers.
      workers: number of processes that draw; it changes no bit of what they draw.
    """
    ranges = {
        "count": (count, LEAST, 1_000_000),
        "size": (size, 32, 4096),
        "missing": (missing, 0, 0.9),
        "seed": (seed, 0, 2**32 - 1),
        "workers": (workers, 1, 1024),
    }
    for name, (value, low, high) in ranges.items():
        check(low <= value <= high, f"--dataset.{name}={value} is not between {low:,} and {high:,}.")
    root.mkdir(parents=True, exist_ok=True)
    write_mimic(root / "mimic", root / "truth", studies=count, size=size, missing=missing, seed=seed, workers=workers)
