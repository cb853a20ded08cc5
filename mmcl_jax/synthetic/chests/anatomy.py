"""The anatomy of a drawn chest: where its lungs, heart, ribs and vessels are in a frontal radiograph.

Coordinates are those of the picture: x from -1 (left edge, the person's right) to 1, y from -1 (top) to 1.
"""

import dataclasses

import numpy as np

SIDES = {"right": -1, "left": 1}  # the sign of x: the person's right is on the left of the picture
NORMAL_RATIO = (0.435, 0.03)  # cardiothoracic ratio of people without cardiomegaly: mean and standard deviation
AP_MAGNIFICATION = 1.1  # of the heart, which lies farther from the detector


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chest:
    """The anatomy of a person, which is the same in all studies.

    Attributes:
      width: half of the inner width of the thorax at the base.
      apex: y of the tops of the lungs.
      base: y of the costophrenic angles.
      domes: y of the right and of the left dome of the diaphragm.
      ratio: cardiothoracic ratio without cardiomegaly: the width of the heart over that of the thorax.
      tilt: angle of the axis of the heart, in radians.
      tall: height of the heart over that of most people.
      low: how much lower the heart lies.
      spine: how far the spine is bent to a side.
      ribs: distance between ribs.
      phase: of the ribs, from 0 to 1.
      slope: by how much ribs fall from the spine to the side.
      clavicle: y of the inner end of the clavicles.
      fat: thickness of the soft tissue beside the ribs.
      breasts: density of the breasts; 0 for most men.
      knob: radius of the aortic knob.
      vessels: seed of the course of the vessels of the lungs.
    """

    width: float
    apex: float
    base: float
    domes: tuple[float, float]
    ratio: float
    tilt: float
    tall: float
    low: float
    spine: float
    ribs: float
    phase: float
    slope: float
    clavicle: float
    fat: float
    breasts: float
    knob: float
    vessels: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pose:
    """How a person stands before the detector, and how the picture is taken.

    Attributes:
      view: "AP" or "PA".
      shift: of the chest, along x and y.
      turn: rotation in radians.
      zoom: factor of the size of the chest.
      breath: how much lower the diaphragm is than usual; below 0 without a deep breath.
      gamma: exponent of the contrast.
      noise: standard deviation of the noise.
      gain: factor of the brightness.
    """

    view: str
    shift: tuple[float, float]
    turn: float
    zoom: float
    breath: float
    gamma: float
    noise: float
    gain: float


def chest_of(random: np.random.Generator, *, sex: str, age: float) -> Chest:
    """Return a random chest of a person of sex "M" or "F" and an age in years."""
    old, male = (age - 60) / 20, sex == "M"
    base = random.normal(0.53, 0.03)
    right = base - random.uniform(0.16, 0.24)
    return Chest(
        width=float(random.normal(0.7 if male else 0.65, 0.035)),
        apex=float(random.normal(-0.74, 0.025)),
        base=float(base),
        domes=(float(right), float(right + random.uniform(0.02, 0.06))),
        ratio=float(np.clip(random.normal(NORMAL_RATIO[0] + 0.006 * old, NORMAL_RATIO[1]), 0.36, 0.49)),
        tilt=float(random.normal(0.5, 0.12)),
        tall=float(np.exp(random.normal(0, 0.08))),
        low=float(random.normal(0, 0.03)),
        spine=float(random.normal(0, 0.02 + 0.01 * max(old, 0))),
        ribs=float(random.normal(0.158, 0.008)),
        phase=float(random.random()),
        slope=float(random.normal(0.16, 0.03)),
        clavicle=float(random.normal(-0.53, 0.03)),
        fat=float(np.clip(random.normal(0.14, 0.04), 0.06, 0.26)),
        breasts=0.0 if male else float(np.clip(random.normal(0.09, 0.04), 0, 0.2)),
        knob=float(np.clip(random.normal(0.085 + 0.012 * old, 0.01), 0.06, 0.13)),
        vessels=int(random.integers(2**31)),
    )


def pose_of(random: np.random.Generator, view: str) -> Pose:
    """Return a random pose; pictures taken from the front (AP), mostly in bed, vary more."""
    loose = 1.6 if view == "AP" else 1.0
    across, down = random.normal(0, 0.05 * loose, 2)
    return Pose(
        view=view,
        shift=(float(across), float(down)),
        turn=float(random.normal(0, 0.03 * loose)),
        zoom=float(np.clip(random.normal(0.97, 0.065), 0.8, 1.12)),
        breath=float(random.normal(-0.04 if view == "AP" else 0.0, 0.04)),
        gamma=float(np.exp(random.normal(0, 0.14 * loose))),
        noise=float(random.uniform(0.012, 0.022) * loose),
        gain=float(random.normal(1.0, 0.06)),
    )


