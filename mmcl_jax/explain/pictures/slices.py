"""Maps of volumes as pictures: three orthogonal slices through the largest value, without and with the map."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import colormaps
from PIL import Image
from scipy import ndimage

from mmcl_jax.explain.base import Picture
from mmcl_jax.page.volumes import in_grey, side_by_side, three_slices

_SIDE = 160  # pixels of the longest side of a slice, at least
_OPACITY = 0.75  # of the largest value of a map


def write_slices(
    folder: Path,
    file: str,
    image: Float[np.ndarray, "D H W"],
    found: Float[np.ndarray, "D H W"],
    inside: Bool[np.ndarray, "D H W"],
    *,
    title: str,
    affine: Float[np.ndarray, "4 4"] | None = None,
) -> Picture:
    """Write a picture: above the slices of a volume through the largest value of a map, below the map over them.

    Args:
      folder: of the file.
      file: its name, a PNG file.
      image: the volume, such as the mean of the explained ones.
      found: the map, not negative, in the grid of the volume.
      inside: the voxels that are shown; all others, the empty space around a head, are black.
      title: what the map shows, in words.
      affine: of the grid, to turn the slices upwards and to say where they lie in mm; None without a known grid.
    """
    found = np.where(inside, found, 0)
    at = largest(found)
    scale = max(1, -(-_SIDE // max(image.shape)))
    top = float(found.max())
    heat = found / top if top > 0 else np.zeros_like(found)
    grey = in_grey(image.astype(np.float64), inside)[..., None].repeat(3, axis=-1)
    opacity = _OPACITY * heat[..., None]
    hot = grey * (1 - opacity) + colormaps["turbo"](heat)[..., :3] * opacity
    upwards = affine is not None
    panels = [side_by_side(three_slices(volume, at, upwards=upwards), scale=scale) for volume in (grey, hot)]
    picture = np.concatenate([panels[0], np.zeros((4, *panels[0].shape[1:])), panels[1]])
    Image.fromarray((picture * 255 + 0.5).astype(np.uint8)).save(folder / file)
    where = f"the voxel {', '.join(map(str, at))}"
    planes = "axial, coronal and sagittal slices" if upwards else "slices across depth, height and width"
    if affine is not None:
        where = ", ".join(f"{value:.3g}" for value in (affine @ np.array([*at[::-1], 1.0]))[:3]) + " mm"
    return Picture(
        file,
        f"{title}: {planes} through its largest value, at {where}; above the mean of the volumes, below the map over "
        "it.",
    )


def largest(found: Float[np.ndarray, "D H W"]) -> tuple[int, int, int]:
    """Return the voxel where a map is largest as the mean over the voxel and its neighbours."""
    smooth = ndimage.uniform_filter(found.astype(np.float64), 3, mode="nearest")
    depth, height, width = np.unravel_index(int(smooth.argmax()), found.shape)
    return int(depth), int(height), int(width)
