"""The checkpoints of MMCL's and TIP's released code, and which tensor in them is which array of ours.

The code is PyTorch Lightning 1.6 with towers of lightning-bolts and heads of lightly; see `_PREFIXES` for its methods.
TIP's code is a fork of MMCL's; `tip` has the names of its transformers.
"""

import collections
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from mmcl_jax.encoders import Model
from mmcl_jax.encoders.fusions.cross_attention import CrossAttention
from mmcl_jax.encoders.mlp import TableMLP
from mmcl_jax.encoders.projectors import MLPProjector, NormProjector
from mmcl_jax.encoders.resnet import ResNet
from mmcl_jax.encoders.torch_names import Arrays, Namer, from_torch, leaves_of, torch_name, torchvision_name
from mmcl_jax.encoders.torch_names import Path as LeafPath
from mmcl_jax.encoders.transformers.table_transformer import TableTransformer
from mmcl_jax.encoders.weights.read import read_state_dict
from mmcl_jax.encoders.weights.tower import check_floats, digest
from mmcl_jax.errors import UserError, check
from mmcl_jax.export.imports import tip
from mmcl_jax.text import first_few
from mmcl_jax.training.state.initial_weights import CHECKPOINT, InitialWeights
from mmcl_jax.training.state.train_state import split_model

# What the names of a part's tensors begin with, by part and modality: of MMCL, SimCLR and SCARF; of BYOL and SimSiam;
# of Barlow Twins; and of a fine-tuned model, of MMCL and of TIP.
_PREFIXES = {
    ("encoders", "image"): (
        "encoder_imaging.",
        "online_network.encoder.",
        "network.encoder.",
        "model.encoder.",
        "model.encoder_imaging.",
    ),
    ("encoders", "table"): ("encoder_tabular.encoder.", "model.encoder.encoder."),
    ("projectors", "image"): (
        "projector_imaging.layers.",
        "online_network.projector.model.",
        "network.projector.model.",
    ),
    ("projectors", "table"): ("projector_tabular.layers.",),
    ("predictors", "image"): ("online_network.predictor.model.",),
    ("predictors", "table"): (),
}
# Towers of the first versions are a sequence: the index of each module, with torchvision's name.
_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


class _Part(NamedTuple):
    """A part of our model: its group, such as "encoders" or "heads.matching", its key, and the module."""

    group: str
    key: str
    module: nnx.Module


def read_released(path: Path, model: Model) -> InitialWeights:
    """Return the weights of a model's parts from a checkpoint of MMCL's or TIP's released code.

    Every tensor is used, or named among those left out: parts that the model lacks, classifiers, and target networks.

    Args:
      path: the checkpoint, or another file with its state dict (see `read_state_dict`).
      model: ours, or its shapes. What the checkpoint lacks of the terms (a layer or scalar), and the tokens of unknown
        categories, keep their initial values, and are named.

    Raises:
      UserError: the checkpoint lacks a part of the model, or the part has other names or shapes.
    """
    content = read_state_dict(path)
    state, origin = tip.in_our_layout(_with_names_of_torchvision(content.tensors), model)
    params: Arrays = {}
    statistics: Arrays = {}
    used: set[str] = set()
    parts = _parts(model, state)
    untouched = [f"heads.{term}" for term in model.heads if not any(part.group == f"heads.{term}" for part in parts)]
    untouched += [f"learned.{term}" for term in model.learned]
    for part in parts:
        prefix = _prefix(part, state, path)
        tensors = {name: array for name, array in state.items() if name.startswith(prefix)}
        if part.group == "encoders" and isinstance(part.module, ResNet):
            tensors = {name: array for name, array in tensors.items() if not name.startswith(f"{prefix}encoder.")}
        for name, array in tensors.items():
            if not name.endswith("num_batches_tracked"):
                check_floats(name, array, str(path))
        own = split_model(part.module)
        untouched += [f"{part.group}.{part.key}.{name}" for name in tip.OURS if own[0].pop(name, None) is not None]
        namer = _namer(part.module, prefix)
        arrays = from_torch(
            tensors,
            *own,
            name=namer,
            ignored=(r".*\bnum_batches_tracked", tip.UNUSED),
            source=f"{path}, for config.{part.group}.{part.key}",
        )
        names = {namer(leaf) for leaf, _ in leaves_of(*own)}
        used |= {origin[name] for name in tensors if name in names or name.endswith("num_batches_tracked")}
        for tree, values in zip((params, statistics), arrays, strict=True):
            if values:  # perceptrons have no statistics
                group, *term = part.group.split(".")
                inside = tree.setdefault(group, {})
                for key in term:
                    inside = inside.setdefault(key, {})
                inside[part.key] = values
    left_out = [name for name in dict.fromkeys(origin.values()) if name not in used]
    sha = digest(path)
    record = {
        "file": str(path),
        "sha256": sha,
        "tensors": len(used),
        "left_out": left_out,
        "initial": untouched,
        "settings": content.settings,
    }
    lines = [f"{path} (SHA-256 {sha[:12]}): {len(used)} tensors for {_words(parts)}"]
    lines += [f"left out: {first_few(_groups(left_out))}"] if left_out else []
    lines += [f"not in the checkpoint, so at their initial values: {first_few(untouched)}"] if untouched else []
    return InitialWeights(params, statistics, {CHECKPOINT: record}, tuple(lines))


