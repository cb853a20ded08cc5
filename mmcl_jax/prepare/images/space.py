"""Putting all volumes of an entry on one grid, and leaving out what lies outside the brain."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.grid import Grid, Orientation, grid_of, nifti_levels
from mmcl_jax.prepare.images.medical import MAX_PIXELS
from mmcl_jax.prepare.images.unusable import require

_NO_MASK = "wrong brain mask"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Space:
    """Where the stored voxels of an entry lie.

    Attributes:
      orientation: "ras" turns NIfTI volumes by their affine; "file" leaves them as they lie, without an affine.
      grid: on which all volumes lie, of the stored size; None if they have no common grid.
      resample: whether volumes on another grid are resampled, or refused.
      brain_mask: a NIfTI file on `grid`; voxels where it is 0 are stored as 0.
    """

    orientation: Orientation = "ras"
    grid: Grid | None = None
    resample: bool = False
    brain_mask: str = ""

    def fitted(self, values: np.ndarray, own: Grid | None, path: str, *, order: int, antialias: bool) -> np.ndarray:
        """Return values `[D, H, W, C]` on the common grid, or unchanged if they lie on it or there is none.

        Values that have the field of view of the grid, but another number of voxels, are unchanged, too.

        Raises:
          Unusable: they lie on another grid, and are not to be resampled.
        """
        if self.grid is None:
            return values
        other = f"The volume {path} has no affine, and the others have; give it one, or convert it to NIfTI."
        require(own is not None, "other grid", other)
        assert own is not None
        if own.scaled(self.grid.shape).same(self.grid):
            return values
        require(self.resample, "other grid", other_grid(path, own, f"the others have {self.grid}"))
        return onto(values, own, self.grid, order=order, antialias=antialias)

    def inside(self) -> np.ndarray | None:
        """Return bool `[D, H, W]`, where the brain mask is not 0; None without a mask."""
        return None if self.grid is None or not self.brain_mask else _inside(self.brain_mask, self.grid)


def common_space(
    paths: Iterable[Path],
    *,
    where: str,
    limit: int,
    size: tuple[int, ...] | None,
    orientation: Orientation,
    grid: str,
    brain_mask: str,
    earlier: Grid | None = None,
) -> Space:
    """Return where the volumes of an entry will lie, by the headers of their files.

    A file that cannot be read, or has no affine, has no say: it is left out when it is decoded.

    Args:
      paths: the NIfTI files of the entry, in order.
      where: what messages call the entry.
      limit: the largest number of voxels of a volume.
      size: (depth, height, width) to store; None for the size of the grid.
      orientation: "ras", or "file" for volumes without affine.
      grid: "same" for volumes that have one grid; "resample" for resampling to the grid of the first; or the path of
        a NIfTI file with the grid to resample to.
      brain_mask: the path of a mask; "" for none.
      earlier: the grid of the earlier store that the new volumes are to be like.

    Returns:
      The space; without a grid if no file has an affine, or if files of several grids are stretched to `size`.

    Raises:
      UserError: files have several grids, and neither resampling nor a size was asked for; or the brain mask lies on
        another grid.
    """
    if orientation == "file":
        alone = f"{where}: grid and brain_mask need the affine of a volume; leave them, or orientation, out."
        check(grid == "same" and not brain_mask, alone)
        return Space(orientation="file")
    grids = _grids(paths, limit)
    target, origin = earlier, "the earlier store"
    if target is None and grid not in ("same", "resample"):
        target, origin = grid_of(Path(grid), limit), grid
    if target is None:
        origin, target = next(grids, ("", None))
    if target is None:
        check(not brain_mask, f"{where}: brain_mask needs NIfTI volumes with an affine.")
        return Space()
    resample = grid != "same"
    other = None if resample else next((one for one in grids if not _fits(one[1], target, size)), None)
    if other is not None:
        if size is not None and not brain_mask and earlier is None:
            return Space()
        raise UserError(f"{where}: {other_grid(*other, f'{origin} has {target}')}")
    space = Space(grid=target.scaled(size or target.shape), resample=resample, brain_mask=brain_mask)
    space.inside()
    return space


def _grids(paths: Iterable[Path], limit: int) -> Iterator[tuple[str, Grid]]:
    """Yield the path and grid of every file that has one."""
    for path in paths:
        with contextlib.suppress(UserError):
            yield str(path), grid_of(path, limit)


def _fits(own: Grid, target: Grid, size: tuple[int, ...] | None) -> bool:
    """Return whether a grid is the target, or has its field of view and is resized anyway."""
    return own.same(target) or (size is not None and own.scaled(size).same(target.scaled(size)))


def other_grid(path: str | Path, own: Grid, others: str) -> str:
    """Return the sentence on a volume of another grid, with the remedy."""
    remedy = (
        'resample all volumes with "grid": "resample" (of the data set oasis, --dataset.grid=resample), or with the '
        "path of a NIfTI file on the grid to use"
    )
    return f"The volume {path} has another grid: {own}; {others}; {remedy}."


def resampled(values: np.ndarray, size: tuple[int, ...], *, order: int, antialias: bool) -> np.ndarray:
    """Return values `[D, H, W, C]` resampled to another size, of the same type.

    Args:
      values: the volume, of any real type.
      size: (depth, height, width) to return.
      order: 0 takes the nearest voxel, 1 interpolates linearly.
      antialias: whether a Gaussian filter is applied before shrinking, as in scikit-image.
    """
    if values.shape[:3] == tuple(size):
        return values
    factors = [new / old for new, old in zip(size, values.shape[:3], strict=True)]
    volume = values.astype(np.float32)
    if antialias and order:
        volume = ndimage.gaussian_filter(volume, [max(0.0, (1 / factor - 1) / 2) for factor in factors] + [0])
    volume = ndimage.zoom(volume, [*factors, 1], order=order, mode="nearest", grid_mode=True)
    return np.rint(volume).astype(values.dtype) if values.dtype.kind in "iu" else volume.astype(values.dtype)


def onto(values: np.ndarray, own: Grid, grid: Grid, *, order: int, antialias: bool) -> np.ndarray:
    """Return values `[D, H, W, C]` on another grid, of the same type; beyond their own grid they are their minimum.

    Args:
      values: the volume, of any real type, on the grid `own`.
      own: the grid of the values.
      grid: the grid of the result.
      order: 0 takes the nearest voxel, 1 interpolates linearly.
      antialias: whether a Gaussian filter is applied first along axes on which `grid` is coarser.
    """
    volume = values.astype(np.float32)
    if antialias and order:
        # By how many voxels of `own` one voxel of `grid` steps along each axis of `own`.
        steps = np.abs(np.linalg.inv(own.matrix[:3, :3]) @ grid.matrix[:3, :3]).max(axis=1)[::-1]
        volume = ndimage.gaussian_filter(volume, [*(max(0.0, (step - 1) / 2) for step in steps), 0])
    between = (np.linalg.inv(own.matrix) @ grid.matrix)[[2, 1, 0, 3]][:, [2, 1, 0, 3]]  # in the order k, j, i
    channels = [
        ndimage.affine_transform(
            volume[..., channel], between, output_shape=grid.shape, order=order, cval=float(volume[..., channel].min())
        )
        for channel in range(volume.shape[3])
    ]
    result = np.stack(channels, axis=3)
    return np.rint(result).astype(values.dtype) if values.dtype.kind in "iu" else result.astype(values.dtype)


@functools.lru_cache(maxsize=4)
def _inside(path: str, grid: Grid) -> np.ndarray:
    """Return bool `grid.shape`, where a mask is not 0. Raises `UserError` if it lies on another grid."""
    levels, own = nifti_levels(Path(path), max_voxels=MAX_PIXELS, orientation="ras")
    assert own is not None
    sentence = f"The brain mask {path} has another grid: {own}; the volumes have {grid}; resample the mask to it first."
    require(own.scaled(grid.shape).same(grid), _NO_MASK, sentence)
    channels = levels.values.shape[3]
    require(channels == 1, _NO_MASK, f"The brain mask {path} has {channels} volumes; give a file with one.")
    inside = resampled((levels.values != 0).astype(np.uint8), grid.shape, order=0, antialias=False)[..., 0] > 0
    require(bool(inside.any()), _NO_MASK, f"The brain mask {path} is 0 everywhere; name another file.")
    return inside
