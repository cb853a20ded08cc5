"""The collectives that the design of the step names: what each message of a program is for."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import jax

from mmcl_jax.aot.collectives import Collective
from mmcl_jax.training.build import Experiment

_SIZE = re.compile(r"\[([\d,]*)\]")
_PAIRS = ("all_gather", "all_to_all", "reduce_scatter", "psum_scatter", "ppermute")
_SUMS = 2**12  # numbers; the sums that terms and metrics take over the batch are no longer, beside matrices of features


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """The sizes by which messages are recognised.

    Attributes:
      parameters: how many parameters have each number of elements; a gradient is summed once.
      statistics: the same for the running statistics of normalisation.
      rows: rows of the batch.
      widths: widths of the embeddings that terms compare.
      whole_batch: whether normalisation takes its statistics over the batch, which is a message per layer.
      divided: whether parameters are divided over devices.
      queued: whether a term keeps a queue of embeddings.
    """

    parameters: collections.Counter[int]
    statistics: collections.Counter[int]
    rows: int
    widths: frozenset[int]
    whole_batch: bool
    divided: bool
    queued: bool

    @classmethod
    def of(cls, experiment: Experiment, shapes: tuple[Any, Any, Any]) -> "Design":
        """Return the design of an experiment, whose arguments have these shapes."""
        state, config = shapes[0], experiment.config

        def counted(arrays: Any) -> collections.Counter[int]:
            return collections.Counter(math.prod(array.shape) for array in jax.tree.leaves(arrays))

        parameters = jax.tree.leaves(state.params)
        return cls(
            parameters=counted(state.params),
            statistics=counted(state.model_state),
            rows=config.batch_size,
            widths=frozenset(side for array in parameters for side in array.shape[-1:]),
            whole_batch=config.batch_norm.group_size is None,
            divided=config.mesh.model > 1,
            queued=bool(experiment.objective.queues),
        )

    def explained(self, collectives: Iterable[Collective]) -> Iterator[tuple[Collective, str | None]]:
        """Yield every collective with its purpose, None for a collective that no part of the design sends."""
        left = self.parameters + self.statistics
        for one in collectives:
            yield one, self._purpose(one, left)

    def _purpose(self, one: Collective, left: collections.Counter[int]) -> str | None:
        """Return the purpose; what is sent once a step is taken from `left`."""
        operation = one.origin.rpartition("/")[2]
        sizes = [_elements(array) for array in one.arrays]
        if "shard_map/" in one.origin and operation in _PAIRS:
            return "pairs"
        if one.kind == "all-reduce":
            purposes = dict.fromkeys(self._sum(size, left) for size in sizes)
            return None if None in purposes else ", ".join(filter(None, purposes))
        if not one.origin and one.kind in ("reduce-scatter", "collective-permute", "all-gather"):
            return "pairs"  # pieces that the compiler makes of the kernel's own messages, and names after nothing
        if self.divided and one.kind in ("all-gather", "reduce-scatter") and all(map(self._is_parameter, sizes)):
            return "parameters"
        if self.queued and one.kind == "all-gather":
            return "queue"
        return None

    def _sum(self, size: int, left: collections.Counter[int]) -> str | None:
        """Return what the sum over devices of an array of this size is for."""
        if left[size] > 0:
            left[size] -= 1
            return "gradients" if size in self.parameters else "statistics"
        if size in (self.rows, *(width * width for width in self.widths)):
            return "terms"
        if size == 1 or size in self.widths or (size <= _SUMS and size % 2):
            return "metrics"
        return "statistics" if self.whole_batch else None

    def _is_parameter(self, size: int) -> bool:
        return size in self.parameters


def _elements(array: str) -> int:
    found = _SIZE.search(array)
    assert found is not None
    return math.prod(int(side) for side in found[1].split(",") if side)
