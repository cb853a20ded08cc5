"""Hashes of the rows that a run was trained or validated on, stored with the run.

seen.npz   SPLIT_keys      [N] uint64 hashes of the keys of the run's training and validation rows
           SPLIT_pictures  [N] uint64 hashes of their pictures, which find a row under another key

Splits separate rows within one store. A store that is prepared again with other splits, another seed or another key
column may have training rows of the run in its test split, where they would be measured as if they were new.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.store import Store
from mmcl_jax.files import reading

FILE = "seen.npz"
SEEN = ("train", "val")
_WHOLE, _LINES = 32, 8  # of pictures with more than 32 lines, 8 lines are hashed


@dataclasses.dataclass(frozen=True)
class Seen:
    """Hashes of the rows of some splits, by `SPLIT_keys` and, where the store had flat arrays, `SPLIT_pictures`."""

    hashes: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, store: Store, splits: Sequence[str] = SEEN, *, fold: int | None = None) -> "Seen":
        """Hash the rows of the store's splits, or of the splits of a fold."""
        hashes = {f"{split}_keys": _words(key.encode() for key in store.keys(split, fold)) for split in splits}
        image = store.schema.first("image")
        if image and store.layout.has_values([image]):
            hashes |= {f"{split}_pictures": _pictures(store, split, image, fold) for split in splits}
        return cls(hashes)

    def write(self, directory: Path) -> None:
        """Write `seen.npz`."""
        arrays: dict[str, Any] = dict(self.hashes)
        np.savez(directory / FILE, **arrays)

    @classmethod
    def read(cls, directory: Path) -> "Seen | None":
        """Read `seen.npz`; return None for a run of an earlier version, which lacks this file."""
        path = directory / FILE
        if not path.is_file():
            return None
        with reading(path, "put a copy of it back, or remove it"), np.load(path, allow_pickle=False) as file:
            hashes = dict(file)
            for name, values in hashes.items():
                if values.dtype != np.uint64 or values.ndim != 1:
                    raise ValueError(f"{name} is no list of hashes")
            return cls(hashes)

    def common(self, split: str, other: "Seen", of: str) -> int:
        """Return the number of rows in the split `of` of `other` that are in `split` here, by key or by picture."""
        common = np.zeros(len(other.hashes[f"{of}_keys"]), bool)
        for kind in ("keys", "pictures"):
            hashes, other_hashes = self.hashes.get(f"{split}_{kind}"), other.hashes.get(f"{of}_{kind}")
            if hashes is not None and other_hashes is not None:
                common |= np.isin(other_hashes, hashes)
        return int(common.sum())


def _pictures(store: Store, split: str, name: str, fold: int | None) -> np.ndarray:
    """Hash the picture of every row, or the middle of a large picture, which costs one page of the file.

    A row without a picture has the hash of its key.
    """
    rows = store.read(split, [name], fold=fold)[name]
    assert isinstance(rows, MappedRows)
    images, middle = rows.values, rows.values.shape[-3] // 2
    lines = slice(middle - _LINES // 2, middle + _LINES // 2) if images.shape[-3] > _WHOLE else slice(None)

    def content(at: np.ndarray, key: str) -> bytes:
        if at.max() < 0:
            return key.encode()
        part = images[at][..., lines, :, :]
        return (images[at] if np.ptp(part) == 0 else part).tobytes()  # a blank middle does not identify a picture

    return _words(map(content, rows.at, store.keys(split, fold)))


def _words(values: Iterable[bytes]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(value, digest_size=8).digest() for value in values)
    return np.frombuffer(digests, "<u8").astype(np.uint64)
