"""Vision Transformers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .features import Features

EPSILON = 1e-6  # of layer normalisation


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to one another."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out, self.heads = nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for tokens [N, T, D]."""
        parts = (self.query(x), *self.key_value(x).chunk(2, 2))
        split = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.out(functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Self-attention and a perceptron, each with a norm before it and a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.attention = SelfAttention(width, heads)
        self.hidden, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after the block."""
        x = x + self.attention(self.norm1(x))
        return x + self.out(functional.gelu(self.hidden(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Blocks of self-attention over a class token and the patches of an image; it has no dropout."""

    def __init__(self, spec: Mapping[str, Any], *, width: int, depth: int, heads: int) -> None:
        super().__init__()
        height, breadth, channels = spec["shape"]
        patch = spec["options"]["patch"]
        if patch is None:  # the largest power of two, at most 16, that fits eight times into the shorter side
            patch = min(16, 1 << max((min(height, breadth) // 8).bit_length() - 1, 0))
        self.grid = (height // patch, breadth // patch)
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, EPSILON)

    def forward(self, x: Tensor) -> Features:
        """Return the features of images [N, C, H, W]: `pooled` is the class token, `local` are those of the patches."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.positions
        for block in self.blocks:
            entering, x = x, block(x)
        x = self.norm(x)
        maps = tuple(tokens[:, 1:].transpose(1, 2).unflatten(2, self.grid) for tokens in (entering, x))
        return Features(x[:, 0], x[:, 1:], None, maps)
