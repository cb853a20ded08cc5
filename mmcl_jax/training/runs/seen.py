"""What a run has seen: which rows it was trained on, and which its monitor watched, kept as hashes with the run.

seen.npz   SPLIT_keys      [N] uint64 hashes of the keys of the run's training and validation rows
           SPLIT_pictures  [N] uint64 hashes of their pictures: the same row under another key

Splits keep rows apart within one store. A store that is made again with other splits, another seed or another key
column has training rows of the run in its test split, where they would be measured as if they were new.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.store import Store

FILE = "seen.npz"
SEEN = ("train", "val")
_WHOLE, _LINES = 32, 8  # pictures higher than the first are known by so many lines


@dataclasses.dataclass(frozen=True)
class Seen:
    """Hashes of the rows of some splits, by `SPLIT_keys` and, where the flat arrays were there, `SPLIT_pictures`."""

    hashes: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, store: Store, splits: Sequence[str] = SEEN, *, fold: int | None = None) -> "Seen":
        """Hash the rows of the store's splits, or of those of a fold."""
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
        """Read `seen.npz`; None for a run of an earlier version, which has none."""
        path = directory / FILE
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as file:
            return cls(dict(file))

    def common(self, split: str, other: "Seen", of: str) -> int:
        """Return how many rows of the split `of` of `other` are in this one's `split`, by key or by picture."""
        found = np.zeros(len(other.hashes[f"{of}_keys"]), bool)
        for kind in ("keys", "pictures"):
            mine, theirs = self.hashes.get(f"{split}_{kind}"), other.hashes.get(f"{of}_{kind}")
            if mine is not None and theirs is not None:
                found |= np.isin(theirs, mine)
        return int(found.sum())


def _pictures(store: Store, split: str, name: str, fold: int | None) -> np.ndarray:
    """Hash the picture of every row; of large ones the middle, which costs one page of the file for each.

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
        return (images[at] if np.ptp(part) == 0 else part).tobytes()  # a blank middle says nothing

    return _words(map(content, rows.at, store.keys(split, fold)))


def _words(values: Iterable[bytes]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(value, digest_size=8).digest() for value in values)
    return np.frombuffer(digests, "<u8").astype(np.uint64)
