"""Linear heads on frozen features: all draws of labels and all learning rates of one budget are trained together."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.tasks.measures import per_example_loss, primary
from mmcl_jax.tasks.task import Task

# The sweep of Hager et al. (CVPR 2023), and the other settings of their fine-tuning.
LEARNING_RATES = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
BATCH_SIZE = 512
PATIENCE = 10
MIN_DELTA = 2e-4
MAX_EPOCHS = 500

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8  # Adam's
ROUND_STEPS = 25  # a round is at least so many steps, so that "no better for ten" means something with few labels
_ROUNDS_AT_ONCE = 5  # on the device before the host looks whether all have stopped


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Features `[N, D]` and targets `[N]` (class codes, or numbers) of one split."""

    features: np.ndarray
    targets: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heads:
    """One linear head per draw, that of the chosen learning rate: `weights` `[R, D, outputs]`, `bias` `[R, outputs]`.

    `learning_rates` `[R]` are those chosen; `rounds` is how many were trained until every head had stopped.
    """

    weights: np.ndarray
    bias: np.ndarray
    learning_rates: np.ndarray
    rounds: int

    def outputs(self, draw: int, features: np.ndarray) -> np.ndarray:
        """Logits, or predictions in label units, of features `[N, D]`: `[N, outputs]`."""
        return features @ self.weights[draw] + self.bias[draw]


