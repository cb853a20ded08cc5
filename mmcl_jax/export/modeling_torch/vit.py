"""Vision Transformers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .attention import TransformerBlock
from .features import Features

EPSILON = 1e-6  # of layer normalisation


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
        self.blocks = nn.ModuleList(
            [TransformerBlock(width, heads, epsilon=EPSILON, qkv_bias=True) for _ in range(depth)]
        )
        self.norm = nn.LayerNorm(width, EPSILON)

    def forward(self, x: Tensor) -> Features:
        """Return the features of images [N, C, H, W]: `pooled` is the class token, `local` are those of the patches."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.positions
        for block in self.blocks:
            entering, x = x, block(x)
        x = self.norm(x)
        maps = tuple(tokens[:, 1:].transpose(1, 2).unflatten(2, self.grid) for tokens in (entering, x))
        return Features(x[:, 0], x[:, 1:], None, maps, self.grid)
