"""The image encoder at ImageNet's weights, LoVT's second baseline: no step is trained, and the run has step 0.

The weights are a file of torchvision, `resnet50.pth` for "mimic" and `resnet18.pth` for "chest", whose own encoder has
no such weights; `--config.encoders.image.weights=PATH` names another place. Without the file, nothing is written.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    return chest(data).untrained(imagenet=True)
