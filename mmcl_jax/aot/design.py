"""The collectives that the design of the step names: what each message of a program is for."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from mmcl_jax.aot.collectives import Collective
from mmcl_jax.training.build import Experiment

_SIZE = re.compile(r"\[([\d,]*)\]")
_PER_ROW = 8  # numbers that the kernel sends with a row beside its embedding, at most
_ENCODING = re.compile(r"(encoder|projector|predictor|target)\.")  # named scopes of the step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """The sizes by which messages are recognised.

    Attributes:
      parameters: how many parameters have each number of elements; a gradient is summed once.
      statistics: the same for the running statistics of normalisation.
      rows: rows of the batch.
      widths: widths of the embeddings and of pooled features.
      spans: whether rows that are normalised together lie on several devices, which sends messages in every layer.
      divided: whether parameters are divided over devices.
      dense: whether the pairs are a matrix that the compiler divides by itself.
      queued: whether a term keeps a queue of embeddings.
    """

    parameters: collections.Counter[int]
    statistics: collections.Counter[int]
    rows: int
    widths: frozenset[int]
    spans: bool = False
    divided: bool = False
    dense: bool = False
    queued: bool = False

    @classmethod
    def of(cls, experiment: Experiment, shapes: tuple[Any, Any, Any], outputs: Any) -> "Design":
        """Return the design of an experiment, whose step and encoders have arguments and outputs of these shapes."""
        state, config = shapes[0], experiment.config
        rows = config.batch_size
        on_device, group = (config.micro_batch or rows) // experiment.mesh.size, config.batch_norm.group_size

        def counted(arrays: Any) -> collections.Counter[int]:
            return collections.Counter(math.prod(array.shape) for array in jax.tree.leaves(arrays))

        embeddings = [leaf for leaf in jax.tree.leaves(outputs) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        return cls(
            parameters=counted(state.params),
            statistics=counted(state.model_state),
            rows=rows,
            widths=frozenset(leaf.shape[1] for leaf in embeddings if leaf.ndim == 2 and leaf.shape[0] == rows),
            spans=experiment.mesh.size > 1 and (group is None or on_device % group != 0),
            divided=config.mesh.model > 1,
            dense=config.pairs.execution == "dense",
            queued=bool(experiment.objective.queues),
        )

    def explained(self, collectives: Iterable[Collective]) -> Iterator[tuple[Collective, str | None]]:
        """Yield every collective with its purpose, None for a collective that no part of the design sends."""
        left = {"gradients": self.parameters.copy(), "statistics": self.statistics.copy()}
        for one in collectives:
            if one.kind == "all-reduce":
                purposes = dict.fromkeys(self._sum(array, one.origin, left) for array in one.arrays)
                yield one, None if None in purposes else ", ".join(filter(None, purposes))
            else:
                yield one, self._moved(one)

    def _sum(self, array: str, origin: str, left: dict[str, collections.Counter[int]]) -> str | None:
        """Return what the sum of an array over devices is for; what is sent once in a step is taken from `left`."""
        size = _elements(array)
        forward = _ENCODING.search(origin) is not None and "transpose(" not in origin
        for purpose, sizes in left.items():
            if sizes[size] and not (forward and purpose == "gradients"):
                sizes[size] -= 1
                return purpose
        each, rest = divmod(size, self.rows)
        if rest == 0 and (each <= _PER_ROW or each in self.widths):
            return "pairs"  # with few rows per device, the compiler gathers and scatters by sums over all devices
        if size == 1 or size in self.widths or (math.isqrt(size) in self.widths and math.isqrt(size) ** 2 == size):
            return "terms and metrics"
        return "normalisation" if self.spans else None

    def _moved(self, one: Collective) -> str | None:
        """Return what a message that sums nothing, or keeps a part of the sum, is for."""
        sizes = list(map(_elements, one.arrays))
        if "shard_map/" in one.origin:
            return "pairs"
        if self.divided and one.kind in ("all-gather", "reduce-scatter") and all(map(self._divides, sizes)):
            return "parameters"
        if not one.origin and one.kind in ("reduce-scatter", "collective-permute"):
            return "pairs"  # parts of the kernel's reduce-scatter, which the compiler makes and leaves without a name
        if self.queued and "queues" in one.origin:
            return "queue"
        return "pairs" if self.dense and "term." in one.origin else None

    def _divides(self, size: int) -> bool:
        return any(parameter % size == 0 for parameter in self.parameters)


def _elements(array: str) -> int:
    found = _SIZE.search(array)
    assert found is not None
    return math.prod(int(side) for side in found[1].split(",") if side)
