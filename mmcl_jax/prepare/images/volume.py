"""Reading volumes: NIfTI files, folders of a DICOM series, and NumPy arrays, as `[depth, height, width, channels]`.

A NIfTI volume is turned to RAS+ by its affine: the columns of the result run towards the right, its rows towards the
front and its slices towards the top (see `grid`). The slices of a DICOM series are sorted by their positions along the
normal of the first slice, or by their instance numbers if they have no position. A NumPy array keeps its order.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError
from mmcl_jax.prepare.entries.npy import map_npy
from mmcl_jax.prepare.images.dicom import dicom_levels, is_dicom, open_dicom
from mmcl_jax.prepare.images.falff import Falff
from mmcl_jax.prepare.images.files import Fit
from mmcl_jax.prepare.images.grid import Grid, Orientation, nifti_levels
from mmcl_jax.prepare.images.levels import Levels, to_uint8, to_uint16
from mmcl_jax.prepare.images.medical import check_size
from mmcl_jax.prepare.images.space import Space, resampled
from mmcl_jax.prepare.images.unusable import Unusable, require
from mmcl_jax.text import words_of

_NIFTI = (".nii", ".nii.gz")
_LARGEST = float(np.finfo(np.float16).max)


def read_volume(
    path: str, shape: tuple[int, ...], fit: Fit, dtype: str, space: Space | None = None, falff: Falff | None = None
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return a volume fitted to `shape` and `dtype`, and its size in the file.

    Args:
      path: a NIfTI file, the folder of a DICOM series, or a `.npy` file.
      shape: (depth, height, width, channels) to return; other sizes are interpolated linearly.
      fit: how values become integers, and whether shrinking averages.
      dtype: "uint8" or "uint16", as for images, or "float16" for the values themselves.
      space: the orientation, the grid and the brain mask; by default, a volume of any grid is turned to RAS+.
      falff: whether the volume is fALFF of the series in the file, and how.

    Raises:
      Unusable: the volume cannot be read, has values that do not fit into `dtype`, has another number of channels, lies
        on another grid, or has no affine.
    """
    space = space or Space()
    levels, grid = read_levels(Path(path), fit, space.orientation, falff)
    size = levels.values.shape[:3]
    channels = levels.values.shape[3]
    sentence = f"The volume {path} has {channels} channels; the store has {shape[3]}."
    require(channels == shape[3], "wrong channels", sentence)
    try:
        values = _typed(levels, fit, dtype)
    except ValueError as error:
        raise Unusable("broken image", f"The volume {path} cannot be used: {words_of(error)}.") from error
    values = space.fitted(values, grid, path, order=1, antialias=fit.antialias)
    values = resampled(values, shape[:3], order=1, antialias=fit.antialias)
    inside = space.inside()
    if inside is not None:
        values[~inside] = 0
    return values, size


def volume_shape(
    path: str, fit: Fit, orientation: Orientation = "ras", falff: Falff | None = None
) -> tuple[tuple[int, ...], str]:
    """Return (depth, height, width, channels) of a volume, and "f" if its values are floats or "i" if integers."""
    values = read_levels(Path(path), fit, orientation, falff)[0].values
    return values.shape, "f" if values.dtype.kind == "f" else "i"


def most_voxels(fit: Fit) -> int:
    """Return the number of voxels above which a volume is refused."""
    raised = fit.max_pixels if fit.max_pixels > Fit.max_pixels else 0  # before --max-voxels, it allowed more voxels
    return max(fit.max_voxels, raised)


def is_nifti(path: str | Path) -> bool:
    """Return whether a path ends as those of NIfTI files do."""
    return str(path).lower().endswith(_NIFTI)


def read_levels(
    path: Path, fit: Fit, orientation: Orientation = "ras", falff: Falff | None = None
) -> tuple[Levels, Grid | None]:
    """Return the values of a volume `[D, H, W, C]`, and its grid if it is a NIfTI file that is turned to RAS+.

    Raises:
      Unusable: the file cannot be read, holds no volume, or has no valid affine; or fALFF cannot be computed of it.
    """
    limit = most_voxels(fit)
    try:
        if falff is not None:
            require(is_nifti(path), "broken series", f"The series {path} is no NIfTI file, of which fALFF is computed.")
            levels, grid = nifti_levels(path, max_voxels=limit, orientation=orientation)
            return Levels(falff.of_file(levels.values, path, limit)), grid
        if path.is_dir():
            return _series(path, limit), None
        if is_nifti(path):
            return nifti_levels(path, max_voxels=limit, orientation=orientation)
        require(
            path.suffix.lower() == ".npy",
            "broken image",
            f"The volume {path} is neither a NIfTI file, a DICOM folder nor a .npy file.",
        )
        return Levels(_array(path, limit)), None
    except Unusable:
        raise
    except UserError as error:
        raise Unusable("broken image", str(error)) from error


