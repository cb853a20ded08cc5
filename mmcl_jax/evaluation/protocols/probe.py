"""Heads on frozen features: all draws of labels and all learning rates of one budget are trained together."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.engine import Search, Trained, fit
from mmcl_jax.evaluation.heads.feeds import FeatureFeed, Labelled
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.programs import HeadRecipe, programs_of
from mmcl_jax.tasks import Task
from mmcl_jax.training.mesh import local_mesh

__all__ = ["Labelled", "ProbeSettings", "train_heads"]

# The sweep of Hager et al. (CVPR 2023), and the other settings of their fine-tuning.
LEARNING_RATES = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
BATCH_SIZE = 512
DENSE_BATCH_SIZE = 16  # of outputs that are maps
PATIENCE = 10
MIN_DELTA = 2e-4
MAX_EPOCHS = 500

_FROM_ZERO = LinearHead(zeros=True)
ROUND_STEPS = 25  # a round is at least so many steps, so that "no better for ten" means something with few labels


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """How heads on frozen features are trained.

    Attributes:
      task: what is predicted.
      reads: the modalities of the features.
      head: the kind of head.
      learning_rates: to choose from.
      max_epochs: most rounds.
      batch_size: rows of a minibatch, at most.
    """

    task: Task
    reads: tuple[str, ...] = ()
    head: LinearHead = _FROM_ZERO
    learning_rates: Sequence[float] = LEARNING_RATES
    max_epochs: int = MAX_EPOCHS
    batch_size: int = BATCH_SIZE


def train_heads(
    train: Labelled, val: Labelled, rows: np.ndarray, settings: ProbeSettings, *, seeds: Sequence[tuple[int, int]]
) -> list[Trained]:
    """Train a head per draw and learning rate, and keep each draw's best by the primary metric on validation.

    Adam with one second moment per head, on minibatches of up to 512, at a constant rate and without weight decay, from
    zero; the best round is kept. (With Adam's second moment per weight, weights of noise move as fast as those of
    signal, and with few labels such a head falls behind logistic regression by points: see `tests/evaluation/`.) A
    *round* is the fewest whole epochs that make 25 steps: one epoch, unless labels are few. A head stops when for ten
    rounds no validation metric was above its best by 2e-4. Numbers are predicted in standard deviations of the draw's
    labels, with the squared error. Between learning rates, ties go to the smaller validation loss.

    A head depends on its draw alone, whose seed shuffles its minibatches, and not on what is trained beside it.

    Args:
      train: features in standard deviations (see `Standard`), float32.
      val: the same of the validation split.
      rows: `[R, n]` training rows of each draw.
      settings: how they are trained.
      seeds: `R` of them, non-negative integers.

    Raises:
      UserError: training diverges at every rate.
    """
    task, head = settings.task, settings.head
    recipe = HeadRecipe(
        head=head,
        task=task,
        second_moment="head",
        patience=PATIENCE,
        min_delta=MIN_DELTA,
        since="best",
        mesh=local_mesh(1),
    )
    programs = programs_of(recipe)
    feed = FeatureFeed(programs, train, val, rows, seeds=seeds, batch_size=settings.batch_size, least_steps=ROUND_STEPS)
    heads = head.new(train.features.shape[-1], task.outputs, seeds=[0] * len(rows))
    search = Search(
        reads=settings.reads, rates=settings.learning_rates, seed=0, max_rounds=settings.max_epochs, ties="loss"
    )
    return all_trained(fit(programs, feed, heads, None, search), task)


def all_trained(trained: Sequence[Trained | None], task: Task) -> list[Trained]:
    """Return the heads; raises `UserError` if one has diverged."""
    found = [one for one in trained if one is not None]
    if len(found) < len(trained):
        raise UserError(f"Training on {task.label!r} diverged at every learning rate; try lower ones.")
    return found
