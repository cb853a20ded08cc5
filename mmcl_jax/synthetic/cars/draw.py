"""Drawing a car: a side view, extruded across its width, in perspective, with windows, wheels and lamps."""

import functools
import itertools
import math
import random
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageChops

from mmcl_jax.synthetic.cars.canvas import Canvas, Car, Point
from mmcl_jax.synthetic.cars.scene import Colour, Scene

XZ = tuple[float, float]  # fractions of length from the front, and of height from the ground

_OVERSAMPLING = 2  # drawn pixels per pixel of the result, in each direction
_GLASS: Colour = (46, 56, 66)
_TYRE: Colour = (28, 28, 30)
_CLOTH: Colour = (44, 42, 42)
_CIRCLE = tuple((math.cos(t), math.sin(t)) for t in np.linspace(0, 2 * math.pi, 24, endpoint=False).tolist())


def draw(car: Car, scene: Scene, size: int) -> Image.Image:
    """Return an image of a car; equal arguments give equal images.

    Args:
      car: the car.
      scene: the viewpoint, the light and the surroundings.
      size: height and width in pixels.
    """
    canvas = Canvas(car, scene, size * _OVERSAMPLING)
    _shadow(canvas)
    _wheels(canvas, near=False)
    if canvas.beside:
        _across(canvas)
        _side(canvas)
        _wheels(canvas, near=True)
    else:
        _wheels(canvas, near=True)
        _across(canvas)
    _ends(canvas)
    fine = canvas.image.reduce(_OVERSAMPLING)
    # The grain of the camera is cut out of a larger tile, at a random position.
    rng = random.Random(scene.seed)
    x, y = rng.randrange(64), rng.randrange(64)
    grain = _grain(size, rng.randrange(3)).crop((x, y, x + size, y + size))
    return ImageChops.add(fine, grain, 1, -128)


@functools.cache
def _grain(size: int, level: int) -> Image.Image:
    rng = np.random.default_rng(level)
    values = 128 + (2.0, 4.0, 7.0)[level] * rng.standard_normal((size + 64, size + 64, 1))
    return Image.fromarray(np.repeat(values.astype(np.uint8), 3, axis=2))


def _shadow(canvas: Canvas) -> None:
    """Draw the dark ground below the car."""
    car = canvas.car
    for grow, dark in ((1.10, 0.80), (1.05, 0.6), (1.0, 0.4), (0.94, 0.22)):
        corner = [
            (0.5 + 0.5 * grow * math.copysign(abs(c) ** 0.35, c), 0.5 * grow * math.copysign(abs(s) ** 0.35, s))
            for c, s in _CIRCLE
        ]
        points = [(x * car.length, y * car.width, 0.0) for x, y in corner]
        canvas.fill(points, (92, 92, 94), dark)


def _across(canvas: Canvas) -> None:
    """Draw the strips across the car that face the camera: bonnet, windscreen, roof, front or back."""
    car, shape = canvas.car, canvas.shape
    floor = shape.clearance
    _band(canvas, (0.02, floor), (0.98, floor), (20, 20, 22))
    strips = []
    for (x0, z0), (x1, z1) in itertools.pairwise(canvas.outline):
        z0, z1 = max(z0, floor), max(z1, floor)
        if canvas.towards(x0, z0, x1, z1):
            shade = canvas.shade((x1 - x0) * car.length, (z1 - z0) * car.height)
            strips.append((x0 if canvas.cos > 0 else -x0, x0, z0, x1, z1, shade))
    for _, x0, z0, x1, z1, shade in sorted(strips, reverse=True):  # from far to near
        cloth = shape.soft and min(z0, z1) > 0.66 and shape.screen[1][0] - 0.01 < x0 < 0.80
        _band(canvas, (x0, z0), (x1, z1), _CLOTH if cloth else car.paint, shade)
    if shape.bed:
        _band(canvas, (shape.bed[0], 0.635), (shape.bed[1], 0.635), _TYRE, inset=0.9)
    for window, bright in ((shape.screen, 1.25), (shape.back, 1.05)):
        if window and canvas.towards(*window[0], *window[1]):
            _band(canvas, window[0], window[1], _GLASS, bright, inset=0.93)


def _band(canvas: Canvas, a: XZ, b: XZ, colour: Colour, shade: float = 1.0, inset: float = 1.0) -> None:
    """Draw a strip across the car between two points of the side view."""
    corners = (*a, -1, inset), (*b, -1, inset), (*b, 1, inset), (*a, 1, inset)
    canvas.fill([canvas.on(*corner) for corner in corners], colour, shade)


def _side(canvas: Canvas) -> None:
    """Draw the visible side: paint, windows, doors, trim."""
    car, shape = canvas.car, canvas.shape
    tone = 0.93 + 0.07 * canvas.scene.sun * canvas.near
    floor = shape.clearance
    _patch(canvas, [(x, max(z, floor)) for x, z in canvas.outline], car.paint, tone)
    if shape.soft:
        low = shape.outline[5][0] - 0.015
        _patch(canvas, [(x, z) for x, z in canvas.outline if low < x < 0.80 and z > 0.69], _CLOTH, 1.1)
    # The lower body turns away from the sky, the shoulder towards it.
    _patch(canvas, ((0.012, 0.30), (0.99, 0.30), (0.98, floor), (0.02, floor)), car.paint, tone * 0.80)
    high = 0.57 if shape.clearance < 0.16 else 0.61
    shoulder = (0.10, high - 0.05), (0.96, high - 0.02), (0.96, high - 0.05), (0.10, high - 0.075)
    _patch(canvas, shoulder, car.paint, tone * 1.14)
    _patch(canvas, ((0.10, floor + 0.035), (0.92, floor + 0.035), (0.92, floor), (0.10, floor)), (38, 38, 40))
    _patch(canvas, canvas.glass, _GLASS, 0.95)
    bottom, top = min(z for _, z in canvas.glass), max(z for _, z in canvas.glass)
    for x in shape.pillars:
        pillar = (x - 0.010, bottom), (x + 0.004, top), (x + 0.018, top), (x + 0.008, bottom)
        _patch(canvas, pillar, _CLOTH if shape.soft else car.paint, tone * 0.9)
    _doors(canvas, tone, bottom)
    _mirror(canvas, tone)


