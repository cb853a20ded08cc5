"""All encoders of an export, with the preprocessing before them and the projectors and head behind them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from .bert import Bert
from .features import Features
from .fusions import DAFT, ConcatMLP, CrossAttention, Maximum, Product
from .images import CNN, DCGAN, ResNet
from .layers import PROJECTORS, Head
from .pooling import AttentionPool
from .preprocessing import TableRows
from .rows import MLP, GeneticsMLP, TextEmbedding
from .scans import Scan
from .sequences import ResNet1D
from .table_transformer import TableTransformer
from .texts import report
from .vit import VisionTransformer

ENCODERS: dict[str, Any] = {
    "bert": Bert,
    "cnn": lambda spec, epsilon: CNN(spec, epsilon, axes=2),
    "cnn3d": lambda spec, epsilon: CNN(spec, epsilon, axes=3),
    "concat_mlp": ConcatMLP,
    "cross_attention": CrossAttention,
    "daft": DAFT,
    "dcgan": DCGAN,
    "genetics_mlp": GeneticsMLP,
    "max": Maximum,
    "mul": Product,
    "resnet18": lambda spec, epsilon: ResNet(spec, epsilon, depths=(2, 2, 2, 2), bottleneck=False),
    "resnet1d_cbam": ResNet1D,
    "resnet50": lambda spec, epsilon: ResNet(spec, epsilon, depths=(3, 4, 6, 3), bottleneck=True),
    "table_mlp": MLP,
    "table_transformer": TableTransformer,
    "text_embedding": TextEmbedding,
    "vector_mlp": MLP,
    "vit": lambda spec, epsilon: VisionTransformer(
        spec, **{size: spec["options"][size] for size in ("width", "depth", "heads")}
    ),
    "vit_base": lambda spec, epsilon: VisionTransformer(spec, width=768, depth=12, heads=12),
    "vit_small": lambda spec, epsilon: VisionTransformer(spec, width=384, depth=12, heads=6),
}


class Named(nn.Module):
    """Modules by any name, which `torch.nn.ModuleDict` restricts."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._modules.update(modules)

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]


