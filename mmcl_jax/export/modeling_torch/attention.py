"""The attention of tokens to one another, and the block of transformers."""

from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to one another; `bias` says whether queries, keys and values have biases."""

    def __init__(self, width: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.query, self.key_value = (nn.Linear(width, size, bias=bias) for size in (width, 2 * width))
        self.out, self.heads = nn.Linear(width, width), heads

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Return the output for tokens [N, T, D]; `seen` [N, T, T] says which tokens each attends to, None for all."""
        parts = (self.query(x), *self.key_value(x).chunk(2, 2))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        mask = None if seen is None else seen[:, None]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Self-attention and a perceptron, each with a norm before it and a residual connection."""

    def __init__(self, width: int, heads: int, *, epsilon: float, qkv_bias: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)
        self.attention = SelfAttention(width, heads, bias=qkv_bias)
        self.hidden, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Return the tokens after the block."""
        x = x + self.attention(self.norm1(x), seen)
        return x + self.out(functional.gelu(self.hidden(self.norm2(x))))
