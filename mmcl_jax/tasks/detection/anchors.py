"""The anchors of YOLOv3 on radiographs, and where they lie on the grids of an encoder."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

Anchors = Literal["released", "corrected"]
ANCHORS: tuple[str, ...] = get_args(Anchors)
SIDE = 224  # pixels of the images that the anchors were made for

_Sizes = tuple[tuple[float, float], ...]
_COARSE: _Sizes = ((64.64, 48.6), (84.24, 106.92), (201.42, 176.04))
_FINER: tuple[_Sizes, ...] = (
    ((16.2, 32.94), (33.48, 24.3), (31.86, 64.26)),
    ((5.4, 7.02), (8.64, 16.2), (17.82, 12.42)),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scales:
    """The grids on which a detector predicts, the coarsest first, with the anchors of each.

    Attributes:
      frame: left, top, width and height of what the detector sees, in pixels of the stored image.
      grids: (rows, columns) of cells.
      anchors: of every grid, (width, height) in pixels of the stored image.
    """

    frame: tuple[float, float, float, float]
    grids: tuple[tuple[int, int], ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]

    @property
    def cells(self) -> int:
        """The number of cells of all grids."""
        return sum(rows * columns for rows, columns in self.grids)

    @property
    def per_cell(self) -> int:
        """The number of anchors of a cell."""
        return len(self.anchors[0]) if self.anchors else 0


def scales_of(
    frame: tuple[float, float, float, float], grids: Sequence[tuple[int, int]], anchors: Anchors = "released"
) -> Scales:
    """Return the anchors of LoVT (Mueller et al., ECCV 2022) on three grids, the coarsest first.

    They are 0.54 times the nine anchors of YOLOv3 for COCO, for images of 224 pixels, and are scaled with the image: on
    an image of 56 pixels, whose grids have 7, 14 and 28 cells behind a stem for small images, they are a quarter. The
    first width of the "released" set is 64.64, where 0.54 times 116 is 62.64, that of the "corrected" set; the
    published numbers are those of the released set.

    Args:
      frame: left, top, width and height of the view, in pixels of the stored image.
      grids: (rows, columns) of cells.
      anchors: "released" or "corrected".

    Example:
      >>> scales = scales_of((0.0, 0.0, 56.0, 56.0), [(7, 7), (14, 14), (28, 28)], "corrected")
      >>> scales.anchors[0]
      ((15.66, 12.15), (21.06, 26.73), (50.355, 44.01))
      >>> scales.cells, scales.per_cell
      (1029, 3)
    """
    _, _, width, height = frame
    first = _COARSE if anchors == "released" else ((62.64, 48.6), *_COARSE[1:])
    sizes = tuple(tuple((w * width / SIDE, h * height / SIDE) for w, h in of_grid) for of_grid in (first, *_FINER))
    return Scales(frame=frame, grids=tuple(grids), anchors=sizes)
