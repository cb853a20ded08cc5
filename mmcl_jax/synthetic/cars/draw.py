"""Draws a car: a side view pulled across its width, seen in perspective, with windows, wheels and lamps."""

import functools
import itertools
import math
import random
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageChops

from mmcl_jax.synthetic.cars.picture import Car, Picture, Point
from mmcl_jax.synthetic.cars.scene import Colour, Scene

XZ = tuple[float, float]  # fractions of length from the front, and of height from the ground

_FINE = 2  # pixels drawn per pixel kept, each way
_GLASS: Colour = (46, 56, 66)
_TYRE: Colour = (28, 28, 30)
_CLOTH: Colour = (44, 42, 42)
_CIRCLE = tuple((math.cos(t), math.sin(t)) for t in np.linspace(0, 2 * math.pi, 24, endpoint=False).tolist())


def draw(car: Car, scene: Scene, size: int) -> Image.Image:
    """Return a picture of a car, the same for the same arguments.

    Args:
      car: what it shows.
      scene: how, and where.
      size: height and width in pixels.
    """
    picture = Picture(car, scene, size * _FINE)
    _shadow(picture)
    _wheels(picture, near=False)
    if picture.beside:
        _across(picture)
        _side(picture)
        _wheels(picture, near=True)
    else:
        _wheels(picture, near=True)
        _across(picture)
    _ends(picture)
    fine = picture.image.reduce(_FINE)
    # The grain of a camera, cut out of one larger tile at a place of its own.
    rng = random.Random(scene.seed)
    x, y = rng.randrange(64), rng.randrange(64)
    grain = _grain(size, rng.randrange(3)).crop((x, y, x + size, y + size))
    return ImageChops.add(fine, grain, 1, -128)


@functools.cache
def _grain(size: int, level: int) -> Image.Image:
    rng = np.random.default_rng(level)
    values = 128 + (2.0, 4.0, 7.0)[level] * rng.standard_normal((size + 64, size + 64, 1))
    return Image.fromarray(np.repeat(values.astype(np.uint8), 3, axis=2))


def _shadow(picture: Picture) -> None:
    """Draw the dark ground below the car."""
    car = picture.car
    for grow, dark in ((1.10, 0.80), (1.05, 0.6), (1.0, 0.4), (0.94, 0.22)):
        corner = [
            (0.5 + 0.5 * grow * math.copysign(abs(c) ** 0.35, c), 0.5 * grow * math.copysign(abs(s) ** 0.35, s))
            for c, s in _CIRCLE
        ]
        points = [(x * car.length, y * car.width, 0.0) for x, y in corner]
        picture.fill(points, (92, 92, 94), dark)


def _across(picture: Picture) -> None:
    """Draw the strips across the car that face the camera: bonnet, windscreen, roof, front or back."""
    car, shape = picture.car, picture.shape
    floor = shape.clearance
    _band(picture, (0.02, floor), (0.98, floor), (20, 20, 22))
    strips = []
    for (x0, z0), (x1, z1) in itertools.pairwise(picture.outline):
        z0, z1 = max(z0, floor), max(z1, floor)
        if picture.towards(x0, z0, x1, z1):
            shade = picture.shade((x1 - x0) * car.length, (z1 - z0) * car.height)
            strips.append((x0 if picture.cos > 0 else -x0, x0, z0, x1, z1, shade))
    for _, x0, z0, x1, z1, shade in sorted(strips, reverse=True):  # from far to near
        cloth = shape.soft and min(z0, z1) > 0.66 and shape.screen[1][0] - 0.01 < x0 < 0.80
        _band(picture, (x0, z0), (x1, z1), _CLOTH if cloth else car.paint, shade)
    if shape.bed:
        _band(picture, (shape.bed[0], 0.635), (shape.bed[1], 0.635), _TYRE, inset=0.9)
    for window, bright in ((shape.screen, 1.25), (shape.back, 1.05)):
        if window and picture.towards(*window[0], *window[1]):
            _band(picture, window[0], window[1], _GLASS, bright, inset=0.93)


