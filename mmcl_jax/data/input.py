"""Store to batches, by Grain.

The *batch* is the Grain element, not the sample: one index gives one gather from memory-mapped arrays, which is more
than ten times faster than one Python call per sample, and the iterator's whole state is one integer.
"""

from collections.abc import Collection
from typing import Any

import grain
import numpy as np

from mmcl_jax.data.store import Store
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
        arrays: dict[str, np.ndarray],
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
        self._epoch, self._order = -1, np.arange(0)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: Any) -> Batch:
        epoch, step = divmod(int(index), self.steps_per_epoch)
        order = self._permutation(epoch)
        rows = order[step * self.batch_size : (step + 1) * self.batch_size][self.mine]
        return {name: np.asarray(array[rows]) for name, array in self.arrays.items()}

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
            self._epoch, self._order = epoch, order
            return order
        return self._order


MODALITIES = ("image", "table")


def training_arrays(store: Store, split: str, modalities: Collection[str], *, missing: str) -> dict[str, np.ndarray]:
    """What training reads of a split: `id` uint32, `label` int32 if there is one, and these modalities.

    `image` is uint8 [N, H, W, C], `table` encoded float32 [N, F].

    Raises:
      UserError: there is no such split, or a table value is missing and `missing` is "refuse".
    """
    arrays = store.arrays(split)
    encoded = {"id": arrays["id"].astype(np.uint32)}
    if "image" in modalities:
        encoded["image"] = arrays["image"]
    if "table" in modalities:
        encoded["table"] = store.statistics.encode(np.asarray(arrays["table"]), store.schema, missing=missing)
    if "label" in arrays:
        encoded["label"] = arrays["label"].astype(np.int32)
    return encoded


def populations(batches: Batches) -> dict[str, np.ndarray]:
    """The rows that table views draw from: all training rows `[N, F]`, by modality."""
    return {name: array for name, array in batches.arrays.items() if name == "table"}


def iterate(batches: Batches) -> Any:
    """A Grain iterator over all batches of all epochs, reading ahead in one thread.

    Its `get_state()` is a small dict that `set_state()` takes back in another process.
    """
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    return iter(grain.MapDataset.source(batches).to_iter_dataset(options))