class Plane:
    """The grid of a picture in the coordinates of a chest, and the shares of its pixels that organs cover.

    Attributes:
      x: `[size, size]`, from the midline, towards the person's left.
      y: `[size, size]`, downwards.
      soft: width of an edge: about a pixel, or what the blur of the picture leaves.
    """

    def __init__(self, chest: Chest, pose: Pose, size: int) -> None:
        self.chest, self.pose, self.size = chest, pose, size
        self.soft = max(0.012, 1.2 / size)
        axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
        across = (axis[None, :] - pose.shift[0]) / pose.zoom
        down = (axis[:, None] - pose.shift[1]) / pose.zoom
        cos, sin = np.float32(np.cos(pose.turn)), np.float32(np.sin(pose.turn))
        self.y = cos * down - sin * across
        self.x = cos * across + sin * down - self.bend(self.y)
        self.base = chest.base + pose.breath

    def bend(self, y: np.ndarray) -> np.ndarray:
        """Return x of the spine at heights y."""
        return np.float32(self.chest.spine) * np.sin(2.2 * y + 0.6)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return positions `[n, 2]` in pixels, from the corner of the picture, of points x, y of the chest."""
        x, y = points[:, 0] + self.bend(points[:, 1]), points[:, 1]
        cos, sin = np.cos(self.pose.turn), np.sin(self.pose.turn)
        turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
        return (self.pose.zoom * turned + np.array(self.pose.shift) + 1) * (self.size / 2)

    def step(self, inside: np.ndarray, soft: float | None = None) -> np.ndarray:
        """Return the share of every pixel that lies inside: from 0 to 1, half where `inside` is 0."""
        return 0.5 + 0.5 * np.tanh(inside * np.float32(1 / (self.soft if soft is None else soft)))

    def ellipse(
        self, centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0, soft: float | None = None
    ) -> np.ndarray:
        """Return the share of every pixel `[size, size]` that lies in an ellipse."""
        x, y = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        away = np.hypot((cos * x + sin * y) / np.float32(radii[0]), (cos * y - sin * x) / np.float32(radii[1]))
        return self.step((1 - away) * np.float32(min(radii)), soft)


class Lung:
    """One lung in a picture.

    Attributes:
      across: `[size, size]`, 0 at the mediastinum, 1 at the ribs.
      along: `[size, size]`, 0 at the apex, 1 at the base.
      share: `[size, size]`, how much of every pixel is lung, the heart not taken away.
      outwards: `[size, size]`, distance from the midline towards this side.
    """

    def __init__(self, plane: Plane, side: str, *, raised: float = 0.0) -> None:
        """Build the lung of a side, whose half of the diaphragm is raised by `raised`."""
        chest, sign = plane.chest, SIDES[side]
        self.plane, self.side, self.sign = plane, side, sign
        self.top = np.float32(chest.apex)
        self.bottom = np.float32(plane.base)
        self.dome = np.float32(chest.domes[side == "left"] + plane.pose.breath - raised)
        self.outwards = sign * plane.x
        self.along = (plane.y - self.top) / (self.bottom - self.top)
        self.outer = self.outer_at(self.along)
        self.inner = np.float32(0.1) + np.float32(0.05) * np.exp(-(((plane.y + 0.08) / 0.25) ** 2))
        self.across = (self.outwards - self.inner) / np.maximum(self.outer - self.inner, np.float32(0.05))
        middle = 0.45 * chest.width
        lateral = np.clip((self.outwards - middle) / (chest.width - middle), 0, None)
        medial = np.clip((middle - self.outwards) / middle, 0, None)
        self.floor = self.dome + (self.bottom - self.dome) * lateral**2.2 + 0.05 * medial**2
        self.share = (
            plane.step(self.outwards - self.inner)
            * plane.step(self.outer - self.outwards)
            * plane.step(self.floor - plane.y)
            * plane.step(plane.y - self.top)
        )

    def outer_at(self, along: np.ndarray) -> np.ndarray:
        """Return how far the lung reaches outwards at heights from 0 (apex) to 1 (base)."""
        height = np.clip(along, 1e-3, 1.2)
        return np.float32(self.plane.chest.width) * height**0.27 * (0.94 + 0.06 * height)

    def point(self, across: float, along: float) -> tuple[float, float]:
        """Return x and y of a point given by its shares of the width and of the height of the lung."""
        y = float(self.top + along * (self.bottom - self.top))
        outer = float(self.outer_at(np.array(along, np.float32)))
        inner = 0.1 + 0.05 * np.exp(-(((y + 0.08) / 0.25) ** 2))
        return self.sign * float(inner + across * (outer - inner)), y