class Export(nn.Module):
    """All encoders of an export, with the preprocessing before them and the projectors and head behind them."""

    def __init__(self, card: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.card, epsilon = card, card["batch_norm"]["epsilon"]
        encoders, projectors = card["encoders"], card["projectors"]
        self.encoders = Named({name: ENCODERS[spec["name"]](spec, epsilon) for name, spec in encoders.items()})
        for name, spec in encoders.items():
            if "pooling" in spec:
                self.encoders[name].attention_pool = AttentionPool(spec)
        self.projectors = Named(
            {key.replace(".", "/"): PROJECTORS[spec["name"]](spec, epsilon) for key, spec in projectors.items()}
        )
        self.head = Head(card["head"]) if card["head"] else None
        tables, scans = {}, {}
        for name, spec in card["preprocessing"].items():
            own = {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}
            if spec["kind"] == "table":
                tables[name] = TableRows(spec, own)
            if "scan" in spec:
                scans[name] = Scan(spec, own)
            for key, array in own.items() if name not in tables and name not in scans else ():
                self.register_buffer(f"_{name}_{key}", array, persistent=False)
        self.tables, self.scans = Named(tables), Named(scans)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the features [N, D] of every modality whose inputs are given.

        Args:
          inputs: by name, rows as `view` takes them, or [N, V, ...] if rows have V images, whose mean the features
            are.
        """
        every = {}
        for modality, spec in self.card["encoders"].items():
            if all(name in inputs for name in spec["reads"]):
                every[modality] = self._over_images(modality, inputs)
        return every

    def predict(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the outputs of the head: logits, or numbers in units of the label."""
        if self.head is None:
            raise ValueError("this export has no head; make one with mmcl export --head")
        maps = self.head.reads == "maps"
        parts = [self._over_images(name, inputs, maps=maps) for name in self.card["head"]["modalities"]]
        return self.head(torch.cat(parts, -1))

    def _over_images(self, modality: str, inputs: Mapping[str, Tensor], *, maps: bool = False) -> Tensor:
        """Return the mean over the images of every row of the pooled features, or of the local maps [N, h, w, C]."""
        reads = self.card["encoders"][modality]["reads"]
        images = {name: self.card["preprocessing"][name].get("images", 1) for name in reads}
        times = max(images.values())
        rows = {name: inputs[name] for name in reads}
        if times > 1:
            rows = {
                name: values.flatten(0, 1) if images[name] > 1 else values.repeat_interleave(times, 0)
                for name, values in rows.items()
            }
        features = self.encode(modality, rows)
        found = features.map() if maps else features.pooled
        return found.unflatten(0, (-1, times)).mean(1) if times > 1 else found

    def encode(self, modality: str, inputs: Mapping[str, Tensor]) -> Features:
        """Return all features of a modality, of rows with one image each."""
        spec = self.card["encoders"][modality]
        if spec["kind"] != "fusion":
            return self._features(modality, self.view(modality, inputs[modality]))
        parts = []
        for text in spec["of"]:
            part = text.removesuffix(".local")
            parts.append(self.encode(part, inputs).part(local=text != part))
        return self._features(modality, parts)

    def _features(self, modality: str, view: Any) -> Features:
        encoder = self.encoders[modality]
        features: Features = encoder(view)
        return encoder.attention_pool(features) if "pooling" in self.card["encoders"][modality] else features

    def project(self, key: str, features: Features) -> Tensor:
        """Return the projections of features of the modality that a key of `card["projectors"]` names."""
        projector, local = self.projectors[key.replace(".", "/")], features.local
        if not self.card["projectors"][key]["local"] or local is None:
            return projector(features.pooled)
        return projector(local.flatten(0, 1)).unflatten(0, local.shape[:2])

    def view(self, name: str, rows: Tensor) -> Tensor:
        """Return what the encoder of an input reads.

        Args:
          name: of the input.
          rows: images [N, H, W, C] or volumes [N, D, H, W, C] of the stored size and type; encoded rows [N, F] of a
            table (see `rows`); vectors [N, F] as they are stored; tokens [N, T, 2].

        Raises:
          ValueError: the rows have another shape or type than those that the encoder was trained on.
        """
        spec = self.card["preprocessing"][name]
        if list(rows.shape[1:]) != spec["shape"]:
            raise ValueError(f"rows of {name!r} are of the shape {spec['shape']}, not {list(rows.shape[1:])}")
        if spec["kind"] in ("image", "volume"):
            if str(rows.dtype) != f"torch.{spec['dtype']}":
                raise ValueError(f"rows of {name!r} are {spec['dtype']}, not {rows.dtype}")
            if "scan" in spec:
                return self.scans[name](rows)
            x = rows.float().movedim(-1, 1) / spec["divide_by"]
            if "pad" in spec:
                rows_beside, columns_beside = spec["pad"]
                x = functional.pad(x, [columns_beside, columns_beside, rows_beside, rows_beside])
                x = x.expand(-1, spec["channels"], -1, -1)
            if list(x.shape[2:]) == spec["size"]:
                return x
            return functional.interpolate(x, spec["size"], mode="bilinear" if spec["kind"] == "image" else "trilinear")
        if spec["kind"] == "vector":
            missing = torch.isnan(rows) if rows.is_floating_point() else rows == -127
            mean, std = getattr(self, f"_{name}_mean"), getattr(self, f"_{name}_std")
            fill = getattr(self, f"_{name}_fill", mean)  # the mean, unless the run says otherwise
            return (torch.where(missing, fill, rows.float()) - mean) / std
        if spec["kind"] == "text":
            token, known = rows[..., 0], getattr(self, f"_{name}_tokens")
            unknown = (token >= 0) & ~known[token.clamp(min=0).long()]
            token = torch.where(unknown, getattr(self, f"_{name}_unknown").to(token.dtype), token)
            texts = torch.stack([token, rows[..., 1]], -1)
            if spec["view"] != "report":
                return texts
            special = getattr(self, f"_{name}_special_tokens") if spec["special_tokens"] else None
            return report(texts, spec["max_tokens"], special)
        return rows

    def rows(self, name: str, cells: Sequence[Mapping[str, Any]]) -> Tensor:
        """Return encoded rows [N, F] of a table from cells by column.

        A number is a number, a date its days since 1970-01-01, a category its text; None, NaN and an absent column are
        missing. So is a category that the training rows did not have, unless an encoder has a token for missing values.

        Raises:
          ValueError: a value is missing and the encoder was trained without any, or a number has no logarithm.
        """
        module = self.tables[name]
        raw = torch.full((len(cells), len(module.columns)), torch.nan, dtype=torch.float64)
        for row, values in enumerate(cells):
            for index, column in enumerate(module.columns):
                value, categories = values.get(column["name"]), column["categories"]
                if value is None:
                    continue
                if categories:
                    raw[row, index] = categories.index(str(value)) if str(value) in categories else -1
                else:
                    raw[row, index] = float(value)
        encoded = module(raw)
        for index, column in enumerate(module.columns):
            if column["scaling"] == "log" and module.outside == "keep" and (raw[:, index] <= 0).any():
                raise ValueError(f"column {column['name']!r} has a value without a logarithm")
            if module.missing == "refuse" and encoded[:, index].isnan().any():
                raise ValueError(f"column {column['name']!r} has a missing value, and the training rows had none")
        return encoded


def load(folder: str | Path = Path(__file__).parent.parent) -> Export:
    """Return the encoders of an export's folder, in eval mode."""
    folder = Path(folder)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    arrays = folder / "preprocessing.safetensors"
    export = Export(card, load_file(arrays) if arrays.is_file() else {})
    export.load_state_dict(load_file(folder / "model.safetensors"))
    return export.eval()
