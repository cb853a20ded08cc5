"""The loop of supervised training: epochs of batches, validation after each, early stopping."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.evaluation.heads.batches import Examples, Order, in_parts
from mmcl_jax.evaluation.heads.linear import Heads
from mmcl_jax.evaluation.heads.programs import Encoder, Programs, Weights
from mmcl_jax.evaluation.heads.stopping import EarlyStopping
from mmcl_jax.tasks.task import Task

_AHEAD = 2  # steps the host may be ahead of the device; every one has a batch of images there


@dataclasses.dataclass(frozen=True)
class Scale:
    """How targets are standardised for training: by the mean and standard deviation of the training rows."""

    mean: float = 0.0
    sd: float = 1.0

    @classmethod
    def of(cls, task: Task, targets: np.ndarray) -> "Scale":
        """Nothing is done to class codes; a constant target is only centred."""
        if task.kind == "classification":
            return cls()
        return cls(float(targets.mean()), float(targets.std()) or 1.0)


class Split:
    """Evaluates heads on one split, as it is: without augmentation, in batches of `size`."""

    def __init__(self, programs: Programs, examples: Examples, *, size: int, scale: Scale) -> None:
        self.targets = examples.targets
        self._programs, self._examples, self._size, self._scale = programs, examples, size, scale
        self._kept: list[jax.Array] | None = None

    def outputs(self, heads: Heads, encoder: Encoder, *, frozen: bool) -> np.ndarray:
        """`[R, N, outputs]`: logits, or predictions in units of the label; a frozen encoder's features are kept."""
        if frozen and self._kept is None:
            self._kept = list(self._features(encoder))
        parts = self._kept if frozen else self._features(encoder)
        assert parts is not None
        outputs = np.concatenate([np.asarray(self._programs.outputs(heads, part)) for part in parts], axis=1)
        return outputs[:, : len(self.targets)] * np.float32(self._scale.sd) + np.float32(self._scale.mean)

    def _features(self, encoder: Encoder) -> Iterator[jax.Array]:
        parts = in_parts(self._examples, self._size)
        return (self._programs.features(encoder, jax.device_put(part, self._programs.divided)) for part in parts)


def fit(
    programs: Programs,
    heads: Heads,
    encoder: Encoder,
    train: Examples,
    val: Split,
    *,
    task: Task,
    frozen: bool,
    order: Order,
    scale: Scale,
    rates: Sequence[float],
    seed: int,
    max_epochs: int,
    patience: int,
    min_delta: float,
    report: Callable[[str], None] | None = None,
) -> tuple[Weights, list[EarlyStopping]]:
    """Trains R heads until all have stopped, and returns each one's weights of its best epoch.

    Args:
      programs: compiled.
      heads: the initial ones, R of them; 1 if the encoder is not frozen.
      encoder: what its arrays are at first; they are left as they are.
      train: whose targets are in units of the label.
      val: measured after every epoch.
      task: what is predicted.
      frozen: whether only heads are trained.
      order: of the training rows.
      scale: of the targets.
      rates: the learning rate of each head.
      seed: of order and augmentation.
      max_epochs: after which training ends in any case.
      patience: see `EarlyStopping`.
      min_delta: likewise.
      report: is told after every epoch how far it is.
    """
    # Steps take over the memory of the weights they are given, so the caller's are copied.
    weights = jax.tree.map(jnp.copy, Weights(heads=heads, encoder=None if frozen else encoder))
    weights = jax.device_put(weights, programs.everywhere)
    best = jax.tree.map(jnp.copy, weights)
    moments = jax.device_put(programs.first_moments(weights), programs.everywhere)
    stopping = [EarlyStopping(task, patience=patience, min_delta=min_delta) for _ in rates]
    fixed, speeds, word = encoder if frozen else None, np.array(rates, np.float32), np.uint32(seed)
    targets = _for_training(train.targets, task, scale)
    running: collections.deque[jax.Array] = collections.deque()
    step = 0
    for epoch in range(1, max_epochs + 1):
        for batch in order.epoch(epoch, seed=seed):
            rows = batch.pop("row")
            inputs = {modality: np.asarray(values[rows]) for modality, values in train.inputs.items()}
            batch = jax.device_put({**inputs, **batch, "target": targets[rows]}, programs.divided)
            weights, moments, losses = programs.step(weights, moments, fixed, batch, speeds, word, np.int32(step))
            step += 1
            running.append(losses)
            if len(running) > _AHEAD:
                running.popleft().block_until_ready()
        outputs = val.outputs(weights.heads, weights.encoder or encoder, frozen=frozen)
        improved = [
            not stop.stopped and stop.update(primary_metric(task, output, val.targets), epoch=epoch)
            for stop, output in zip(stopping, outputs, strict=True)
        ]
        if report is not None:
            best_yet = functools.reduce(lambda a, b: b if task.better(b, a) else a, [stop.best for stop in stopping])
            which = f"learning rate {rates[0]:g}" if len(rates) == 1 else f"{len(rates)} heads"
            report(f"{which}, epoch {epoch} of at most {max_epochs}, validation {task.primary} {best_yet:.3f}")
        if any(improved):
            best = programs.keep(best, weights, np.array(improved))
        if all(stop.stopped for stop in stopping):
            break
    return best, stopping


def primary_metric(task: Task, outputs: np.ndarray, targets: np.ndarray) -> float:
    """The primary one of `task.metrics`.

    Top-1 by itself: with it come curves for every class, which at every epoch of every head would take longer than
    the training.
    """
    if task.primary != "top1":
        return task.metrics(outputs, targets)[task.primary]
    return float((outputs.argmax(axis=1) == targets).mean()) if np.isfinite(outputs).all() else float("nan")


def _for_training(targets: np.ndarray, task: Task, scale: Scale) -> np.ndarray:
    if task.kind == "classification":
        return targets.astype(np.int32)
    return ((targets - scale.mean) / scale.sd).astype(np.float32)
