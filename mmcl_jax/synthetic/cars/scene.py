"""The scene of an image of a car: viewpoint, light and background, all of which are nuisance variables."""

import dataclasses
import math
import random

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

VIEWPOINTS = (0, 45, 90, 135, 180, 225, 270, 315)
# Side and quarter views are the most frequent, as in advertisements.
_OFTEN = (6, 22, 20, 10, 4, 10, 12, 16)

PLACES = ("studio", "street", "field", "garage")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A viewpoint and its surroundings.

    Attributes:
      viewpoint: degrees; 0 looks at the front, 90 at the side with the front to the left, 180 at the back.
      yaw: degrees between the true angle and `viewpoint`.
      distance: mm from the camera to the middle of the car.
      eye: mm from the ground to the camera.
      zoom: image widths that 1 m at `distance` covers.
      shift: offset of the middle of the car from the middle of the image, in image widths to the right and down.
      light: brightness of the scene.
      warmth: ratio of red to blue in the light.
      sun: -1 lights the left of the image, 1 the right.
      place: one of `PLACES`.
      seed: seed of the details of the background.
    """

    viewpoint: int
    yaw: float
    distance: float
    eye: float
    zoom: float
    shift: tuple[float, float]
    light: float
    warmth: float
    sun: float
    place: str
    seed: int

    @classmethod
    def random(cls, rng: random.Random) -> "Scene":
        """Return a random scene."""
        return cls(
            viewpoint=rng.choices(VIEWPOINTS, _OFTEN)[0],
            yaw=rng.uniform(-9, 9),
            distance=rng.uniform(6500, 11000),
            eye=rng.uniform(1250, 1750),
            zoom=rng.uniform(0.165, 0.205),
            shift=(rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.06)),
            light=rng.uniform(0.78, 1.08),
            warmth=rng.uniform(0.94, 1.08),
            sun=rng.uniform(-1, 1),
            place=rng.choice(PLACES),
            seed=rng.getrandbits(32),
        )

    @property
    def angle(self) -> float:
        """The true angle, in radians."""
        return math.radians(self.viewpoint + self.yaw)

    def lit(self, colour: Colour, shade: float = 1.0) -> Colour:
        """Return a colour in this light."""
        k = shade * self.light
        return (
            min(255, int(colour[0] * k * self.warmth)),
            min(255, int(colour[1] * k)),
            min(255, int(colour[2] * k / self.warmth)),
        )


def background(scene: Scene, size: int, horizon: float) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an image with ground below `horizon` and scenery above it, and a pen to draw on it."""
    rng = random.Random(scene.seed)
    walls, grounds = _PALETTES[scene.place]
    wall, ground = rng.choice(walls), rng.choice(grounds)
    image = Image.new("RGB", (size, size), scene.lit(wall))
    pen = ImageDraw.Draw(image)
    horizon = min(max(horizon, 0.2 * size), 0.62 * size)
    _gradient(pen, scene, wall, (0, horizon), size, (1.1, 0.92) if scene.place != "studio" else (0.97, 1.04))
    if scene.place == "street":
        _blocks(pen, scene, rng, size, horizon)
    elif scene.place == "field":
        _bushes(pen, scene, rng, size, horizon)
    elif scene.place == "garage":
        _panels(pen, scene, rng, wall, size, horizon)
    _gradient(pen, scene, ground, (horizon, size), size, (0.86, 1.06))
    if scene.place in ("street", "garage"):
        _lines(pen, scene, rng, ground, size, horizon)
    return image, pen


_PALETTES: dict[str, tuple[tuple[Colour, ...], tuple[Colour, ...]]] = {
    "studio": (((226, 228, 230), (205, 210, 216), (216, 208, 198)), ((208, 210, 212), (188, 190, 194))),
    "street": (((176, 200, 224), (206, 212, 218), (228, 206, 182)), ((116, 116, 120), (138, 134, 130), (98, 100, 106))),
    "field": (((158, 192, 226), (196, 210, 222), (222, 226, 228)), ((122, 142, 84), (150, 138, 108), (104, 126, 88))),
    "garage": (
        ((160, 156, 150), (128, 136, 146), (178, 170, 156)),
        ((134, 132, 130), (152, 148, 140), (110, 112, 116)),
    ),
}


def _gradient(
    pen: ImageDraw.ImageDraw,
    scene: Scene,
    colour: Colour,
    rows: tuple[float, float],
    size: int,
    shades: tuple[float, float],
) -> None:
    bands = 14
    step = (rows[1] - rows[0]) / bands
    for i in range(bands):
        shade = shades[0] + (shades[1] - shades[0]) * i / (bands - 1)
        top = rows[0] + i * step
        pen.rectangle((0, int(top), size, int(top + step) + 1), scene.lit(colour, shade))


def _blocks(pen: ImageDraw.ImageDraw, scene: Scene, rng: random.Random, size: int, horizon: float) -> None:
    """Draw a row of houses with windows."""
    left = -rng.uniform(0, 0.2) * size
    while left < size:
        width, height = rng.uniform(0.14, 0.34) * size, rng.uniform(0.10, 0.30) * size
        wall = rng.choice(((168, 118, 96), (186, 172, 150), (140, 138, 140), (204, 196, 184)))
        pen.rectangle((left, horizon - height, left + width, horizon), scene.lit(wall, 0.85))
        gap = 0.055 * size
        for row in range(int(height / gap)):
            y = horizon - height + (row + 0.35) * gap
            for column in range(int(width / gap)):
                x = left + (column + 0.3) * gap
                pen.rectangle((x, y, x + 0.45 * gap, y + 0.5 * gap), scene.lit((92, 104, 118)))
        left += width + rng.choice((0, 0, 0.05 * size))


def _bushes(pen: ImageDraw.ImageDraw, scene: Scene, rng: random.Random, size: int, horizon: float) -> None:
    for _ in range(rng.randint(8, 16)):
        x, r = rng.uniform(0, size), rng.uniform(0.03, 0.11) * size
        green = (rng.randint(58, 92), rng.randint(92, 124), rng.randint(52, 76))
        pen.ellipse((x - r, horizon - r, x + r, horizon + 0.6 * r), scene.lit(green))


def _panels(
    pen: ImageDraw.ImageDraw, scene: Scene, rng: random.Random, wall: Colour, size: int, horizon: float
) -> None:
    step, x = rng.uniform(0.10, 0.22) * size, rng.uniform(-0.1, 0) * size
    while x < size:
        pen.line((x, 0, x, horizon), scene.lit(wall, 0.8), 3)
        x += step
    pen.rectangle((0, horizon - 0.03 * size, size, horizon), scene.lit(rng.choice(((178, 62, 54), (84, 98, 122)))))


def _lines(
    pen: ImageDraw.ImageDraw, scene: Scene, rng: random.Random, ground: Colour, size: int, horizon: float
) -> None:
    """Draw the lines of parking bays, which meet in a point on the horizon."""
    aim, step = rng.uniform(-0.3, 1.3) * size, rng.uniform(0.35, 0.7) * size
    x, mark = rng.uniform(-1.2, -0.8) * size, scene.lit(ground, 1.35)
    while x < 2.2 * size:
        wide = 0.022 * size
        pen.polygon(((aim, horizon), (x, size), (x + wide, size)), mark)
        x += step
