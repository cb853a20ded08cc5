"""Drawing a short-axis cine: blood pools and walls whose sizes in pixels follow volumes in millilitres."""

import dataclasses
from collections.abc import Mapping

import numpy as np

PIXEL = 1.83  # mm
SPACING = 10.0  # mm between slices
DENSITY = 1.05  # g per mL of muscle
BLOOD, MUSCLE, LUNG, TISSUE, FAT = 700.0, 230.0, 45.0, 330.0, 950.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heart:
    """The geometry of one subject.

    Attributes:
      shape: height and width of the image in pixels.
      centre: row and column of the centre of the left ventricle.
      taper: the radius of the ventricle in each slice, relative to the base.
      lv: volume of the left blood pool in mL, by frame.
      rv: volume of the right blood pool in mL, by frame.
      muscle: volume of the left wall in mL.
      es: the end-systolic frame.
    """

    shape: tuple[int, int]
    centre: tuple[float, float]
    taper: np.ndarray
    lv: np.ndarray
    rv: np.ndarray
    muscle: float
    es: int

    @classmethod
    def of(cls, person: Mapping[str, float], random: np.random.Generator, *, slices: int, frames: int) -> "Heart":
        """Return the heart of a person with the volumes `lvedv`, `lvesv`, `lvm`, `rvedv`, `rvesv`."""
        height, width = int(random.integers(80, 101)), int(random.integers(88, 111))
        es = int(random.integers(3, 6))
        # The ventricle empties up to ES and fills again: 0 at frame 0, 1 at ES.
        time = np.arange(frames)
        squeeze = np.where(
            time <= es, np.sin(np.pi / 2 * time / es), np.cos(np.pi / 2 * (time - es) / (frames - es)) ** 2
        )
        return cls(
            shape=(height, width),
            centre=(height * random.uniform(0.46, 0.54), width * random.uniform(0.54, 0.6)),
            taper=np.sqrt(1 - (np.arange(slices) / (slices + 0.5)) ** 2),
            lv=person["lvedv"] + (person["lvesv"] - person["lvedv"]) * squeeze,
            rv=person["rvedv"] + (person["rvesv"] - person["rvedv"]) * squeeze,
            muscle=person["lvm"] / DENSITY,
            es=es,
        )

    def radius(self, millilitres: float, z: int) -> float:
        """Return the radius in pixels, in slice `z`, of a tapering body with a volume in mL."""
        base = np.sqrt(1000 * millilitres / (np.pi * SPACING * float((self.taper**2).sum())))
        return float(base * self.taper[z] / PIXEL)


def draw_labels(heart: Heart) -> np.ndarray:
    """Return labels `[row, column, slice, frame]` uint8: 1 left blood pool, 2 left wall, 3 right blood pool."""
    labels = np.zeros((*heart.shape, len(heart.taper), len(heart.lv)), np.uint8)
    rows, columns = np.mgrid[: heart.shape[0], : heart.shape[1]]
    away = np.hypot(rows - heart.centre[0], columns - heart.centre[1])
    for z in range(len(heart.taper)):
        for t in range(len(heart.lv)):
            inner, outer = heart.radius(heart.lv[t], z), heart.radius(heart.lv[t] + heart.muscle, z)
            # An ellipse to the left of the left ventricle, most of whose right half lies behind the septum.
            right = 0.95 * heart.radius(heart.rv[t], z)
            middle = heart.centre[1] - outer - 0.25 * right
            crescent = np.hypot((rows - heart.centre[0]) / 1.25, columns - middle) < right
            labels[crescent, z, t] = 3
            labels[away < outer, z, t] = 2
            labels[away < inner, z, t] = 1
    return labels


def draw_cine(heart: Heart, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a cine `[row, column, slice, frame]` int16: the heart in a thorax, with coil shading and noise."""
    height, width = heart.shape
    rows, columns = np.mgrid[:height, :width]
    still = _thorax(heart, random)
    cine = np.empty(labels.shape, np.float32)
    brightness = np.array([0, BLOOD, MUSCLE, BLOOD * random.uniform(0.85, 1)])
    for z, t in np.ndindex(labels.shape[2:]):
        marked = labels[:, :, z, t]
        cine[:, :, z, t] = np.where(marked > 0, brightness[marked], still[:, :, z])
    cine = _smooth(_smooth(cine, 0), 1)
    turn = random.uniform(0, 2 * np.pi)
    slope = np.cos(turn) * rows / height + np.sin(turn) * columns / width
    cine *= (random.uniform(0.8, 1.2) * (1 + 0.25 * slope))[..., None, None].astype(np.float32)
    noise = 22 * random.standard_normal((2, *cine.shape), np.float32)
    return np.rint(np.hypot(cine + noise[0], noise[1])).astype(np.int16)  # Rician, as in magnitude images


def _thorax(heart: Heart, random: np.random.Generator) -> np.ndarray:
    """Return the tissue around the heart `[row, column, slice]`: air, a rim of fat, muscle, lungs and liver."""
    height, width = heart.shape
    rows, columns = np.mgrid[:height, :width]
    tissue = np.full((height, width, len(heart.taper)), 12.0)
    middle, wide, high = (
        (height / 2, width / 2),
        width * random.uniform(0.46, 0.55),
        height * random.uniform(0.44, 0.53),
    )
    body = np.hypot((rows - middle[0]) / high, (columns - middle[1]) / wide)
    rim = random.uniform(0.84, 0.93)
    liver = np.hypot(rows - height * random.uniform(0.75, 0.9), columns - width * random.uniform(0.15, 0.3))
    for z in range(tissue.shape[2]):
        image = tissue[:, :, z]
        image[body < 1] = FAT
        image[body < rim] = TISSUE
        image[body < rim - 0.12] = LUNG
        image[(body < rim - 0.12) & (liver < width * (0.18 + 0.015 * z))] = TISSUE
    return tissue


def _smooth(values: np.ndarray, axis: int) -> np.ndarray:
    """Blur along one axis, as the point spread of the scanner does."""
    return (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
