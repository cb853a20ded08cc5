"""The supervised training of a linear head on one or several encoders, frozen or trained with the head."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.heads.adam import Optimizer
from mmcl_jax.evaluation.heads.batches import Examples, Order, seed_word
from mmcl_jax.evaluation.heads.cycle import NEVER, OneCycle
from mmcl_jax.evaluation.heads.encoded import (
    Encoders,
    FeatureEncoder,
    ViewSpec,
    beside,
    built,
    image_axes,
    views_of_inputs,
)
from mmcl_jax.evaluation.heads.engine import Search, Trained, fit
from mmcl_jax.evaluation.heads.ensemble import EnsembleHead
from mmcl_jax.evaluation.heads.feeds import EncodedFeed, EncodedSplit
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.plateau import Plateau
from mmcl_jax.evaluation.heads.programs import HeadRecipe, Select, Weights, programs_of
from mmcl_jax.evaluation.protocols.made import Seed, made_of
from mmcl_jax.evaluation.protocols.probe import all_trained
from mmcl_jax.evaluation.protocols.tuning import BATCH_SIZE, PATIENCE
from mmcl_jax.tasks import Class, Detection, Ordinal, Task, is_dense
from mmcl_jax.tasks.detection.anchors import Anchors
from mmcl_jax.training.mesh import local_mesh
from mmcl_jax.training.runs.finite import check_finite
from mmcl_jax.training.state.train_state import split_model

__all__ = ["Examples", "FineTuned", "FinetuneSettings", "finetune"]


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """The result of one seed.

    Attributes:
      metrics: `task.metrics` on test at the best validation epoch; `val_<primary>` is the primary on validation.
      chosen: `learning_rate` and `epoch` (from 1), which validation chose.
      outputs: `[N, outputs]` on test.
      trained: the head, and the encoders if they were trained with it.
    """

    metrics: dict[str, float]
    chosen: dict[str, float]
    outputs: np.ndarray
    trained: Trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """The settings of training a head, and its encoders unless they are `frozen`.

    Attributes:
      task: to predict.
      modalities: whose encoders are used.
      frozen: whether the encoders stay unchanged.
      learning_rates: to choose from; ties go to the first.
      seeds: of the initial weights of the head and, if not frozen, of order and augmentation.
      max_epochs: the longest training.
      batch_size: most rows per step.
      accumulate: number of slices of a batch, whose gradients are added (see `Tuning`).
      weight_decay: L2 in the gradient.
      patience: number of epochs without improvement after which a training ends.
      min_delta: smallest improvement of the metric; for regression, of the metric on standardised targets, so that it
        does not depend on the unit of the label.
      select: whether validation chooses by the primary "metric" or by the "loss".
      augment: of training images: "run", "flip" or "none" (see `Tuning`); masks are predicted without.
      augment_probability: share of training images that are augmented, of "run".
      frozen_epochs: number of first epochs in which encoders that are trained are held.
      frozen_steps: number of first batches in which they are held, in place of epochs.
      frozen_rate: the learning rate of these epochs or batches.
      ensemble: whether the head is the mean of a head on each modality (see `EnsembleHead`); it is returned as the
        linear head that it amounts to.
      plateau: how the rates fall while validation does not improve; None for rates that do not.
      cycle: how the rates move within `max_epochs`; then no training ends earlier. None for constant rates.
      head: of masks, "linear_segmentation" or "unet", None for a U-Net; boxes have a YOLO.
      anchors: of a YOLO, "released" or "corrected".
      optimizer: "adam" or "radam".
      balanced: whether every class is drawn as often.
      normalisation: of frozen encoders: "frozen" running statistics, or statistics that "adapt" (see `Tuning`).

    Raises:
      UserError: a number is out of range.
    """

    task: Task
    modalities: tuple[str, ...]
    frozen: bool
    learning_rates: Sequence[float]
    seeds: Sequence[Seed]
    max_epochs: int = 500
    batch_size: int = BATCH_SIZE
    accumulate: int = 1
    weight_decay: float = 0.0
    patience: int = PATIENCE
    min_delta: float = 2e-4
    select: Select = "metric"
    augment: Literal["run", "flip", "none"] = "run"
    augment_probability: float = 0.8
    frozen_epochs: int = 0
    frozen_steps: int = 0
    frozen_rate: float = 1e-3
    ensemble: bool = False
    head: str | None = None
    anchors: Anchors = "released"
    plateau: Plateau | None = None
    cycle: OneCycle | None = None
    optimizer: Optimizer = "adam"
    balanced: bool = False
    normalisation: Literal["frozen", "adapts"] = "frozen"

    def __post_init__(self) -> None:
        rates = self.learning_rates
        check(len(rates) > 0 and min(rates) > 0, "learning_rates: give at least one, all above 0.")
        check(len(self.seeds) > 0, "seeds: give at least one.")
        for name in ("max_epochs", "batch_size", "accumulate", "patience"):
            check(getattr(self, name) > 0, f"{name}: must be positive, not {getattr(self, name)}.")
        check(self.batch_size % self.accumulate == 0, f"accumulate: {self.accumulate} does not divide the batch size.")
        check(
            not self.frozen_epochs + self.frozen_steps or self.cycle is None,
            "--frozen-epochs: a cycle of rates freezes nothing; leave --schedule or --frozen-epochs out.",
        )

    @property
    def adapts(self) -> bool:
        """Whether frozen encoders normalise by the batch and adapt their running statistics."""
        return self.frozen and self.normalisation == "adapts"

    @property
    def dense(self) -> bool:
        """Whether the task is dense, so that a head reads maps."""
        return is_dense(self.task)

    def held_steps(self, of_epoch: int) -> int:
        """Return the number of first steps in which encoders beside a trained decoder or head are held.

        Args:
          of_epoch: number of steps in an epoch.
        """
        every = self.max_epochs * of_epoch
        return every if self.frozen else min(self.frozen_epochs * of_epoch + self.frozen_steps, every)


def finetune(
    model: Model,
    config: ConfigDict,
    splits: Mapping[str, Examples],
    settings: FinetuneSettings,
    *,
    fitted: Mapping[str, Mapping[str, Any]] | None = None,
    report: Callable[[str], None] | None = None,
) -> list[FineTuned]:
    """Fine-tune, probe on augmented images, or train MMCL's supervised baselines (from an untrained model).

    The head is a linear layer on the pooled features of the encoders, which are concatenated (Hager et al., CVPR 2023,
    section 4.2; the defaults are those of their released code). It is trained by Adam at a constant rate, or with a
    `cycle`, by default without weight decay, on the loss of the task; targets that are numbers are standardised by the
    training rows. The head of masks is a `UNet` on the maps of an image encoder, or a linear layer on its last map
    (`settings.head`), which is trained with the encoder or, if that is frozen, alone; that of boxes is a `Yolo`.
    Training images are augmented with probability 0.8, as in pretraining but with crops of 0.6 to 1 of the area, and
    only resized otherwise; table rows are not augmented, nor are validation and test, nor images with masks or boxes.
    The outputs of a row with several images are averaged.

    If frozen, only the head is trained, and the encoders use their running statistics and do not change. All seeds and
    rates share every encoded batch, and no head depends on another. If not frozen, every seed and rate is a training of
    its own, of head and encoders at the same rate, in batches of complete groups of batch normalisation (see `Order`),
    which uses the batch in training and running statistics in evaluation.

    Two defects of the released code are not reproduced by default: it does not shuffle the training rows, and its
    "frozen" encoders stay in train mode, where they normalise by the batch and keep adapting to it. The released code
    of Fedorov et al. does the latter, too: `normalisation="adapts"`.

    Args:
      model: pretrained, or untrained for a baseline; it is not changed.
      config: of its run, for the augmentation, the compute dtype, and the seed that orders and augments the data of
        frozen probes.
      splits: `train`, the rows to train on, the same for all seeds; `val`, which chooses epoch and learning rate by
        `task.primary`; `test`, which is measured once per seed.
      settings: of the training.
      fitted: the fitted values of the views, by input.
      report: called with a progress text after every epoch.

    Returns:
      One result per seed.

    Raises:
      UserError: the model's weights are not finite, inputs do not fit the model or the task, the run does not
        augment images, a batch has no complete group, or training diverges at every rate.
    """
    modalities, frozen = settings.modalities, settings.frozen
    inputs = tuple(dict.fromkeys(name for modality in modalities for name in inputs_of(config.views, modality)))
    check_inputs(model, splits, task=settings.task, modalities=modalities, inputs=inputs)
    name = f"the model of {config.name} (seed {config.seed})"
    check_finite(split_model(model), name, remedy="go back to an earlier checkpoint")
    train, val, test = (_only(inputs, splits[name]) for name in SPLITS)
    made = made_of(model, config, settings, train)
    encoders, head, task, group_size = made.encoders, made.head, made.task, made.group_size
    trains = not frozen or settings.dense or settings.adapts  # something beside the head
    unit = (group_size or 1) * settings.accumulate
    group_size = None if not trains or unit == 1 else unit
    order = Order.of(len(train), batch_size=settings.batch_size, group_size=group_size)
    mesh = local_mesh(order.size // (settings.accumulate if trains else 1))
    programs = programs_of(
        HeadRecipe(
            head=head,
            task=task,
            encoders=encoders,
            patience=settings.patience if settings.cycle is None else NEVER,
            min_delta=settings.min_delta,
            select=settings.select,
            optimizer=settings.optimizer,
            adapts=settings.adapts,
            weight_decay=settings.weight_decay,
            accumulate=settings.accumulate if trains else 1,
            dtype=config.dtype,
            mesh=mesh,
        )
    )
    by_input = jax.device_put({name: dict((fitted or {}).get(name, {})) for name in inputs}, programs.everywhere)

    def encoder_at(seed: Seed) -> FeatureEncoder:
        params, statistics = jax.device_put(split_model(made.module(seed)), programs.everywhere)
        return FeatureEncoder(params=params, statistics=statistics, fitted=by_input)

    encoder = encoder_at(settings.seeds[0])
    # Both splits have one size, so that they share compiled programs; it leaves room for all images of a row.
    size = min(max(1, settings.batch_size // most_images(val.inputs, encoders)), max(len(val), len(test)))
    size = -(-size // mesh.size) * mesh.size
    val_split, test_split = (EncodedSplit(programs, part, size=size) for part in (val, test))

    def trained_on(
        seeds: Sequence[Seed], rates: Sequence[float], *, seed: int, start: FeatureEncoder | None = None
    ) -> list[Trained | None]:
        frozen_encoder = encoder if start is None else None
        feed = EncodedFeed(
            programs, train, val_split, order=order, seed=seed, frozen=frozen_encoder, balance=settings.balanced
        )
        heads = head.new(made.features, task.outputs, seeds=[seed_word(seed) for seed in seeds])
        search = Search(
            reads=modalities,
            rates=rates,
            seed=seed,
            max_rounds=settings.max_epochs,
            ties="first",
            report=report,
            cycle=settings.cycle,
            plateau=settings.plateau,
            held_steps=settings.held_steps(order.steps) if trains else 0,
            held_rate=rates[0] if frozen else settings.frozen_rate,
        )
        return fit(programs, feed, heads, start, search)

    if not trains:
        trained = trained_on(settings.seeds, settings.learning_rates, seed=seed_word((config.seed,)))
    else:
        trained = []
        for seed in settings.seeds:
            chosen: Trained | None = None
            start = encoder_at(seed)
            for rate in settings.learning_rates:
                (candidate,) = trained_on([seed], [rate], seed=seed_word(seed), start=start)
                if candidate is not None and (chosen is None or _better(candidate, chosen, settings)):
                    chosen = candidate
            trained.append(chosen)
    outcomes = []
    for best in map(_folded, all_trained(trained, task)):
        reached = task.metrics(outputs_of(best, val_split, encoder), val.targets)[task.primary]
        outputs = outputs_of(best, test_split, encoder)
        metrics = {**task.metrics(outputs, test.targets), f"val_{task.primary}": reached}
        outcomes.append(FineTuned(metrics, {"learning_rate": best.rate, "epoch": float(best.round)}, outputs, best))
    return outcomes


def outputs_of(trained: Trained, split: EncodedSplit, encoder: FeatureEncoder) -> np.ndarray:
    """Return the outputs of a trained head on a split, with the encoder that was trained with it or else `encoder`."""
    if not split.dense:
        return trained.outputs(split.features(trained.encoder, encoder))
    heads = jax.tree.map(lambda x: x[None, None], trained.params)
    return np.asarray(split.outputs(Weights(heads=heads, encoder=trained.encoder)))


def _better(first: Trained, second: Trained, settings: FinetuneSettings) -> bool:
    if settings.select == "loss":
        return first.reached < second.reached
    return settings.task.better(first.reached, second.reached)


def _folded(trained: Trained) -> Trained:
    """Return a trained ensemble as the linear head that it amounts to; any other head as it is."""
    if not isinstance(trained.head, EnsembleHead):
        return trained
    return dataclasses.replace(trained, head=LinearHead(), params=trained.head.folded(trained.params))


def _only(inputs: tuple[str, ...], examples: Examples) -> Examples:
    """Return the examples with these inputs, and what goes beside them."""
    rows = {name: examples.inputs[name] for name in inputs}
    return Examples(rows | beside(examples.inputs, inputs), np.asarray(examples.targets))


def most_images(inputs: Mapping[str, Any], encoders: Encoders) -> int:
    """Return the largest number of images that a row of an input has."""
    return max(_image_count(inputs[built(spec).modality], spec) for spec in views_of_inputs(encoders.views))


def _image_count(values: Any, spec: ViewSpec) -> int:
    """Return the number of images in a row."""
    return int(values.shape[1]) if values.ndim == image_axes(spec) + 1 else 1


def check_inputs(
    model: Model,
    splits: Mapping[str, Examples],
    *,
    task: Task,
    modalities: tuple[str, ...],
    inputs: tuple[str, ...],
) -> None:
    """Raise `UserError` unless the splits `train`, `val` and `test` fit the encoders of the model and the task."""
    check(len(modalities) > 0, "modalities: name at least one.")
    check(
        len(set(modalities)) == len(modalities),
        f"modalities: {', '.join(modalities)} has a name twice; name each once.",
    )
    for modality in modalities:
        check_name(modality, list(model.encoders), "modalities: the run has no encoder of", "it has those of")
    for split, examples in splits.items():
        where = f"The split {split!r}"
        targets = np.asarray(examples.targets)
        check(len(targets) > 0, f"{where} has no row with the label {task.label!r}.")
        if is_dense(task):
            what = "box" if isinstance(task, Detection) else "labelled pixel"
            check(bool((targets >= 0).any()), f"{where} has no {what} of {task.label!r}.")
            targets = np.zeros(len(targets))
        numbers = np.issubdtype(targets.dtype, np.number) and not np.isinf(targets).any()
        labelled = numbers and bool((~np.isnan(targets)).reshape(len(targets), -1).any(axis=1).all())
        check(labelled, f"{where} has rows without a number as label {task.label!r}; leave them out.")
        if isinstance(task, Class | Ordinal):
            codes = bool(np.isin(targets, np.arange(task.classes)).all())
            check(codes, f"{where} has labels {task.label!r} that are no class codes from 0 to {task.classes - 1}.")
        for modality in inputs:
            check(modality in examples.inputs, f"{where} has no {modality!r} to predict from.")
            rows = len(examples.inputs[modality])
            check(rows == len(targets), f"{where} has {rows} rows of {modality!r} and {len(targets)} labels.")
