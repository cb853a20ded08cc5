"""Store to batches, by Grain.

The *batch* is the Grain element, not the sample: one index gives one gather from memory-mapped arrays, which is more
than ten times faster than one Python call per sample, and the iterator's whole state is one integer.
"""

import os
from collections.abc import Collection, Mapping
from typing import Any

import grain
import numpy as np
from absl import flags

from mmcl_jax.data.encoding import Encoding
from mmcl_jax.data.label_feature import raw_table
from mmcl_jax.data.shards import StreamedRows
from mmcl_jax.data.store import Store
from mmcl_jax.data.workers import begin_streaming
from mmcl_jax.errors import check

Batch = dict[str, np.ndarray]


class Batches:
    """A random-access source of training batches; element `i` is this process's rows of global batch `i`.

    Every epoch is a fresh permutation of the split, a pure function of (seed, epoch); the rows that do not fill a batch
    at the end of an epoch are left out of that epoch. The order does not depend on the number of processes.

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
        process: int = 0,
        processes: int = 1,
    ) -> None:
        """Takes `arrays` of equal length and the global batch size.

        Raises:
          UserError: the batch is larger than the split, or does not divide among the processes.
        """
        self.arrays = arrays
        self.rows = len(arrays["id"])
        check(
            batch_size <= self.rows,
            f"config.batch_size: {batch_size} is larger than the training split, which has {self.rows} rows.",
        )
        check(
            batch_size % processes == 0, f"config.batch_size: {batch_size} does not divide among {processes} processes."
        )
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = self.rows // batch_size
        self.steps = self.steps_per_epoch * epochs
        share = batch_size // processes
        self.mine = slice(process * share, (process + 1) * share)
        self._cached = -1, np.arange(0)  # in one piece: several threads ask for batches

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: Any) -> Batch:
        rows = self.rows_of(int(index))[self.mine]
        return {name: np.asarray(array[rows]) for name, array in self.arrays.items()}

    def rows_of(self, index: int) -> np.ndarray:
        """Return the rows of the split, `[B]`, that make up global batch `index`."""
        epoch, step = divmod(index, self.steps_per_epoch)
        return self._permutation(epoch)[step * self.batch_size : (step + 1) * self.batch_size]

    def _permutation(self, epoch: int) -> np.ndarray:
        cached, order = self._cached
        if cached != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
            self._cached = epoch, order
        return order


STREAMING_WORKERS = 2
MODALITIES = ("image", "table")


def is_streamed(images: str, store: Store) -> bool:
    """Whether images are read from the shards: if asked for, or, with "auto", if they are more than memory can hold."""
    if images != "auto":
        return images == "streamed"
    size = sum(store.sizes.values()) * int(np.prod(store.schema.image.stored))
    return size > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def training_arrays(
    store: Store, split: str, modalities: Collection[str], encoding: Encoding | None, *, streamed: bool = False
) -> dict[str, Any]:
    """What training reads of a split: `id` uint32, `label` int32 if there is one, and these modalities.

    `image` is uint8 [N, H, W, C] (or [N, V, H, W, C]), `table` encoded float32 [N, F]. A row without a label has one
    of its own, below 0, so that no pair rule takes it for a row of its class.

    Args:
      store: to read.
      split: of it.
      modalities: "image", "table".
      encoding: of the table's rows, if the table is asked for.
      streamed: read images from the shards and not from the mapped array.

    Raises:
      UserError: there is no such split, no column, or a table value is missing and the policy is "refuse".
    """
    arrays = store.arrays(split, streamed=streamed)
    encoded: dict[str, Any] = {"id": arrays["id"].astype(np.uint32)}
    if "image" in modalities:
        encoded["image"] = arrays["image"]
    if "table" in modalities:
        check(bool(store.schema.columns), f"The store {store.directory} has no columns to make a table of.")
        assert encoding is not None
        encoded["table"] = encoding.encode(raw_table(arrays, store.schema, encoding.schema))
    if "label" in arrays:
        alone = -1 - np.arange(len(arrays["label"]))
        encoded["label"] = np.where(arrays["label"] < 0, alone, arrays["label"]).astype(np.int32)
    return encoded


def populations(batches: Batches) -> dict[str, np.ndarray]:
    """The rows that table views draw from: all training rows `[N, F]`, by modality."""
    return {name: array for name, array in batches.arrays.items() if name == "table"}


class BatchIterator:
    """A Grain iterator over all batches of all epochs, which are drawn ahead.

    Its state is the number of the next batch, whoever draws them; so a run may continue with other `workers`.
    """

    def __init__(self, batches: Batches, *, workers: int) -> None:
        self._batches, self._workers = batches, workers
        self.set_state({"next_index": 0})

    def __iter__(self) -> "BatchIterator":
        return self

    def __next__(self) -> Batch:
        batch = next(self._ahead)
        self._next += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """The state, for `set_state` in this or another process."""
        return {"next_index": self._next}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Goes on from the state that `get_state` gave."""
        self._next = int(state["next_index"])
        rest = grain.MapDataset.source(self._batches)[self._next :]
        if self._workers == 0:
            self._ahead = iter(rest.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
            return
        if not flags.FLAGS.is_parsed():  # Grain reads flags, which a program without absl's `app.run` has not parsed
            flags.FLAGS.mark_as_parsed()
        here = rest.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        options = grain.MultiprocessingOptions(num_workers=self._workers)
        self._ahead = iter(here.mp_prefetch(options, worker_init_fn=begin_streaming))


def iterate(batches: Batches, *, workers: int | None = None) -> BatchIterator:
    """An iterator over the batches, drawn ahead by one thread of this process, or by worker processes.

    A thread is enough for mapped arrays. By default, `STREAMING_WORKERS` processes draw where images are streamed.
    """
    if workers is None:
        workers = STREAMING_WORKERS if isinstance(batches.arrays.get("image"), StreamedRows) else 0
    return BatchIterator(batches, workers=workers)
