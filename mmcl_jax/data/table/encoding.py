"""From raw rows to what encoders take, by what was fitted on the training split."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.schema import Schema
from mmcl_jax.data.table.imputation import IterativeImputer
from mmcl_jax.data.table.scaling import rescaled
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import check
from mmcl_jax.files import reading

MISSING_POLICIES = ("refuse", "mean", "iterative", "token", "indicator")
OUTSIDE_POLICIES = ("keep", "clip", "missing")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoding:
    """How raw rows become encoded rows; a run keeps it, so that a new row is encoded as its training rows were.

    Attributes:
      schema: the columns.
      statistics: of the training split.
      missing: what becomes of missing values: "refuse" raises; "mean" puts in the training mean or most frequent
        category; "iterative" imputes as MMCL does; with "token" and "indicator" they stay NaN, and the encoder puts in
        something learned, or a zero and a mark.
      outside: what becomes of numbers beyond the training range: "keep" them, "clip" them to it, or take them for
        "missing". A category that no training row has is missing.
      imputer: the fitted one of "iterative".
      input: name of the input, for errors.
    """

    schema: Schema
    statistics: Statistics
    missing: str
    outside: str = "keep"
    imputer: IterativeImputer | None = None
    input: str = "table"

    @classmethod
    def fit(
        cls,
        table: np.ndarray,
        schema: Schema,
        statistics: Statistics,
        *,
        missing: str,
        outside: str = "keep",
        input: str = "table",
    ) -> "Encoding":
        """Fit the encoding of raw training rows `[N, F]` float64 with NaN for missing."""
        made = cls(schema=schema, statistics=statistics, missing=missing, outside=outside, input=input)
        if missing != "iterative":
            return made
        return dataclasses.replace(made, imputer=IterativeImputer.fit(made._scaled(np.asarray(table)), input=input))

    def encode(self, table: np.ndarray) -> np.ndarray:
        """Encode raw rows `[N, F]` float64 as rows `[N, F]` float32: z-scores, and codes of categories.

        z-scores are of logarithms or normal quantiles where a column's `scaling` says so. Ordinal columns are z-scores
        of their codes.

        Raises:
          UserError: a value is missing and the policy is "refuse", or too far from the others for float32.
        """
        rows = self._scaled(np.asarray(table, np.float64))
        absent = np.isnan(rows)
        if self.missing == "refuse":
            self._refuse(absent.sum(axis=0))
        if self.missing == "mean":
            rows = np.where(absent, self._scaled_fill(), rows)
        if self.imputer is not None:
            rows = np.where(absent, self._valid(self.imputer.fill(rows)), rows)
        beyond = np.abs(rows) > np.finfo(np.float32).max
        if beyond.any():
            row, column = map(int, np.argwhere(beyond)[0])
            value, name = table[row][column], self.schema.columns[column].name
            check(False, f"Column {name!r} has the value {value:g}, too far from the training rows' to be encoded.")
        return rows.astype(np.float32)

    def check(self, parts: Iterable[np.ndarray]) -> None:
        """Raise the `UserError` of `encode` if one of the parts of a table, raw rows `[n, F]`, cannot be encoded."""
        lenient = dataclasses.replace(self, missing="token") if self.missing == "refuse" else self
        absent = np.zeros(len(self.schema.columns), np.int64)
        for part in parts:
            absent += np.isnan(lenient.encode(part)).sum(axis=0)
        if self.missing == "refuse":
            self._refuse(absent)

    def _refuse(self, absent: np.ndarray) -> None:
        """Raise `UserError` if a column lacks values, of which `absent` `[F]` are the numbers."""
        if absent.any():
            column = int(absent.astype(bool).argmax())
            check(
                False,
                f"Column {self.schema.columns[column].name!r} has {int(absent[column])} missing values; say what "
                f"becomes of them with --config.inputs.{self.input}.missing={'|'.join(MISSING_POLICIES[1:])}, or leave "
                f"the column out with --ignore when preparing.",
            )

    def _scaled(self, table: np.ndarray) -> np.ndarray:
        """Return z-scores, each in its column's scale, and codes; NaN for missing."""
        statistics = self.statistics
        table = np.where(statistics.unseen(table, self.schema), np.nan, table)
        if self.outside == "clip":
            numbers = np.array([not column.coded for column in self.schema.columns], bool)
            table = np.where(numbers, np.clip(table, statistics.low, statistics.high), table)
        elif self.outside == "missing":
            table = np.where(statistics.outside(table, self.schema), np.nan, table)
        for place, column in enumerate(self.schema.columns):
            if column.scaling != "standard":
                table[:, place] = self._rescaled(table[:, place], place)
        return (table - np.array(statistics.mean)) / np.array(statistics.std)

    def _rescaled(self, values: np.ndarray, place: int) -> np.ndarray:
        column = self.schema.columns[place]
        if column.scaling == "log" and (values <= 0).any():
            check(
                False,
                f"Column {column.name!r} has the value {np.nanmin(values):g}, which has no logarithm; train with "
                f"--config.inputs.{self.input}.outside=clip (the smallest training value is taken for it) or "
                f'missing, or prepare the store with "scaling": "quantile".',
            )
        quantiles = np.array(self.statistics.quantiles[place] if self.statistics.quantiles else ())
        if column.scaling == "quantile" and len(quantiles) == 0:  # no training row has a value
            return np.where(np.isnan(values), np.nan, 0.0)
        return rescaled(values, column.scaling, quantiles)

    def _scaled_fill(self) -> np.ndarray:
        return (np.array(self.statistics.fill) - np.array(self.statistics.mean)) / np.array(self.statistics.std)

    def _valid(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows with the values of columns with categories rounded to a valid code."""
        mean, std = np.array(self.statistics.mean), np.array(self.statistics.std)
        for place, column in enumerate(self.schema.columns):
            if column.categories:
                codes = np.rint(rows[:, place] * std[place] + mean[place])
                rows[:, place] = (np.clip(codes, 0, len(column.categories) - 1) - mean[place]) / std[place]
        return rows

    def write(self, directory: Path) -> None:
        """Write `schema.json`, `statistics.json`, `encoding.json` and, if there is one, `imputer.npz`."""
        (directory / "schema.json").write_text(self.schema.to_json())
        (directory / "statistics.json").write_text(self.statistics.to_json())
        policies = {"missing": self.missing, "outside": self.outside}
        (directory / "encoding.json").write_text(json.dumps(policies, indent=2) + "\n")
        if self.imputer is not None:
            self.imputer.write(directory / "imputer.npz")

    @classmethod
    def read(cls, directory: Path) -> "Encoding":
        """Read what `write` wrote.

        Raises:
          UserError: a file is missing or damaged.
        """
        read: dict[str, Any] = {}
        for name, file, how in (
            ("schema", "schema.json", Schema.read),
            ("statistics", "statistics.json", Statistics.read),
            ("policies", "encoding.json", lambda path: json.loads(path.read_text())),
            ("imputer", "imputer.npz", lambda path: IterativeImputer.read(path) if path.is_file() else None),
        ):
            with reading(directory / file, "put a copy of the file back"):
                read[name] = how(directory / file)
        return cls(**read.pop("policies"), **read)
