"""Statistics of each column over the training split."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from mmcl_jax.border import AtLeast, Real, read_json, to_json
from mmcl_jax.data.schema import BACK, Schema
from mmcl_jax.data.table.scaling import landmarks, rescaled
from mmcl_jax.errors import check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics per column, over the training rows that have a value.

    Attributes:
      mean: mean of the values in the scale of the column (its `scaling`); 0 for categorical and boolean columns, which
        are not standardised.
      std: population standard deviation (ddof 0) in that scale; 1 for those columns, and where all values are equal.
      fill: the value that the policy "mean" fills in: the mean, or the code of the most frequent category.
      low: smallest value.
      high: largest value.
      counts: number of rows per category; () for a column without categories.
      quantiles: landmarks of a column with the scaling "quantile"; () for other columns.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: tuple[float, ...]
    low: tuple[Real, ...]
    high: tuple[Real, ...]
    counts: tuple[tuple[Annotated[int, AtLeast(0)], ...], ...]
    quantiles: tuple[tuple[Real, ...], ...] = ()

    @classmethod
    def fit(cls, table: np.ndarray, schema: Schema) -> "Statistics":
        """Return the statistics of raw training rows `[N, F]` float64, NaN for missing; an empty column has zeros.

        Raises:
          UserError: a column has values that are too large.
        """
        statistics: dict[str, list] = {field.name: [] for field in dataclasses.fields(cls)}
        for values, column in zip(table.T, schema.columns, strict=True):
            observed = values[~np.isnan(values) & ~(column.coded & (values < 0))]  # -1 is an unknown category
            counts = (
                np.bincount(observed.astype(int), minlength=len(column.categories)) if column.coded else np.zeros(0)
            )
            quantiles = landmarks(observed) if column.scaling == "quantile" and len(observed) else np.zeros(0)
            observed = observed if len(observed) else np.full(1, 1.0 if column.scaling == "log" else 0.0)
            statistics["low"].append(float(observed.min()))
            statistics["high"].append(float(observed.max()))
            statistics["quantiles"].append(tuple(map(float, quantiles)))
            if column.scaling == "log" or len(quantiles):
                observed = rescaled(observed, column.scaling, quantiles)
            with np.errstate(over="ignore"):
                std = float(observed.std())
            check(
                np.isfinite(std),
                f"Column {column.name!r} has values up to {np.abs(observed).max():g}, whose squares overflow; "
                f"give them in another unit, or leave the column out with --ignore.",
            )
            scaled = column.width == 1
            statistics["mean"].append(float(observed.mean()) if scaled else 0.0)
            statistics["std"].append(std if scaled and observed.min() < observed.max() else 1.0)
            statistics["fill"].append(
                float(counts.argmax() if counts.size else 0) if column.coded else float(observed.mean())
            )
            statistics["counts"].append(tuple(map(int, counts)))
        return cls(**{name: tuple(values) for name, values in statistics.items()})

    def unseen(self, table: np.ndarray, schema: Schema, *, least: Sequence[int] | None = None) -> np.ndarray:
        """Return the mask `[N, F]` of values in raw rows that are categories without a training row, such as -1.

        `least` are other numbers of training rows, by column, of which a category needs so many.
        """
        least = [1] * len(self.counts) if least is None else least
        result = np.zeros(table.shape, bool)
        for index, (column, counts) in enumerate(zip(schema.columns, self.counts, strict=True)):
            if column.coded:
                absent = np.array([*(count < least[index] for count in counts), True])  # the last is that of -1
                present = ~np.isnan(table[:, index])
                result[present, index] = absent[np.maximum(table[present, index], -1).astype(int)]
        return result

    def outside(self, table: np.ndarray, schema: Schema) -> np.ndarray:
        """Return the mask `[N, F]` of numbers in raw rows that lie outside of the training rows' range."""
        numbers = np.array([not column.coded for column in schema.columns], bool)
        return numbers & ((table < np.array(self.low)) | (table > np.array(self.high)))

    def to_json(self) -> str:
        """Return the statistics as JSON."""
        return to_json(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Statistics":
        """Read `statistics.json`.

        Raises:
          UserError: the file is damaged; the sentence names the field.
        """
        read: Statistics = read_json(path, cls, BACK, constants=True)  # version 0.1.0 wrote a bare NaN
        sizes = {field.name: len(getattr(read, field.name)) for field in dataclasses.fields(cls)}
        sizes["quantiles"] = sizes["quantiles"] or sizes["mean"]  # early versions had none
        for name, size in sizes.items():
            check(size == sizes["mean"], f"{path}: {name} is of {size} columns, mean of {sizes['mean']}; {BACK}.")
        check(all(std > 0 for std in read.std), f"{path}: std must be numbers above 0; {BACK}.")
        return read if read.quantiles else dataclasses.replace(read, quantiles=((),) * sizes["mean"])

    def check_fit(self, schema: Schema, where: str) -> None:
        """Raise `UserError` naming the file `where` unless these are statistics of the columns of a schema."""
        columns, subject = schema.columns, f"{where}: the statistics do not fit the schema"
        check(len(self.mean) == len(columns), f"{subject}: {len(self.mean)} columns, not {len(columns)}; {BACK}.")
        for column, counts in zip(columns, self.counts, strict=True):
            classes = len(column.categories)
            same = len(counts) == classes
            check(same, f"{subject}: counts of {column.name!r} are of {len(counts)} categories, not {classes}; {BACK}.")
