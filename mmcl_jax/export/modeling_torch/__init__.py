"""The exported encoders in PyTorch: this package needs only PyTorch and safetensors, and the folder that it lies in.

    import modeling_torch

    model = modeling_torch.load()                 # of this folder; a torch.nn.Module in eval mode
    features = model({"image": pixels})["image"]  # [N, D], from uint8 pixels [N, H, W, C] as the store has them
    rows = model.rows("table", [{"price": 9500.0, "colour": "red"}, ...])  # raw cells, encoded
    features = model({"table": rows})["table"]

`card.json` describes the encoders, the inputs and their preprocessing. `model.encode` also returns local features and
the maps of all stages, `model.project` the projections that the objective compared, and `model.predict` the outputs of
the head, if the export has one. Modules are ordinary ones (`torch.nn.Conv2d`, `BatchNorm2d`, ...), so they can be
trained further. They compute in float32.
"""

from .export import Export, load
from .features import Features

__all__ = ["Export", "Features", "load"]
