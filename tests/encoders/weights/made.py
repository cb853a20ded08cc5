"""Files as `torch.save` writes them, and hostile ones, made byte by byte without PyTorch."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

STORAGES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage",
    "int64": "LongStorage", "int32": "IntStorage", "uint8": "ByteStorage", "bool": "BoolStorage",
}  # fmt: skip
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
ORDERED = b"ccollections\nOrderedDict\n)R"
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def plain(value: Any) -> bytes:
    """The opcodes that push numbers, texts, and tuples of them."""
    if isinstance(value, tuple):
        return b"(" + b"".join(map(plain, value)) + b"t"
    return pickle.dumps(value, 2)[2:-1]


def name(module: str, what: str) -> bytes:
    return f"c{module}\n{what}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def mapping(entries: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(plain(key) + value for key, value in entries.items()) + b"u"


def storage(kind: str, key: Any, numel: Any, *, legacy: bool = False) -> bytes:
    view = b"N" if legacy else b""
    return b"(" + plain("storage") + name("torch", kind) + plain(key) + plain("cpu") + plain(numel) + view + b"tQ"


def tensor(stored: bytes, shape: tuple, strides: tuple, offset: Any = 0) -> bytes:
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, stored, plain(offset), plain(shape), plain(strides), plain(False), ORDERED)


def of_array(array: np.ndarray, key: str, **options: Any) -> bytes:
    strides = tuple(int(step) // array.itemsize for step in array.strides)
    return tensor(storage(STORAGES[str(array.dtype)], key, array.size, **options), array.shape, strides)


def whole(content: bytes) -> bytes:
    return b"\x80\x02" + content + b"."


def zipped(path: Path, content: bytes, storages: Mapping[str, bytes] | None = None, **entries: bytes) -> Path:
    """A file in the zip format with this pickle; `entries` replace or add entries, by name."""
    parts = {"data.pkl": whole(content), "byteorder": b"little", "version": b"3\n"}
    parts |= {f"data/{key}": value for key, value in (storages or {}).items()} | entries
    with zipfile.ZipFile(path, "w") as archive:
        for part, value in parts.items():
            archive.writestr(f"archive/{part}", value)
    return path


def save(path: Path, state: Mapping[str, np.ndarray], *, nested: str = "", legacy: bool = False) -> Path:
    """Write a state dict in the zip format, or in the legacy format."""
    state = {key: np.asarray(array, order="C") for key, array in state.items()}
    content = mapping({key: of_array(array, str(i), legacy=legacy) for i, (key, array) in enumerate(state.items())})
    content = mapping({nested: content, "epoch": plain(3)}) if nested else content
    raw = {str(i): array.tobytes() for i, array in enumerate(state.values())}
    if not legacy:
        return zipped(path, content, raw)
    out = io.BytesIO()
    for part in (MAGIC, VERSION, {"little_endian": True}):
        pickle.dump(part, out, 2)
    out.write(whole(content))
    pickle.dump(list(raw), out, 2)
    for array, data in zip(state.values(), raw.values(), strict=True):
        out.write(array.size.to_bytes(8, "little") + data)
    path.write_bytes(out.getvalue())
    return path
