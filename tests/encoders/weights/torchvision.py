"""ResNets in PyTorch with torchvision's names of modules, of any width, without the classifier."""

from typing import Any

import torch
from torch import nn


class Block(nn.Module):
    """torchvision's BasicBlock (two convolutions) or Bottleneck (three, the stride in the second)."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int, sides: tuple[int, ...]) -> None:
        super().__init__()
        sizes = [inputs, *[width] * (len(sides) - 1), outputs]
        strided = len(sides) - 2
        self.convs = len(sides)
        for index, side in enumerate(sides):
            step = stride if index == strided else 1
            conv = nn.Conv2d(sizes[index], sizes[index + 1], side, step, side // 2, bias=False)
            setattr(self, f"conv{index + 1}", conv)
            setattr(self, f"bn{index + 1}", nn.BatchNorm2d(sizes[index + 1]))
            setattr(self, f"relu{index + 1}", nn.ReLU())  # a module each, which captum can replace
        self.downsample = None
        if inputs != outputs or stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Any) -> Any:
        y = x
        for index in range(1, self.convs + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
            y = getattr(self, f"relu{index}")(y) if index < self.convs else y
        y = y + (x if self.downsample is None else self.downsample(x))
        return getattr(self, f"relu{self.convs}")(y)


class ResNet(nn.Module):
    """Returns the maps of its four stages."""

    def __init__(self, name: str, base: int) -> None:
        super().__init__()
        depths, sides, expansion = {"resnet18": ((2, 2, 2, 2), (3, 3), 1), "resnet50": ((3, 4, 6, 3), (1, 3, 1), 4)}[
            name
        ]
        self.relu = nn.ReLU()
        self.conv1, self.bn1 = nn.Conv2d(3, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base)
        inputs = base
        for stage, depth in enumerate(depths):
            blocks = []
            for index in range(depth):
                width = base << stage
                stride = 2 if stage and not index else 1
                blocks.append(Block(inputs, width, width * expansion, stride, sides))
                inputs = width * expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x: Any) -> list[Any]:
        x = nn.functional.max_pool2d(self.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = []
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
            maps.append(x)
        return maps


def drawn(name: str, base: int, seed: int = 0) -> ResNet:
    """A ResNet in evaluation mode with random weights and random running statistics."""
    torch.manual_seed(seed)
    model = ResNet(name, base)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()
