"""BERT, with a vector of every sentence."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .features import Features

EPSILON = 1e-12  # of layer normalisation


class Block(nn.Module):
    """Self-attention and a perceptron, each with a residual connection and a norm behind that."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.hidden, self.out, self.heads = nn.Linear(width, hidden), nn.Linear(hidden, width), heads

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the tokens [N, T, D] after the block; `seen` [N, T] says which tokens others attend to."""
        parts = (self.query(x), self.key(x), self.value(x))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
        x = self.norm1(x + self.mixed(mixed.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.out(functional.gelu(self.hidden(x))))


class Bert(nn.Module):
    """A transformer over the tokens of a text; it has no dropout."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        options = spec["options"]
        width, hidden = options["width"], options["hidden"]
        vocabulary = options["vocabulary"] or spec["widths"][0]
        self.tokens = nn.Parameter(torch.zeros(vocabulary, width))
        self.positions = nn.Parameter(torch.zeros(options["positions"], width))
        self.types = nn.Parameter(torch.zeros(2, width))
        self.norm = nn.LayerNorm(width, EPSILON)
        self.blocks = nn.ModuleList(
            [Block(width, options["heads"], 4 * width if hidden is None else hidden) for _ in range(options["layers"])]
        )
        self.sentences = options["sentences"]

    def forward(self, view: Tensor) -> Features:
        """Return the features of texts [N, T, 2]: token and sentence, both -1 after the end.

        `pooled` is the maximum over the tokens of all sentences, and `local` those of sentences; special tokens, whose
        sentence is -1, are in none.
        """
        tokens, sentences = view[..., 0].long(), view[..., 1].long()
        mask = tokens >= 0
        x = self.tokens[tokens.clamp(min=0)] * mask[..., None]
        x = self.norm(x + self.positions[: x.shape[1]] + self.types[0])
        seen = mask | ~mask.any(1, keepdim=True)  # finite without any token
        for block in self.blocks:
            x = block(x, seen)
        counted = mask & (sentences >= 0)
        within = counted[:, None] & (sentences[:, None] == torch.arange(self.sentences, device=view.device)[:, None])
        local = torch.stack([_greatest(x, one) for one in within.unbind(1)], 1)
        return Features(_greatest(x, counted), local, within.any(2))


def _greatest(x: Tensor, within: Tensor) -> Tensor:
    """Return the maximum [N, D] over the tokens of a mask [N, T], zeros without any."""
    greatest = x.masked_fill(~within[..., None], -torch.inf).amax(1)
    return torch.where(within.any(1, keepdim=True), greatest, 0)
