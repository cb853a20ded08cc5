"""Where a step gets its features from: an array of them, or rows that go through encoders."""

import abc
import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from mmcl_jax.evaluation.heads.batches import Examples, HeadBatch, Order, drawn_batches, in_parts
from mmcl_jax.evaluation.heads.encoded import FeatureEncoder
from mmcl_jax.evaluation.heads.programs import Fixed, Programs
from mmcl_jax.tasks import Units


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Features `[N, ...]` and targets `[N, ...]`, in units of the label, of one split."""

    features: np.ndarray
    targets: np.ndarray


class Feed(abc.ABC):
    """What heads are trained on, in G groups that each have their own rows, and validated on.

    Attributes:
      fixed: what no step changes.
      units: of the targets of each group.
      val_targets: `[G, M, ...]` of validation, standardised by these.
    """

    fixed: Fixed
    units: Sequence[Units]
    val_targets: np.ndarray

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self.units)

    @abc.abstractmethod
    def round(self, number: int) -> Iterator[HeadBatch]:
        """Yield the batches of a round, from 1 on; of an array of features, all of them in one, `[K, ...]`."""

    @abc.abstractmethod
    def val_features(self, encoder: FeatureEncoder | None) -> jax.Array:
        """Return features `[M, ...]` of validation, by the encoder if one is trained."""


class FeatureFeed(Feed):
    """Features that were computed before; every group has rows of its own, which are shuffled by its seed."""

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
    ) -> None:
        """Take `rows` `[G, n]` of the training split, a draw of labels for each group."""
        task = programs.recipe.task
        self.units = [task.units(train.targets[drawn]) for drawn in rows]

        def standardised(targets: np.ndarray) -> np.ndarray:
            return np.stack([one.standardise(targets).astype(task.dtype) for one in self.units])

        self.val_targets = standardised(val.targets)
        given = train.features.astype(np.float32), standardised(train.targets)
        features, targets = jax.device_put(given, programs.everywhere)
        self.fixed = Fixed(features=features, targets=targets)
        self._val = jax.device_put(val.features.astype(np.float32), programs.everywhere)
        self._batches = drawn_batches(rows, seeds, batch_size=batch_size, least_steps=least_steps)

    def round(self, number: int) -> Iterator[HeadBatch]:
        """Yield the minibatches of the next round."""
        yield next(self._batches)

    def val_features(self, encoder: FeatureEncoder | None) -> jax.Array:
        """Return the features."""
        return self._val


class EncodedFeed(Feed):
    """Rows that go through encoders in every step, augmented; all heads are one group, and see the same batches."""

    def __init__(
        self,
        programs: Programs,
        train: Examples,
        val: "EncodedSplit",
        *,
        order: Order,
        seed: int,
        frozen: FeatureEncoder | None,
    ) -> None:
        """Take the training rows, their order and its seed, and the encoder if it is not trained."""
        task = programs.recipe.task
        units = task.units(train.targets)
        self.units = [units]
        self._targets: np.ndarray = units.standardise(train.targets).astype(task.dtype)
        self.val_targets = units.standardise(val.targets[None]).astype(task.dtype)
        self.fixed = Fixed(encoder=frozen)
        self._train, self._val, self._order, self._seed, self._frozen = train, val, order, seed, frozen
        self._divided = programs.divided

    def round(self, number: int) -> Iterator[HeadBatch]:
        """Yield the batches of an epoch."""
        for batch in self._order.epoch(number, seed=self._seed):
            rows, weight = batch.pop("row"), batch.pop("weight")
            inputs = {modality: np.asarray(values[rows]) for modality, values in self._train.inputs.items()}
            by_example = jax.device_put({**inputs, **batch}, self._divided)
            yield {**by_example, "target": self._targets[rows][None], "weight": weight[None]}

    def val_features(self, encoder: FeatureEncoder | None) -> jax.Array:
        """Return what the encoder gives."""
        return self._val.features(encoder, self._frozen)


class EncodedSplit:
    """A split as it is, without augmentation, `size` rows at a time; a frozen encoder's features are kept."""

    def __init__(self, programs: Programs, examples: Examples, *, size: int) -> None:
        self.targets = examples.targets
        self._programs, self._examples, self._size = programs, examples, size
        self._kept: jax.Array | None = None

    def features(self, trained: FeatureEncoder | None, frozen: FeatureEncoder | None) -> jax.Array:
        """Return the features `[M, D]` of the trained encoder, or else of the frozen one."""
        if trained is not None:
            return self._compute(trained)
        assert frozen is not None
        if self._kept is None:
            self._kept = self._compute(frozen)
        return self._kept

    def _compute(self, encoder: FeatureEncoder) -> jax.Array:
        parts = [
            np.asarray(self._programs.features(encoder, jax.device_put(part, self._programs.divided)))
            for part in in_parts(self._examples, self._size)
        ]
        return jax.device_put(np.concatenate(parts)[: len(self.targets)], self._programs.everywhere)
