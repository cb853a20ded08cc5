"""Supervised training of a linear head on one or several encoders, frozen or trained with it."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.encoders import Model
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.batches import Examples, Order, seed_word
from mmcl_jax.evaluation.heads.fit import Scale, Split, fit
from mmcl_jax.evaluation.heads.linear import new_heads, take_head
from mmcl_jax.evaluation.heads.programs import Encoder, Weights, programs_of
from mmcl_jax.evaluation.heads.recipe import Recipe, augmentation_of
from mmcl_jax.evaluation.heads.stopping import EarlyStopping
from mmcl_jax.evaluation.protocols.finetune_checks import check_inputs, check_numbers
from mmcl_jax.tasks.task import Task
from mmcl_jax.training.finite import check_finite
from mmcl_jax.training.mesh import local_mesh
from mmcl_jax.training.state import split_model

__all__ = ["Examples", "Outcome", "finetune"]

Seed = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one seed gave.

    Attributes:
      metrics: `task.metrics` on test, of the best validation epoch, and `val_<primary>`, the validation metric there.
      chosen: `learning_rate` and `epoch` (from 1), by validation.
      outputs: `[N, outputs]` on test.
    """

    metrics: dict[str, float]
    chosen: dict[str, float]
    outputs: np.ndarray


def finetune(
    model: Model,
    config: ConfigDict,
    train: Examples,
    val: Examples,
    test: Examples,
    *,
    task: Task,
    modalities: tuple[str, ...],
    frozen: bool,
    learning_rates: Sequence[float],
    seeds: Sequence[Seed],
    max_epochs: int = 500,
    batch_size: int = 512,
    patience: int = 10,
    min_delta: float = 2e-4,
    augment_probability: float = 0.8,
    report: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Fine-tuning, the probe on augmented images, and supervised baselines (from an untrained model) of MMCL.

    A linear layer on the pooled features of the encoders, concatenated where there are several (Hager et al., CVPR
    2023, section 4.2, and their released code, whose numbers the defaults are). Adam at a constant rate, without weight
    decay; cross-entropy, or the squared error of targets standardised by the training rows. Images are augmented, with
    probability 0.8, as in pretraining but with crops of 0.6 to 1 of the area, and else resized; table rows stay as they
    are. Validation and test are not augmented; of rows with several pictures the outputs are averaged.

    Frozen: only the head is trained, the encoder uses its running statistics and nothing of it changes. All seeds and
    rates share every encoded batch; a head does not depend on those beside it. Not frozen: every seed and rate is a
    training of its own, of head and encoders at the same rate, in batches of whole groups of batch normalisation (see
    `Order`), which uses the batch in training and running statistics in evaluation.

    Two defects of the released code are not reproduced: it does not shuffle its training rows, and its "frozen"
    encoders stay in train mode, so they normalise by, and keep adapting to, the batch.

    Args:
      model: pretrained, or untrained for a baseline; it is not changed.
      config: of its run; the augmentation, the compute dtype, and the run's seed, which orders and augments the data of
        frozen probes, are taken from here.
      train: the rows to train on; the same for all seeds.
      val: chooses epoch and learning rate, by `task.primary`.
      test: measured once per seed.
      task: what is predicted.
      modalities: whose encoders are used.
      frozen: whether the encoders stay as they are.
      learning_rates: to choose from; the first of equals is taken.
      seeds: of the head's initial weights and, if not frozen, of order and augmentation.
      max_epochs: the longest training.
      batch_size: rows per step, at most.
      patience: epochs without improvement after which a training ends.
      min_delta: what counts as an improvement there: of the metric; for regression, of the share of the training
        targets' variance, so that it does not depend on the label's unit.
      augment_probability: share of training images that are augmented.
      report: is told after every epoch how far it is.

    Returns:
      One outcome per seed.

    Raises:
      UserError: the model's weights are not finite, inputs do not fit the model or the task, no image is augmented by
        the run, a batch has no whole group, or training diverges at every rate.
    """
    check_inputs(model, {"train": train, "val": val, "test": test}, task=task, modalities=modalities)
    check_numbers(learning_rates, seeds, max_epochs=max_epochs, batch_size=batch_size, patience=patience)
    name = f"the model of {config.name} (seed {config.seed})"
    check_finite(split_model(model), name, remedy="go back to an earlier checkpoint")
    train, val, test = (_only(modalities, part) for part in (train, val, test))
    augmentation = augmentation_of(config, probability=augment_probability) if "image" in modalities else None
    module = nnx.Dict({modality: model.encoders[modality] for modality in modalities})
    group_size = None if frozen else config.batch_norm.group_size
    order = Order.of(len(train), batch_size=batch_size, group_size=group_size)
    mesh = local_mesh(order.size)
    programs = programs_of(
        Recipe(
            graphdef=nnx.graphdef(module),
            modalities=modalities,
            augmentation=augmentation,
            dtype=config.dtype,
            mesh=mesh,
        )
    )
    params, statistics = jax.device_put(split_model(module), programs.everywhere)
    encoder = Encoder(params=params, statistics=statistics)
    scale = Scale.of(task, train.targets)
    # One size for both splits, so that they share compiled programs; pictures of a row go through the encoder at once.
    pictures = max(values.shape[1] if values.ndim == 5 else 1 for values in val.inputs.values())
    size = min(max(1, batch_size // pictures), max(len(val), len(test)))
    size = -(-size // mesh.size) * mesh.size
    val_split, test_split = (Split(programs, part, size=size, scale=scale) for part in (val, test))

    def fitted(pairs: Sequence[tuple[Seed, float]], *, seed: int) -> tuple[Weights, list[EarlyStopping]]:
        features = sum(model.encoders[modality].features for modality in modalities)
        return fit(
            programs,
            new_heads(features, task.outputs, seeds=[seed_word(pair[0]) for pair in pairs]),
            encoder,
            train,
            val_split,
            task=task,
            frozen=frozen,
            order=order,
            scale=scale,
            rates=[pair[1] for pair in pairs],
            seed=seed,
            max_epochs=max_epochs,
            patience=patience,
            min_delta=min_delta * scale.sd**2,
            report=report,
        )

    shared = None
    if frozen:
        shared = fitted([(seed, rate) for seed in seeds for rate in learning_rates], seed=seed_word((config.seed,)))
    outcomes = []
    for place, seed in enumerate(seeds):
        best: tuple[EarlyStopping, float, Weights] | None = None
        for index, rate in enumerate(learning_rates):
            if shared is not None:
                head = place * len(learning_rates) + index
                weights, stop = Weights(heads=take_head(shared[0].heads, head), encoder=None), shared[1][head]
            else:
                weights, (stop,) = fitted([(seed, rate)], seed=seed_word(seed))
            if task.better(stop.best, best[0].best if best else float("nan")):
                best = stop, rate, weights
        if best is None:
            raise UserError(f"Training on {task.label!r} diverged at every learning rate; try lower ones.")
        stop, rate, weights = best
        (outputs,) = test_split.outputs(weights.heads, weights.encoder or encoder, frozen=frozen)
        metrics = {**task.metrics(outputs, test.targets), f"val_{task.primary}": stop.best}
        outcomes.append(Outcome(metrics, {"learning_rate": rate, "epoch": float(stop.epoch)}, outputs))
    return outcomes


def _only(modalities: tuple[str, ...], examples: Examples) -> Examples:
    return Examples({modality: examples.inputs[modality] for modality in modalities}, np.asarray(examples.targets))
