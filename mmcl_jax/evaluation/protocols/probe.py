"""Heads on frozen features; all draws of labels and learning rates of one budget are trained together."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.adam import Optimizer
from mmcl_jax.evaluation.heads.cycle import NEVER, OneCycle
from mmcl_jax.evaluation.heads.engine import Search, Trained, fit
from mmcl_jax.evaluation.heads.feeds import FeatureFeed, Labelled
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.plateau import Plateau
from mmcl_jax.evaluation.heads.programs import HeadRecipe, programs_of
from mmcl_jax.tasks import Task
from mmcl_jax.training.mesh import local_mesh

__all__ = ["Labelled", "ProbeSettings", "train_heads"]

# The sweep of Hager et al. (CVPR 2023), and the other settings of their fine-tuning.
LEARNING_RATES = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
BATCH_SIZE = 512
DENSE_BATCH_SIZE = 16  # for masks, which have an output per pixel
PATIENCE = 10
MIN_DELTA = 2e-4
MAX_EPOCHS = 500

_FROM_ZERO = LinearHead(zeros=True)
ROUND_STEPS = 25  # least steps of a round, so that "no better for ten rounds" means something with few labels


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """The settings of training heads on frozen features.

    Attributes:
      task: to predict.
      reads: the modalities of the features.
      head: the kind of head.
      learning_rates: to choose from.
      max_epochs: most rounds.
      batch_size: most rows of a minibatch.
      cycle: how the rates move within `max_epochs`; None for constant rates.
      plateau: how the rates fall while validation does not improve; None for rates that do not.
      optimizer: "adam" with a second moment per head, or "radam" with one per weight.
      balanced: whether every class is drawn as often.
    """

    task: Task
    reads: tuple[str, ...] = ()
    head: LinearHead = _FROM_ZERO
    learning_rates: Sequence[float] = LEARNING_RATES
    max_epochs: int = MAX_EPOCHS
    batch_size: int = BATCH_SIZE
    cycle: OneCycle | None = None
    plateau: Plateau | None = None
    optimizer: Optimizer = "adam"
    balanced: bool = False


def train_heads(
    train: Labelled, val: Labelled, rows: np.ndarray, settings: ProbeSettings, *, seeds: Sequence[tuple[int, int]]
) -> list[Trained]:
    """Train a head per draw and learning rate; return the best of each draw by the primary metric on validation.

    Heads start at zero and are trained by Adam with one second moment per head, on minibatches of up to 512, at a
    constant rate and without weight decay. (With a second moment per weight, weights of noise move as fast as weights
    of signal, and with few labels such a head falls points behind logistic regression: see `tests/evaluation/`.) A
    *round* is the fewest epochs with at least 25 steps: one epoch, unless labels are few. A head stops after ten rounds
    without a validation metric that is 2e-4 above its best, and its best round is returned. Numbers are predicted in
    standard deviations of the draw's labels, with the squared error. Between learning rates, ties go to the smaller
    validation loss. With a `cycle`, the rate moves, every head is trained for all rounds, and its best is returned.

    The probe of Fedorov et al. is rectified Adam with one cycle up to 0.01, batches of 64 and 50 rounds (their heads
    start at random weights).

    A head depends on its draw alone, whose seed shuffles its minibatches, and not on heads that are trained with it.

    Args:
      train: standardised features (see `Standard`), float32, with their targets.
      val: the same for the validation split.
      rows: `[R, n]` training rows of each draw.
      settings: of the training.
      seeds: one per draw, of non-negative integers.

    Raises:
      UserError: training diverges at every rate.
    """
    task, head = settings.task, settings.head
    recipe = HeadRecipe(
        head=head,
        task=task,
        second_moment="head",
        optimizer=settings.optimizer,
        patience=PATIENCE if settings.cycle is None else NEVER,
        min_delta=MIN_DELTA,
        since="best",
        mesh=local_mesh(1),
    )
    programs = programs_of(recipe)
    feed = FeatureFeed(
        programs,
        train,
        val,
        rows,
        seeds=seeds,
        batch_size=settings.batch_size,
        least_steps=ROUND_STEPS,
        balance=settings.balanced,
    )
    heads = head.new(train.features.shape[-1], task.outputs, seeds=[0] * len(rows))
    search = Search(
        reads=settings.reads,
        rates=settings.learning_rates,
        seed=0,
        max_rounds=settings.max_epochs,
        ties="loss",
        cycle=settings.cycle,
        plateau=settings.plateau,
    )
    return all_trained(fit(programs, feed, heads, None, search), task)


def all_trained(trained: Sequence[Trained | None], task: Task) -> list[Trained]:
    """Return the heads; raise `UserError` if one has diverged."""
    heads = [head for head in trained if head is not None]
    if len(heads) < len(trained):
        raise UserError(
            f"Training on {task.label!r} diverged at every learning rate; try lower ones with --learning-rates."
        )
    return heads