def _patch(canvas: Canvas, corners: Iterable[XZ], colour: Colour, shade: float = 1.0) -> None:
    """Draw a polygon on the visible side."""
    canvas.fill([canvas.on(x, z, canvas.near) for x, z in corners], colour, shade)


def _doors(canvas: Canvas, tone: float, sill: float) -> None:
    car = canvas.car
    first = canvas.shape.screen[0][0] + 0.045
    seams = (first, 0.60) if car.doors <= 3 else (first, 0.535, 0.735)
    if car.body in ("Panel Van", "Combi Van"):
        seams = (0.16, 0.40, 0.64)
    elif car.body == "Pickup":
        seams = (0.265, 0.50) if car.doors <= 3 else (0.265, 0.425, 0.60)
    wide, low = max(1, round(canvas.size / 300)), canvas.shape.clearance + 0.06
    for x in seams:
        ends = [canvas.at(canvas.on(x, z, canvas.near)) for z in (sill, low)]
        canvas.pen.line(ends, canvas.scene.lit(car.paint, tone * 0.62), wide)
    for x in seams[1:]:
        z = sill - 0.07
        handle = (x - 0.045, z), (x - 0.012, z), (x - 0.012, z - 0.018), (x - 0.045, z - 0.018)
        _patch(canvas, handle, car.paint, tone * 0.6)


def _mirror(canvas: Canvas, tone: float) -> None:
    car = canvas.car
    x, z = canvas.shape.screen[0][0] + 0.055, canvas.shape.screen[0][1] + 0.015
    _, y, _ = canvas.on(x, z, canvas.near)
    corners = (x, z), (x + 0.03, z), (x + 0.028, z + 0.07), (x + 0.006, z + 0.06)
    canvas.fill([(u * car.length, y * 1.06, w * car.height) for u, w in corners], car.paint, tone * 0.78)


def _wheels(canvas: Canvas, *, near: bool) -> None:
    """Draw the wheels of one side, in their arches."""
    car, side = canvas.car, canvas.near if near else -canvas.near
    radius = canvas.shape.wheel * car.height
    first = (car.length - car.wheelbase) * canvas.shape.front
    for x in (first, first + car.wheelbase):
        _, y, _ = canvas.on(x / car.length, 0.3, side)

        def ring(r: float, y: float, x: float = x) -> list[Point]:
            return [(x + r * c, y, radius + r * s) for c, s in _CIRCLE]

        if not near or not canvas.beside:
            canvas.fill(ring(radius, y), _TYRE, 0.8)
            continue
        canvas.fill([p for p in ring(radius * 1.15, y) if p[2] > 0.16 * car.height], (16, 16, 18))
        canvas.fill(ring(radius, y * 0.86), _TYRE, 0.7)
        canvas.fill(ring(radius, y), _TYRE)
        canvas.fill(ring(radius * 0.68, y), (74, 76, 80))
        for k in range(car.spokes):
            t = 2 * math.pi * k / car.spokes + 0.3
            a, b = 0.11 * radius, 0.66 * radius
            canvas.fill(
                [
                    (x + q * math.cos(t + w), y, radius + q * math.sin(t + w))
                    for q, w in ((a, -1.2), (b, -0.14), (b, 0.14), (a, 1.2))
                ],
                (196, 198, 202),
            )
        canvas.fill(ring(radius * 0.16, y), (150, 152, 156))


def _ends(canvas: Canvas) -> None:
    """Draw lamps, grille and number plate of the visible end."""
    front = canvas.cos > 0
    if canvas.beside:
        _corner(canvas, front=True)
        _corner(canvas, front=False)
    if 0 < canvas.camera[0] < canvas.car.length:  # the camera is beside the car and sees neither end
        return
    edge = 0.0 if front else 1.0

    def face(y: float, z: float) -> Point:
        rows = canvas.outline if front else canvas.outline[::-1]
        x = next((x for x, h in rows if h >= z), edge)
        point = canvas.on(x, z, 1)
        return point[0] + (-6 if front else 6), y * point[1], point[2]

    def box(y0: float, y1: float, z0: float, z1: float, colour: Colour, shade: float = 1.0) -> None:
        canvas.fill((face(y0, z0), face(y1, z0), face(y1, z1), face(y0, z1)), colour, shade)

    base = canvas.shape.clearance
    box(-0.95, 0.95, base, base + 0.07, (44, 44, 46))
    if front:
        high = _nose(canvas) - 0.02
        box(-0.55, 0.55, high - 0.27 * canvas.car.grille - 0.05, high - 0.05, (30, 30, 33))
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


def _corner(canvas: Canvas, *, front: bool) -> None:
    """Draw the part of a lamp that goes round the corner to the visible side."""
    if front:
        x, z, wide, colour = 0.004, _nose(canvas) - 0.07, 0.055, (226, 228, 232)
    else:
        x, z, wide, colour = 0.992, 0.53, -0.03, (160, 24, 26)
    corners = (x, z - 0.045), (x + wide, z + 0.01), (x + wide, z + 0.045), (x, z + 0.045)
    _patch(canvas, corners, colour)


def _nose(canvas: Canvas) -> float:
    """Return the height of the front where the bonnet begins."""
    return next(z for x, z in canvas.outline if x > 0.012)
