"""The examples that heads are trained on, and the batches they are put into."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.errors import check

HeadBatch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split, or the part of it that has labels.

    Attributes:
      inputs: per modality an array, or what an array of rows can index: `image` uint8 `[N, H, W, C]` (or
        `[N, V, H, W, C]` of V pictures per row), `table` float32 `[N, F]`, encoded rows.
      targets: `[N]` or `[N, ...]`: integer class codes, or numbers in units of the label.
    """

    inputs: Mapping[str, Any]
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: np.ndarray) -> "Examples":
        """Return some of the rows."""
        inputs = {modality: np.asarray(values[rows]) for modality, values in self.inputs.items()}
        return Examples(inputs, self.targets[rows])


@dataclasses.dataclass(frozen=True)
class Order:
    """How `rows` training rows that every head sees are put into full batches of `size`.

    Every epoch is a random permutation. Its last batch is filled up from its beginning (several times over, where there
    are fewer rows than a batch has): the copies complete the groups of batch normalisation, and weigh nothing in the
    loss. So every row counts once in an epoch, none is dropped, and one compiled step serves all batches.
    """

    rows: int
    size: int

    @classmethod
    def of(cls, rows: int, *, batch_size: int, group_size: int | None) -> "Order":
        """Return batches of at most `batch_size` and, if possible, no more than `rows`, in whole groups.

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
        """Batches in an epoch."""
        return -(-self.rows // self.size)

    def epoch(self, number: int, *, seed: int) -> Iterator[HeadBatch]:
        """Yield the batches of an epoch: `row` [B]; `weight` [B] float32, 0 for copies; `id` [B] uint32.

        An id is the row, except that every copy has another, so that it is augmented in another way.
        """
        permutation = np.random.default_rng([seed, number]).permutation(self.rows)
        places = np.arange(self.steps * self.size)
        rows = permutation[places % self.rows]
        ids = rows + places // self.rows * self.rows
        weights = places < self.rows
        for start in range(0, len(places), self.size):
            part = slice(start, start + self.size)
            yield {"row": rows[part], "weight": weights[part].astype(np.float32), "id": ids[part].astype(np.uint32)}


def drawn_batches(
    rows: np.ndarray, seeds: Sequence[tuple[int, int]], *, batch_size: int, least_steps: int
) -> Iterator[HeadBatch]:
    """Round after round, minibatches of each group's own rows: `row` `[K, G, b]` int32 and `weight`, 0 where it is -1.

    A round is the fewest whole epochs that make `least_steps`, so that "no better for ten rounds" means something with
    few labels. The last minibatch of an epoch may not be full; b is the smallest size that makes as few minibatches as
    `batch_size` does.

    Args:
      rows: `[G, n]` training rows.
      seeds: of the groups; their minibatches are shuffled by them, and do not depend on the others.
      batch_size: rows of a minibatch, at most.
      least_steps: minibatches of a round.
    """
    groups, count = rows.shape
    steps = -(-count // batch_size)
    size, epochs = -(-count // steps), -(-least_steps // steps)
    generators = [np.random.default_rng(seed) for seed in seeds]
    while True:
        order = np.full((epochs, groups, steps * size), -1, np.int32)
        for group, generator in enumerate(generators):
            shuffled = np.tile(rows[group], (epochs, 1))
            # With all rows in one minibatch their order means nothing.
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
