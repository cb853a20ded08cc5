"""The initial weights that `config.encoders.NAME.weights` names: read and checked before a run begins."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.border import AtLeast, Open, read_written
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.pooling import POOL
from mmcl_jax.encoders.resnet import ResNet
from mmcl_jax.encoders.transformers.bert import Bert
from mmcl_jax.encoders.transformers.vit import VisionTransformer
from mmcl_jax.encoders.weights.bert import check_settings
from mmcl_jax.encoders.weights.tower import Family, NameMap, digest, read_tower
from mmcl_jax.errors import check
from mmcl_jax.training.state.groups import merged
from mmcl_jax.training.state.train_state import Arrays, split_model

WEIGHTS = "weights.json"  # of a run: what was read, by encoder
_REMEDY = "put a copy of it back, or train anew in another --workdir"
CHECKPOINT = "checkpoint"  # in place of an encoder, of a run whose weights were imported all at once


class Record(TypedDict):
    """What `weights.json` says of the file of an encoder, beside how it was read."""

    sha256: str
    tensors: NotRequired[Annotated[int, AtLeast(0)]]


@dataclasses.dataclass(frozen=True)
class InitialWeights:
    """Weights of encoders that were read from files, to begin a training with.

    Attributes:
      params: the parameters, as nested dicts with the paths of the model.
      statistics: the running statistics, likewise.
      records: what was read of each file, by encoder; a run keeps them in `weights.json`.
      lines: a line for each file.
    """

    params: Arrays = dataclasses.field(default_factory=dict)
    statistics: Arrays = dataclasses.field(default_factory=dict)
    records: dict[str, Any] = dataclasses.field(default_factory=dict)
    lines: tuple[str, ...] = ()

    @property
    def arrays(self) -> tuple[Arrays, Arrays]:
        """The parameters and statistics, for `Experiment.init`."""
        return self.params, self.statistics


def initial_weights(
    config: ConfigDict,
    graphdef: nnx.GraphDef,
    arrays: tuple[Arrays, Arrays],
    vocabularies: Mapping[str, Sequence[str]] | None = None,
) -> InitialWeights:
    """Read the weights that the config names, and check them against the model.

    Args:
      config: the experiment.
      graphdef: structure of the model.
      arrays: its parameters and its model state, or their shapes.
      vocabularies: of the texts of the store, by encoder; None if they are not known.

    Raises:
      UserError: a file cannot be read, or does not fit the encoder; or an encoder without a file has parameters that
        training leaves as they are; naming the key.
    """
    result = InitialWeights()
    for name, part in sorted(config.encoders.items()):
        key = f"config.encoders.{name}.weights"
        for option in ("map", "pixels", "positions", "channels"):
            check(
                not part.get(f"weights_{option}") or bool(part.get("weights")),
                f"{key}_{option}: there are no weights to read; set {key}, or leave this key out.",
            )
        model: Model = nnx.merge(graphdef, *arrays)
        encoder = model.encoders[name]
        check(
            bool(part.get("weights")) or not encoder.frozen,
            f"config.encoders.{name}.frozen_layers: layers with random parameters would be frozen; set {key} to a file "
            "with the weights of these layers, or frozen_layers to None.",
        )
        if not part.get("weights"):
            continue
        if isinstance(encoder, Bert):
            check_settings(
                Path(part.weights).parent,
                heads=encoder.blocks[0].heads,
                vocabulary=(vocabularies or {}).get(name, ()),
                key=f"config.encoders.{name}",
            )
        loaded = read_tower(
            Path(part.weights),
            *({part: leaves for part, leaves in tree.items() if part != POOL} for tree in split_model(encoder)),
            key=key,
            family=family_of(encoder),
            grid=encoder.grid if isinstance(encoder, VisionTransformer) else (0, 0),
            names=NameMap.read(Path(part.weights_map)) if part.get("weights_map") else None,
            pixels=part.get("weights_pixels") or "unit",
            taken=encoder.pixels if isinstance(encoder, ResNet) else "unit",
            positions=part.get("weights_positions") or "same",
            channels=part.get("weights_channels") or "same",
        )
        # An encoder without statistics has no part in the model state.
        statistics = {"encoders": {name: loaded.statistics}} if loaded.statistics else {}
        result = InitialWeights(
            {"encoders": {**result.params.get("encoders", {}), name: loaded.params}},
            merged(result.statistics, statistics),
            {**result.records, name: loaded.record},
            (*result.lines, loaded.describe(key)),
        )
    return result


def family_of(encoder: nnx.Module) -> Family:
    """Return the family of an encoder in torchvision, timm and Hugging Face's transformers."""
    if isinstance(encoder, ResNet):
        return "resnet"
    if isinstance(encoder, Bert):
        return "bert"
    return "vit" if isinstance(encoder, VisionTransformer) else "other"


def check_recorded(config: ConfigDict, directory: Path, *, needed: bool) -> None:
    """Check that the files of weights are those that the run was begun with, where they are there.

    Args:
      config: the experiment.
      directory: the folder of the run.
      needed: whether the run has no checkpoint yet, so that the files are read again.

    Raises:
      UserError: a file has other content, or is needed and missing.
    """
    records = dict(recorded(directory))
    imported = records.pop(CHECKPOINT, None)
    check(not (imported and needed), f"{directory} has no checkpoint yet; complete it by the same mmcl import.")
    for name, record in records.items():
        key, path = f"config.encoders.{name}.weights", Path(str(config.encoders.get(name, {}).get("weights", "")))
        check(path.name != "", f"{directory / WEIGHTS} names {name!r}, for which the config has no weights; {_REMEDY}.")
        check(
            path.exists() or not needed,
            f"{key}: {path} does not exist, and {directory} has no checkpoint yet; put the file back (SHA-256 "
            f"{record['sha256']}).",
        )
        check(
            not path.exists() or digest(path) == record["sha256"],
            f"{key}: {path} is not the file that {directory} was begun with (SHA-256 {record['sha256']}); put that "
            "file back, or choose another --workdir.",
        )


def recorded(directory: Path) -> Mapping[str, Record]:
    """Return what a run recorded of the files of its initial weights, by encoder; {} without any."""
    if not (directory / WEIGHTS).is_file():
        return {}
    return read_written(directory / WEIGHTS, dict[str, Annotated[Record, Open]], _REMEDY)
