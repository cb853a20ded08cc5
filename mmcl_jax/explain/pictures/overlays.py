"""The overlays of maps on images, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image
from scipy import ndimage

from mmcl_jax.explain.base import Picture
from mmcl_jax.explain.pictures.slices import largest
from mmcl_jax.page.volumes import side_by_side, three_slices

_SIDE = 160  # pixels of the shorter side, at least
_OPACITY = 0.6  # of the largest value of a map
_BRIGHTEST = 99.5  # percentile of the guided values that is shown as full contrast


def write_overlays(
    folder: Path, rows: Sequence[Mapping[str, np.ndarray]], titles: Sequence[str], *, upwards: bool = False
) -> list[Picture]:
    """Write a PNG file for each row: the image, the map over it and, if there is one, the guided map; return them.

    Args:
      folder: of the files.
      rows: each with a "view" `[*space, C]`, its "maps" `[*space]`, and maybe "guided" `[*space, C]`; of a
        volume the three slices through the largest value of the map are shown.
      titles: what each picture shows, in words.
      upwards: whether slices are turned upside down; see `page.volumes`.
    """
    pictures = []
    digits = len(str(len(rows)))
    for index, (row, title) in enumerate(zip(rows, titles, strict=True)):
        name = f"overlay-{index + 1:0{digits}d}.png"
        panels = overlay(row["view"], row["maps"], row.get("guided"), upwards=upwards)
        Image.fromarray(panels).save(folder / name)
        sides = "left the image, then the map over it" + (", right the guided map" if "guided" in row else "")
        pictures.append(Picture(name, f"{title}: {sides}."))
    return pictures


def overlay(
    view: np.ndarray,
    maps: np.ndarray,
    guided: np.ndarray | None = None,
    *,
    upwards: bool = False,
    full: float | None = None,
) -> np.ndarray:
    """Return the panels of one row side by side, uint8 `[H, W, 3]`; a map that is zero everywhere shows nothing.

    `full` is the value from which on a map has its full colour; by default its largest value.
    """
    if view.ndim == 4:
        factors = [new / old for new, old in zip(view.shape, maps.shape, strict=False)]
        maps = ndimage.zoom(maps, factors, order=1, mode="nearest", grid_mode=True) if max(factors) > 1 else maps
        at = largest(maps)

        def panel(volume: np.ndarray) -> np.ndarray:
            return side_by_side(three_slices(volume, at, upwards=upwards), gap=1)

        view, maps, guided = panel(view), panel(maps), None if guided is None else panel(guided)
    scale = max(1, -(-_SIDE // min(view.shape[:2])))
    size = (view.shape[1] * scale, view.shape[0] * scale)  # of PIL: width, height
    image = view if view.shape[2] == 3 else view[:, :, :1].repeat(3, axis=2)
    if image.min() < 0 or image.max() > 1:  # numbers without a range of their own, such as those of a scan
        image = (image - image.min()) / np.ptp(image)
    plain = np.asarray(Image.fromarray(_bytes(image)).resize(size, Image.Resampling.NEAREST)) / 255
    most = maps.max() if full is None else full
    share = (maps / most if most > 0 else np.zeros_like(maps)).astype(np.float32)
    heat = np.clip(np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BILINEAR)), 0, 1)
    opacity = _OPACITY * heat[:, :, None]
    panels = [plain, plain * (1 - opacity) + colormaps["turbo"](heat)[:, :, :3] * opacity]
    if guided is not None:
        brightest = np.percentile(np.abs(guided), _BRIGHTEST) or np.abs(guided).max() or 1
        contrast = np.clip(0.5 + 0.5 * guided / brightest, 0, 1)
        colour = contrast if guided.shape[2] == 3 else contrast.mean(axis=2, keepdims=True).repeat(3, axis=2)
        panels.append(np.asarray(Image.fromarray(_bytes(colour)).resize(size, Image.Resampling.NEAREST)) / 255)
    return _bytes(np.concatenate(panels, axis=1))


def _bytes(values: np.ndarray) -> np.ndarray:
    """Return values in [0, 1] as uint8."""
    return (values * 255 + 0.5).astype(np.uint8)
