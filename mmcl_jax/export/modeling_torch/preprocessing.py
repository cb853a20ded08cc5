"""The preprocessing of a table, fitted on the training rows."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class TableRows(nn.Module):
    """The preprocessing of a table: raw rows [N, F] float64 (NaN for missing) to encoded rows [N, F] float32.

    A number is itself, a date its days since 1970-01-01, and a category its index among the column's categories, or -1
    for a category that is not among them.
    """

    def __init__(self, spec: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.columns, self.missing, self.outside = spec["columns"], spec["missing"], spec["outside"]
        self.scalings = [column["scaling"] for column in self.columns]
        self.categories = [len(column["categories"]) for column in self.columns]
        self.seen = [column["seen"] for column in self.columns]
        token = self.missing == "token"
        self.unknown = [-1.0 if token and column["width"] > 1 else torch.nan for column in self.columns]
        for key in ("mean", "std", "fill", "low", "high"):
            values = [column[key] for column in self.columns]
            self.register_buffer(key, torch.tensor(values, dtype=torch.float64), persistent=False)
        coded = torch.tensor([count > 0 for count in self.categories], dtype=torch.bool)
        self.register_buffer("coded", coded, persistent=False)
        for name, array in arrays.items():  # "quantiles.3", "imputer.target", ...
            self.register_buffer(name.replace(".", "_"), array, persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """Return z-scores of numbers and codes of categories; NaN stays where the encoder replaces it."""
        columns = []
        for index, values in enumerate(raw.double().unbind(1)):
            if self.categories[index]:
                unknown = values < 0
                for code, seen in enumerate(self.seen[index]):
                    unknown = unknown if seen else unknown | (values == code)
                values = torch.where(unknown, self.unknown[index], values)
            elif self.outside == "clip":
                values = torch.minimum(torch.maximum(values, self.low[index]), self.high[index])
            elif self.outside == "missing":
                outside = (values < self.low[index]) | (values > self.high[index])
                values = torch.where(outside, torch.nan, values)
            columns.append(self._rescaled(values, index))
        rows = (torch.stack(columns, 1) - self.mean) / self.std
        absent = torch.isnan(rows)
        if self.missing == "mean":
            rows = torch.where(absent, (self.fill - self.mean) / self.std, rows)
        if self.missing == "iterative":
            rows = torch.where(absent, self._imputed(rows, absent), rows)
        return rows.float()

    def _rescaled(self, values: Tensor, index: int) -> Tensor:
        if self.scalings[index] == "log":
            return torch.log(values)
        if self.scalings[index] != "quantile":
            return values
        quantiles = getattr(self, f"quantiles_{index}", None)
        if quantiles is None:  # no training row had a value
            return torch.where(torch.isnan(values), values, 0.0)
        ranks = torch.linspace(0, 1, len(quantiles), dtype=torch.float64, device=values.device)
        upper = _interpolated(values, quantiles, ranks)
        lower = -_interpolated(-values, -quantiles.flip(0), -ranks.flip(0))
        rank = torch.where(torch.isnan(values), values, (upper + lower) / 2)
        return torch.special.ndtri(rank.clamp(1e-7, 1 - 1e-7))

    def _imputed(self, rows: Tensor, absent: Tensor) -> Tensor:
        rows = torch.where(absent, self.imputer_initial, rows)
        regressions = (self.imputer_target, self.imputer_coefficients, self.imputer_intercept)
        for target, weights, shift in zip(*regressions, strict=True):
            here = torch.arange(rows.shape[1], device=rows.device) == target
            rows = torch.where(here & absent, (rows * weights).sum(1, keepdim=True) + shift, rows)
        counts = torch.tensor(self.categories, device=rows.device)
        codes = (rows * self.std + self.mean).round().clamp(min=0).minimum((counts - 1).clamp(min=0))
        return torch.where(self.coded, (codes - self.mean) / self.std, rows)


def _interpolated(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Return what `numpy.interp` returns: of equal `xs`, the last counts."""
    if len(xs) == 1:
        return torch.zeros_like(x) + ys[0]
    left = (torch.searchsorted(xs, x.contiguous(), right=True) - 1).clamp(0, len(xs) - 2)
    slope = (ys[left + 1] - ys[left]) / (xs[left + 1] - xs[left])
    between = slope * (x - xs[left]) + ys[left]
    return torch.where(x < xs[0], ys[0], torch.where(x >= xs[-1], ys[-1], between))