def _array(path: Path, limit: int) -> np.ndarray:
    """Return the volume `[D, H, W, C]` of a `.npy` file."""
    try:
        values = map_npy(path)
    except (ValueError, OSError) as error:
        raise Unusable("broken image", f"The volume {path} cannot be read: {words_of(error)}.") from error
    by = " x ".join(map(str, values.shape))
    volume = values.ndim in (3, 4) and values.dtype.kind in "iufb"
    require(
        volume, "broken image", f"The volume {path} holds {values.dtype} of shape {by}, not [D, H, W] or [D, H, W, C]."
    )
    check_size(values.shape, str(path), limit, "voxels")
    values = np.asarray(values)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    return values[..., None] if values.ndim == 3 else values


def _series(folder: Path, limit: int) -> Levels:
    """Return the slices of a DICOM series as a volume, in order."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    files = [path for path in files if is_dicom(str(path))]
    require(bool(files), "missing image", f"The folder {folder} has no DICOM file.")
    headers = [open_dicom(path, str(path), header=True) for path in files]
    positions = [_position(header, path, headers[0]) for header, path in zip(headers, files, strict=True)]
    for lower, upper in zip(sorted(positions), sorted(positions)[1:], strict=False):
        sentence = f"The folder {folder} has two slices at position {lower:g}; give each series its own folder."
        require(lower != upper, "broken image", sentence)
    first = headers[0]
    check_size((len(files), int(first.Rows), int(first.Columns)), str(folder), limit, "voxels")
    slices = []
    for index in np.argsort(positions, kind="stable"):
        name = str(files[index])
        slices.append(dicom_levels(open_dicom(files[index], name), name, max_pixels=limit))
        same_size = slices[-1].values.shape == slices[0].values.shape
        require(same_size, "broken image", f"The slice {name} has another size than the first slice of its series.")
    hidden = None
    if any(one.hidden is not None for one in slices):
        hidden = np.stack([np.zeros(s.values.shape[:2], bool) if s.hidden is None else s.hidden for s in slices])
    ends = [one.full for one in slices if one.full]
    full = (min(low for low, _ in ends), max(high for _, high in ends)) if len(ends) == len(slices) else None
    return Levels(np.stack([one.values for one in slices]), full, hidden, slices[0].inverted)


def _position(header: Any, path: Path, first: Any) -> float:
    """Return the position of a slice along the normal of the first slice, in mm, or else its instance number."""
    position, orientation = header.get("ImagePositionPatient"), first.get("ImageOrientationPatient")
    if position is not None and orientation is not None:
        rows, columns = np.array(orientation[:3], float), np.array(orientation[3:], float)
        along = float(np.array(position, float) @ np.cross(rows, columns))
        require(np.isfinite(along), "broken image", f"The slice {path} has a position that is not finite.")
        return round(along, 3)
    number = header.get("InstanceNumber")
    require(number is not None, "broken image", f"The slice {path} has neither a position nor an instance number.")
    return float(number)


def _typed(levels: Levels, fit: Fit, dtype: str) -> np.ndarray:
    """Return the values in the type `dtype`; raise `ValueError` if they are not finite, or beyond its range."""
    if dtype != "float16":
        depth, height, width, channels = levels.values.shape
        flat = Levels(
            levels.values.reshape(depth * height, width, channels),
            levels.full,
            None if levels.hidden is None else levels.hidden.reshape(depth * height, width),
            levels.inverted,
        )
        integers = (to_uint8 if dtype == "uint8" else to_uint16)(flat, fit.intensity, nan=fit.nan)
        return integers.reshape(levels.values.shape)
    values = levels.values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all() and fit.nan == "refuse":
        raise ValueError("it has values that are not finite; --nan background makes those voxels black")
    if np.abs(values[finite]).max(initial=0) > _LARGEST:
        raise ValueError(f"it has values beyond {_LARGEST:g}, the largest of float16; scale them in the file")
    values[~finite] = values[finite].min(initial=0)
    if levels.hidden is not None:
        values[levels.hidden] = values[~levels.hidden].min(initial=0)
    return values.astype(np.float16)
