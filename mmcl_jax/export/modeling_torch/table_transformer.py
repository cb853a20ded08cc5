"""The table transformer."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .attention import TransformerBlock
from .features import Features

EPSILON = 1e-5  # of layer normalisation


class Linear(nn.Module):
    """One linear layer of one number, which all columns share."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(1, width)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return a vector per number: [N, F, D] of [N, F]."""
        return self.layer(numbers[..., None])


class PerColumn(nn.Module):
    """A linear layer per column."""

    def __init__(self, columns: int, inputs: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(columns, inputs, width))
        self.bias = nn.Parameter(torch.zeros(columns, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors [N, F, D] of encodings [N, F, K]."""
        return torch.einsum("bfk,fkd->bfd", x, self.weight) + self.bias


class Piecewise(nn.Module):
    """The piecewise linear encoding over bins, and a linear layer per column."""

    def __init__(self, edges: Sequence[Sequence[float]], bins: int, width: int) -> None:
        super().__init__()
        low, size, least, most = (torch.zeros(len(edges), bins) for _ in range(4))
        size += 1
        for column, ends in enumerate(map(torch.tensor, edges)):
            count = max(0, len(ends) - 1)
            if count:
                low[column, :count], size[column, :count] = ends[:-1], ends.diff()
                most[column, :count] = 1
                least[column, 0], most[column, count - 1] = -torch.inf, torch.inf
        for name, values in {"low": low, "size": size, "least": least, "most": most}.items():
            self.register_buffer(name, values, persistent=False)
        self.layer = PerColumn(len(edges), bins, width)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return a vector per number: [N, F, D] of [N, F]."""
        x = (numbers[..., None] - self.low) / self.size
        return self.layer(torch.minimum(torch.maximum(x, self.least), self.most))


class Periodic(nn.Module):
    """Sines and cosines with trained frequencies, a linear layer per column, and ReLU."""

    def __init__(self, columns: int, frequencies: int, width: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.zeros(columns, frequencies))
        self.layer = PerColumn(columns, 2 * frequencies, width)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return a vector per number: [N, F, D] of [N, F]."""
        phase = 2 * torch.pi * self.frequencies * numbers[..., None]
        return torch.relu(self.layer(torch.cat([phase.sin(), phase.cos()], 2)))


class TableTransformer(nn.Module):
    """A class token and a token per column, which attend to one another."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        widths, options = spec["widths"], spec["options"]
        width = options["width"]
        numeric = [column for column, size in enumerate(widths) if size == 1]
        categorical = [column for column, size in enumerate(widths) if size > 1]
        sizes = [widths[column] for column in categorical]

        def constant(name: str, values: Sequence[int]) -> None:
            self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)

        constant("numeric", numeric)
        constant("categorical", categorical)
        constant("sizes", sizes)
        constant("offsets", list(itertools.accumulate(sizes, initial=0))[:-1])
        both = [*numeric, *categorical]
        constant("order", sorted(range(len(both)), key=both.__getitem__))
        if categorical:
            self.categories = nn.Parameter(torch.zeros(sum(sizes), width))
            self.unknown = nn.Parameter(torch.zeros(len(sizes), width))
        if numeric:
            self.numbers = self._numbers(spec, numeric)
        self.class_token, self.missing_token = (nn.Parameter(torch.zeros(width)) for _ in range(2))
        self.columns = nn.Parameter(torch.zeros(len(widths) + 1, width))
        self.norm = nn.LayerNorm(width, EPSILON)
        self.blocks = nn.ModuleList(
            [
                TransformerBlock(width, options["heads"], epsilon=EPSILON, qkv_bias=False)
                for _ in range(options["blocks"])
            ]
        )

    def _numbers(self, spec: Mapping[str, Any], numeric: Sequence[int]) -> nn.Module:
        options, width = spec["options"], spec["options"]["width"]
        if options["numbers"] == "piecewise":
            return Piecewise([spec["bin_edges"][column] for column in numeric], options["bins"], width)
        if options["numbers"] == "periodic":
            return Periodic(len(numeric), options["frequencies"], width)
        return Linear(width)

    def forward(self, rows: Tensor) -> Features:
        """Return the features of encoded rows [N, F]; NaN is a missing cell, and -1 an unknown category."""
        missing, filled = rows.isnan(), rows.nan_to_num()
        parts = []
        if len(self.numeric):
            parts.append(self.numbers(filled[:, self.numeric]))
        if len(self.categorical):
            codes = filled[:, self.categorical]
            known = (codes >= 0) & (codes < self.sizes)
            vectors = self.categories[torch.where(known, codes, 0).long() + self.offsets]
            parts.append(torch.where(known[..., None], vectors, self.unknown))
        cells = torch.where(missing[..., None], self.missing_token, torch.cat(parts, 1)[:, self.order])
        tokens = torch.cat([self.class_token.expand(len(rows), 1, -1), cells], 1)
        x = self.norm(tokens + self.columns)
        seen = functional.pad(~missing, (1, 0), value=True)[:, None]
        seen = seen | torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        for block in self.blocks:
            x = block(x, seen)
        return Features(x[:, 0], x)
