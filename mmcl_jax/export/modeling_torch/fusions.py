"""Encoders of the features of other encoders."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .features import Features

Part = tuple[Tensor, Tensor]  # tokens [N, L, C], 0 where the mask [N, L] is false


def mean(part: Part) -> Tensor:
    """Return the mean of the tokens that exist, [N, C]; 0 for a row without tokens."""
    tokens, mask = part
    return tokens.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def exists(part: Part) -> Tensor:
    """Return the rows that have a token, [N, 1]."""
    return part[1].any(1, keepdim=True)


def conditioned(part: Part, absent: Tensor, change: Callable[[Tensor], Tensor]) -> Features:
    """Return the changed tokens and their mean; for a row without tokens, the change of the vector `absent`."""
    tokens = change(part[0]) * part[1][..., None]
    instead = change(absent.expand(len(tokens), 1, -1))[:, 0]
    return Features(torch.where(exists(part), mean((tokens, part[1])), instead), tokens, part[1])


class Maximum(nn.Module):
    """The elementwise maximum of the parts that exist."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        parts, features = spec["parts"], spec["options"]["features"]
        projected = parts[:-1] if parts[-1] == features else parts
        self.inputs = nn.ModuleList([nn.Linear(channels, features) for channels in projected])

    def forward(self, parts: Sequence[Part]) -> Features:
        """Return the features of parts."""
        means = [mean(part) for part in parts]
        for index, layer in enumerate(self.inputs):
            means[index] = layer(means[index])
        lowest = torch.stack([torch.where(exists(part), x, -torch.inf) for part, x in zip(parts, means, strict=True)])
        greatest = lowest.amax(0)
        return Features(torch.where(greatest == -torch.inf, 0.0, greatest))


class Product(nn.Module):
    """The tokens of the first part, times a factor per channel from every other part."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        first, *others = spec["parts"]
        self.factors = nn.ModuleList([nn.Linear(channels, first) for channels in others])
        self.absent = nn.Parameter(torch.ones(first))

    def forward(self, parts: Sequence[Part]) -> Features:
        """Return the scaled tokens, and their mean."""
        scale = torch.ones_like(mean(parts[0]))
        for part, layer in zip(parts[1:], self.factors, strict=True):
            scale = scale * torch.where(exists(part), torch.relu(layer(mean(part))), 1.0)
        return conditioned(parts[0], self.absent, lambda tokens: tokens * scale[:, None])


class DAFT(nn.Module):
    """The tokens of the first part, scaled and shifted by what all parts say, with a residual connection and ReLU."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        parts = spec["parts"]
        hidden = sum(parts) // spec["options"]["reduction"]
        self.squeeze, self.scale_shift = nn.Linear(sum(parts), hidden), nn.Linear(hidden, 2 * parts[0])
        self.absent = nn.Parameter(torch.zeros(parts[0]))

    def forward(self, parts: Sequence[Part]) -> Features:
        """Return the transformed tokens, and their mean."""
        first = torch.where(exists(parts[0]), mean(parts[0]), self.absent)
        every = torch.cat([first, *(mean(part) for part in parts[1:])], 1)
        scale, shift = self.scale_shift(torch.relu(self.squeeze(every)))[:, None].chunk(2, 2)
        return conditioned(parts[0], self.absent, lambda tokens: torch.relu(tokens + tokens * scale + shift))


class ConcatMLP(nn.Module):
    """A perceptron on the concatenated parts; local features enter by their mean."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        options = spec["options"]
        sizes = [sum(spec["parts"]), *[options["hidden"]] * (options["layers"] - 1), options["features"]]
        self.layers = nn.ModuleList([nn.Linear(i, o) for i, o in itertools.pairwise(sizes)])

    def forward(self, parts: Sequence[Part]) -> Features:
        """Return the features of parts: tokens [N, L, C] with their masks [N, L]."""
        x = torch.cat([mean(part) for part in parts], 1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return Features(self.layers[-1](x))


EPSILON = {True: 1e-5, False: 1e-6}  # of layer normalisation, in TIP's form or not


class Attention(nn.Module):
    """Multi-head attention of queries to a context that may be masked."""

    def __init__(self, width: int, heads: int, *, query_bias: bool = True, key_value_bias: bool = True) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=query_bias)
        self.key_value = nn.Linear(width, 2 * width, bias=key_value_bias)
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

    def __init__(self, width: int, heads: int, *, tip: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width, EPSILON[tip]) for _ in range(3)])
        self.own = Attention(width, heads, query_bias=not tip, key_value_bias=not tip)
        self.cross = Attention(width, heads, key_value_bias=not tip)
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
        parts, options = spec["parts"], spec["options"]
        width, heads, tip = options["width"], options["heads"], options["form"] == "tip"
        projected = parts[:-1] if tip and parts[-1] == width else parts
        self.inputs = nn.ModuleList([nn.Linear(channels, width) for channels in projected])
        self.norms = nn.ModuleList([nn.LayerNorm(width, EPSILON[tip]) for _ in (parts[:-1] if tip else parts)])
        self.blocks = nn.ModuleList([AttentionBlock(width, heads, tip=tip) for _ in range(options["blocks"])])
        self.norm = nn.LayerNorm(width, EPSILON[tip]) if tip else nn.Identity()
        self.pool = options["pool"]

    def forward(self, parts: Sequence[Part]) -> Features:
        """Return the tokens of the last part as local features, and their mean or the first as the pooled feature."""
        tokens = [part for part, _ in parts]
        for layers in (self.inputs, self.norms):
            for index, layer in enumerate(layers):
                tokens[index] = layer(tokens[index])
        x, mask = tokens[-1], parts[-1][1]
        context, context_mask = torch.cat(tokens[:-1], 1), torch.cat([mask for _, mask in parts[:-1]], 1)
        for block in self.blocks:
            x = block(x, mask, context, context_mask)
        x = self.norm(x) * mask[..., None]
        return Features(mean((x, mask)) if self.pool == "mean" else x[:, 0], x, mask)
