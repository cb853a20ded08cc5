"""Read the tensors of a file that PyTorch saved (.pt, .pth, .ckpt), in its zip format or its legacy format.

PyTorch is not needed, and no code of the file runs; see `pickled`.
"""

import contextlib
import errno
import io
import mmap
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from mmcl_jax.encoders.weights.pickled import StorageRef, TensorRef, read_pickle
from mmcl_jax.errors import UserError, check

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
# What zipfile, NumPy and our own checks raise for a damaged file.
_FAULTS = (
    zipfile.BadZipFile, struct.error, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, MemoryError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MOST_PICKLE = 2**26  # bytes; the pickle of a large model has less than a million

# From a file's content (nested dicts with `TensorRef`s) and a tensor in it to the tensor's array.
Fetch = Callable[[TensorRef], np.ndarray]


def read_torch(path: Path) -> tuple[Any, Fetch]:
    """Return the content of a file of PyTorch, in which tensors are `TensorRef`, and the function that reads a tensor.

    Raises:
      UserError: the file is damaged, or names what tensors and settings do not need.
    """
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    with _faults_of(path):
        return _read_zip(path) if zipped else _read_legacy(path)


def _read_zip(path: Path) -> tuple[Any, Fetch]:
    archive, size = zipfile.ZipFile(path), path.stat().st_size
    entries = {info.filename: info for info in archive.infolist()}
    check(len(entries) == len(archive.infolist()), f"{path} is damaged (two entries have one name); get it again.")
    roots = [name.removesuffix("data.pkl") for name in entries if re.fullmatch(r"[^/]+/data\.pkl", name)]
    check(len(roots) == 1, f"{path} has no data.pkl, so torch.save did not make it; give another file.")
    (root,) = roots

    def content(name: str, most: int) -> bytes:
        info = entries.get(name)
        if info is None:
            raise ValueError(f"{name} is missing")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ValueError(f"{name} is compressed, which PyTorch does not do")
        if info.file_size > min(most, size):
            raise ValueError(f"{name} has {info.file_size} bytes, more than the {min(most, size)} it can have")
        with archive.open(info) as file:
            data = file.read(info.file_size)
        if len(data) != info.file_size:
            raise ValueError(f"{name} is cut off")
        return data

    order = content(f"{root}byteorder", 16).decode() if f"{root}byteorder" in entries else "little"

    def storage(ref: StorageRef, dtype: np.dtype) -> np.ndarray:
        if not re.fullmatch(r"[0-9]+", ref.key):
            raise ValueError("a storage whose name is no number")
        data = content(f"{root}data/{ref.key}", ref.numel * dtype.itemsize)
        if len(data) != ref.numel * dtype.itemsize:
            raise ValueError(f"{root}data/{ref.key} has {len(data)} bytes, not {ref.numel * dtype.itemsize}")
        return _native(np.frombuffer(data, dtype), order)

    pickle = content(f"{root}data.pkl", _MOST_PICKLE)
    return read_pickle(io.BytesIO(pickle), str(path)), _fetcher(path, storage)


def _read_legacy(path: Path) -> tuple[Any, Fetch]:
    """Read the legacy format: pickles of a magic number, version, system, content and storage keys; then storages."""
    check(path.stat().st_size > 0, f"{path} is empty; get the file again.")
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    name = str(path)
    if mapped[:1] != b"\x80" or read_pickle(mapped, name) != _LEGACY_MAGIC:
        raise UserError(f"{path} is no file of weights that torch.save or safetensors wrote; save its state dict anew.")
    _, system, content, keys = (read_pickle(mapped, name) for _ in range(4))
    order = "little" if not isinstance(system, dict) or system.get("little_endian", True) else "big"
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("the names of its storages are no list")
    kinds = {ref.storage.key: ref.storage for ref in _tensors(content)}
    offsets, position = dict[str, int](), mapped.tell()
    for key in keys:
        if key not in kinds or position + 8 > len(mapped):
            raise ValueError("its storages do not match its tensors, or it is cut off")
        numel = int.from_bytes(mapped[position : position + 8], "little" if order == "little" else "big")
        offsets[key], position = position + 8, position + 8 + numel * _dtype(kinds[key]).itemsize
        if numel != kinds[key].numel or position > len(mapped):
            raise ValueError("a storage is cut off")

    def storage(ref: StorageRef, dtype: np.dtype) -> np.ndarray:
        return _native(np.frombuffer(mapped, dtype, count=ref.numel, offset=offsets[ref.key]), order)

    return content, _fetcher(path, storage)


def _tensors(content: Any) -> list[TensorRef]:
    """Return all tensors in nested lists, tuples and dicts, each of which is walked through once."""
    found, stack, walked = [], [content], set[int]()
    while stack:
        value = stack.pop()
        if isinstance(value, TensorRef):
            found.append(value)
        elif isinstance(value, list | tuple | dict) and id(value) not in walked:
            walked.add(id(value))
            stack.extend(value.values() if isinstance(value, dict) else value)
    return found


def _fetcher(path: Path, storage: Callable[[StorageRef, np.dtype], np.ndarray]) -> Fetch:
    def fetch(ref: TensorRef) -> np.ndarray:
        with _faults_of(path):
            flat = storage(ref.storage, _dtype(ref.storage))
            strides = [stride * flat.itemsize for stride in ref.strides]
            return np.lib.stride_tricks.as_strided(flat[ref.offset :], ref.shape, strides, writeable=False).copy()

    return fetch


def _dtype(ref: StorageRef) -> np.dtype:
    if ref.kind not in _DTYPES:
        raise ValueError(f"its tensors of type {ref.kind} are not read; give floats")
    return np.dtype(_DTYPES[ref.kind])


def _native(array: np.ndarray, order: str) -> np.ndarray:
    return array if order == sys.byteorder else array.byteswap()


@contextlib.contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """Raise the exceptions of reading a damaged file as a `UserError`; those of the disk stay as they are."""
    try:
        yield
    except (*_FAULTS, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: an offset before the file's start
            raise
        reason = next(iter(str(error).splitlines()), "it is cut off")[:200]
        raise UserError(f"{path} is damaged ({reason}); get the file again.") from error
