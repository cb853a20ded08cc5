"""Reads a short-axis cine from DICOM files, one file per slice and frame."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.files import ZIP_FAULTS
from mmcl_jax.prepare.images.dicom import dicom_levels, open_dicom

# Series of UK Biobank's field 20209; other series in a zip are results of the scanner's own analysis.
_SERIES = re.compile(r"CINE_segmented_SAX(?:_b(\d+))?")


def dicom_cine(path: Path, *, max_voxels: int) -> np.ndarray:
    """Return the cine of a folder or zip of DICOM files, `[row, column, slice, frame]` float32.

    If series have UK Biobank's names, only short-axis series are used. Files at one position along the normal of the
    slices belong to one slice; of a slice that was acquired several times, the last series is used. Frames are ordered
    by trigger time, or else by instance number. Slices are ordered by the number in the series' name (b1 is the base),
    or else from top to bottom.

    Args:
      path: a zip, or any file of the folder.
      max_voxels: larger cines are refused before they are decoded.

    Raises:
      UserError: a file cannot be read, or slices differ in size or in their number of frames.
    """
    all_files = list(_read(path, 4 * max_voxels))
    short_axis = [(data, name) for data, name in all_files if _series(data)]
    files = short_axis or all_files
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
    check(voxels <= max_voxels, f"The heart {path} has {voxels:,} voxels; more than {max_voxels:,} are refused.")
    stacks.sort(key=lambda stack: _order(*stack[0]))
    cine = np.empty((height, width, len(stacks), moments), np.float32)
    for z, stack in enumerate(stacks):
        for t, (data, name) in enumerate(stack):
            pixels = dicom_levels(data, name).values
            check(pixels.shape[2] == 1, f"The image {name} is in colour; a cine is grey.")
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
    except ZIP_FAULTS as error:
        raise UserError(f"The archive {path} cannot be read: {error}.") from error


def _series(data: Any) -> re.Match[str] | None:
    return _SERIES.fullmatch(str(data.get("SeriesDescription", "")))


def _along_normal(data: Any, name: str) -> float:
    """Return the position of the slice, in tenths of a millimetre along its normal."""
    if "ImagePositionPatient" in data and "ImageOrientationPatient" in data:
        orientation = np.array(data.ImageOrientationPatient, np.float64)
        normal = np.cross(orientation[:3], orientation[3:])
        return round(float(normal @ np.array(data.ImagePositionPatient, np.float64)), 1)
    check("SliceLocation" in data, f"The image {name} has neither a position nor a SliceLocation.")
    return round(float(data.SliceLocation), 1)


def _frames(members: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    last = max(_acquisition(data) for data, _ in members)
    frames = [(data, name) for data, name in members if _acquisition(data) == last]
    key = "TriggerTime" if all("TriggerTime" in data for data, _ in frames) else "InstanceNumber"
    for data, name in frames:
        check(data.get(key) is not None, f"The image {name} has neither a trigger time nor an instance number.")
    times = [float(data.get(key)) for data, _ in frames]
    check(len(set(times)) == len(times), f"Two frames of the slice of {frames[0][1]} have the same {key}.")
    return [frames[index] for index in np.argsort(times)]


def _acquisition(data: Any) -> tuple[float, str]:
    return float(data.get("SeriesNumber") or 0), str(data.get("SeriesInstanceUID", ""))


def _order(data: Any, name: str) -> tuple[float, float]:
    match = _series(data)
    number = float(match[1]) if match and match[1] else 0.0
    height = float(data.ImagePositionPatient[2]) if "ImagePositionPatient" in data else _along_normal(data, name)
    return number, -height
