"""A ResNet whose modules have the names of torchvision, which is not installed."""

from typing import Any


def torchvision_resnet(torch: Any, depths: tuple[int, ...], *, base: int, bottleneck: bool) -> Any:
    """A ResNet of these depths, without a classifier; it returns the maps of the stages."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            outputs = 4 * width if bottleneck else width
            kernels = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
            kernels = kernels if bottleneck else [(inputs, width, 3, stride), (width, width, 3, 1)]
            self.depth = len(kernels)
            for index, (before, after, kernel, step) in enumerate(kernels, 1):
                setattr(self, f"conv{index}", nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False))
                setattr(self, f"bn{index}", nn.BatchNorm2d(after))
            self.downsample = None
            if stride != 1 or inputs != outputs:
                conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outputs))

        def forward(self, x: Any) -> Any:
            y = x
            for index in range(1, self.depth + 1):
                y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
                y = y if index == self.depth else y.relu()
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            inputs, expansion = base, 4 if bottleneck else 1
            for stage, depth in enumerate(depths):
                blocks = []
                for index in range(depth):
                    blocks.append(Block(inputs, base << stage, 2 if stage and not index else 1))
                    inputs = (base << stage) * expansion
                setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))

        def forward(self, x: Any) -> list:
            x, maps = self.maxpool(self.bn1(self.conv1(x)).relu()), []
            for stage in range(1, 5):
                x = getattr(self, f"layer{stage}")(x)
                maps.append(x)
            return maps

    return ResNet()
