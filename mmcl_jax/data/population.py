"""The training rows that views draw from."""

from typing import Any

import numpy as np

from mmcl_jax.errors import check

MOST_BYTES = 2**28  # every accelerator holds a copy
_STREAM = 0x505  # of random numbers, beside that of the order of the rows


def population_of(rows: Any, take: np.ndarray, *, size: int | None, seed: int, key: str) -> np.ndarray:
    """Return the rows of an array that a view draws from, in order.

    Args:
      rows: what an array of row numbers can index, `[N, ...]`.
      take: numbers of the training rows that take part and are present.
      size: number of rows, a random sample; None for all, or, if these are more than 256 MiB, for as many as are.
      seed: of the experiment.
      key: of the config, which says the size.

    Raises:
      UserError: there are fewer rows, or the sample is more than 256 MiB.
    """
    row_bytes = int(np.prod(rows.shape[1:])) * np.dtype(rows.dtype).itemsize
    most = max(1, MOST_BYTES // max(1, row_bytes))
    if size is None:
        size = min(len(take), most)
    check(size <= len(take), f"{key}: {size} rows are to be drawn from, and {len(take)} training rows have the input.")
    remedy = f"give {most}, or fewer"
    check(size <= most, f"{key}: {size} rows of {row_bytes} bytes are more than 256 MiB on every device; {remedy}.")
    if size < len(take):
        take = np.sort(np.random.default_rng([seed, _STREAM]).choice(take, size, replace=False))
    return np.asarray(rows[take])
