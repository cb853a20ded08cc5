"""The camera that looks at a car, and the skin of the car that it sees."""

import dataclasses
import math
from collections.abc import Iterable

from mmcl_jax.synthetic.cars.bodies import BODIES, smooth
from mmcl_jax.synthetic.cars.scene import Colour, Scene, background

Point = tuple[float, float, float]  # from the front, to the right of the middle, above ground; in mm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Car:
    """What is to be seen of a car: sizes in mm, and the looks of its model.

    Attributes:
      wheelbase: between the axles.
      height: over all.
      width: over all, without mirrors.
      length: over all.
      body: a key of `BODIES`.
      paint: its colour.
      doors: 2 to 5.
      spokes: of a wheel, which tell a model.
      grille: height of the grille as a share of the front, which tells a make.
    """

    wheelbase: float
    height: float
    width: float
    length: float
    body: str
    paint: Colour
    doors: int
    spokes: int
    grille: float


class Canvas:
    """One image while it is drawn: `image`, its `pen`, and where the points of the car are in it.

    A car is its side view, pulled across its width, so each point of its skin has fractions of length and height.
    """

    def __init__(self, car: Car, scene: Scene, size: int) -> None:
        self.car, self.scene, self.size = car, scene, size
        self.shape = BODIES[car.body]
        self.outline, self.glass = smooth(car.body)
        self.cos, self.sin = math.cos(scene.angle), math.sin(scene.angle)
        self.near = -1 if self.sin > 0 else 1  # the side that is seen, as the sign of y
        # The camera, seen from the front end in the middle.
        self.camera = car.length / 2 - scene.distance * self.cos, -scene.distance * self.sin, scene.eye
        self.beside = abs(self.camera[1]) > 0.5 * car.width
        focal = scene.zoom * size * scene.distance / 1000
        # A long car is photographed from further away, so that it fits.
        span = abs(self.sin) * car.length + abs(self.cos) * car.width
        self.focal = focal * min(1.0, 0.90 * size / (focal * span / (scene.distance - 0.35 * car.length)))
        self.middle = size * (0.5 + scene.shift[0] * (1 if self.focal == focal else 0))
        self.horizon = size * (0.52 + scene.shift[1]) - self.focal * (scene.eye - car.height / 2) / scene.distance
        self.image, self.pen = background(scene, size, self.horizon)

    def at(self, point: Point) -> tuple[float, float]:
        """Return the position of a point of the car in the image."""
        x, y, z = point[0] - self.car.length / 2, point[1], point[2]
        scale = self.focal / (x * self.cos + y * self.sin + self.scene.distance)
        return self.middle + scale * (x * self.sin - y * self.cos), self.horizon + scale * (self.scene.eye - z)

    def fill(self, points: Iterable[Point], colour: Colour, shade: float = 1.0) -> None:
        """Return a polygon of points of the car."""
        self.pen.polygon([self.at(p) for p in points], self.scene.lit(colour, shade))

    def on(self, x: float, z: float, side: float, inset: float = 1.0) -> Point:
        """Return the point of the car's skin at fractions of length and height, on the side of that sign.

        Cars are narrower at the roof, and at both ends.
        """
        half = 0.5 * self.car.width * inset
        if z > 0.63:
            half *= 1 - (0.2 if "Van" in self.car.body else 0.52) * (z - 0.63)
        edge = min(x, 1 - x)
        if edge < 0.08:
            half *= 1 - 22 * (0.08 - edge) ** 2 * (1.0 if x < 0.5 else 0.7)
        return x * self.car.length, side * half, z * self.car.height

    def towards(self, x0: float, z0: float, x1: float, z1: float) -> bool:
        """Return whether a strip across the car, from lower `x0` to `x1` as fractions, shows its outer face."""
        dx, dz = (x1 - x0) * self.car.length, (z1 - z0) * self.car.height
        return dx * (self.camera[2] - z0 * self.car.height) > dz * (self.camera[0] - x0 * self.car.length)

    def shade(self, dx: float, dz: float) -> float:
        """Return the brightness of a strip across the car that rises by `dz` over `dx`, in mm, seen from the front."""
        norm = math.hypot(dx, dz) or 1.0
        return 0.84 + 0.30 * max(dx / norm, 0) + 0.05 * self.scene.sun * self.near