def _band(picture: Picture, a: XZ, b: XZ, colour: Colour, shade: float = 1.0, inset: float = 1.0) -> None:
    # From one side of the car to the other, between two heights of the side view.
    corners = (*a, -1, inset), (*b, -1, inset), (*b, 1, inset), (*a, 1, inset)
    picture.fill([picture.on(*corner) for corner in corners], colour, shade)


def _side(picture: Picture) -> None:
    """Draw the visible side: paint, windows, doors, trim."""
    car, shape = picture.car, picture.shape
    tone = 0.93 + 0.07 * picture.scene.sun * picture.near
    floor = shape.clearance
    _patch(picture, [(x, max(z, floor)) for x, z in picture.outline], car.paint, tone)
    if shape.soft:
        low = shape.outline[5][0] - 0.015
        _patch(picture, [(x, z) for x, z in picture.outline if low < x < 0.80 and z > 0.69], _CLOTH, 1.1)
    # The lower body turns away from the sky, the shoulder towards it.
    _patch(picture, ((0.012, 0.30), (0.99, 0.30), (0.98, floor), (0.02, floor)), car.paint, tone * 0.80)
    high = 0.57 if shape.clearance < 0.16 else 0.61
    shoulder = (0.10, high - 0.05), (0.96, high - 0.02), (0.96, high - 0.05), (0.10, high - 0.075)
    _patch(picture, shoulder, car.paint, tone * 1.14)
    _patch(picture, ((0.10, floor + 0.035), (0.92, floor + 0.035), (0.92, floor), (0.10, floor)), (38, 38, 40))
    _patch(picture, picture.glass, _GLASS, 0.95)
    bottom, top = min(z for _, z in picture.glass), max(z for _, z in picture.glass)
    for x in shape.pillars:
        pillar = (x - 0.010, bottom), (x + 0.004, top), (x + 0.018, top), (x + 0.008, bottom)
        _patch(picture, pillar, _CLOTH if shape.soft else car.paint, tone * 0.9)
    _doors(picture, tone, bottom)
    _mirror(picture, tone)


def _patch(picture: Picture, corners: Iterable[XZ], colour: Colour, shade: float = 1.0) -> None:
    # A polygon on the side that is seen.
    picture.fill([picture.on(x, z, picture.near) for x, z in corners], colour, shade)


def _doors(picture: Picture, tone: float, sill: float) -> None:
    car = picture.car
    first = picture.shape.screen[0][0] + 0.045
    seams = (first, 0.60) if car.doors <= 3 else (first, 0.535, 0.735)
    if car.body in ("Panel Van", "Combi Van"):
        seams = (0.16, 0.40, 0.64)
    elif car.body == "Pickup":
        seams = (0.265, 0.50) if car.doors <= 3 else (0.265, 0.425, 0.60)
    wide, low = max(1, round(picture.size / 300)), picture.shape.clearance + 0.06
    for x in seams:
        ends = [picture.at(picture.on(x, z, picture.near)) for z in (sill, low)]
        picture.pen.line(ends, picture.scene.lit(car.paint, tone * 0.62), wide)
    for x in seams[1:]:
        z = sill - 0.07
        handle = (x - 0.045, z), (x - 0.012, z), (x - 0.012, z - 0.018), (x - 0.045, z - 0.018)
        _patch(picture, handle, car.paint, tone * 0.6)


def _mirror(picture: Picture, tone: float) -> None:
    car = picture.car
    x, z = picture.shape.screen[0][0] + 0.055, picture.shape.screen[0][1] + 0.015
    _, y, _ = picture.on(x, z, picture.near)
    corners = (x, z), (x + 0.03, z), (x + 0.028, z + 0.07), (x + 0.006, z + 0.06)
    picture.fill([(u * car.length, y * 1.06, w * car.height) for u, w in corners], car.paint, tone * 0.78)


