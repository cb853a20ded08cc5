"""The residual network of 1-D convolutions over the columns of a table."""

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .features import Features
from .images import Stage
from .rows import TableInput


def column_order(columns: int, seed: int | None) -> list[int]:
    """Return the stored index of the column at each position; the order of the store if the seed is None."""
    if seed is None:
        return list(range(columns))
    return sorted(range(columns), key=lambda column: hashlib.sha256(f"{seed}:{column}".encode()).digest())


class ColumnEmbedding(nn.Module):
    """A token [C] for every column: the vector of its value plus the bias of the column."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        widths, options = spec["widths"], spec["options"]
        self.replaces, self.channels = spec["missing"] in ("token", "indicator"), options["channels"]
        starts = list(itertools.accumulate((width + self.replaces for width in widths), initial=0))
        self.vectors = nn.Parameter(torch.zeros(starts[-1], self.channels))
        self.bias = nn.Parameter(torch.zeros(len(widths), self.channels))
        self.register_buffer("widths", torch.tensor(widths), persistent=False)
        self.register_buffer("starts", torch.tensor(starts[:-1]), persistent=False)
        self.register_buffer("order", torch.tensor(column_order(len(widths), options["order"])), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Return tokens [N, C, F] of encoded rows [N, F]."""
        absent = torch.isnan(rows) & self.replaces
        number, known = self.widths == 1, (rows >= 0) & (rows < self.widths)
        code = torch.where(known & ~number, rows, 0).long()
        code = torch.where(absent, self.widths, code) + self.starts
        factor = torch.where(absent, 1.0, torch.where(number, rows, known.to(rows.dtype)))
        tokens = self.vectors[code] * factor[..., None] + self.bias
        return tokens[:, self.order].transpose(1, 2)


class OneChannel(nn.Module):
    """The one-hot coding of a row, column by column, as a sequence of one channel."""

    channels = 1

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.input = TableInput(spec["widths"], spec["missing"])
        position = torch.argsort(torch.tensor(column_order(len(spec["widths"]), spec["options"]["order"])))
        columns = self.input.column
        if spec["missing"] == "indicator":
            columns = torch.cat([columns, self.input.numbers])
        self.register_buffer("order", torch.argsort(position[columns], stable=True), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the coding [N, 1, E] of encoded rows [N, F]."""
        return self.input(rows)[:, None, self.order]


class Attention(nn.Module):
    """Convolutional block attention: first which channels matter, then which positions."""

    def __init__(self, channels: int, reduction: int, kernel: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.channels = nn.ModuleDict({"hidden": nn.Linear(channels, hidden), "out": nn.Linear(hidden, channels)})
        self.positions = nn.ModuleDict({"conv": nn.Conv1d(2, 1, kernel, padding=kernel // 2, bias=False)})

    def forward(self, x: Tensor) -> Tensor:
        """Return the sequence [N, C, L], weighted."""
        pooled = torch.stack([x.mean(2), x.max(2).values], 1)
        weight = self.channels["out"](torch.relu(self.channels["hidden"](pooled))).sum(1)
        x = x * torch.sigmoid(weight)[..., None]
        return x * torch.sigmoid(self.positions["conv"](torch.stack([x.mean(1), x.max(1).values], 1)))


class Shortcut(nn.Module):
    """A convolution of kernel 1 and a norm."""

    def __init__(self, inputs: int, outputs: int, stride: int, epsilon: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, 1, stride, bias=False)
        self.norm = nn.BatchNorm1d(outputs, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shortcut of a sequence."""
        return self.norm(self.conv(x))


class Block(nn.Module):
    """Two convolutions with norms, attention, and a residual connection."""

    def __init__(self, inputs: int, width: int, stride: int, epsilon: float, options: Mapping[str, Any]) -> None:
        super().__init__()
        kernel = options["kernel"]
        self.conv1 = nn.Conv1d(inputs, width, kernel, stride, kernel // 2, bias=False)
        self.norm1 = nn.BatchNorm1d(width, epsilon)
        self.conv2 = nn.Conv1d(width, width, kernel, 1, kernel // 2, bias=False)
        self.norm2 = nn.BatchNorm1d(width, epsilon)
        self.attention = Attention(width, options["reduction"], options["spatial_kernel"])
        changes = inputs != width or stride != 1
        self.shortcut = Shortcut(inputs, width, stride, epsilon) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the next sequence."""
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.attention(self.norm2(self.conv2(y)))
        return torch.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet1D(nn.Module):
    """A residual network over the sequence of a row, with attention in each block."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        options = spec["options"]
        self.input = ColumnEmbedding(spec) if options["row"] == "embedding" else OneChannel(spec)
        channels, kernel = options["channels"], options["kernel"]
        self.conv = nn.Conv1d(self.input.channels, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(channels, epsilon)
        stages, inputs = [], channels
        for stage, depth in enumerate(options["depths"]):
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Block(inputs, channels << stage, stride, epsilon, options))
                inputs = channels << stage
            stages.append(Stage(blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, rows: Tensor) -> Features:
        """Return the features of encoded rows [N, F]."""
        x = torch.relu(self.norm(self.conv(self.input(rows))))
        for stage in self.stages:
            x = stage(x)
        return Features(x.mean(2), x.transpose(1, 2))
