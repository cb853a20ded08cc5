"""MMCL's released model in PyTorch, with the names of its state dict, and random weights and statistics."""

from typing import Any

from torch import nn

from tests.encoders.weights import torchvision


class Head(nn.Module):
    """lightly 1.2.22's projection head."""

    def __init__(self, inputs: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, out))

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Table(nn.Module):
    """MMCL's encoder of rows."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, x: Any) -> Any:
        return self.encoder(x)


class Multimodal(nn.Module):
    """MultimodalSimCLR."""

    def __init__(self, columns: int, *, base: int, width: int, out: int) -> None:
        super().__init__()
        self.encoder_imaging = torchvision.drawn("resnet18", base)
        self.projector_imaging = Head(8 * base, width, out)
        self.encoder_tabular = Table(columns, width)
        self.projector_tabular = Head(width, width, out)
        norm = self.encoder_tabular.encoder[1]
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)


class Perceptron(nn.Module):
    """bolts' projector and predictor of BYOL."""

    def __init__(self, inputs: int, hidden: int, out: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out)
        )

    def forward(self, x: Any) -> Any:
        return self.model(x)


class Arm(nn.Module):
    """bolts' SiameseArm."""

    def __init__(self, *, base: int, hidden: int, out: int) -> None:
        super().__init__()
        self.encoder = torchvision.drawn("resnet18", base)
        self.projector = Perceptron(8 * base, hidden, out)
        self.predictor = Perceptron(out, hidden, out)


class BYOL(nn.Module):
    def __init__(self, **sizes: int) -> None:
        super().__init__()
        self.online_network, self.target_network = Arm(**sizes), Arm(**sizes)
