"""The anatomy of a drawn head, in millimetres towards right, front and top: where its tissues and regions are."""

import dataclasses

import numpy as np
from scipy import ndimage

FIELD_MM = 192.0  # the side of the drawn cube
ORIGIN_MM = (-96.0, -112.0, -84.0)  # its left, back, lower corner
_BRAIN = ((0.0, -16.0, 12.0), (64.0, 82.0, 60.0))  # centre and radii of the ellipsoid
_CEREBELLUM = ((0.0, -66.0, -40.0), (44.0, 26.0, 20.0))
_CORTEX_MM = 9.0  # thicker than it is, lest coarse voxels not show it


@dataclasses.dataclass(frozen=True)
class Region:
    """A region of the atlas.

    Attributes:
      name: with the side, such as "hippocampus L".
      t1: how much of it the full atrophy takes away: of the cortex its thickness, of a hippocampus the square of its
        radius; below 0 for a ventricle, whose radius grows.
      falff: by how much of its value the full atrophy lowers its fALFF.
    """

    name: str
    t1: float = 0.0
    falff: float = 0.0


# Centre (of the right side) and radii of the ellipsoids below the cortex, and the factor of CSF in them.
_DEEP: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "ventricle": ((9.0, -10.0, 18.0), (7.0, 26.0, 9.0)),
    "hippocampus": ((27.0, -20.0, -14.0), (10.0, 18.0, 9.0)),
    "thalamus": ((12.0, -18.0, 4.0), (8.0, 12.0, 8.0)),
    "putamen": ((26.0, 6.0, 2.0), (7.0, 15.0, 9.0)),
}
_LOBES = ("frontal", "parietal", "temporal", "occipital", "posterior cingulate")
_EFFECTS = {"ventricle": (-0.6, 0.0), "hippocampus": (0.75, 0.06), "temporal": (0.6, 0.03)}
_EFFECTS |= {"posterior cingulate": (0.5, 0.06)}
REGIONS: tuple[Region, ...] = (
    *(Region(f"{name} {side}", *_EFFECTS.get(name, (0.0, 0.0))) for name in (*_DEEP, *_LOBES) for side in "LR"),
    Region("cerebellum"),
    Region("white matter"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """The anatomy of one subject at one time.

    Attributes:
      size: of the head, relative to the template.
      bend: `[3, 6, 6, 6]`, displacements in mm on a coarse grid, which make it an individual.
      ventricles: their size, relative to the template.
      cortex: thickness of the cortex, relative to the template.
      atrophy: the share of the full atrophy, 0 for none.
    """

    size: float = 1.0
    bend: np.ndarray | None = None
    ventricles: float = 1.0
    cortex: float = 1.0
    atrophy: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tissues:
    """Shares of tissue in every voxel `[x, y, z]`, from 0 to 1, and the atlas.

    Attributes:
      grey: grey matter.
      white: white matter.
      csf: cerebrospinal fluid.
      scalp: fat and skin.
      brain: everything within the skull.
      atlas: the index in `REGIONS`, from 1, of the region that a voxel belongs to without atrophy; 0 outside.
    """

    grey: np.ndarray
    white: np.ndarray
    csf: np.ndarray
    scalp: np.ndarray
    brain: np.ndarray
    atlas: np.ndarray


def affine_of_size(size: int) -> np.ndarray:
    """Return the RAS+ affine `[4, 4]` of volumes with `size` voxels along each axis."""
    step = FIELD_MM / size
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = np.array(ORIGIN_MM) + step / 2
    return affine


def coarse_field(random: np.random.Generator, side: int = 6) -> np.ndarray:
    """Return noise of variance 1 on a coarse grid `[side, side, side]`."""
    return random.standard_normal((side, side, side)).astype(np.float32)


def fine(field: np.ndarray, size: int) -> np.ndarray:
    """Return a coarse field interpolated smoothly to `[size, size, size]`."""
    return ndimage.zoom(field, size / field.shape[0], order=3, mode="nearest", grid_mode=True)


def tissues(head: Head, size: int) -> Tissues:
    """Return the tissues of a head in `size` voxels along each axis."""
    step = FIELD_MM / size
    axes = [origin + step / 2 + step * np.arange(size, dtype=np.float32) for origin in ORIGIN_MM]
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    if head.bend is not None:
        points = points + np.stack([fine(one, size) for one in head.bend])
    middle = np.array(_BRAIN[0], np.float32)[:, None, None, None]
    points = (points - middle) / head.size + middle
    soft = 0.45 * step
    skull, skin = (_inside(points, _BRAIN[0], np.array(_BRAIN[1]) + more, soft) for more in (6.0, 15.0))
    bone = _inside(points, _BRAIN[0], np.array(_BRAIN[1]) + 11.0, soft)
    lobes = _lobes(points)
    thinning = sum((region.t1 * share for region, share in zip(_COARSE, lobes, strict=True)), np.float32(0))
    assert isinstance(thinning, np.ndarray)
    thickness = _CORTEX_MM * head.cortex * (1 - head.atrophy * thinning)
    depth = _depth(points, *_BRAIN)
    x, y, z = points
    folds = 4.0 * np.sin(x / 5 + 1.2 * np.sin(z / 9)) * np.sin(y / 5.5 + np.sin(x / 11)) * np.cos(z / 12 + y / 40)
    depth = depth - folds - 2.5 - 5.0 * head.atrophy * thinning
    fissure = 5.0 - np.abs(x) - 0.25 * np.clip(30 - z, 0, None)  # between the hemispheres, above
    depth = np.minimum(depth, np.where(fissure > -12, -fissure, np.inf))
    matter, white = _step(depth, soft), _step(depth - thickness, soft)
    small = _inside(points, *_CEREBELLUM, soft)
    white = np.maximum(white, _inside(points, _CEREBELLUM[0], 0.55 * np.array(_CEREBELLUM[1]), soft))
    matter, fluid, atlas = np.maximum(matter, small), np.zeros_like(depth), np.zeros(depth.shape, np.int16)
    whole = _depth(points, *_BRAIN) > 0
    cortical = whole & (depth <= thickness + soft)
    atlas[whole] = len(REGIONS)
    right = x > 0
    for number, share in enumerate(lobes):
        index = 2 * (len(_DEEP) + number) + 1
        atlas[cortical & (share > 0.5)] = index
        atlas[cortical & (share > 0.5) & right] = index + 1
    atlas[small > 0.5] = len(REGIONS) - 1
    for number, (name, (centre, radii)) in enumerate(_DEEP.items()):
        effect = _EFFECTS.get(name, (0.0, 0.0))[0] * head.atrophy
        for side, sign in enumerate((-1, 1)):
            at = np.array(centre) * (sign, 1, 1)
            own = np.array(radii) * (head.ventricles if name == "ventricle" else 1.0)
            full = _inside(points, at, own, soft)
            atlas[full > 0.5] = 2 * number + side + 1
            if name == "ventricle":
                fluid = np.maximum(fluid, _inside(points, at, own * (1 - effect), soft))
                continue
            shrunken = full if effect == 0 else _inside(points, at, own * (1 - effect) ** (1 / 2), soft)
            white = white * (1 - full)
            matter = matter * (1 - full) + shrunken  # what the atrophy leaves is filled by fluid
    white, matter = white * (1 - fluid), np.clip(matter, 0, 1) * (1 - fluid)
    grey = np.clip(matter - white, 0, 1)
    brain = skull
    return Tissues(
        grey=grey * brain,
        white=white * brain,
        csf=np.clip(brain - (grey + white) * brain, 0, 1),
        scalp=np.clip(skin - bone, 0, 1),
        brain=brain,
        atlas=np.where(brain > 0.5, atlas, 0).astype(np.int16),
    )


_COARSE = tuple(Region(name, *_EFFECTS.get(name, (0.0, 0.0))) for name in _LOBES)


def _depth(points: np.ndarray, centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """Return how deep points lie below the surface of an ellipsoid, about in mm; below 0 outside."""
    away = np.float32(0)
    for axis, at, radius in zip(points, centre, radii, strict=True):
        away = away + ((axis - np.float32(at)) / np.float32(radius)) ** 2
    return (1 - np.sqrt(away)) * np.float32(np.mean(radii))


def _inside(points: np.ndarray, centre: object, radii: object, soft: float) -> np.ndarray:
    """Return the share of every voxel that lies in an ellipsoid."""
    return _step(_depth(points, tuple(np.asarray(centre)), tuple(np.asarray(radii))), soft)


def _step(depth: np.ndarray, soft: float) -> np.ndarray:
    return (0.5 + 0.5 * np.tanh(depth / np.float32(soft))).astype(np.float32)


def _lobes(points: np.ndarray) -> list[np.ndarray]:
    """Return the share of every voxel in each lobe, in the order of `_LOBES`."""
    x, y, z = points
    frontal = _step(y + 12 + 0.3 * (z - 30), 3) * _step(z + 14 - 0.1 * y, 3)
    occipital = _step(-y - 72, 3)
    temporal = _step(-z + 2 + 0.1 * y, 3) * (1 - occipital) * _step(np.abs(x) - 14, 3)
    cingulate = _step(12 - np.abs(x), 2) * _step(20 - np.abs(y + 46), 3) * _step(20 - np.abs(z - 34), 3)
    frontal = frontal * (1 - temporal) * (1 - cingulate)
    temporal, occipital = temporal * (1 - cingulate), occipital * (1 - cingulate)
    parietal = np.clip(1 - frontal - temporal - occipital - cingulate, 0, 1)
    return [frontal, parietal, temporal, occipital, cingulate]
