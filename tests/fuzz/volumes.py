"""Volumes: NumPy arrays and NIfTI files of every type, whole and damaged."""

import functools
import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from hypothesis import strategies as st

from mmcl_jax.prepare.images.files import Fit
from mmcl_jax.prepare.images.volume import read_volume, volume_shape
from tests.fuzz.case import Kind, Wrong
from tests.fuzz.values import damaged, damages

_TYPES = ("uint8", "int16", "uint16", "float32", "float64", "int64", "bool", "complex64", "<U3")
_SHAPES = ((3, 4, 5), (3, 4, 5, 2), (4, 5), (0, 4, 5), ())


@functools.cache
def _content(ending: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    values = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    if ending == "npy":
        stream = io.BytesIO()
        np.save(stream, values)
        return stream.getvalue()
    kind = np.dtype(dtype).kind
    image = nibabel.Nifti1Image(
        values.astype("uint8" if kind in "bU" else dtype), np.eye(4), dtype="int64" if dtype == "int64" else None
    )
    if ending == "nii":
        return image.to_bytes()
    import gzip

    return gzip.compress(image.to_bytes(), mtime=0)


def _write(case: dict[str, Any], folder: Path) -> None:
    content = damaged(_content(case["ending"], case["type"], case["shape"]), case["damage"])
    (folder / f"volume.{case['ending']}").write_bytes(content)


def _act(case: dict[str, Any], inputs: Path, out: Path) -> None:
    path, fit = str(inputs / f"volume.{case['ending']}"), Fit(max_pixels=10_000)
    shape, kind = volume_shape(path, fit)
    stored = (min(shape[0], 6), 4, 4, shape[3])
    volume, size = read_volume(path, stored, fit, case["dtype"])
    if volume.shape != stored or volume.dtype != case["dtype"] or tuple(size) != shape[:3]:
        raise Wrong(f"a volume of {shape} {kind} was read as {volume.dtype} {volume.shape}, from {size}")
    if case["dtype"] == "float16" and not case["damage"] and not np.isfinite(volume).all():
        raise Wrong("a whole volume has numbers that are not finite")


VOLUMES = Kind(
    "volumes",
    st.fixed_dictionaries(
        {
            "ending": st.sampled_from(["npy", "nii", "nii.gz"]),
            "type": st.sampled_from(_TYPES),
            "shape": st.sampled_from(_SHAPES),
            "damage": damages,
            "dtype": st.sampled_from(["uint8", "uint16", "float16"]),
        }
    ),
    _write,
    _act,
)
