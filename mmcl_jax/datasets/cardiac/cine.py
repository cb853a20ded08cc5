"""A short-axis cine from DICOM files, one per slice and frame."""

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.dicom import dicom_levels, open_dicom

# Series of UK Biobank's field 20209; the others in a zip are results of the scanner's own analysis.
_SERIES = re.compile(r"CINE_segmented_SAX(?:_b(\d+))?")


def dicom_cine(path: Path, *, max_voxels: int) -> np.ndarray:
    """Return the cine of a folder or zip of DICOM files, `[row, column, slice, frame]` float32.

    Where series are named as UK Biobank names them, only those of the short axis count. Files at one position along the
    normal of the slices are one slice; of a slice that was taken again, the last series counts. Frames follow the
    trigger time, else the instance number. Slices follow the number in the series' name (b1 is the base), else go from
    the uppermost down.

    Args:
      path: a zip, or any one file of the folder.
      max_voxels: larger cines are refused before they are decoded.

    Raises:
      UserError: a file cannot be read, or slices differ in size or in their number of frames.
    """
    found = list(_read(path, 4 * max_voxels))
    named = [(data, name, match) for data, name in found if (match := _series(data))]
    files = [(data, name) for data, name, _ in named] or found
    check(bool(files), f"{path} has no DICOM files.")
    slices: dict[float, list[tuple[Any, str]]] = {}
    for data, name in files:
        slices.setdefault(_along_normal(data, name), []).append((data, name))
    stacks = [_frames(members) for members in slices.values()]
    lengths = {len(stack) for stack in stacks}
    check(len(lengths) == 1, f"The slices of {path} have different numbers of frames: {sorted(lengths)}.")
    sizes = {(int(data.Rows), int(data.Columns)) for stack in stacks for data, _ in stack}
    check(len(sizes) == 1, f"The slices of {path} have different sizes: {sorted(sizes)}.")
    (height, width), moments = sizes.pop(), lengths.pop()
    voxels = height * width * len(stacks) * moments
    check(voxels <= max_voxels, f"The heart {path} claims {voxels:,} voxels; more than {max_voxels:,} are refused.")
    stacks.sort(key=lambda stack: _order(*stack[0]))
    cine = np.empty((height, width, len(stacks), moments), np.float32)
    for z, stack in enumerate(stacks):
        for t, (data, name) in enumerate(stack):
            pixels = dicom_levels(data, name).values
            check(pixels.shape[2] == 1, f"The image {name} is in colour.")
            cine[:, :, z, t] = pixels[..., 0]
    return cine


def _read(path: Path, max_bytes: int) -> Iterator[tuple[Any, str]]:
    if path.suffix != ".zip":
        for file in sorted(path.parent.glob("*.dcm")):
            yield open_dicom(file, str(file)), str(file)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            check(size <= max_bytes, f"The archive {path} holds {size:,} bytes; more than {max_bytes:,} are refused.")
            for member in sorted(archive.namelist()):
                if member.lower().endswith(".dcm"):
                    yield open_dicom(archive.read(member), f"{path}/{member}"), f"{path}/{member}"
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        raise UserError(f"The archive {path} cannot be read: {error}.") from error


def _series(data: Any) -> re.Match[str] | None:
    return _SERIES.fullmatch(str(data.get("SeriesDescription", "")))


def _along_normal(data: Any, name: str) -> float:
    """Return the position of the slice, in tenths of a millimetre along its normal."""
    if "ImagePositionPatient" in data and "ImageOrientationPatient" in data:
        turned = np.array(data.ImageOrientationPatient, np.float64)
        return round(float(np.cross(turned[:3], turned[3:]) @ np.array(data.ImagePositionPatient, np.float64)), 1)
    check("SliceLocation" in data, f"The image {name} does not say where its slice lies.")
    return round(float(data.SliceLocation), 1)


def _frames(members: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    last = max(_repeat(data) for data, _ in members)
    kept = [(data, name) for data, name in members if _repeat(data) == last]
    key = "TriggerTime" if all("TriggerTime" in data for data, _ in kept) else "InstanceNumber"
    for data, name in kept:
        check(data.get(key) is not None, f"The image {name} has neither a trigger time nor an instance number.")
    times = [float(data.get(key)) for data, _ in kept]
    check(len(set(times)) == len(times), f"Two frames of the slice of {kept[0][1]} have the same {key}.")
    return [kept[place] for place in np.argsort(times)]


def _repeat(data: Any) -> tuple[float, str]:
    return float(data.get("SeriesNumber") or 0), str(data.get("SeriesInstanceUID", ""))


def _order(data: Any, name: str) -> tuple[float, float]:
    match = _series(data)
    number = float(match[1]) if match and match[1] else 0.0
    height = float(data.ImagePositionPatient[2]) if "ImagePositionPatient" in data else _along_normal(data, name)
    return number, -height
