"""Training batches of a store, drawn ahead by Grain.

A Grain element is a *batch*, not a sample: one index means one gather from memory-mapped arrays, which is more than ten
times faster than one Python call per sample, and the state of the iterator is a single integer.
"""

import gc
import os
from collections.abc import Mapping
from typing import Any

import grain
import numpy as np
from absl import flags

from mmcl_jax.data.format.shards import StreamedRows
from mmcl_jax.data.samplers import Sampler
from mmcl_jax.data.samplers.shuffle import Shuffle
from mmcl_jax.data.store import Store
from mmcl_jax.data.workers import begin_streaming, out_of_shared_memory
from mmcl_jax.errors import check

HostBatch = dict[str, np.ndarray]


class Batches:
    """A random-access source of training batches; element `i` is this process's rows of global batch `i`.

    The sampler returns the rows of every epoch, by default a fresh permutation of the split, as a pure function of
    (seed, epoch). Rows that do not fill a batch at the end of an epoch are left out of that epoch. The order does not
    depend on the number of processes.

    Example:
      >>> batches = Batches({"id": np.arange(5)}, batch_size=2, epochs=3, seed=0)
      >>> len(batches), batches[0]["id"].tolist()
      (6, [2, 4])
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        take: np.ndarray | None = None,
        process: int = 0,
        processes: int = 1,
        sampler: Sampler | None = None,
        multiple: int = 1,
    ) -> None:
        """Store `arrays` of equal length, the global batch size, and the rows to draw from (None: all).

        A message about the batch size names the largest `multiple` that fits, if one does.

        Raises:
          UserError: the batch is larger than an epoch, or cannot be divided equally among the processes.
        """
        self.arrays, self.take = arrays, take
        self.rows = len(arrays["id"]) if take is None else len(take)
        self.sampler = sampler or Shuffle(rows=self.rows)
        size = self.sampler.size
        rows = "the training split" if take is None else "the part of the training split that config.cohort keeps"
        epoch = rows if size == self.rows else "an epoch of config.sampler"
        fitting = size // multiple * multiple
        check(
            batch_size <= size,
            f"config.batch_size: {batch_size} is larger than {epoch}, which has {size} rows; use "
            + (f"{fitting} or fewer." if fitting else f"{size} or fewer, and config.batch_norm.group_size=None."),
        )
        check(
            batch_size % processes == 0,
            f"config.batch_size: {batch_size} does not divide among {processes} processes; "
            f"use a multiple of {processes}.",
        )
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = size // batch_size
        self.steps = self.steps_per_epoch * epochs
        share = batch_size // processes
        self._share = slice(process * share, (process + 1) * share)  # of this process in every batch
        self._cached = -1, np.arange(0)  # one tuple, assigned at once: several threads index this object

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: Any) -> HostBatch:
        batch_rows = self.rows_of(int(index))
        rows = batch_rows[self._share]
        batch = {name: np.asarray(array[rows]) for name, array in self.arrays.items()}
        return {**batch, "occurrence": _occurrence(batch_rows)[self._share]} if self.sampler.repeats else batch

    def row(self) -> HostBatch:
        """Return a batch of one row, whose shapes and types are those of every batch but for its size."""
        rows = self.rows_of(0)[:1]
        batch = {name: np.asarray(array[rows]) for name, array in self.arrays.items()}
        return {**batch, "occurrence": _occurrence(rows)} if self.sampler.repeats else batch

    def describe(self) -> str:
        """Return a sentence on the rows and steps of an epoch."""
        left = self.sampler.size - self.steps_per_epoch * self.batch_size
        drawn = "" if self.sampler.size == self.rows else f"{self.sampler.size} drawn in an epoch, "
        steps = f"{self.steps_per_epoch} steps per epoch"
        return f"{self.rows} rows, {drawn}{steps}; each epoch leaves out {left} other rows"

    def rows_of(self, index: int) -> np.ndarray:
        """Return the rows of the split, `[B]`, that make up global batch `index`."""
        epoch, step = divmod(index, self.steps_per_epoch)
        return self._order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]

    def _order(self, epoch: int) -> np.ndarray:
        cached, order = self._cached
        if cached != epoch:
            order = self.sampler.order(self.seed, epoch)
            order = order if self.take is None else self.take[order]
            self._cached = epoch, order
        return order


def _occurrence(rows: np.ndarray) -> np.ndarray:
    """Return how many copies of each row `[B]` come before it, int32."""
    order = np.argsort(rows, kind="stable")
    ordered, counts = rows[order], np.empty(len(rows), np.int32)
    counts[order] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return counts


STREAMING_WORKERS = 2


def is_streamed(images: str, store: Store) -> bool:
    """Return whether images are read from the shards: with "streamed", or with "auto" if memory cannot hold them."""
    if images != "auto":
        return images == "streamed"
    pictures = [entry for entry in store.schema.entries.values() if entry.kind in ("image", "volume")]
    row = sum(int(np.prod(entry.stored)) * np.dtype(entry.dtype).itemsize for entry in pictures)
    return sum(store.sizes.values()) * row > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class BatchIterator:
    """A Grain iterator over the batches of all epochs, drawn ahead by a thread or by worker processes.

    Its state is the index of the next batch, whatever the number of `workers`; so a run may continue with another one.
    """

    def __init__(self, batches: Batches, *, workers: int) -> None:
        self._batches, self._workers = batches, workers
        self._next = 0
        self._ahead: grain.DatasetIterator | None = self._begin(0)

    def __iter__(self) -> "BatchIterator":
        return self

    def __next__(self) -> HostBatch:
        assert self._ahead is not None
        batch = next(self._ahead)
        self._next += 1
        if self._workers == 0:
            return batch
        return {name: out_of_shared_memory(array) for name, array in batch.items()}

    def close(self) -> None:
        """End the thread or the processes, and drop the batches that they have drawn ahead; `next` must not follow."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None
        gc.collect()  # reference cycles in Grain hold batches, which lie in shared memory

    def get_state(self) -> dict[str, int]:
        """Return the index of the next batch, for `set_state` in this or another process."""
        return {"next_index": self._next}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Continue from the state that `get_state` returned."""
        self.close()
        self._next = int(state["next_index"])
        self._ahead = self._begin(self._next)

    def _begin(self, first: int) -> grain.DatasetIterator:
        """Return an iterator that draws batches ahead, beginning with batch `first`."""
        rest = grain.MapDataset.source(self._batches)[first:]
        if self._workers == 0:
            return iter(rest.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
        if not flags.FLAGS.is_parsed():  # Grain reads flags, which a program without absl's `app.run` has not parsed
            flags.FLAGS.mark_as_parsed()
        unbuffered = rest.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        options = grain.MultiprocessingOptions(num_workers=self._workers)
        return iter(unbuffered.mp_prefetch(options, worker_init_fn=begin_streaming))


def iterate(batches: Batches, *, workers: int | None = None) -> BatchIterator:
    """Return an iterator over the batches, drawn ahead by a thread (`workers=0`) or by that many processes.

    A thread is enough for mapped arrays. The default is 0, or `STREAMING_WORKERS` where images are streamed.
    """
    if workers is None:
        streams = any(isinstance(array, StreamedRows) for array in batches.arrays.values())
        workers = STREAMING_WORKERS if streams else 0
    return BatchIterator(batches, workers=workers)
