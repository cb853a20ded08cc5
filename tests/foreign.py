"""An array of a library that neither JAX nor NumPy knows: all that it can do is to hand itself over by DLPack."""

from typing import Any

import numpy as np


class Foreign:
    def __init__(self, array: np.ndarray) -> None:
        self._array = np.array(array)

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[Any, int]:
        return self._array.__dlpack_device__()
