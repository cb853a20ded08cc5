"""A car, the camera in front of it, and the image that is drawn of it."""

import dataclasses
import math
from collections.abc import Iterable

from mmcl_jax.synthetic.cars.bodies import BODIES, smooth
from mmcl_jax.synthetic.cars.scene import Colour, Scene, background

Point = tuple[float, float, float]  # mm from the front, to the right of the middle, and above ground


@dataclasses.dataclass(frozen=True, kw_only=True)
class Car:
    """The visible properties of a car; sizes are in mm.

    Attributes:
      wheelbase: distance between the axles.
      height: overall height.
      width: overall width, without mirrors.
      length: overall length.
      body: the body type, a key of `BODIES`.
      paint: the colour of the body.
      doors: number of doors, 2 to 5.
      spokes: number of spokes of a wheel, by which a model can be recognised.
      grille: height of the grille as a share of the front, by which a make can be recognised.
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
    """An image that is being drawn: `image`, its `pen`, and the projection of points of the car into it.

    A car is its side view, extruded across its width, so each point of its skin has a fraction of length and of height.
    """

    def __init__(self, car: Car, scene: Scene, size: int) -> None:
        self.car, self.scene, self.size = car, scene, size
        self.shape = BODIES[car.body]
        self.outline, self.glass = smooth(car.body)
        self.cos, self.sin = math.cos(scene.angle), math.sin(scene.angle)
        self.near = -1 if self.sin > 0 else 1  # the sign of y on the visible side
        # The position of the camera, relative to the middle of the front end.
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
        """Return the position (x, y) of a point of the car in the image."""
        x, y, z = point[0] - self.car.length / 2, point[1], point[2]
        scale = self.focal / (x * self.cos + y * self.sin + self.scene.distance)
        return self.middle + scale * (x * self.sin - y * self.cos), self.horizon + scale * (self.scene.eye - z)

    def fill(self, points: Iterable[Point], colour: Colour, shade: float = 1.0) -> None:
        """Draw a polygon whose corners are points of the car."""
        self.pen.polygon([self.at(p) for p in points], self.scene.lit(colour, shade))

    def on(self, x: float, z: float, side: float, inset: float = 1.0) -> Point:
        """Return the point of the car's skin at a fraction of length and of height, on the side with the sign `side`.

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
        """Return whether the outer face of a strip across the car, from (x0, z0) to (x1, z1), faces the camera."""
        dx, dz = (x1 - x0) * self.car.length, (z1 - z0) * self.car.height
        return dx * (self.camera[2] - z0 * self.car.height) > dz * (self.camera[0] - x0 * self.car.length)

    def shade(self, dx: float, dz: float) -> float:
        """Return the brightness of a strip across the car that rises by `dz` mm over `dx` mm, from the front."""
        norm = math.hypot(dx, dz) or 1.0
        return 0.84 + 0.30 * max(dx / norm, 0) + 0.05 * self.scene.sun * self.near
