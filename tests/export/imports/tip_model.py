"""TIP's model in PyTorch, with the names of its state dict, and random weights."""

from typing import Any

import torch
from torch import Tensor, nn

from tests.encoders.weights import torchvision
from tests.export.imports.lightning import Head


def scaled(query: Tensor, key: Tensor, value: Tensor, heads: int, seen: Tensor | None = None) -> Tensor:
    """Attention of heads side by side, by PyTorch's own function."""
    query, key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    mixed = nn.functional.scaled_dot_product_attention(query, key, value, None if seen is None else seen[:, None])
    return mixed.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv, self.proj, self.heads = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width), heads

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        return self.proj(scaled(*self.qkv(x).chunk(3, 2), self.heads, seen))


class Cross(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.kv_proj, self.q_proj = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, width)
        self.proj, self.heads = nn.Linear(width, width), heads

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.proj(scaled(self.q_proj(x), *self.kv_proj(context).chunk(2, 2), self.heads))


class Perceptron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, *, cross: bool) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width)
        self.mlp = Perceptron(width)
        if cross:
            self.cross_attn, self.cross_norm = Cross(width, heads), nn.LayerNorm(width)

    def forward(self, x: Tensor, seen: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        x = x + self.attn(self.norm1(x), seen)
        if context is not None:
            x = x + self.cross_attn(self.cross_norm(x), context)
        return x + self.mlp(self.norm2(x))


class Table(nn.Module):
    """Rows with the categorical columns first."""

    def __init__(self, categories: list[int], numbers: int, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.count = len(categories)
        self.offsets = torch.tensor([0, *categories[:-1]]).cumsum(0)
        self.cat_embedding, self.con_proj = nn.Embedding(sum(categories), width), nn.Linear(1, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_special_token = nn.Parameter(torch.zeros(1, 1, width))
        self.column_embedding = nn.Embedding(self.count + numbers + 1, width)
        self.norm = nn.LayerNorm(width)
        self.transformer_blocks = nn.ModuleList([Block(width, heads, cross=False) for _ in range(blocks)])

    def forward(self, rows: Tensor) -> Tensor:
        missing, rows = rows.isnan(), rows.nan_to_num()
        categories = self.cat_embedding(rows[:, : self.count].long() + self.offsets)
        cells = torch.cat([categories, self.con_proj(rows[:, self.count :, None])], 1)
        cells = torch.where(missing[..., None], self.mask_special_token, cells)
        tokens = torch.cat([self.cls_token.expand(len(rows), -1, -1), cells], 1)
        x = self.norm(tokens + self.column_embedding.weight)
        keys = nn.functional.pad(~missing, (1, 0), value=True)
        seen = keys[:, None] | torch.eye(keys.shape[1], dtype=torch.bool)
        for block in self.transformer_blocks:
            x = block(x, seen)
        return x


class Interaction(nn.Module):
    def __init__(self, channels: int, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.image_proj, self.image_norm = nn.Linear(channels, width), nn.LayerNorm(width)
        self.transformer_blocks = nn.ModuleList([Block(width, heads, cross=True) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)

    def forward(self, table: Tensor, image: Tensor) -> Tensor:
        context = self.image_norm(self.image_proj(image.flatten(2).transpose(1, 2)))
        for block in self.transformer_blocks:
            table = block(table, None, context)
        return self.norm(table)


class Predictor(nn.Module):
    def __init__(self, width: int, categories: int) -> None:
        super().__init__()
        self.cat_classifier, self.con_regressor = nn.Linear(width, categories), nn.Linear(width, 1)


class TIP(nn.Module):
    """The model that TIP pretrains; weights are large enough that every tensor has an effect."""

    def __init__(
        self, categories: list[int], numbers: int, *, base: int, width: int, heads: int, blocks: int, out: int
    ) -> None:
        super().__init__()
        self.encoder_imaging = torchvision.drawn("resnet18", base)
        self.projector_imaging, self.projector_tabular = Head(8 * base, width, out), Head(width, width, out)
        self.encoder_tabular = Table(categories, numbers, width, heads, blocks)
        self.encoder_multimodal = Interaction(8 * base, width, heads, blocks)
        self.predictor_tabular = Predictor(width, sum(categories))
        self.itm_head = nn.Linear(width, 2)
        for name, parameter in self.named_parameters():
            if not name.startswith("encoder_imaging."):
                nn.init.normal_(parameter, std=0.3)

    def forward(self, images: Tensor, rows: Tensor) -> dict[str, Any]:
        """Everything that the code computes of images `[N, 3, H, W]` and rows."""
        maps, table = self.encoder_imaging(images)[-1], self.encoder_tabular(rows)
        fused = self.encoder_multimodal(table, maps)
        return {
            "image": maps.mean((2, 3)),
            "table": table,
            "fused": fused,
            "image projected": self.projector_imaging(maps.mean((2, 3))),
            "table projected": self.projector_tabular(table[:, 0]),
            "matched": self.itm_head(fused[:, 0]),
            "numbers": self.predictor_tabular.con_regressor(fused[:, 1 + self.encoder_tabular.count :]),
            "categories": self.predictor_tabular.cat_classifier(fused[:, 1 : 1 + self.encoder_tabular.count]),
        }
