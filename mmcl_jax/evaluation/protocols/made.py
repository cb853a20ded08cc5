"""What is trained on images: the encoders that compute features, a head on them, and for dense tasks a decoder."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.encoders import Model
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.encoders.layers import BatchNorm
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.batches import Examples, seed_word
from mmcl_jax.evaluation.heads.dense import LinearSegmentation
from mmcl_jax.evaluation.heads.encoded import Encoders, built, simple_spec, trained_spec
from mmcl_jax.evaluation.heads.ensemble import EnsembleHead
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.maps import MapEncoders
from mmcl_jax.evaluation.heads.unet import UNetEncoders, UNetHead
from mmcl_jax.evaluation.heads.yolo import YoloEncoders, YoloHead, frame_of
from mmcl_jax.tasks import Detection, Task
from mmcl_jax.tasks.detection.anchors import Anchors, scales_of

Seed = tuple[int, int]
# The heads of dense tasks, with the encoders that give their features.
DENSE: dict[str, tuple[type[LinearHead], type[MapEncoders]]] = {
    "linear_segmentation": (LinearSegmentation, MapEncoders),
    "unet": (UNetHead, UNetEncoders),
    "yolo": (YoloHead, YoloEncoders),
}


class Settings(Protocol):
    """The settings that decide what is trained; see `FinetuneSettings`."""

    @property
    def task(self) -> Task: ...
    @property
    def head(self) -> str | None: ...
    @property
    def anchors(self) -> Anchors: ...
    @property
    def modalities(self) -> tuple[str, ...]: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def accumulate(self) -> int: ...
    @property
    def augment(self) -> Literal["run", "flip", "none"]: ...
    @property
    def augment_probability(self) -> float: ...
    @property
    def ensemble(self) -> bool: ...
    @property
    def dense(self) -> bool: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """What is trained, as the settings ask for it.

    Attributes:
      encoders: that compute the features.
      module: from the seed of a head to the encoders, with a decoder for masks.
      head: its kind.
      task: that it predicts; that of a detector knows its grids and anchors.
      features: the number of features that the head reads.
      group_size: rows that batch normalisation normalises together in training; None for all of a slice.
    """

    encoders: Encoders
    module: Callable[[Seed], nnx.Dict]
    head: LinearHead
    task: Task
    features: int
    group_size: int | None


def made_of(model: Model, config: ConfigDict, settings: Settings, train: Examples) -> Made:
    group_size, rows = config.batch_norm.group_size, settings.batch_size // settings.accumulate
    if group_size is not None and rows < group_size and (settings.dense or settings.accumulate > 1):
        model, group_size = _ungrouped(model), None
    if not settings.dense:
        options = {"augment": settings.augment, "augment_probability": settings.augment_probability}
        encoders, module = encoders_of(model, config, settings.modalities, **options)  # type: ignore[arg-type]
        widths = tuple(model.encoders[modality].out_features for modality in settings.modalities)
        linear = EnsembleHead(widths=widths) if settings.ensemble else LinearHead()
        return Made(
            encoders=encoders,
            module=lambda _: module,
            head=linear,
            task=settings.task,
            features=sum(widths),
            group_size=group_size,
        )
    (modality,) = settings.modalities
    shape = train.inputs[modality].shape[1:]
    task = settings.task
    name = "yolo" if isinstance(task, Detection) else settings.head or "unet"

    def seeded(seed: Seed) -> nnx.Dict:
        return dense_encoders_of(name, model, config, modality, shape, rngs=nnx.Rngs(seed_word((*seed, 1))))[1]

    dense, module = dense_encoders_of(name, model, config, modality, shape, rngs=nnx.Rngs(0))
    decoder = module[dense.decoder or modality]
    if isinstance(task, Detection):
        head: LinearHead = YoloHead(grids=decoder.grids, widths=decoder.widths)
        scales = scales_of(frame_of(dense.views[0], shape, modality), decoder.grids, settings.anchors)
        task = dataclasses.replace(task, scales=scales)
    else:
        kind = LinearSegmentation if name == "linear_segmentation" else UNetHead
        head = kind(size=(int(train.targets.shape[1]), int(train.targets.shape[2])))
    width = decoder.out_features if dense.decoder else decoder.out_local_features
    return Made(encoders=dense, module=seeded, head=head, task=task, features=width, group_size=group_size)


def _ungrouped(model: Model) -> Model:
    """Return the model with batch normalisation over all rows: a slice is smaller than the groups of its run."""
    model = nnx.clone(model)
    for _, module in nnx.iter_graph(model):
        if isinstance(module, BatchNorm):
            module.group_size = None
    return model


def encoders_of(
    model: Model,
    config: ConfigDict,
    modalities: tuple[str, ...],
    *,
    augment: Literal["run", "flip", "none"] = "run",
    augment_probability: float = 0.8,
) -> tuple[Encoders, nnx.Dict]:
    """Return the `Encoders` that turn rows into features while a head is trained, and the module of the encoders.

    Raises:
      UserError: the run does not augment the images of a modality, or they cannot be mirrored.
    """
    inputs = [name for modality in modalities for name in inputs_of(config.views, modality)]
    module = nnx.Dict({modality: model.encoders[modality] for modality in dict.fromkeys([*modalities, *inputs])})
    if augment == "run":
        views = tuple(trained_spec(config, modality, probability=augment_probability) for modality in modalities)
    else:
        views = tuple(simple_spec(config, modality, augment) for modality in modalities)
    return Encoders(graphdef=nnx.graphdef(module), modalities=modalities, views=views), module


def dense_encoders_of(
    name: str, model: Model, config: ConfigDict, modality: str, shape: Sequence[int], *, rngs: nnx.Rngs
) -> tuple[MapEncoders, nnx.Dict]:
    """Return the encoder of an image with the untrained decoder of a head, if it has one, and the module of both.

    Args:
      name: of the head, one of `DENSE`.
      model: with the encoder.
      config: of its run.
      modality: of the image.
      shape: of its stored rows, (height, width, channels).
      rngs: of the decoder's initial weights.

    Raises:
      UserError: the modality is no single image of a row, or its encoder lacks the maps that the head reads.
    """
    alone = tuple(inputs_of(config.views, modality)) == (modality,) and len(shape) == 3
    check(
        alone, f"--input {modality}: masks and boxes are predicted from one image of a row, which {modality!r} is not."
    )
    spec, (_, kind) = simple_spec(config, modality, "none"), DENSE[name]
    rows, keys = (
        jax.ShapeDtypeStruct((1, *shape), jnp.uint8),
        jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1)),
    )
    view = jax.eval_shape(lambda rows, keys: built(spec).plain(rows, keys, {}).values, rows, keys)
    encoder = model.encoders[modality]
    decoder = kind.decoder_of(encoder, view, rngs=rngs, dtype=config.dtype)
    module = nnx.Dict({modality: encoder} if decoder is None else {modality: encoder, kind.decoder: decoder})
    return kind(graphdef=nnx.graphdef(module), modalities=(modality,), views=(spec,)), module
