"""Vectors without missing values, under the policy "refuse"."""

from typing import Any

import numpy as np

from mmcl_jax.data.kinds.vector import is_missing
from mmcl_jax.errors import check


class CompleteRows:
    """Rows of vectors, as `Store.read` returns them; indexing raises `UserError` if a value is missing."""

    def __init__(self, rows: Any, name: str) -> None:
        """Store the rows and the name of their input."""
        self._rows, self._name = rows, name
        self.shape, self.dtype, self.ndim, self.present = rows.shape, rows.dtype, rows.ndim, rows.present

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        values = np.asarray(self._rows[rows])
        missing = is_missing(values)
        if self.present is not None:
            missing &= self.present[rows][..., None]
        check(
            not missing.any(),
            f"config.inputs.{self._name}.missing: {int(missing.sum())} of the values that were read are missing; "
            f"replace them by the training mean with --config.inputs.{self._name}.missing=mean.",
        )
        return values