def _parts(model: Model, state: Mapping[str, Any]) -> list[_Part]:
    """Return the parts of the model; of the layers of terms, those that the checkpoint has."""
    parts = [
        _Part(group, key, module)
        for group in ("encoders", "projectors", "predictors")
        for key, module in sorted(getattr(model, group).items())
    ]
    for term, layers in sorted(model.heads.items()):
        known = [name for name in layers if name in tip.HEADS and f"{tip.HEADS[name]}weight" in state]
        parts += [_Part(f"heads.{term}", name, layers[name]) for name in sorted(known)]
    return parts


def _words(parts: list[_Part]) -> str:
    return ", ".join(f"{part.group}.{part.key}" for part in parts)


def _groups(names: list[str]) -> list[str]:
    """Return names in groups by their first word, each with its number of tensors."""
    counts = collections.Counter(name.partition(".")[0] for name in names)
    return [f"{group}.* ({count} tensors)" for group, count in counts.items()]


def _prefix(part: _Part, state: Mapping[str, Any], path: Path) -> str:
    """Return what the names of a part's tensors begin with."""
    if part.group.startswith("heads."):
        return tip.HEADS[part.key]
    modality = re.split("[.:]", part.key)[0]
    prefixes = tip.PREFIXES.get(type(part.module)) or _PREFIXES.get((part.group, modality), ())
    where = f"config.{part.group}.{part.key}"
    supported = isinstance(
        part.module, ResNet | TableMLP | MLPProjector | NormProjector | TableTransformer | CrossAttention
    )
    check(
        bool(prefixes) and supported and "local" not in part.key,
        f"{where}: checkpoints of the released code have no such part; import with a config such as mmcl/mmcl:dvm or "
        "tip/tip:dvm, whose encoders are a ResNet, table_mlp or table_transformer, and cross_attention, and whose "
        "projectors are mlp or mlp_norm.",
    )
    tip.check_form(part.module, where)
    for prefix in prefixes:
        if any(name.startswith(prefix) and _is_of(part, name.removeprefix(prefix)) for name in state):
            return prefix
    groups = first_few(_groups(list(state)))
    raise UserError(f"{path} has no tensors {prefixes[0]}* for {where}; it has {groups}. Choose a config without it.")


def _is_of(part: _Part, name: str) -> bool:
    """Return whether a name after the prefix is one of this kind of part: `model.encoder.` has images or rows."""
    if type(part.module) in tip.PREFIXES:
        return tip.is_of(part.module, name)
    return name.startswith(("conv1.", "bn1.", "layer")) if isinstance(part.module, ResNet) else name[0].isdigit()


def _namer(module: nnx.Module, prefix: str) -> Namer:
    """Return the function from our path to the whole name of an array of a part."""
    return lambda path: prefix + _inner(module, path)


def _inner(module: nnx.Module, path: LeafPath) -> str:
    """Return the name of an array of a part in the released code, after the prefix of the part.

    Their perceptrons are sequences of (linear, norm, ReLU), and their SimCLR heads of (linear, ReLU).
    """
    if isinstance(module, ResNet):
        return torchvision_name(path)
    if type(module) in tip.PREFIXES:
        return tip.inner_name(module, path)
    first, *rest = path
    if isinstance(module, MLPProjector):
        return torch_name((str({"hidden": 0, "out": 2}[first]), *rest))
    if first in ("layers", "norms"):
        index, *leaf = rest
        return torch_name((str(3 * int(index) + (first == "norms")), *leaf))
    return torch_name(path)


def _with_names_of_torchvision(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state dict with torchvision's names also where an image tower is a sequence of modules."""
    prefix = "encoder_imaging."
    if f"{prefix}0.weight" not in state:
        return dict(state)

    def renamed(name: str) -> str:
        index, _, rest = name.removeprefix(prefix).partition(".")
        known = name.startswith(prefix) and index in _SEQUENTIAL
        return f"{prefix}{_SEQUENTIAL[index]}.{rest}" if known else name

    return {renamed(name): array for name, array in state.items()}
