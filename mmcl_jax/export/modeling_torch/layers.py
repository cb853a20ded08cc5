"""What is behind the encoders: projectors and the head."""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLPProjector(nn.Module):
    """Linear, ReLU, linear."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(spec["features"], spec["options"]["hidden"])
        self.out = nn.Linear(spec["options"]["hidden"], spec["options"]["out"])

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections of vectors [N, D]."""
        return self.out(torch.relu(self.hidden(x)))


class Identity(nn.Module):
    """The vectors themselves."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return the vectors [N, D]."""
        return x


class LinearProjector(nn.Module):
    """A fully connected layer."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        self.layer = nn.Linear(spec["features"], spec["options"]["out"])

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections of vectors [N, D]."""
        return self.layer(x)


class NormProjector(nn.Module):
    """(Linear, norm, ReLU) for every hidden width, then a linear layer, which a norm may follow."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        options = spec["options"]
        sizes = [spec["features"], *options["hidden"]]
        layers = [nn.Linear(i, o, bias=False) for i, o in itertools.pairwise(sizes)]
        self.layers = nn.ModuleList([*layers, nn.Linear(sizes[-1], options["out"], bias=options["out_bias"])])
        normalised = [*options["hidden"], *([options["out"]] if options.get("out_norm") else [])]
        self.norms = nn.ModuleList([nn.BatchNorm1d(size, epsilon) for size in normalised])

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections of vectors [N, D]."""
        for layer, norm in zip(self.layers[:-1], self.norms, strict=False):
            x = torch.relu(norm(layer(x)))
        x = self.layers[-1](x)
        return self.norms[-1](x) if len(self.norms) == len(self.layers) else x


class LoVTProjector(nn.Module):
    """Linear, norm, ReLU, linear; or without the norm."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        features, hidden, out = spec["features"], spec["options"]["hidden"], spec["options"]["out"]
        normed = spec["options"]["normalise"] == "batch"
        self.hidden, self.out = nn.Linear(features, hidden, bias=not normed), nn.Linear(hidden, out)
        self.norm = nn.BatchNorm1d(hidden, epsilon) if normed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections of vectors [N, D]."""
        return self.out(torch.relu(self.norm(self.hidden(x))))


class LocalShortcut(nn.Module):
    """Linear, norm, ReLU, linear, and a linear shortcut beside them; a norm of the sum."""

    def __init__(self, spec: Mapping[str, Any], epsilon: float) -> None:
        super().__init__()
        features, hidden, out = spec["features"], spec["options"]["hidden"], spec["options"]["out"]
        self.hidden, self.out = nn.Linear(features, hidden, bias=False), nn.Linear(hidden, out, bias=False)
        self.shortcut = nn.Linear(features, out, bias=False)
        self.norm, self.out_norm = nn.BatchNorm1d(hidden, epsilon), nn.BatchNorm1d(out, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections of vectors [N, D]."""
        return self.out_norm(self.out(torch.relu(self.norm(self.hidden(x)))) + self.shortcut(x))


def latent_mlp(spec: Mapping[str, Any], epsilon: float) -> NormProjector:
    """Return linear, norm, ReLU, linear, without biases."""
    options = spec["options"]
    wide = {"hidden": [options["hidden"]], "out": options["out"], "out_bias": False}
    return NormProjector({"features": spec["features"], "options": wide}, epsilon)


PROJECTORS: dict[str, Any] = {
    "identity": Identity,
    "latent_mlp": latent_mlp,
    "linear": LinearProjector,
    "local_shortcut": LocalShortcut,
    "lovt_mlp": LoVTProjector,
    "mlp": MLPProjector,
    "mlp_norm": NormProjector,
}


class Head(nn.Module):
    """A linear layer on features, standardised where it was trained so; outputs are in units of the label."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.reads, self.size = spec["reads"], spec["size"]
        self.layer = nn.Linear(spec["features"], spec["outputs"])
        for name, size in {"mean": spec["features"], "scale": spec["features"]}.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))
        for name in ("unit_shift", "unit_scale"):
            self.register_buffer(name, torch.zeros(spec["outputs"]))

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs [N, outputs] of features [N, D], or logits [N, H, W, classes] of maps [N, h, w, D]."""
        outputs = self.layer(((features - self.mean) / self.scale).float())
        if self.reads == "maps":
            channels_first = outputs.permute(0, 3, 1, 2)
            outputs = functional.interpolate(channels_first, self.size, mode="bilinear").permute(0, 2, 3, 1)
        return outputs * self.unit_scale + self.unit_shift
