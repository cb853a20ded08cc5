"""Attention pooling behind an encoder."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .attention import SelfAttention
from .features import Features


class AttentionPool(nn.Module):
    """Multi-head attention whose only query is the mean of the local features."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        options = spec["pooling"]
        self.attention = SelfAttention(spec["local_features"], options["heads"], bias=True)
        self.mean = options["mean"]

    def forward(self, features: Features) -> Features:
        """Return the features with the attended vector as `pooled`."""
        local, attention = features.local, self.attention
        if local is None:
            raise ValueError("attention pooling needs local features")
        seen = local.new_ones(local.shape[:2], dtype=torch.bool) if features.mask is None else features.mask
        local = local * seen[..., None]
        count = seen.sum(1, keepdim=True).clamp(min=1) if self.mean == "mask" else local.shape[1]
        query = attention.query(local.sum(1) / count)[:, None]
        parts = (query, *attention.key_value(local).chunk(2, 2))
        query, key, value = (part.unflatten(2, (attention.heads, -1)).transpose(1, 2) for part in parts)
        # A row without local features attends to all, which are zeros, and its output is replaced.
        none = ~seen.any(1)
        mask = (seen | none[:, None])[:, None, None]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)[:, :, 0].flatten(1)
        return features._replace(pooled=attention.out(mixed.masked_fill(none[:, None], 0)))
