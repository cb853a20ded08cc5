"""Match a state dict with the arrays of an encoder: names, layouts and shapes."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmcl_jax.encoders.torch_names import (
    TORCHVISION_ONLY,
    Arrays,
    Namer,
    from_torch,
    leaves_of,
    torch_layout,
    torch_name,
    torchvision_name,
)
from mmcl_jax.encoders.weights.read import listed, read_state_dict
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import reading, sha256

Layout = Literal["torch", "flax"]
# Mean and standard deviation of the pixels of ImageNet in [0, 1], by which torchvision's and timm's weights expect
# pixels to be normalised.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class TowerWeights:
    """The weights of an encoder that were read from a file.

    Attributes:
      params: nested dicts of the parameters.
      statistics: nested dicts of the running statistics.
      record: what a run records of the file: path, SHA-256, names, and the tensors that were left out.
    """

    params: Arrays
    statistics: Arrays
    record: dict[str, Any]

    def describe(self, key: str) -> str:
        """Return a line that says what was read."""
        left_out = self.record["left_out"]
        out = f"; left out: {listed(left_out)}" if left_out else ""
        return (
            f"{key}: {self.record['tensors']} tensors of {self.record['file']} (SHA-256 {self.record['sha256'][:12]})"
            f", for pixels {'normalised as ImageNet' if self.record['pixels'] == 'imagenet' else 'in [0, 1]'}{out}"
        )


@dataclasses.dataclass(frozen=True)
class NameMap:
    """The names of a file, from a JSON file such as `{"prefix": "encoder.", "layout": "flax", "names": {...}}`.

    Attributes:
      prefix: the names begin with it, and all other names are left out; None to choose it by the names.
      layout: of kernels: "torch" (`[O, I, h, w]`) or "flax" (`[h, w, I, O]`); None for that of the naming.
      names: from the file's names (after the prefix) to ours, such as "stages.0.blocks.0.conv1.kernel".
    """

    prefix: str | None = None
    layout: Layout | None = None
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "NameMap":
        """Read a map.

        Raises:
          UserError: the file does not exist, or is no such map.
        """
        with reading(path, "write a JSON object with prefix, layout and names"):
            content = json.loads(path.read_text())
            result = cls(**content)
            texts = [*result.names, *result.names.values()]
            check(
                isinstance(result.prefix, str | None)
                and result.layout in (None, "torch", "flax")
                and all(isinstance(text, str) for text in texts)
                and len(set(result.names.values())) == len(result.names),
                f'{path} is no name map: prefix is a text, layout "torch" or "flax", names an object of texts, each '
                "of which is given once.",
            )
            return result


def read_tower(
    path: Path,
    params: Arrays,
    statistics: Arrays,
    *,
    key: str,
    is_resnet: bool,
    names: NameMap | None = None,
    pixels: Literal["unit", "imagenet"] = "unit",
) -> TowerWeights:
    """Return the weights of an encoder from a file.

    The names are ours (as in an Orbax or safetensors export), PyTorch's for our modules, torchvision's and timm's for a
    ResNet, or those of a `NameMap`; whichever fits best. A prefix that they share, such as "module." or "backbone.", is
    found; tensors without the prefix, and a classifier `fc`, are left out, and the record names them.

    Args:
      path: the file, see `read.read_state_dict`.
      params: nested dicts of the encoder's parameters, or their shapes.
      statistics: nested dicts of its running statistics, or their shapes.
      key: the config key that names the file, for messages.
      is_resnet: whether the encoder is a ResNet, which torchvision has.
      names: of the file.
      pixels: the weights expect: "unit" in [0, 1], as our views are, or "imagenet" normalised by ImageNet's mean and
        standard deviation. These are then taken into the first convolution and its norm, which is exact except at the
        border of an image, where the padding is black in place of the mean.

    Raises:
      UserError: the file cannot be read, or its tensors do not fit the encoder: one sentence lists the names.
    """
    state, digest = read_state_dict(path).tensors, sha256(path) if path.is_file() else ""
    names = names or NameMap()
    choice = _choose(state, params, statistics, is_resnet=is_resnet, names=names, where=f"{key}: {path}")
    inside = {choice.names.get(name, name): array for name, array in choice.inside.items()}
    for name, array in inside.items():
        check(
            name.endswith("num_batches_tracked") or np.issubdtype(np.dtype(array.dtype), np.inexact)
            or str(array.dtype) == "bfloat16",
            f"{key}: {path}: the tensor {name!r} is of type {array.dtype}; weights are floats.",
        )  # fmt: skip
    loaded = from_torch(
        inside, params, statistics, name=choice.namer, layout=choice.layout, source=f"{key}: {path}",
    )  # fmt: skip
    for name, array in leaves_of(*loaded):
        check(bool(np.isfinite(array).all()), f"{key}: {path}: {'.'.join(name)} holds numbers that are not finite.")
    if pixels == "imagenet":
        loaded = _for_unit_pixels(*loaded, key=key)
    left_out = [name for name in state if not name.startswith(choice.prefix)]
    left_out += [choice.prefix + name for name in choice.inside if re.fullmatch(r"fc\.(weight|bias)", name)]
    record = {
        "file": str(path),
        "sha256": digest,
        "tensors": len(list(leaves_of(*loaded))),
        "prefix": choice.prefix,
        "pixels": pixels,
        "left_out": left_out,
    }
    return TowerWeights(*loaded, record)
