"""The numbers that golden values of the papers' released code were made with."""

import math

import numpy as np


def lcg(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return float32 numbers of a linear congruential generator, in [-0.5, 0.5)."""
    values, state = [], seed
    for _ in range(math.prod(shape)):
        state = (1103515245 * state + 12345) % 2**31
        values.append(state / 2**31 - 0.5)
    return np.array(values).reshape(shape).astype(np.float32)
