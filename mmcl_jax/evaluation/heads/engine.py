"""The engine that trains all heads: rounds of steps with validation, early stopping, and the choice of a rate."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.evaluation.heads.cycle import OneCycle
from mmcl_jax.evaluation.heads.encoded import FeatureEncoder
from mmcl_jax.evaluation.heads.feeds import Feed
from mmcl_jax.evaluation.heads.linear import LinearHead, Params
from mmcl_jax.evaluation.heads.plateau import Plateau
from mmcl_jax.evaluation.heads.programs import HeadRecipe, Programs, Progress, Weights
from mmcl_jax.tasks import Task, Units

_AHEAD = 2  # steps that the host may run ahead of the device; each holds a batch in device memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained head at its best round on validation, with everything that its predictions need.

    Attributes:
      reads: the modalities whose features, concatenated, are its input.
      task: that it predicts.
      head: its kind.
      params: its weights, for standardised targets.
      units: of the label.
      encoder: the arrays of the encoders if they were trained with it; None for the arrays of the run.
      rate: the learning rate.
      round: the best round, from 1.
      rounds: number of rounds until all heads that were trained together had stopped.
      reached: the primary metric on validation at the best round, or the loss that it was selected by; float32.
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
        """Return logits, or numbers in units of the label, `[N, outputs]` of features `[N, ...]`."""
        return self.units.restore(np.asarray(_outputs(self.head, self.params, features)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """The settings of a search over learning rates for heads that are trained together.

    Attributes:
      reads: the modalities of the features.
      rates: learning rates to choose from.
      seed: of the augmentation.
      max_rounds: most rounds of the training.
      ties: which of several rates with the same metric wins: the "first", or that of the smallest validation "loss".
      report: called with a progress text after every round.
      cycle: how rates move within `max_rounds`; None for constant rates.
      plateau: how rates fall while validation does not improve, after `held_steps`; None for rates that do not.
      held_steps: number of first steps in which an encoder that is trained with the head is held; afterwards training
        goes on with new moments and a new patience.
      held_rate: the learning rate of these steps.
    """

    reads: tuple[str, ...]
    rates: Sequence[float]
    seed: int
    max_rounds: int
    ties: Literal["first", "loss"]
    report: Callable[[str], None] | None = None
    cycle: OneCycle | None = None
    plateau: Plateau | None = None
    held_steps: int = 0
    held_rate: float = 0.0


def fit(
    programs: Programs, feed: Feed, heads: Params, encoder: FeatureEncoder | None, search: Search
) -> list[Trained | None]:
    """Train heads of many seeds and rates together until all have stopped; return the best head of each seed.

    Args:
      programs: compiled.
      feed: the training and validation data.
      heads: the initial weights `[T, ...]`, one head per seed or draw; each is trained at every rate. Either every head
        is a group of the feed, or the feed has a single group of all heads.
      encoder: the initial arrays of encoders to train with a single head; None for frozen encoders.
      search: the settings.

    Returns:
      One head per seed or draw; None for a seed that diverged at every rate.
    """
    recipe, rates, starts = programs.recipe, search.rates, len(heads["bias"])
    every = jax.tree.map(lambda x: jnp.repeat(x, len(rates), axis=0).reshape(feed.groups, -1, *x.shape[1:]), heads)
    speeds = np.tile(np.array(rates, np.float32), starts).reshape(feed.groups, -1)
    best, progress, rounds = optimise(programs, feed, Weights(heads=every, encoder=encoder), speeds, search)
    metrics, losses = (x.reshape(starts, len(rates)) for x in (progress.metric, progress.loss))
    chosen: list[Trained | None] = []
    for start in range(starts):
        by_loss = losses[start] if search.ties == "loss" else np.zeros(len(rates))
        rate = int(np.lexsort((by_loss, -metrics[start]))[0])
        index = divmod(start * len(rates) + rate, speeds.shape[1])
        if not np.isfinite(metrics[start, rate]):
            chosen.append(None)
            continue
        units = feed.units[index[0]]
        chosen.append(
            Trained(
                reads=search.reads,
                task=recipe.task,
                head=recipe.head,
                params={name: x[index] for name, x in best.heads.items()},
                units=units,
                encoder=best.encoder,
                rate=float(rates[rate]),
                round=int(progress.round[index]),
                rounds=rounds,
                reached=_reached(recipe, float(metrics[start, rate]), units),
            )
        )
    return chosen


def _reached(recipe: HeadRecipe, score: float, units: Units) -> float:
    """Return the metric of a score in units of the label, or the loss that it stands for."""
    return -score if recipe.select == "loss" else recipe.task.natural(score, units)


def optimise(
    programs: Programs,
    feed: Feed,
    weights: Weights,
    rates: np.ndarray,
    search: Search,
) -> tuple[Weights, Progress, int]:
    """Train heads at `rates` `[G, L]`; return the best weights and the progress of each, and the number of rounds."""
    recipe = programs.recipe
    # Steps donate the memory of their weights, so the weights of the caller are copied.
    weights = jax.device_put(jax.tree.map(jnp.copy, weights), programs.everywhere)
    best = jax.tree.map(jnp.copy, weights)
    moments = jax.device_put(programs.first_moments(weights), programs.everywhere)
    progress = jax.device_put(Progress.start(*rates.shape), programs.everywhere)
    val_targets, speeds = jax.device_put((feed.val_targets, rates), programs.everywhere)
    paces = search.cycle.paces(search.max_rounds * feed.steps) if search.cycle else {}
    stacked = recipe.encoders is None  # a batch has all steps of a round
    running: collections.deque[jax.Array] = collections.deque()
    shares = search.plateau.start(rates.shape) if search.plateau else None
    all_held = search.held_steps >= search.max_rounds * feed.steps
    step, number, now_speeds = 0, 0, speeds
    for number in range(1, search.max_rounds + 1):
        for batch in feed.round(number):
            held = step < search.held_steps
            advance = programs.steps if stacked else programs.held_step if held else programs.step
            if step == search.held_steps > 0:
                moments = jax.device_put(programs.first_moments(weights), programs.everywhere)
                progress = progress.again()
                shares = search.plateau.start(rates.shape) if search.plateau else None
            now_speeds = jnp.full_like(speeds, search.held_rate) if held else speeds
            if shares is not None and (all_held or not held):
                now_speeds = now_speeds * shares.now
            now = slice(step * feed.steps, (step + 1) * feed.steps) if stacked else step
            paced = {**batch, **{name: values[now] for name, values in paces.items()}}
            weights, moments, losses = advance(
                weights, moments, feed.fixed, paced, now_speeds, np.uint32(search.seed), np.int32(step)
            )
            step += 1
            running.append(losses)
            if len(running) > _AHEAD:
                running.popleft().block_until_ready()
        metric, loss = measured(programs, weights.heads, feed.val_features(weights), val_targets)
        progress, best = programs.follow(progress, best, weights, metric, loss, np.int32(number))
        if search.report is not None:
            reached = _reached(recipe, float(progress.metric.max()), feed.units[0])
            name = f"learning rate {float(now_speeds[0, 0]):g}" if rates.size == 1 else f"{rates.size} heads"
            most = "" if search.cycle else "at most "
            judged_by = "loss" if recipe.select == "loss" else recipe.task.primary
            search.report(f"{name}, epoch {number} of {most}{search.max_rounds}, validation {judged_by} {reached:.3f}")
        if shares is not None:
            shares.follow(loss=np.asarray(loss), metric=np.asarray(metric))
        going_on = not all_held and 0 < step <= search.held_steps
        if np.asarray(progress.stopped).all() and not going_on:
            break
    return best, jax.device_get(progress), number


def measured(programs: Programs, heads: Params, features: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the score and the loss `[G, L]` of all heads on validation."""
    score, loss = programs.measure(heads, features, targets)
    task, encoders = programs.recipe.task, programs.recipe.encoders
    if task.on_host and programs.recipe.select == "metric":
        assert encoders is not None  # so that the features are the outputs of the only head
        assert encoders.dense
        value = task.score_on_host(np.asarray(features), np.asarray(targets[0]))
        score = jax.device_put(jnp.full_like(score, value), programs.everywhere)
    return score, loss


_outputs = jax.jit(lambda head, params, features: head(params, features), static_argnums=0)
