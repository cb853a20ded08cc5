"""The population: training rows that a view draws replacement values from."""

from typing import Any

import numpy as np

from mmcl_jax.errors import check

MOST_BYTES = 2**28  # every accelerator holds a copy
_STREAM = 0x505  # a stream of random numbers apart from the one that orders the rows


def population_of(rows: Any, take: np.ndarray, *, size: int | None, seed: int, key: str) -> np.ndarray:
    """Return the rows that a view draws from, in ascending order.

    Args:
      rows: `[N, ...]`, indexed by an array of row indices.
      take: indices of the training rows that take part and are present.
      size: size of a random sample; None for all rows, or for as many as 256 MiB hold.
      seed: seed of the experiment.
      key: the config key that sets the size, for messages.

    Raises:
      UserError: fewer rows than `size` are present, or the sample takes more than 256 MiB.
    """
    row_bytes = int(np.prod(rows.shape[1:])) * np.dtype(rows.dtype).itemsize
    most = max(1, MOST_BYTES // max(1, row_bytes))
    if size is None:
        size = min(len(take), most)
    check(
        size <= len(take),
        f"{key}: a sample of {size} rows is too large, since {len(take)} training rows have the input; use {len(take)} "
        f"or fewer.",
    )
    check(
        size <= most,
        f"{key}: {size} rows of {row_bytes} bytes take more than 256 MiB on every device; use {most} or fewer.",
    )
    if size < len(take):
        take = np.sort(np.random.default_rng([seed, _STREAM]).choice(take, size, replace=False))
    return np.asarray(rows[take])
