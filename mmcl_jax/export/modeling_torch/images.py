"""Encoders of images and volumes."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .features import Features, of_maps


class Shortcut(nn.Module):
    """A 1x1 convolution and a norm."""

    def __init__(self, inputs: int, outputs: int, stride: int, epsilon: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.norm = nn.BatchNorm2d(outputs, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shortcut of a map."""
        return self.norm(self.conv(x))


class Block(nn.Module):
    """A block of a ResNet: two 3x3 convolutions, or with `bottleneck` 1x1, 3x3 (with the stride) and 1x1."""

    def __init__(self, inputs: int, width: int, stride: int, epsilon: float, *, bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * width if bottleneck else width
        sizes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        if not bottleneck:
            sizes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        self.count = len(sizes)
        for number, (before, after, kernel, step) in enumerate(sizes, 1):
            setattr(self, f"conv{number}", nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False))
            setattr(self, f"norm{number}", nn.BatchNorm2d(after, epsilon))
        changes = inputs != outputs or stride != 1
        self.shortcut = Shortcut(inputs, outputs, stride, epsilon) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the next map."""
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"norm{number}")(getattr(self, f"conv{number}")(y))
            y = torch.relu(y) if number < self.count else y
        return torch.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Stage(nn.Module):
    """A sequence of blocks."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map after the last block."""
        for block in self.blocks:
            x = block(x)
        return x


class ResNet(nn.Module):
    """A residual network without its classifier; `image.torchvision.safetensors` has it by torchvision's names."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float, *, depths: Sequence[int], bottleneck: bool) -> None:
        super().__init__()
        options = spec["options"]
        base = max(1, round(64 * options["width"]))
        self.pools, self.normalises = options["stem"] == "imagenet", options.get("pixels") == "imagenet"
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)
        kernel, stride = (7, 2) if self.pools else (3, 1)
        self.conv = nn.Conv2d(spec["shape"][-1], base, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(base, epsilon)
        stages, inputs = [], base
        for stage, depth in enumerate(depths):
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Block(inputs, base << stage, stride, epsilon, bottleneck=bottleneck))
                inputs = (base << stage) * (4 if bottleneck else 1)
            stages.append(Stage(blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Features:
        """Return the features of images [N, C, H, W]."""
        x = (x - self.mean) / self.std if self.normalises else x
        x = torch.relu(self.norm(self.conv(x)))
        x = functional.max_pool2d(x, 3, 2, 1) if self.pools else x
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return of_maps(maps)


class CNN(nn.Module):
    """Stages of convolutions over two or three axes, the first of each at stride 2, all followed by a norm and ReLU."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float, *, axes: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv3d, nn.BatchNorm3d)
        channels = spec["options"]["channels"]
        self.depths = spec["options"].get("depths") or [1] * len(channels)
        widths = [c for c, depth in zip(channels, self.depths, strict=True) for _ in range(depth)]
        strides = [1 if index else 2 for depth in self.depths for index in range(depth)]
        sizes = zip(itertools.pairwise([spec["shape"][-1], *widths]), strides, strict=True)
        self.convs = nn.ModuleList([conv(i, o, 3, stride, 1, bias=False) for (i, o), stride in sizes])
        self.norms = nn.ModuleList([norm(width, epsilon) for width in widths])

    def forward(self, x: Tensor) -> Features:
        """Return the features of images [N, C, H, W], or of volumes [N, C, D, H, W]."""
        maps = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
            maps.append(x)
        return of_maps([maps[last - 1] for last in itertools.accumulate(self.depths)])


class DCGAN(nn.Module):
    """Convolutions of side 4 at stride 2 over two or three axes, with leaky ReLUs, and a last one to a vector."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        *sides, channels = spec["shape"]
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if len(sides) == 2 else (nn.Conv3d, nn.BatchNorm3d)
        options = spec["options"]
        self.side = options["local_side"]
        widths = [options["width"] << layer for layer in range(sides[0].bit_length() - 3)]
        convs = [conv(i, o, 4, 2, 1, bias=False) for i, o in itertools.pairwise([channels, *widths])]
        self.convs = nn.ModuleList([*convs, conv(widths[-1], options["features"], 4, bias=False)])
        self.norms = nn.ModuleList([norm(width, epsilon) for width in widths[1:]])

    def forward(self, x: Tensor) -> Features:
        """Return the features of images [N, C, H, W], or of volumes [N, C, D, H, W]."""
        raw, maps = x, []
        for layer, conv in enumerate(self.convs[:-1]):
            x = conv(x)
            raw = x if x.shape[-1] == self.side else raw
            x = functional.leaky_relu(self.norms[layer - 1](x) if layer else x, 0.2)
            maps.append(x)
        local = raw.flatten(2).transpose(1, 2)
        return Features(self.convs[-1](x).flatten(1), local, None, tuple(maps), tuple(raw.shape[2:]))
