"""Encoders of tables, vectors and texts."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .features import Features


class TableInput(nn.Module):
    """One-hot rows, in which the policies "token" and "indicator" replace missing values (NaN)."""

    def __init__(self, widths: Sequence[int], missing: str) -> None:
        super().__init__()
        self.missing, self.replaces = missing, missing in ("token", "indicator")
        numbers = [index for index, width in enumerate(widths) if width == 1]
        sizes = [width + (width > 1 and self.replaces) for width in widths]
        self.size = sum(sizes) + (len(numbers) if missing == "indicator" else 0)
        if missing == "token":
            self.token = nn.Parameter(torch.zeros(len(numbers)))

        def constant(name: str, values: Sequence[float], dtype: torch.dtype) -> None:
            self.register_buffer(name, torch.tensor(list(values), dtype=dtype), persistent=False)

        constant("numbers", numbers, torch.long)
        constant("category", [width > 1 for width in widths], torch.bool)
        constant("filled", [0.0 if width == 1 else width for width in widths], torch.float32)
        constant("column", [index for index, size in enumerate(sizes) for _ in range(size)], torch.long)
        constant("code", [code for size in sizes for code in range(size)], torch.float32)
        constant(
            "number", [width == 1 for width, size in zip(widths, sizes, strict=True) for _ in range(size)], torch.bool
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Return one-hot rows [N, E] of encoded rows [N, F]."""
        absent = torch.isnan(rows) | (self.category & (rows < 0))
        if self.replaces:
            filled = self.filled
            if self.missing == "token":
                filled = filled.index_copy(0, self.numbers, self.token)
            rows = torch.where(absent, filled, rows)
        spread = rows[:, self.column]
        coded = torch.where(self.number, spread, (spread == self.code).to(rows.dtype))
        if self.missing == "indicator":
            return torch.cat([coded, absent[:, self.numbers].to(rows.dtype)], 1)
        return coded


class MLP(nn.Module):
    """A multilayer perceptron, of a table with one-hot coding before it."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        self.input = TableInput(spec["widths"], spec["missing"]) if spec["kind"] == "table" else None
        options, inputs = spec["options"], spec["shape"][-1] if self.input is None else self.input.size
        sizes = [inputs, *[options["hidden"]] * (options["layers"] - 1), options["features"]]
        self.layers = nn.ModuleList([nn.Linear(i, o) for i, o in itertools.pairwise(sizes)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(size, epsilon) for size in sizes[1:-1]])

    def forward(self, x: Tensor) -> Features:
        """Return the features of encoded rows [N, F] of a table, or of vectors [N, F]."""
        x = x if self.input is None else self.input(x)
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            x = torch.relu(norm(layer(x)))
        return Features(self.layers[-1](x))


class GeneticsMLP(nn.Module):
    """Any number of times (linear, ReLU, norm)."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        sizes = [spec["shape"][-1], *[spec["options"]["hidden"]] * spec["options"]["layers"]]
        self.layers = nn.ModuleList([nn.Linear(i, o) for i, o in itertools.pairwise(sizes)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(size, epsilon) for size in sizes[1:]])

    def forward(self, x: Tensor) -> Features:
        """Return the features of vectors [N, F]."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(torch.relu(layer(x)))
        return Features(x)


class TextEmbedding(nn.Module):
    """An embedding of every token; the pooled feature is the mean over the tokens."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        vocabulary = spec["options"]["vocabulary"] or spec["widths"][0]
        self.table = nn.Parameter(torch.zeros(vocabulary, spec["options"]["features"]))

    def forward(self, view: Tensor) -> Features:
        """Return the features of texts [N, T, 2]: token and sentence, -1 after the end."""
        tokens = view[..., 0].long()
        mask = tokens >= 0
        local = self.table[tokens.clamp(min=0)] * mask[..., None]
        return Features(local.sum(1) / mask.sum(1, keepdim=True).clamp(min=1), local, mask)
