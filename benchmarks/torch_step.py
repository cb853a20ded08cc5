"""The train step of MMCL's ResNet-50 without augmentation, batch 64, in float32, in turns with PyTorch.

    python -m benchmarks torch_step

`ratio` is the time divided by that of PyTorch's eager step, each the median of turns in one run.
"""

from collections.abc import Iterator
from typing import Any

from benchmarks.step import against_torch

PIXELS, BATCH = (32, 64, 128), 64
STEPS = {"small": 5, "full": 20}


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield one row for each image size and form."""
    for pixels in PIXELS:
        rows = against_torch(pixels, BATCH, "float32", steps=STEPS[size])
        (eager,) = (row["ms"] for row in rows if row["form"] == "torch")
        yield from ({**row, "ratio": row["ms"] / eager} if "ms" in row else row for row in rows)


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the columns of the printed table."""
    return [{key: row.get(key) for key in ("form", "pixels", "images_per_s", "ms", "ratio", "failed")} for row in rows]
