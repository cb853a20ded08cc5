"""The training examples of heads, and their order in batches."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.samplers.balanced import Balanced
from mmcl_jax.data.samplers.base import Sampler, Targets
from mmcl_jax.errors import check

HeadBatch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of a split that have labels.

    Attributes:
      inputs: by modality the rows, as an array or anything that an array of row numbers can index: `image` uint8
        `[N, H, W, C]` (`[N, V, H, W, C]` with V images per row), `table` float32 `[N, F]`.
      targets: `[N]` or `[N, ...]`: integer class codes, or numbers in units of the label.
    """

    inputs: Mapping[str, Any]
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: np.ndarray) -> "Examples":
        """Return the examples in these rows."""
        inputs = {modality: np.asarray(values[rows]) for modality, values in self.inputs.items()}
        return Examples(inputs, self.targets[rows])


@dataclasses.dataclass(frozen=True)
class Order:
    """The order of `rows` training rows, which all heads share, in full batches of `size`.

    Every epoch is a random permutation. Its last batch is filled with copies of the first rows (repeatedly if a batch
    is larger than an epoch); copies complete the groups of batch normalisation and have weight 0 in the loss. So every
    row counts once per epoch, and one compiled step serves all batches.
    """

    rows: int
    size: int

    @classmethod
    def of(cls, rows: int, *, batch_size: int, group_size: int | None) -> "Order":
        """Return the order with batches of at most `batch_size` and, if possible, `rows` rows, in complete groups.

        Raises:
          UserError: a group is larger than `batch_size`.
        """
        if group_size is None:
            return cls(rows, min(batch_size, rows))
        sentence = f"config.batch_norm.group_size: a batch of {batch_size} has no whole group of {group_size} examples."
        check(group_size <= batch_size, sentence)
        return cls(rows, max(1, min(batch_size, rows) // group_size) * group_size)

    @property
    def steps(self) -> int:
        """The number of batches in an epoch."""
        return -(-self.rows // self.size)

    def epoch(self, number: int, *, seed: int, sampler: Sampler | None = None) -> Iterator[HeadBatch]:
        """Yield the batches of an epoch: `row` [B]; `weight` [B] float32, 0 for copies; `id` [B] uint32.

        An id is the number of the row; every copy has an id of its own, so that it is augmented differently. A sampler
        of as many rows chooses the rows of the epoch in place of a permutation.
        """
        if sampler is None:
            permutation = np.random.default_rng([seed, number]).permutation(self.rows)
        else:
            permutation = sampler.order(seed, number)
        indices = np.arange(self.steps * self.size)
        rows = permutation[indices % self.rows]
        ids = rows + indices // self.rows * self.rows if sampler is None else rows + _occurrence(rows) * self.rows
        weights = indices < self.rows
        for start in range(0, len(indices), self.size):
            part = slice(start, start + self.size)
            yield {"row": rows[part], "weight": weights[part].astype(np.float32), "id": ids[part].astype(np.uint32)}


def _occurrence(rows: np.ndarray) -> np.ndarray:
    """Return how often every row `[n]` stands before its place, `[n]`.

    Example:
      >>> _occurrence(np.array([5, 3, 5, 5, 3])).tolist()
      [0, 0, 1, 2, 1]
    """
    order = np.argsort(rows, kind="stable")
    found = rows[order]
    starts = np.flatnonzero(np.r_[True, found[1:] != found[:-1]])
    counted = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
    occurrence = np.empty_like(counted)
    occurrence[order] = counted
    return occurrence


def balanced(targets: np.ndarray) -> Balanced:
    """Return the sampler that draws the classes `[N]` of training rows equally often."""
    return Balanced(targets=Targets(labels={"label": targets.astype(np.int64)}))


def steps_of_round(count: int, *, batch_size: int, least_steps: int) -> int:
    """Return the number of minibatches of at most `batch_size` in the fewest epochs that have `least_steps`."""
    steps = -(-count // batch_size)
    return -(-least_steps // steps) * steps


def drawn_batches(
    rows: np.ndarray,
    seeds: Sequence[tuple[int, int]],
    *,
    batch_size: int,
    least_steps: int,
    samplers: Sequence[Sampler] | None = None,
) -> Iterator[HeadBatch]:
    """Yield rounds of minibatches of each group's rows: `row` `[K, G, b]` int32, and `weight`, 0 where the row is -1.

    A round is the fewest epochs with at least `least_steps` minibatches, so that "no better for ten rounds" means
    something with few labels. b is the smallest size that needs no more minibatches than `batch_size`; the last
    minibatch of an epoch is padded with the row -1.

    Args:
      rows: `[G, n]` training rows.
      seeds: of the groups; each alone decides how the rows of its group are shuffled.
      batch_size: most rows of a minibatch.
      least_steps: fewest minibatches of a round.
      samplers: of the n rows of each group, which choose the rows of an epoch in place of a permutation.
    """
    groups, count = rows.shape
    steps = -(-count // batch_size)
    size, epochs = -(-count // steps), -(-least_steps // steps)
    generators = [np.random.default_rng(seed) for seed in seeds]
    for done in itertools.count():
        order = np.full((epochs, groups, steps * size), -1, np.int32)
        for group, generator in enumerate(generators):
            if samplers is not None:
                word = seed_word(seeds[group])
                drawn = [samplers[group].order(word, done * epochs + epoch) for epoch in range(epochs)]
                order[:, group, :count] = rows[group][np.stack(drawn)]
                continue
            shuffled = np.tile(rows[group], (epochs, 1))
            # The order of rows within one minibatch has no effect.
            order[:, group, :count] = shuffled if steps == 1 else generator.permuted(shuffled, axis=1)
        row = order.reshape(epochs, groups, steps, size).swapaxes(1, 2).reshape(epochs * steps, groups, size)
        yield {"row": row, "weight": (row >= 0).astype(np.float32)}


def in_parts(examples: Examples, size: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the inputs from the first row to the last, `size` at a time; the last part is padded with zeros."""
    for start in range(0, len(examples), size):
        part = examples.take(np.arange(start, min(start + size, len(examples)))).inputs
        yield {
            modality: np.pad(values, [(0, size - len(values)), *[(0, 0)] * (values.ndim - 1)])
            for modality, values in part.items()
        }


def seed_word(seed: tuple[int, ...]) -> int:
    """Return 32 bits that depend on all parts of a seed."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0])
