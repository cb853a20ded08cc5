"""NumPy files of others."""

import warnings
from pathlib import Path

import numpy as np


def map_npy(path: Path) -> np.ndarray:
    """Map the array of a `.npy` file into memory.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: the file holds no array of numbers; the message is one line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a header that Python 2 wrote is read all the same
            return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged header, which is read as Python, raises errors of many types
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(reason.rstrip(".")) from error
