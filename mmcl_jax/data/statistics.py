"""What the training split says about each column, and the encoding of rows by it."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np

from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import check

MISSING_POLICIES = ("refuse", "mean")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """Per column, over the training rows that have a value.

    `mean` and `std` (population, ddof 0) are of continuous columns (0 and 1 for categorical ones); `fill` is what the
    policy `missing="mean"` puts in: the mean, or the most frequent category's code.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: tuple[float, ...]

    @classmethod
    def fit(cls, table: np.ndarray, schema: Schema) -> "Statistics":
        """Statistics of raw training rows `[N, F]` float64 with NaN for missing.

        Raises:
          UserError: a column has no value, or only one value, in the training split.
        """
        mean, std, fill = [], [], []
        for values, column in zip(table.T, schema.columns, strict=True):
            seen = values[~np.isnan(values)]
            check(
                len(seen) > 0 and bool(np.any(seen != seen[0])),
                f"Column {column.name!r} has fewer than two different values in the training split; "
                f"leave it out with --ignore {column.name}.",
            )
            check(bool(np.isfinite(seen).all()), f"Column {column.name!r} holds infinite values.")
            if column.kind == "continuous":
                mean.append(float(seen.mean()))
                std.append(float(seen.std()))
                fill.append(mean[-1])
            else:
                mean.append(0.0)
                std.append(1.0)
                fill.append(float(np.bincount(seen.astype(int)).argmax()))
        return cls(mean=tuple(mean), std=tuple(std), fill=tuple(fill))

    def encode(self, table: np.ndarray, schema: Schema, *, missing: str) -> np.ndarray:
        """Raw rows `[N, F]` float64 to encoded rows `[N, F]` float32: z-scores, and codes for categories.

        Args:
          table: raw rows, NaN for missing.
          schema: the columns, for their names.
          missing: "refuse" raises on a missing value, "mean" puts in the training mean or most frequent category.

        Raises:
          UserError: a value is missing and the policy is "refuse".
        """
        absent = np.isnan(table)
        if missing == "refuse" and absent.any():
            column = int(absent.any(axis=0).argmax())
            check(
                False,
                f"Column {schema.columns[column].name!r} has {int(absent[:, column].sum())} missing values; "
                f"fill them with --config.missing=mean, or leave the column out with --ignore when preparing.",
            )
        filled = np.where(absent, np.array(self.fill), table)
        return ((filled - np.array(self.mean)) / np.array(self.std)).astype(np.float32)

    def to_json(self) -> str:
        """The statistics as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Statistics":
        """Reads `statistics.json`."""
        raw = json.loads(path.read_text())
        statistics = cls(**{key: tuple(raw[key]) for key in ("mean", "std", "fill")})
        check(all(map(math.isfinite, statistics.std)), f"{path} holds a value that is not finite.")
        return statistics
