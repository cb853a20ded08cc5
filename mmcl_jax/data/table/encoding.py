"""The encoding of raw rows for encoders, fitted on the training split."""

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_args

import numpy as np

from mmcl_jax.border import AtLeast, read_json, to_json
from mmcl_jax.data.schema import BACK, Schema
from mmcl_jax.data.table.imputation import IterativeImputer
from mmcl_jax.data.table.scaling import rescaled
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import check
from mmcl_jax.files import reading

REPLACED_POLICIES = ("token", "indicator")  # missing values stay NaN in encoded rows, and the encoder replaces them
Missing = Literal["refuse", "mean", "iterative", "token", "indicator"]
Outside = Literal["keep", "clip", "missing"]
MISSING_POLICIES: tuple[str, ...] = get_args(Missing)
OUTSIDE_POLICIES: tuple[str, ...] = get_args(Outside)
_NARROWEST = 1e-4  # standard deviations, or codes


class Policies(TypedDict):
    """The content of `encoding.json`."""

    missing: Missing
    outside: NotRequired[Outside]
    rare: NotRequired[Annotated[int, AtLeast(0)]]
    bin_edges: NotRequired[tuple[tuple[float, ...], ...]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoding:
    """The fitted encoding of a table. A run stores it, so that new rows are encoded like its training rows.

    Attributes:
      schema: schema with the columns.
      statistics: statistics of the training split.
      missing: policy for missing values. "refuse" raises; "mean" fills in the training mean or most frequent category;
        "iterative" imputes as MMCL does; "token" and "indicator" leave NaN, which the encoder replaces by a learned
        value, or by a zero and an indicator.
        Under "token", a category that is unknown is -1; under all other policies it is missing.
      outside: policy for numbers outside of the training range: "keep" them, "clip" them to the range, or treat them
        as "missing".
      imputer: the fitted imputer, for "iterative".
      rare: categories that fewer training rows have are unknown, in columns that are not ordinal; those that no
        training row has are in any case.
      bin_edges: edges of the quantile bins of each column of numbers, as they are encoded, over the training rows that
        have a value; () for other columns. () if no encoder asks for bins.
      input: name of the input, for messages.
    """

    schema: Schema
    statistics: Statistics
    missing: str
    outside: str = "keep"
    imputer: IterativeImputer | None = None
    rare: int = 0
    bin_edges: tuple[tuple[float, ...], ...] = ()
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
        rare: int = 0,
        bins: int = 0,
        input: str = "table",
    ) -> "Encoding":
        """Fit the encoding of raw training rows `[N, F]` float64 with NaN for missing.

        `bins` is the number of quantile bins of `bin_edges`, 0 for no edges. The other arguments are attributes.
        """
        encoding = cls(schema=schema, statistics=statistics, missing=missing, outside=outside, rare=rare, input=input)
        if missing != "iterative" and not bins:
            return encoding
        scaled = encoding._scaled(np.asarray(table))
        imputer = IterativeImputer.fit(scaled, input=input) if missing == "iterative" else None
        edges = tuple(
            _quantiles(values, bins) if bins and column.width == 1 else ()
            for column, values in zip(schema.columns, scaled.T, strict=True)
        )
        return dataclasses.replace(encoding, imputer=imputer, bin_edges=edges if bins else ())

    @property
    def unknown_values(self) -> tuple[float, ...]:
        """The value of an unknown category in each column: -1, or NaN for missing."""
        return tuple(-1.0 if self.missing == "token" and column.width > 1 else np.nan for column in self.schema.columns)

    @property
    def least_rows(self) -> tuple[int, ...]:
        """The number of training rows that a category must have to be known, by column."""
        return tuple(max(1, self.rare) if column.width > 1 else 1 for column in self.schema.columns)

    @property
    def unknown_counts(self) -> dict[str, int]:
        """The number of training rows whose category is rare, by column; columns without such rows are left out."""
        columns = zip(self.schema.columns, self.statistics.counts, self.least_rows, strict=True)
        counts = {column.name: sum(count for count in rows if count < least) for column, rows, least in columns}
        return {name: count for name, count in counts.items() if count}

    def encode(self, table: np.ndarray) -> np.ndarray:
        """Return raw rows `[N, F]` float64 encoded as float32 `[N, F]`: z-scores, and codes of categories.

        z-scores are of logarithms or normal quantiles if the column's `scaling` is "log" or "quantile". Ordinal columns
        are z-scores of their codes. A code below 0 stands for a category that the schema does not have.

        Raises:
          UserError: a value is missing and the policy is "refuse", or its z-score exceeds float32.
        """
        rows = self._scaled(np.asarray(table, np.float64))
        absent = np.isnan(rows)
        if self.missing == "refuse":
            self._refuse(absent.sum(axis=0))
        if self.missing == "mean":
            rows = np.where(absent, self._scaled_fill(), rows)
        if self.imputer is not None:
            rows = np.where(absent, self._valid(self.imputer.fill(rows)), rows)
        overflow = np.abs(rows) > np.finfo(np.float32).max
        if overflow.any():
            row, column = map(int, np.argwhere(overflow)[0])
            value, name = table[row][column], self.schema.columns[column].name
            check(
                False,
                f"Column {name!r} has the value {value:g}, too far from the training values to be encoded; correct it, "
                f"or treat it as missing with --config.inputs.{self.input}.outside=missing.",
            )
        return rows.astype(np.float32)

    def check(self, parts: Iterable[np.ndarray]) -> None:
        """Raise the `UserError` of `encode` if a part of a table, raw rows `[n, F]`, cannot be encoded."""
        lenient = dataclasses.replace(self, missing="indicator") if self.missing == "refuse" else self
        absent = np.zeros(len(self.schema.columns), np.int64)
        for part in parts:
            absent += np.isnan(lenient.encode(part)).sum(axis=0)
        if self.missing == "refuse":
            self._refuse(absent)

    def _refuse(self, absent: np.ndarray) -> None:
        """Raise `UserError` if the number of missing values `absent` `[F]` of a column is not 0."""
        if absent.any():
            column = int(absent.astype(bool).argmax())
            check(
                False,
                f"Column {self.schema.columns[column].name!r} has {int(absent[column])} missing values; choose a "
                f"policy for them with --config.inputs.{self.input}.missing={'|'.join(MISSING_POLICIES[1:])}, or leave "
                f"the column out with mmcl prepare --ignore.",
            )

    def _scaled(self, table: np.ndarray) -> np.ndarray:
        """Return z-scores, in the scale of their column, and codes; NaN for missing, -1 for unknown categories."""
        statistics = self.statistics
        unknown = statistics.unseen(table, self.schema, least=self.least_rows)
        table = np.where(unknown, self.unknown_values, table)
        if self.outside == "clip":
            numbers = np.array([not column.coded for column in self.schema.columns], bool)
            table = np.where(numbers, np.clip(table, statistics.low, statistics.high), table)
        elif self.outside == "missing":
            table = np.where(statistics.outside(table, self.schema), np.nan, table)
        for index, column in enumerate(self.schema.columns):
            if column.scaling != "standard":
                table[:, index] = self._rescaled(table[:, index], index)
        return (table - np.array(statistics.mean)) / np.array(statistics.std)

    def _rescaled(self, values: np.ndarray, index: int) -> np.ndarray:
        column = self.schema.columns[index]
        if column.scaling == "log" and (values <= 0).any():
            check(
                False,
                f"Column {column.name!r} has the value {np.nanmin(values):g}, which has no logarithm; train with "
                f"--config.inputs.{self.input}.outside=clip (which replaces it by the smallest training value) or "
                f'missing, or prepare the store with "scaling": "quantile".',
            )
        quantiles = np.array(self.statistics.quantiles[index] if self.statistics.quantiles else ())
        if column.scaling == "quantile" and len(quantiles) == 0:  # no training row has a value
            return np.where(np.isnan(values), np.nan, 0.0)
        return rescaled(values, column.scaling, quantiles)

    def _scaled_fill(self) -> np.ndarray:
        return (np.array(self.statistics.fill) - np.array(self.statistics.mean)) / np.array(self.statistics.std)

    def _valid(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows with every column of categories rounded to valid codes."""
        mean, std = np.array(self.statistics.mean), np.array(self.statistics.std)
        for index, column in enumerate(self.schema.columns):
            if column.categories:
                codes = np.rint(rows[:, index] * std[index] + mean[index])
                rows[:, index] = (np.clip(codes, 0, len(column.categories) - 1) - mean[index]) / std[index]
        return rows

    def write(self, directory: Path) -> None:
        """Write `schema.json`, `statistics.json`, `encoding.json` and, for "iterative", `imputer.npz`."""
        (directory / "schema.json").write_text(self.schema.to_json())
        (directory / "statistics.json").write_text(self.statistics.to_json())
        policies: dict[str, Any] = {"missing": self.missing, "outside": self.outside}
        policies |= {"rare": self.rare} if self.rare else {}
        policies |= {"bin_edges": self.bin_edges} if self.bin_edges else {}
        (directory / "encoding.json").write_text(to_json(policies, indent=2) + "\n")
        if self.imputer is not None:
            self.imputer.write(directory / "imputer.npz")

    @classmethod
    def read(cls, directory: Path) -> "Encoding":
        """Read the files that `write` wrote.

        Raises:
          UserError: a file is missing or damaged.
        """
        file = directory / "encoding.json"
        policies: Policies = read_json(file, Policies, BACK)
        schema = Schema.read(directory / "schema.json")
        statistics = Statistics.read(directory / "statistics.json")
        statistics.check_fit(schema, str(directory / "statistics.json"))
        width, edges = len(schema.columns), policies.get("bin_edges", ())
        check(len(edges) in (0, width), f"{file}: bin_edges are of {len(edges)} columns, not {width}; {BACK}.")
        rising = all(first < second for of_column in edges for first, second in itertools.pairwise(of_column))
        check(rising, f"{file}: bin_edges must ascend; {BACK}.")
        imputer = None
        if (path := directory / "imputer.npz").is_file():
            with reading(path, BACK):
                imputer = IterativeImputer.read(path)
            check(len(imputer.initial) == width, f"{path} is of {len(imputer.initial)} columns, not {width}; {BACK}.")
        check(
            (imputer is not None) == (policies["missing"] == "iterative"),
            f"{file}: missing is {policies['missing']!r}, and {path} {'exists' if imputer else 'is missing'}; {BACK}.",
        )
        return cls(schema=schema, statistics=statistics, imputer=imputer, **policies)


def _quantiles(values: np.ndarray, bins: int) -> tuple[float, ...]:
    """Return the edges of at most `bins` bins, which hold equally many of the values that are not NaN.

    Without values there are none. Of edges that are closer together than `_NARROWEST`, the first is used.
    """
    observed = values[~np.isnan(values)]
    edges = np.quantile(observed, np.linspace(0, 1, bins + 1)).astype(np.float32) if len(observed) else []
    kept: list[float] = []
    for edge in map(float, edges):
        if not kept or edge - kept[-1] > _NARROWEST:
            kept.append(edge)
    return tuple(kept)