def standardise(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All arrays with the training rows' mean taken off and divided by their standard deviation (where it is not 0).

    The statistics need no labels, so they are taken over the whole training split also when few labels are used.
    """
    mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    scale = np.where(std > 1e-8, std, 1)
    return [((array - mean) / scale).astype(np.float32) for array in (train, *others)]


def train_heads(
    train: Labelled,
    val: Labelled,
    rows: np.ndarray,
    *,
    task: Task,
    seeds: Sequence[tuple[int, int]],
    learning_rates: Sequence[float] = LEARNING_RATES,
    max_epochs: int = MAX_EPOCHS,
) -> Heads:
    """Trains a head per draw and learning rate, and keeps each draw's best by the primary metric on validation.

    Adam with one second moment per head, on minibatches of up to 512, at a constant rate and without weight decay, from
    zero; the best round is kept. (With Adam's second moment per weight, weights of noise move as fast as those of
    signal, and with few labels such a head falls behind logistic regression by points: see `tests/evaluation/`.) A
    *round* is the fewest whole epochs that make 25 steps: one epoch, unless labels are few. A head stops when for ten
    rounds no validation metric was above its best by 2e-4. Numbers are predicted in standard deviations of the draw's
    labels, with the squared error. Between learning rates, ties go to the smaller validation loss.

    A head depends on its draw alone, whose seed shuffles its minibatches, and not on what is trained beside it.

    Args:
      train: standardised features (see `standardise`), float32.
      val: the same of the validation split.
      rows: `[R, n]` training rows of each draw.
      task: classification or regression.
      seeds: `R` of them, non-negative integers.
      learning_rates: to choose from.
      max_epochs: most rounds.
    """
    shift, scale = _units(train.targets[rows], task)
    dtype = np.float32 if task.kind == "regression" else np.int32
    data = {
        "x": jnp.asarray(train.features, jnp.float32),
        "y": jnp.asarray(((train.targets[None] - shift) / scale).astype(dtype)),
        "val_x": jnp.asarray(val.features, jnp.float32),
        "val_y": jnp.asarray(((val.targets[None] - shift) / scale).astype(dtype)),
    }
    rates = jnp.asarray(learning_rates, jnp.float32)
    state = _first(len(rows), train.features.shape[1], len(learning_rates), task.outputs)
    done, batches = 0, _minibatches(rows, seeds)
    while done < max_epochs and bool((state["waited"] < PATIENCE).any()):
        more = min(_ROUNDS_AT_ONCE, max_epochs - done)
        state = _train(state, data, rates, np.stack([next(batches) for _ in range(more)]), kind=task.primary)
        done += more
    return _chosen(jax.device_get(state), np.asarray(learning_rates), shift, scale, done)


def _units(targets: np.ndarray, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """`[R, 1]` mean and standard deviation of the labels of each draw; 0 and 1 for classes."""
    if task.kind == "classification":
        return np.zeros((len(targets), 1), np.int64), np.ones((len(targets), 1), np.int64)
    std = targets.std(axis=1, keepdims=True)
    return targets.mean(axis=1, keepdims=True), np.where(std > 0, std, 1)


def _minibatches(rows: np.ndarray, seeds: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Round after round, `[steps, R, b]` training rows, -1 where the last minibatch of an epoch is not full."""
    draws, count = rows.shape
    steps = -(-count // BATCH_SIZE)
    size, epochs = -(-count // steps), -(-ROUND_STEPS // steps)
    generators = [np.random.default_rng(seed) for seed in seeds]
    while True:
        order = np.full((epochs, draws, steps * size), -1, np.int32)
        for draw, generator in enumerate(generators):
            shuffled = np.tile(rows[draw], (epochs, 1))
            # With all rows in one minibatch their order means nothing.
            order[:, draw, :count] = shuffled if steps == 1 else generator.permuted(shuffled, axis=1)
        yield order.reshape(epochs, draws, steps, size).swapaxes(1, 2).reshape(epochs * steps, draws, size)


_State = dict[str, Any]
_TRAINED = ("heads", "moment", "square", "steps")


def _first(draws: int, features: int, rates: int, outputs: int) -> _State:
    heads = {"w": jnp.zeros((draws, features, rates, outputs)), "b": jnp.zeros((draws, rates, outputs))}
    return {
        "heads": heads,
        "moment": jax.tree.map(jnp.copy, heads),
        "square": jnp.zeros((draws, rates)),
        "steps": jnp.zeros((), jnp.float32),
        "best": jax.tree.map(jnp.copy, heads),
        "metric": jnp.full((draws, rates), -jnp.inf),
        "loss": jnp.full((draws, rates), jnp.inf),
        "waited": jnp.zeros((draws, rates), jnp.int32),
    }


@partial(jax.jit, static_argnames="kind", donate_argnums=0)
def _train(state: _State, data: _State, rates: jax.Array, rounds: jax.Array, *, kind: str) -> _State:
    """Some rounds `[rounds, steps, R, b]` of every head."""

    def loss(heads: _State, batch: jax.Array) -> jax.Array:
        x = data["x"][batch]
        y = jnp.take_along_axis(data["y"], batch, axis=1)
        outputs = jnp.einsum("rbd,rdlo->rblo", x, heads["w"]) + heads["b"][:, None]
        losses = per_example_loss(outputs, y[:, :, None], kind)
        full = (batch >= 0).astype(jnp.float32)
        # The sum over heads: each one's gradient is that of its own mean loss.
        return ((losses * full[:, :, None]).sum(axis=1) / full.sum(axis=1)[:, None]).sum()

    def step(state: _State, batch: jax.Array) -> tuple[_State, None]:
        gradients = jax.grad(loss)(state["heads"], batch)
        moment = jax.tree.map(lambda m, g: FIRST_DECAY * m + (1 - FIRST_DECAY) * g, state["moment"], gradients)
        now = jnp.square(gradients["w"]).mean(axis=(1, 3))
        square = SECOND_DECAY * state["square"] + (1 - SECOND_DECAY) * now
        steps = state["steps"] + 1
        size = rates[None] / (1 - FIRST_DECAY**steps) / (jnp.sqrt(square / (1 - SECOND_DECAY**steps)) + EPSILON)
        heads = jax.tree.map(lambda p, m: p - _beside(size, p) * m, state["heads"], moment)
        return {"heads": heads, "moment": moment, "square": square, "steps": steps}, None

    def one_round(state: _State, batches: jax.Array) -> tuple[_State, None]:
        trained, _ = jax.lax.scan(step, {name: state[name] for name in _TRAINED}, batches)
        found = (trained["heads"], data["val_y"])
        metric, val_loss = jax.lax.map(lambda draw: _validate(draw[0], draw[1], data["val_x"], kind), found)
        going_on = state["waited"] < PATIENCE
        better = going_on & (metric > state["metric"])
        clearly = going_on & (metric > state["metric"] + MIN_DELTA)

        return {
            **trained,
            "best": jax.tree.map(lambda p, q: jnp.where(_beside(better, p), p, q), trained["heads"], state["best"]),
            "metric": jnp.where(better, metric, state["metric"]),
            "loss": jnp.where(better, val_loss, state["loss"]),
            "waited": jnp.where(clearly, 0, state["waited"] + 1),
        }, None

    return jax.lax.scan(one_round, state, rounds)[0]


def _beside(values: jax.Array, heads: jax.Array) -> jax.Array:
    """One value per head `[R, L]`, in the rank of weights `[R, D, L, O]` or biases `[R, L, O]`."""
    return values[:, None, :, None] if heads.ndim == 4 else values[:, :, None]


def _validate(heads: _State, targets: jax.Array, features: jax.Array, kind: str) -> tuple[jax.Array, jax.Array]:
    """The primary metric (higher is better) and the loss `[L]` of one draw's heads on validation."""
    outputs = jnp.einsum("nd,dlo->lno", features, heads["w"]) + heads["b"][:, None]
    return jax.vmap(lambda out: (primary(out, targets, kind), per_example_loss(out, targets, kind).mean()))(outputs)


def _chosen(state: _State, rates: np.ndarray, shift: np.ndarray, scale: np.ndarray, rounds: int) -> Heads:
    """The best head of each draw, in label units."""
    best = [np.lexsort((loss, -metric))[0] for metric, loss in zip(state["metric"], state["loss"], strict=True)]
    draws = np.arange(len(best))
    weights, bias = state["best"]["w"][draws, :, best], state["best"]["b"][draws, best]
    return Heads(
        weights=weights * scale[:, :, None],
        bias=bias * scale + shift,
        learning_rates=rates[best],
        rounds=rounds,
    )
