"""Side views of cars by body type, in fractions of length (front 0, rear 1) and height (ground 0, roof 1)."""

import dataclasses
import functools

Points = tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Body:
    """The shape of a body type.

    Attributes:
      outline: the corners from the front bumper over the roof to the rear bumper, before `smooth` rounds them.
      glass: the corners of the side windows.
      pillars: the positions of the pillars across the side windows.
      screen: the lower and upper edge of the windscreen.
      back: the upper and lower edge of the rear window; empty if there is none.
      wheel: the radius of a wheel as a fraction of the height.
      clearance: the lower edge of the body.
      front: the front overhang as a share of both overhangs.
      soft: whether the roof is of dark fabric.
      bed: the front and rear end of an open load bed; empty if there is none.
    """

    outline: Points
    glass: Points
    pillars: tuple[float, ...]
    screen: Points
    back: Points
    wheel: float = 0.215
    clearance: float = 0.125
    front: float = 0.45
    soft: bool = False
    bed: tuple[float, ...] = ()


BODIES: dict[str, Body] = {
    "Hatchback": Body(
        outline=(
            *((0, 0.20), (0, 0.42), (0.02, 0.52), (0.12, 0.57), (0.25, 0.62), (0.40, 0.95), (0.50, 1)),
            *((0.70, 0.99), (0.87, 0.93), (0.955, 0.68), (0.99, 0.60), (1, 0.45), (1, 0.20)),
        ),
        glass=((0.305, 0.635), (0.42, 0.91), (0.52, 0.935), (0.70, 0.925), (0.825, 0.87), (0.875, 0.70), (0.85, 0.65)),
        pillars=(0.53, 0.735),
        screen=((0.265, 0.635), (0.405, 0.93)),
        back=((0.88, 0.90), (0.95, 0.69)),
    ),
    "Saloon": Body(
        outline=(
            *((0, 0.20), (0, 0.43), (0.02, 0.53), (0.12, 0.58), (0.27, 0.63), (0.41, 0.95), (0.50, 1)),
            *((0.64, 0.985), (0.81, 0.70), (0.96, 0.66), (0.99, 0.60), (1, 0.45), (1, 0.20)),
        ),
        glass=((0.325, 0.645), (0.43, 0.91), (0.52, 0.935), (0.62, 0.925), (0.70, 0.86), (0.775, 0.70), (0.75, 0.66)),
        pillars=(0.525, 0.675),
        screen=((0.285, 0.645), (0.415, 0.93)),
        back=((0.665, 0.94), (0.79, 0.72)),
    ),
    "Estate": Body(
        outline=(
            *((0, 0.20), (0, 0.43), (0.02, 0.53), (0.12, 0.58), (0.26, 0.63), (0.40, 0.95), (0.49, 1)),
            *((0.78, 0.99), (0.935, 0.95), (0.985, 0.68), (0.998, 0.60), (1, 0.45), (1, 0.20)),
        ),
        glass=((0.315, 0.645), (0.42, 0.91), (0.51, 0.935), (0.78, 0.925), (0.895, 0.89), (0.94, 0.70), (0.92, 0.66)),
        pillars=(0.515, 0.68, 0.80),
        screen=((0.275, 0.645), (0.405, 0.93)),
        back=((0.945, 0.92), (0.985, 0.70)),
    ),
    "SUV": Body(
        outline=(
            *((0, 0.22), (0, 0.48), (0.015, 0.58), (0.12, 0.62), (0.24, 0.65), (0.36, 0.95), (0.46, 1)),
            *((0.75, 0.995), (0.92, 0.95), (0.98, 0.68), (0.995, 0.60), (1, 0.45), (1, 0.22)),
        ),
        glass=((0.29, 0.67), (0.385, 0.91), (0.48, 0.94), (0.75, 0.935), (0.875, 0.89), (0.925, 0.73), (0.90, 0.685)),
        pillars=(0.50, 0.69),
        screen=((0.255, 0.665), (0.37, 0.93)),
        back=((0.935, 0.92), (0.98, 0.70)),
        clearance=0.165,
    ),
    "MPV": Body(
        outline=(
            *((0, 0.18), (0, 0.38), (0.02, 0.47), (0.10, 0.52), (0.18, 0.57), (0.36, 0.94), (0.47, 1)),
            *((0.76, 0.995), (0.93, 0.95), (0.98, 0.62), (0.995, 0.55), (1, 0.42), (1, 0.18)),
        ),
        glass=((0.245, 0.595), (0.38, 0.89), (0.48, 0.93), (0.76, 0.93), (0.89, 0.89), (0.935, 0.67), (0.91, 0.61)),
        pillars=(0.315, 0.50, 0.72),
        screen=((0.19, 0.585), (0.36, 0.925)),
        back=((0.94, 0.91), (0.98, 0.65)),
        wheel=0.19,
        clearance=0.11,
    ),
    "Pickup": Body(
        outline=(
            *((0, 0.25), (0, 0.48), (0.015, 0.57), (0.10, 0.60), (0.22, 0.63), (0.325, 0.95), (0.39, 1)),
            *((0.55, 0.99), (0.605, 0.95), (0.625, 0.64), (0.65, 0.635), (0.985, 0.635), (1, 0.60), (1, 0.27)),
        ),
        glass=((0.265, 0.65), (0.345, 0.91), (0.40, 0.935), (0.54, 0.93), (0.585, 0.89), (0.59, 0.68), (0.57, 0.655)),
        pillars=(0.425,),
        screen=((0.23, 0.645), (0.33, 0.93)),
        back=((0.608, 0.92), (0.622, 0.68)),
        wheel=0.21,
        clearance=0.19,
        front=0.41,
        bed=(0.645, 0.975),
    ),
    "Coupe": Body(
        outline=(
            *((0, 0.18), (0, 0.40), (0.02, 0.50), (0.14, 0.57), (0.30, 0.63), (0.45, 0.95), (0.53, 1)),
            *((0.62, 0.985), (0.84, 0.74), (0.96, 0.69), (0.99, 0.62), (1, 0.45), (1, 0.18)),
        ),
        glass=((0.355, 0.645), (0.465, 0.905), (0.54, 0.93), (0.61, 0.915), (0.70, 0.83), (0.77, 0.71), (0.74, 0.665)),
        pillars=(0.63,),
        screen=((0.315, 0.645), (0.455, 0.93)),
        back=((0.65, 0.94), (0.82, 0.755)),
        wheel=0.25,
        clearance=0.105,
    ),
    "Convertible": Body(
        outline=(
            *((0, 0.18), (0, 0.42), (0.02, 0.53), (0.14, 0.60), (0.31, 0.66), (0.44, 0.94), (0.53, 1)),
            *((0.64, 0.98), (0.775, 0.72), (0.96, 0.67), (0.99, 0.60), (1, 0.45), (1, 0.18)),
        ),
        glass=((0.365, 0.675), (0.455, 0.895), (0.53, 0.93), (0.60, 0.915), (0.645, 0.73), (0.63, 0.68)),
        pillars=(),
        screen=((0.325, 0.675), (0.445, 0.92)),
        back=((0.675, 0.91), (0.755, 0.75)),
        wheel=0.245,
        clearance=0.11,
        soft=True,
    ),
    "Combi Van": Body(
        outline=(
            *((0, 0.16), (0, 0.34), (0.015, 0.44), (0.06, 0.49), (0.12, 0.54), (0.25, 0.92), (0.33, 0.995)),
            *((0.60, 1), (0.97, 0.99), (0.99, 0.90), (0.998, 0.60), (1, 0.40), (1, 0.16)),
        ),
        glass=((0.17, 0.575), (0.275, 0.875), (0.34, 0.92), (0.60, 0.925), (0.94, 0.92), (0.95, 0.62), (0.93, 0.58)),
        pillars=(0.225, 0.40, 0.64),
        screen=((0.125, 0.56), (0.25, 0.91)),
        back=((0.982, 0.92), (0.997, 0.62)),
        wheel=0.17,
        clearance=0.105,
    ),
    "Panel Van": Body(
        outline=(
            *((0, 0.16), (0, 0.34), (0.015, 0.44), (0.06, 0.49), (0.12, 0.54), (0.24, 0.88), (0.33, 0.985)),
            *((0.60, 1), (0.975, 1), (0.992, 0.94), (0.998, 0.60), (1, 0.40), (1, 0.16)),
        ),
        glass=((0.165, 0.565), (0.265, 0.82), (0.33, 0.855), (0.375, 0.85), (0.385, 0.60), (0.37, 0.57)),
        pillars=(0.22,),
        screen=((0.125, 0.56), (0.245, 0.87)),
        back=(),
        wheel=0.165,
        clearance=0.105,
    ),
}


def _cut(points: list[tuple[float, float]], closed: bool) -> list[tuple[float, float]]:
    """Return the points after one round of Chaikin's corner cutting."""
    pairs = list(zip(points, points[1:] + points[:1] if closed else points[1:], strict=False))
    cut = [(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for a, b in pairs for t in (0.25, 0.75)]
    return cut if closed else [points[0], *cut, points[-1]]


@functools.cache
def smooth(kind: str) -> tuple[Points, Points]:
    """Return the outline and the side windows of a body type with rounded corners.

    The outline is scaled to go exactly from 0 to 1 in length, and up to 1 in height.
    """
    body = BODIES[kind]
    outline = _cut(_cut(list(body.outline), closed=False), closed=False)
    low, high = min(x for x, _ in outline), max(x for x, _ in outline)
    top = max(z for _, z in outline)
    rounded = tuple(((x - low) / (high - low), z / top) for x, z in outline)
    return rounded, tuple(_cut(list(body.glass), closed=True))
