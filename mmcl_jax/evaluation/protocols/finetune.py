"""The supervised training of a linear head on one or several encoders, frozen or trained with the head."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.heads.batches import Examples, Order, seed_word
from mmcl_jax.evaluation.heads.cycle import NEVER, OneCycle
from mmcl_jax.evaluation.heads.encoded import (
    Encoders,
    FeatureEncoder,
    ViewSpec,
    built,
    image_axes,
    presence_of,
    trained_spec,
    views_of_inputs,
)
from mmcl_jax.evaluation.heads.engine import Search, Trained, fit
from mmcl_jax.evaluation.heads.ensemble import EnsembleHead
from mmcl_jax.evaluation.heads.feeds import EncodedFeed, EncodedSplit
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.programs import HeadRecipe, programs_of
from mmcl_jax.evaluation.protocols.probe import all_trained
from mmcl_jax.tasks import Class, Ordinal, Task
from mmcl_jax.training.mesh import local_mesh
from mmcl_jax.training.runs.finite import check_finite
from mmcl_jax.training.state.train_state import split_model

__all__ = ["Examples", "FineTuned", "FinetuneSettings", "finetune"]

Seed = tuple[int, int]


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
      patience: number of epochs without improvement after which a training ends.
      min_delta: smallest improvement of the metric; for regression, of the metric on standardised targets, so that it
        does not depend on the unit of the label.
      augment_probability: share of training images that are augmented.
      ensemble: whether the head is the mean of a head on each modality (see `EnsembleHead`); it is returned as the
        linear head that it amounts to.
      cycle: how the rates move within `max_epochs`; then no training ends earlier. None for constant rates.

    Raises:
      UserError: a number is out of range.
    """

    task: Task
    modalities: tuple[str, ...]
    frozen: bool
    learning_rates: Sequence[float]
    seeds: Sequence[Seed]
    max_epochs: int = 500
    batch_size: int = 512
    patience: int = 10
    min_delta: float = 2e-4
    augment_probability: float = 0.8
    ensemble: bool = False
    cycle: OneCycle | None = None

    def __post_init__(self) -> None:
        rates = self.learning_rates
        check(len(rates) > 0 and min(rates) > 0, "learning_rates: give at least one, all above 0.")
        check(len(self.seeds) > 0, "seeds: give at least one.")
        for name in ("max_epochs", "batch_size", "patience"):
            check(getattr(self, name) > 0, f"{name}: must be positive, not {getattr(self, name)}.")


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
    `cycle`, without weight decay, on the cross-entropy, or on the squared error of targets standardised by the training
    rows. Training images are augmented with probability 0.8, as in pretraining but with crops of 0.6 to 1 of the area,
    and only resized otherwise; table rows are not augmented, nor are validation and test. The outputs of a row with
    several images are averaged.

    If frozen, only the head is trained, and the encoders use their running statistics and do not change. All seeds and
    rates share every encoded batch, and no head depends on another. If not frozen, every seed and rate is a training of
    its own, of head and encoders at the same rate, in batches of complete groups of batch normalisation (see `Order`),
    which uses the batch in training and running statistics in evaluation.

    Two defects of the released code are not reproduced: it does not shuffle the training rows, and its "frozen"
    encoders stay in train mode, where they normalise by the batch and keep adapting to it.

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
    task, modalities, frozen = settings.task, settings.modalities, settings.frozen
    inputs = tuple(dict.fromkeys(name for modality in modalities for name in inputs_of(config.views, modality)))
    check_inputs(model, splits, task=task, modalities=modalities, inputs=inputs)
    name = f"the model of {config.name} (seed {config.seed})"
    check_finite(split_model(model), name, remedy="go back to an earlier checkpoint")
    train, val, test = (_only(inputs, splits[name]) for name in SPLITS)
    encoders, module = encoders_of(model, config, modalities, augment_probability=settings.augment_probability)
    group_size = None if frozen else config.batch_norm.group_size
    order = Order.of(len(train), batch_size=settings.batch_size, group_size=group_size)
    mesh = local_mesh(order.size)
    widths = tuple(model.encoders[modality].out_features for modality in modalities)
    head = EnsembleHead(widths=widths) if settings.ensemble else LinearHead()
    programs = programs_of(
        HeadRecipe(
            head=head,
            task=task,
            encoders=encoders,
            patience=settings.patience if settings.cycle is None else NEVER,
            min_delta=settings.min_delta,
            dtype=config.dtype,
            mesh=mesh,
        )
    )
    params, statistics = jax.device_put(split_model(module), programs.everywhere)
    by_input = jax.device_put({name: dict((fitted or {}).get(name, {})) for name in inputs}, programs.everywhere)
    encoder = FeatureEncoder(params=params, statistics=statistics, fitted=by_input)
    # Both splits have one size, so that they share compiled programs; it leaves room for all images of a row.
    size = min(max(1, settings.batch_size // most_images(val.inputs, encoders)), max(len(val), len(test)))
    size = -(-size // mesh.size) * mesh.size
    val_split, test_split = (EncodedSplit(programs, part, size=size) for part in (val, test))

    def trained_on(seeds: Sequence[Seed], rates: Sequence[float], *, seed: int) -> list[Trained | None]:
        feed = EncodedFeed(programs, train, val_split, order=order, seed=seed, frozen=encoder if frozen else None)
        heads = head.new(sum(widths), task.outputs, seeds=[seed_word(seed) for seed in seeds])
        search = Search(
            reads=modalities,
            rates=rates,
            seed=seed,
            max_rounds=settings.max_epochs,
            ties="first",
            report=report,
            cycle=settings.cycle,
        )
        return fit(programs, feed, heads, None if frozen else encoder, search)

    if frozen:
        trained = trained_on(settings.seeds, settings.learning_rates, seed=seed_word((config.seed,)))
    else:
        trained = []
        for seed in settings.seeds:
            chosen: Trained | None = None
            for rate in settings.learning_rates:
                (candidate,) = trained_on([seed], [rate], seed=seed_word(seed))
                if candidate is not None and (chosen is None or task.better(candidate.reached, chosen.reached)):
                    chosen = candidate
            trained.append(chosen)
    outcomes = []
    for best in map(_folded, all_trained(trained, task)):
        reached = task.metrics(best.outputs(val_split.features(best.encoder, encoder)), val.targets)[task.primary]
        outputs = best.outputs(test_split.features(best.encoder, encoder))
        metrics = {**task.metrics(outputs, test.targets), f"val_{task.primary}": reached}
        outcomes.append(FineTuned(metrics, {"learning_rate": best.rate, "epoch": float(best.round)}, outputs, best))
    return outcomes


def _folded(trained: Trained) -> Trained:
    """Return a trained ensemble as the linear head that it amounts to; any other head as it is."""
    if not isinstance(trained.head, EnsembleHead):
        return trained
    return dataclasses.replace(trained, head=LinearHead(), params=trained.head.folded(trained.params))


def _only(inputs: tuple[str, ...], examples: Examples) -> Examples:
    """Return the examples with these inputs, and which rows have them where the examples say so."""
    rows = {name: examples.inputs[name] for name in inputs}
    return Examples(rows | presence_of(examples.inputs, inputs), np.asarray(examples.targets))


def most_images(inputs: Mapping[str, Any], encoders: Encoders) -> int:
    """Return the largest number of images that a row of an input has."""
    return max(_image_count(inputs[built(spec).modality], spec) for spec in views_of_inputs(encoders.views))


def _image_count(values: Any, spec: ViewSpec) -> int:
    """Return the number of images in a row."""
    return int(values.shape[1]) if values.ndim == image_axes(spec) + 1 else 1


def encoders_of(
    model: Model, config: ConfigDict, modalities: tuple[str, ...], *, augment_probability: float = 0.8
) -> tuple[Encoders, nnx.Dict]:
    """Return the `Encoders` that turn rows into features while a head is trained, and the module of the encoders.

    Raises:
      UserError: the run does not augment the images of a modality.
    """
    inputs = [name for modality in modalities for name in inputs_of(config.views, modality)]
    module = nnx.Dict({modality: model.encoders[modality] for modality in dict.fromkeys([*modalities, *inputs])})
    views = tuple(trained_spec(config, modality, probability=augment_probability) for modality in modalities)
    return Encoders(graphdef=nnx.graphdef(module), modalities=modalities, views=views), module


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
