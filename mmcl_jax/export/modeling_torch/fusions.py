"""Encoders of the features of other encoders."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .features import Features


class ConcatMLP(nn.Module):
    """A perceptron on the concatenated parts; local features enter by their mean."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        options = spec["options"]
        sizes = [sum(spec["parts"]), *[options["hidden"]] * (options["layers"] - 1), options["features"]]
        self.layers = nn.ModuleList([nn.Linear(i, o) for i, o in itertools.pairwise(sizes)])

    def forward(self, parts: Sequence[tuple[Tensor, Tensor]]) -> Features:
        """Return the features of parts: tokens [N, L, C] with their masks [N, L]."""
        x = torch.cat([tokens.sum(1) / mask.sum(1, keepdim=True).clamp(min=1) for tokens, mask in parts], 1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return Features(self.layers[-1](x))


class Attention(nn.Module):
    """Multi-head attention of queries to a context that may be masked."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out, self.heads = nn.Linear(width, width), heads

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Attend from each query to the tokens in `mask`; without any token, return `out` of zeros."""

        def split(values: Tensor) -> Tensor:  # [N, heads, tokens, width of a head]
            return values.unflatten(2, (self.heads, -1)).transpose(1, 2)

        query, (key, value) = split(self.query(x)), map(split, self.key_value(context).chunk(2, 2))
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        shown = mask[:, None, None]
        scores = scores.masked_fill(~(shown | ~shown.any(-1, keepdim=True)), float("-inf"))
        mixed = (scores.softmax(-1) * shown) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))


class AttentionBlock(nn.Module):
    """Self-attention, cross-attention and a perceptron, each with a norm before it and a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width, 1e-6) for _ in range(3)])
        self.own, self.cross = Attention(width, heads), Attention(width, heads)
        self.hidden, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """Return the tokens after the block."""
        y = self.norms[0](x)
        x = x + self.own(y, y, mask)
        x = x + self.cross(self.norms[1](x), context, context_mask)
        return x + self.out(functional.gelu(self.hidden(self.norms[2](x))))


class CrossAttention(nn.Module):
    """Blocks of attention whose queries are the tokens of the last part."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        width, heads = spec["options"]["width"], spec["options"]["heads"]
        self.inputs = nn.ModuleList([nn.Linear(channels, width) for channels in spec["parts"]])
        self.norms = nn.ModuleList([nn.LayerNorm(width, 1e-6) for _ in spec["parts"]])
        self.blocks = nn.ModuleList([AttentionBlock(width, heads) for _ in range(spec["options"]["blocks"])])
        self.pool = spec["options"]["pool"]

    def forward(self, parts: Sequence[tuple[Tensor, Tensor]]) -> Features:
        """Return the tokens of the last part as local features, and their mean or the first as the pooled feature."""
        tokens = [norm(layer(part)) for (part, _), layer, norm in zip(parts, self.inputs, self.norms, strict=True)]
        x, mask = tokens[-1], parts[-1][1]
        context, context_mask = torch.cat(tokens[:-1], 1), torch.cat([mask for _, mask in parts[:-1]], 1)
        for block in self.blocks:
            x = block(x, mask, context, context_mask)
        x = x * mask[..., None]
        mean = x.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return Features(mean if self.pool == "mean" else x[:, 0], x, mask)
