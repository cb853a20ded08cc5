"""The engine that trains all heads: rounds of steps, validation after each, early stopping, the choice of a rate."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.evaluation.heads.encoded import FeatureEncoder
from mmcl_jax.evaluation.heads.feeds import Feed
from mmcl_jax.evaluation.heads.linear import LinearHead, Params
from mmcl_jax.evaluation.heads.programs import Programs, Progress, Weights
from mmcl_jax.tasks import Task, Units

_AHEAD = 2  # steps the host may be ahead of the device; every one has a batch there


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """One head with all that its predictions take, at its best round on validation.

    Attributes:
      reads: the modalities whose features, side by side, it takes.
      task: what it predicts.
      head: its kind.
      params: its weights, for standardised targets.
      units: of the label.
      encoder: the arrays of the encoders, if they were trained with it; else they are the run's.
      rate: the learning rate.
      round: the best, from 1.
      rounds: trained until all heads beside it had stopped.
      reached: the primary metric on validation, float32.
    """

    reads: tuple[str, ...]
    task: Task
    head: LinearHead
    params: Params
    units: Units
    encoder: FeatureEncoder | None
    rate: float
    round: int
    rounds: int
    reached: float

    def outputs(self, features: np.ndarray | jax.Array) -> np.ndarray:
        """Return logits, or predictions in units of the label, of features `[N, ...]`: `[N, outputs]`."""
        return self.units.restore(np.asarray(_outputs(self.head, self.params, features)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """How heads of many seeds and rates are trained together, and which of the rates is chosen.

    Attributes:
      reads: the modalities of the features.
      rates: learning rates to choose from.
      seed: of the augmentation.
      max_rounds: after which training ends in any case.
      ties: between rates that reached the same metric, the "first" wins, or the smallest validation "loss".
      report: is told after every round how far the training is.
    """

    reads: tuple[str, ...]
    rates: Sequence[float]
    seed: int
    max_rounds: int
    ties: Literal["first", "loss"]
    report: Callable[[str], None] | None = None


def fit(
    programs: Programs, feed: Feed, heads: Params, encoder: FeatureEncoder | None, search: Search
) -> list[Trained | None]:
    """Train heads of many seeds and rates together until all have stopped; return the best rate's of each seed.

    Args:
      programs: compiled.
      feed: what is trained on.
      heads: the initial ones, `[T, ...]`, one per seed or draw; each is trained at every rate. They are the groups of
        the feed, or all in its only one.
      encoder: the initial arrays of encoders that are trained with the only head; None if none is.
      search: the rates, and when training ends.

    Returns:
      One per seed or draw; None if it diverged at every rate.
    """
    recipe, rates, starts = programs.recipe, search.rates, len(heads["bias"])
    every = jax.tree.map(lambda x: jnp.repeat(x, len(rates), axis=0).reshape(feed.groups, -1, *x.shape[1:]), heads)
    speeds = np.tile(np.array(rates, np.float32), starts).reshape(feed.groups, -1)
    best, progress, rounds = optimise(
        programs,
        feed,
        Weights(heads=every, encoder=encoder),
        rates=speeds,
        seed=search.seed,
        max_rounds=search.max_rounds,
        report=search.report,
    )
    metrics, losses = (x.reshape(starts, len(rates)) for x in (progress.metric, progress.loss))
    chosen: list[Trained | None] = []
    for start in range(starts):
        by_loss = losses[start] if search.ties == "loss" else np.zeros(len(rates))
        at = int(np.lexsort((by_loss, -metrics[start]))[0])
        place = divmod(start * len(rates) + at, speeds.shape[1])
        if not np.isfinite(metrics[start, at]):
            chosen.append(None)
            continue
        units = feed.units[place[0]]
        chosen.append(
            Trained(
                reads=search.reads,
                task=recipe.task,
                head=recipe.head,
                params={name: x[place] for name, x in best.heads.items()},
                units=units,
                encoder=best.encoder,
                rate=float(rates[at]),
                round=int(progress.round[place]),
                rounds=rounds,
                reached=recipe.task.natural(float(metrics[start, at]), units),
            )
        )
    return chosen


def optimise(
    programs: Programs,
    feed: Feed,
    weights: Weights,
    *,
    rates: np.ndarray,
    seed: int,
    max_rounds: int,
    report: Callable[[str], None] | None,
) -> tuple[Weights, Progress, int]:
    """Train heads at `rates` `[G, L]`; return the best weights and the progress of each, and the number of rounds."""
    task = programs.recipe.task
    # Steps take over the memory of the weights they are given, so the caller's are copied.
    weights = jax.device_put(jax.tree.map(jnp.copy, weights), programs.everywhere)
    best = jax.tree.map(jnp.copy, weights)
    moments = jax.device_put(programs.first_moments(weights), programs.everywhere)
    progress = jax.device_put(Progress.start(*rates.shape), programs.everywhere)
    val_targets, speeds = jax.device_put((feed.val_targets, rates), programs.everywhere)
    advance = programs.steps if programs.recipe.encoders is None else programs.step
    running: collections.deque[jax.Array] = collections.deque()
    step, number = 0, 0
    for number in range(1, max_rounds + 1):
        for batch in feed.round(number):
            weights, moments, losses = advance(
                weights, moments, feed.fixed, batch, speeds, np.uint32(seed), np.int32(step)
            )
            step += 1
            running.append(losses)
            if len(running) > _AHEAD:
                running.popleft().block_until_ready()
        metric, loss = measured(programs, weights.heads, feed.val_features(weights.encoder), val_targets)
        progress, best = programs.follow(progress, best, weights, metric, loss, np.int32(number))
        if report is not None:
            reached = task.natural(float(progress.metric.max()), feed.units[0])
            which = f"learning rate {rates[0, 0]:g}" if rates.size == 1 else f"{rates.size} heads"
            report(f"{which}, epoch {number} of at most {max_rounds}, validation {task.primary} {reached:.3f}")
        if np.asarray(progress.stopped).all():
            break
    return best, jax.device_get(progress), number


def measured(programs: Programs, heads: Params, features: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the score and the loss `[G, L]` of all heads on validation."""
    return programs.measure(heads, features, targets)


_outputs = jax.jit(lambda head, params, features: head(params, features), static_argnums=0)
