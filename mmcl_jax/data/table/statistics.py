"""What the training split says about each column."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from mmcl_jax.data.schema import Schema
from mmcl_jax.data.table.scaling import landmarks, rescaled
from mmcl_jax.errors import check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """Per column, over the training rows that have a value.

    Attributes:
      mean: of the values in the scale of the column (its `scaling`); 0 for categorical and boolean columns, which are
        not scaled.
      std: population standard deviation (ddof 0); 1 for those, and where all values are equal.
      fill: the mean, or the code of the most frequent category: what the policy "mean" puts in.
      low: smallest value.
      high: largest value.
      counts: of a column with categories, rows of each; () for the others.
      quantiles: of a column with that scaling, its landmarks; () for the others.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]
    quantiles: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def fit(cls, table: np.ndarray, schema: Schema) -> "Statistics":
        """Fit raw training rows `[N, F]` float64 with NaN for missing; zeros for a column without values.

        Raises:
          UserError: naming the column whose values are too large.
        """
        found: dict[str, list] = {field.name: [] for field in dataclasses.fields(cls)}
        for values, column in zip(table.T, schema.columns, strict=True):
            seen = values[~np.isnan(values)]
            counts = np.bincount(seen.astype(int), minlength=len(column.categories)) if column.coded else np.zeros(0)
            quantiles = landmarks(seen) if column.scaling == "quantile" and len(seen) else np.zeros(0)
            seen = seen if len(seen) else np.full(1, 1.0 if column.scaling == "log" else 0.0)
            found["low"].append(float(seen.min()))
            found["high"].append(float(seen.max()))
            found["quantiles"].append(tuple(map(float, quantiles)))
            if column.scaling == "log" or len(quantiles):
                seen = rescaled(seen, column.scaling, quantiles)
            with np.errstate(over="ignore"):
                std = float(seen.std())
            check(
                np.isfinite(std),
                f"Column {column.name!r} has values up to {np.abs(seen).max():g}, whose squares are no numbers; "
                f"give them in another unit, or leave the column out with --ignore.",
            )
            scaled = column.width == 1
            found["mean"].append(float(seen.mean()) if scaled else 0.0)
            found["std"].append(std if scaled and seen.min() < seen.max() else 1.0)
            found["fill"].append(float(counts.argmax() if counts.size else 0) if column.coded else float(seen.mean()))
            found["counts"].append(tuple(map(int, counts)))
        return cls(**{name: tuple(values) for name, values in found.items()})

    def unseen(self, table: np.ndarray, schema: Schema) -> np.ndarray:
        """Return which values `[N, F]` of raw rows are categories that no training row has."""
        result = np.zeros(table.shape, bool)
        for place, (column, counts) in enumerate(zip(schema.columns, self.counts, strict=True)):
            if column.coded:
                absent = np.array([count == 0 for count in counts])
                present = ~np.isnan(table[:, place])
                result[present, place] = absent[table[present, place].astype(int)]
        return result

    def outside(self, table: np.ndarray, schema: Schema) -> np.ndarray:
        """Return which numbers `[N, F]` of raw rows lie beyond the range of the training rows."""
        numbers = np.array([not column.coded for column in schema.columns], bool)
        return numbers & ((table < np.array(self.low)) | (table > np.array(self.high)))

    def to_json(self) -> str:
        """Return the statistics as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Statistics":
        """Read `statistics.json`."""
        raw = json.loads(path.read_text())
        raw["counts"] = tuple(map(tuple, raw["counts"]))
        raw["quantiles"] = tuple(map(tuple, raw.get("quantiles", [()] * len(raw["mean"]))))
        statistics = cls(**{field.name: tuple(raw[field.name]) for field in dataclasses.fields(cls)})
        finite = np.isfinite([statistics.mean, statistics.std, statistics.fill]).all()
        check(bool(finite), f"{path} holds a value that is not finite.")
        return statistics
