"""The data of head training: an array of features, or rows that every step encodes."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from mmcl_jax.evaluation.heads.batches import (
    Examples,
    HeadBatch,
    Order,
    balanced,
    drawn_batches,
    in_parts,
    steps_of_round,
)
from mmcl_jax.evaluation.heads.encoded import FeatureEncoder
from mmcl_jax.evaluation.heads.programs import Fixed, Programs, Weights
from mmcl_jax.tasks import Units


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The features `[N, ...]` of one split, with targets `[N, ...]` in units of the label."""

    features: np.ndarray
    targets: np.ndarray


class Feed(abc.ABC):
    """The training data of heads, in G groups that each have rows of their own, and their validation data.

    Attributes:
      fixed: the arrays that no step changes.
      units: of the targets of each group.
      val_targets: `[G, M, ...]` targets of validation, standardised by the units of each group.
      steps: the number of steps in a round.
    """

    fixed: Fixed
    units: Sequence[Units]
    val_targets: np.ndarray
    steps: int

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self.units)

    @abc.abstractmethod
    def round(self, number: int) -> Iterator[HeadBatch]:
        """Yield the batches of a round (from 1 on); a feed of features yields them stacked, `[K, ...]`."""

    @abc.abstractmethod
    def val_features(self, weights: Weights) -> jax.Array:
        """Return the features `[M, ...]` of validation, of the trained encoder if there is one.

        With dense encoders they are the outputs of the only head.
        """


class FeatureFeed(Feed):
    """A feed of features that were computed before; every group shuffles its own rows by its seed."""

    def __init__(
        self,
        programs: Programs,
        train: Labelled,
        val: Labelled,
        rows: np.ndarray,
        *,
        seeds: Sequence[tuple[int, int]],
        batch_size: int,
        least_steps: int,
        balance: bool = False,
    ) -> None:
        """Use `rows` `[G, n]` of the training split: a draw of labels for each group, with `balance` by class."""
        task = programs.recipe.task
        self.units = [task.units(train.targets[drawn]) for drawn in rows]

        def standardised(targets: np.ndarray) -> np.ndarray:
            return np.stack([units.standardise(targets).astype(task.dtype) for units in self.units])

        self.val_targets = standardised(val.targets)
        arrays = train.features.astype(np.float32), standardised(train.targets)
        features, targets = jax.device_put(arrays, programs.everywhere)
        self.fixed = Fixed(features=features, targets=targets)
        self._val = jax.device_put(val.features.astype(np.float32), programs.everywhere)
        samplers = [balanced(train.targets[drawn]) for drawn in rows] if balance else None
        self._batches = drawn_batches(rows, seeds, batch_size=batch_size, least_steps=least_steps, samplers=samplers)
        self.steps = steps_of_round(rows.shape[1], batch_size=batch_size, least_steps=least_steps)

    def round(self, number: int) -> Iterator[HeadBatch]:
        """Yield the minibatches of the next round."""
        yield next(self._batches)

    def val_features(self, weights: Weights) -> jax.Array:
        """Return the features of the validation split."""
        return self._val


class EncodedFeed(Feed):
    """A feed of rows that every step augments and encodes; all heads are one group, and see the same batches."""

    def __init__(
        self,
        programs: Programs,
        train: Examples,
        val: "EncodedSplit",
        *,
        order: Order,
        seed: int,
        frozen: FeatureEncoder | None,
        balance: bool = False,
    ) -> None:
        """Use the training rows in the `order` of the `seed`, and the `frozen` encoder unless it is trained.

        With `balance`, the rows of an epoch are drawn so that every class is as frequent.
        """
        task = programs.recipe.task
        units = task.units(train.targets)
        self.units = [units]
        self._targets: np.ndarray = units.standardise(train.targets).astype(task.dtype)
        self.val_targets = units.standardise(val.targets[None]).astype(task.dtype)
        self.fixed = Fixed(encoder=frozen)
        self.steps = order.steps
        self._train, self._val, self._order, self._seed, self._frozen = train, val, order, seed, frozen
        self._sampler = balanced(train.targets) if balance else None
        self._divided = programs.divided

    def round(self, number: int) -> Iterator[HeadBatch]:
        """Yield the batches of an epoch."""
        for batch in self._order.epoch(number, seed=self._seed, sampler=self._sampler):
            rows, weight = batch.pop("row"), batch.pop("weight")
            inputs = {modality: np.asarray(values[rows]) for modality, values in self._train.inputs.items()}
            by_example = jax.device_put({**inputs, **batch}, self._divided)
            yield {**by_example, "target": self._targets[rows][None], "weight": weight[None]}

    def val_features(self, weights: Weights) -> jax.Array:
        """Return the features of the validation split by the encoder, or the outputs of the head of dense encoders."""
        return self._val.outputs(weights) if self._val.dense else self._val.features(weights.encoder, self._frozen)


class EncodedSplit:
    """A split without augmentation, encoded `size` rows at a time; the features of a frozen encoder are cached."""

    def __init__(self, programs: Programs, examples: Examples, *, size: int) -> None:
        self.targets = examples.targets
        self._programs, self._examples, self._size = programs, examples, size
        self._cached: jax.Array | None = None

    @property
    def dense(self) -> bool:
        """Whether a feature is a map, which only `outputs` reads."""
        encoders = self._programs.recipe.encoders
        return encoders is not None and encoders.dense

    def features(self, trained: FeatureEncoder | None, frozen: FeatureEncoder | None) -> jax.Array:
        """Return the features `[M, D]` by the trained encoder, or by the frozen encoder if none is trained."""
        if trained is not None:
            return self._compute(functools.partial(self._programs.features, trained))
        assert frozen is not None
        if self._cached is None:
            self._cached = self._compute(functools.partial(self._programs.features, frozen))
        return self._cached

    def outputs(self, weights: Weights) -> jax.Array:
        """Return the outputs `[M, ...]` of the only head, with the encoder that is trained with it."""
        return self._compute(functools.partial(self._programs.outputs, weights))

    def _compute(self, program: Callable[[dict[str, jax.Array]], jax.Array]) -> jax.Array:
        parts = [
            np.asarray(program(jax.device_put(part, self._programs.divided)))
            for part in in_parts(self._examples, self._size)
        ]
        return jax.device_put(np.concatenate(parts)[: len(self.targets)], self._programs.everywhere)
