"""A store of arrays that a program holds, for kinds of entries that `mmcl prepare` does not read."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.writing import finish, write
from mmcl_jax.data.schema import Entry
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.files import atomic


def store_of_arrays(
    directory: Path,
    arrays: Mapping[str, tuple[str, np.ndarray]],
    *,
    split: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
) -> Store:
    """Write a store whose row n is the row n of every array, and open it.

    Args:
      directory: the new folder of the store.
      arrays: by the name of the entry, its kind, such as "vector", and its rows `[N, ...]` in a type that the kind
        stores.
      split: shares of train, val and test, which are drawn at random.
      seed: of the draw.

    Raises:
      UserError: the folder exists, there is no array, the arrays differ in their number of rows, there is no such
        kind, or a row is not as its kind stores it; nothing is written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     rows = np.ones((20, 3), np.float32)
      ...     store = store_of_arrays(Path(folder) / "store", {"scores": ("vector", rows)})
      >>> store.sizes
      {'train': 14, 'val': 2, 'test': 4}
    """
    check(not directory.exists(), f"{directory} exists already; choose another folder, or remove it first.")
    check(len(arrays) > 0, "There is no array to store; give one or more.")
    rows = {name: len(array) for name, (_, array) in arrays.items()}
    check(len(set(rows.values())) == 1, f"All arrays need the same number of rows, not {rows}.")
    total = next(iter(rows.values()))
    shares = np.cumsum(split[:2])
    splits = np.split(np.random.default_rng(seed).permutation(total), np.round(total * shares).astype(int))
    content = Content(
        parts={
            name: Part(entry=Entry(kind=kind, shape=array.shape[1:], dtype=array.dtype.name), values=array)
            for name, (kind, array) in arrays.items()
        },
        id=np.arange(total),
        keys=[str(row) for row in range(total)],
        splits={name: np.sort(members) for name, members in zip(("train", "val", "test"), splits, strict=True)},
    )
    with atomic(directory) as partial:
        partial.mkdir(parents=True)
        write(partial, content, description="Arrays of a program")
        finish(partial)
    return Store.open(directory)
