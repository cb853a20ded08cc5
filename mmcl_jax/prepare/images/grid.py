"""The grid of a volume: how many voxels it has, and where they lie in the patient.

Grids are RAS+: the first voxel is at the left, back and bottom, and the columns, rows and slices of a volume
`[depth, height, width]` run towards the right, the front and the top. An affine maps the voxel (i, j, k), which is
stored at [k, j, i], to millimetres.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.prepare.images.levels import Levels
from mmcl_jax.prepare.images.medical import extra, full_range, nifti_values, open_nifti
from mmcl_jax.prepare.images.unusable import require

_TOLERANCE = 0.01  # of a voxel; affines are stored in single precision, and rounded by most programs
_FLAT = 1e-3  # smallest volume of the parallelepiped of unit vectors along the axes
Orientation = Literal["ras", "file"]


@dataclasses.dataclass(frozen=True)
class Grid:
    """A grid of voxels.

    Attributes:
      shape: (depth, height, width).
      affine: the 16 numbers of the RAS+ affine, row by row.
    """

    shape: tuple[int, ...]
    affine: tuple[float, ...]

    @property
    def matrix(self) -> np.ndarray:
        """The affine `[4, 4]`."""
        return np.array(self.affine).reshape(4, 4)

    @property
    def spacing(self) -> np.ndarray:
        """The distances of neighbouring voxels along columns, rows and slices, in mm."""
        return np.linalg.norm(self.matrix[:3, :3], axis=0)

    def same(self, other: "Grid") -> bool:
        """Return whether both have the same voxels: as many, with corners within a hundredth of a voxel."""
        if self.shape != other.shape:
            return False
        ends = [(0, length - 1) for length in reversed(self.shape)]
        corners = np.array([(*corner, 1) for corner in itertools.product(*ends)], float).T
        apart = np.abs((self.matrix - other.matrix) @ corners).max()
        return bool(apart <= _TOLERANCE * self.spacing.min())

    def scaled(self, shape: tuple[int, ...]) -> "Grid":
        """Return the grid of the same field of view with another number of voxels."""
        if tuple(shape) == self.shape:
            return self
        step = np.array([old / new for old, new in zip(reversed(self.shape), reversed(shape), strict=True)])
        between = np.eye(4)
        between[:3, :3], between[:3, 3] = np.diag(step), (step - 1) / 2
        return Grid(tuple(shape), tuple((self.matrix @ between).ravel().tolist()))

    def __str__(self) -> str:
        """Return the grid in words, such as 64 x 64 x 64 voxels of 3 x 3 x 3 mm, the first at -90, -126, -72 mm."""
        voxels, spacing = (" x ".join(f"{length:.4g}" for length in of) for of in (self.shape[::-1], self.spacing))
        return f"{voxels} voxels of {spacing} mm, the first at {', '.join(f'{at:.4g}' for at in self.matrix[:3, 3])} mm"


def nifti_levels(path: Path, *, max_voxels: int, orientation: Orientation) -> tuple[Levels, Grid | None]:
    """Return the volume of a NIfTI file `[depth, height, width, channels]`, and its grid.

    A fourth axis of the file is the channels.

    Args:
      path: the file.
      max_voxels: larger volumes are refused before they are loaded.
      orientation: "ras" turns the volume to RAS+ by its affine, without interpolation; "file" leaves its axes as they
        are, and then there is no grid.

    Raises:
      UserError: the file cannot be read, is neither 3-D nor 4-D, has too many voxels, or has no valid affine.
    """
    image = open_nifti(path, max_voxels, "voxels")
    grid, turn = (None, None) if orientation == "file" else _placed(image, path)
    values = nifti_values(image, path, (...,))
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    by = " x ".join(map(str, values.shape))
    check(values.ndim in (3, 4), f"The volume {path} has {values.ndim} dimensions, {by}; give a file with one volume.")
    if turn is not None:
        values = extra("nibabel.orientations").apply_orientation(values, turn)
    stored = np.moveaxis(values, (2, 1, 0), (0, 1, 2)) if values.ndim == 4 else values.T[..., None]
    return Levels(np.ascontiguousarray(stored), full=full_range(image)), grid


def grid_of(path: Path, max_voxels: int) -> Grid:
    """Return the grid of a NIfTI file, turned to RAS+, from its header alone.

    Raises:
      UserError: the file cannot be read, is no volume, has too many voxels, or has no valid affine.
    """
    return _placed(open_nifti(path, max_voxels, "voxels"), path)[0]


def _placed(image: Any, path: Path) -> tuple[Grid, np.ndarray]:
    """Return the grid of an opened file after its axes are turned, and the turn as nibabel takes it."""
    check(len(image.shape) >= 3, f"The volume {path} has {len(image.shape)} dimensions; give a file with one volume.")
    header, orientations = image.header, extra("nibabel.orientations")
    coded = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    remedy = 'write one into the header, or store the volume as it lies in its file with "orientation": "file"'
    require(coded, "no affine", f"The volume {path} has no affine (sform and qform codes are 0); {remedy}.")
    affine = np.asarray(image.affine, np.float64)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    valid = bool(np.isfinite(affine).all() and lengths.min() > 0)
    valid = valid and abs(np.linalg.det(affine[:3, :3] / lengths)) > _FLAT
    require(valid, "no affine", f"The volume {path} has an affine that is not finite or not invertible; {remedy}.")
    turn = orientations.io_orientation(affine)
    shape = [0, 0, 0]
    for length, axis in zip(image.shape[:3], turn[:, 0].astype(int), strict=True):
        shape[2 - axis] = int(length)
    affine = affine @ orientations.inv_ornt_aff(turn, image.shape[:3])
    return Grid(tuple(shape), tuple(affine.ravel().tolist())), turn