def _wheels(picture: Picture, *, near: bool) -> None:
    """Draw the wheels of one side, in their arches."""
    car, side = picture.car, picture.near if near else -picture.near
    radius = picture.shape.wheel * car.height
    first = (car.length - car.wheelbase) * picture.shape.front
    for x in (first, first + car.wheelbase):
        _, y, _ = picture.on(x / car.length, 0.3, side)

        def ring(r: float, y: float, x: float = x) -> list[Point]:
            return [(x + r * c, y, radius + r * s) for c, s in _CIRCLE]

        if not near or not picture.beside:
            picture.fill(ring(radius, y), _TYRE, 0.8)
            continue
        picture.fill([p for p in ring(radius * 1.15, y) if p[2] > 0.16 * car.height], (16, 16, 18))
        picture.fill(ring(radius, y * 0.86), _TYRE, 0.7)
        picture.fill(ring(radius, y), _TYRE)
        picture.fill(ring(radius * 0.68, y), (74, 76, 80))
        for k in range(car.spokes):
            t = 2 * math.pi * k / car.spokes + 0.3
            a, b = 0.11 * radius, 0.66 * radius
            picture.fill(
                [
                    (x + q * math.cos(t + w), y, radius + q * math.sin(t + w))
                    for q, w in ((a, -1.2), (b, -0.14), (b, 0.14), (a, 1.2))
                ],
                (196, 198, 202),
            )
        picture.fill(ring(radius * 0.16, y), (150, 152, 156))


def _ends(picture: Picture) -> None:
    """Draw lamps, grille and number plate of the visible end."""
    front = picture.cos > 0
    if picture.beside:
        _corner(picture, front=True)
        _corner(picture, front=False)
    if 0 < picture.camera[0] < picture.car.length:  # beside the car: neither end is seen
        return
    edge = 0.0 if front else 1.0

    def face(y: float, z: float) -> Point:
        rows = picture.outline if front else picture.outline[::-1]
        x = next((x for x, h in rows if h >= z), edge)
        point = picture.on(x, z, 1)
        return point[0] + (-6 if front else 6), y * point[1], point[2]

    def box(y0: float, y1: float, z0: float, z1: float, colour: Colour, shade: float = 1.0) -> None:
        picture.fill((face(y0, z0), face(y1, z0), face(y1, z1), face(y0, z1)), colour, shade)

    base = picture.shape.clearance
    box(-0.95, 0.95, base, base + 0.07, (44, 44, 46))
    if front:
        high = _nose(picture) - 0.02
        box(-0.55, 0.55, high - 0.27 * picture.car.grille - 0.05, high - 0.05, (30, 30, 33))
        box(-0.57, 0.57, high - 0.05, high - 0.03, (176, 178, 182))
        for side in (-1, 1):
            box(side * 0.62, side * 0.97, high - 0.11, high - 0.015, (236, 238, 240))
            box(side * 0.72, side * 0.84, high - 0.095, high - 0.03, (168, 174, 182))
        box(-0.27, 0.27, base + 0.09, base + 0.155, (240, 240, 236))
    else:
        for side in (-1, 1):
            box(side * 0.70, side * 0.97, 0.46, 0.60, (170, 26, 28))
            box(side * 0.80, side * 0.94, 0.475, 0.505, (232, 222, 210))
        box(-0.27, 0.27, 0.40, 0.465, (236, 200, 62))


def _corner(picture: Picture, *, front: bool) -> None:
    # Lamps go round the corner.
    if front:
        x, z, wide, colour = 0.004, _nose(picture) - 0.07, 0.055, (226, 228, 232)
    else:
        x, z, wide, colour = 0.992, 0.53, -0.03, (160, 24, 26)
    corners = (x, z - 0.045), (x + wide, z + 0.01), (x + wide, z + 0.045), (x, z + 0.045)
    _patch(picture, corners, colour)


def _nose(picture: Picture) -> float:
    # How high the front is before the bonnet begins.
    return next(z for x, z in picture.outline if x > 0.012)
