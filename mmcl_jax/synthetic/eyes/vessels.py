"""The vessels of a drawn retina: arcades that leave the disc, bend around the fovea and branch."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

STEP = 0.04  # of a vessel, in radii of the field of view
# Of each arcade: the angle at which it leaves the disc and the angle towards which it bends, in degrees; 0 is towards
# the fovea, 90 is up.
ARCADES = ((72.0, -16.0, 1.0), (-72.0, 16.0, 1.0), (125.0, 160.0, 0.68), (-125.0, -160.0, 0.68))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vessel:
    """A piece of a vessel without branches.

    Attributes:
      points: `[n, 2]` x and y in radii of the field of view; the fovea lies on the positive x axis from the disc.
      width: in radii of the field of view.
      artery: whether it is an artery; else a vein.
    """

    points: np.ndarray
    width: float
    artery: bool


def grow(
    random: np.random.Generator, *, disc: np.ndarray, fovea: np.ndarray, artery: float, vein: float, tortuosity: float
) -> list[Vessel]:
    """Return the vessels of a retina.

    Args:
      random: the source of all random numbers.
      disc: `[2]`, x and y of the centre of the disc, in radii of the field of view around its centre.
      fovea: `[2]`, that of the fovea.
      artery: width of the large arteries, in the same unit.
      vein: width of the large veins.
      tortuosity: how much vessels wind; 1 is usual.
    """
    vessels: list[Vessel] = []
    for is_artery, width in ((False, vein), (True, artery)):
        for start, towards, size in ARCADES:
            angle = start + random.normal(0, 7) + (9 if is_artery else -9) * np.sign(start)
            vessels += _branch(
                random, disc, np.radians(angle), np.radians(towards), width * size,
                fovea=fovea, artery=is_artery, tortuosity=tortuosity, depth=0,
            )  # fmt: skip
    return vessels


def _branch(
    random: np.random.Generator,
    start: np.ndarray,
    angle: float,
    towards: float,
    width: float,
    *,
    fovea: np.ndarray,
    artery: bool,
    tortuosity: float,
    depth: int,
) -> Iterator[Vessel]:
    """Yield a vessel in pieces that become thinner, and its branches."""
    steps = int((44, 22, 12)[depth] * random.uniform(0.8, 1.1))
    turn = (towards - angle) / (26 if depth == 0 else 60)
    phase = random.uniform(0, 2 * np.pi)
    wave = 0.26 * tortuosity * np.sin(phase + np.arange(steps) * random.uniform(0.8, 1.25))
    bends = turn + random.normal(0, 0.05, steps)
    angles = angle + np.cumsum(bends) + wave
    moves = STEP * np.stack([np.cos(angles), -np.sin(angles)], axis=1)
    points = np.concatenate([start[None], start + np.cumsum(moves, axis=0)])
    outside = np.hypot(points[:, 0], points[:, 1]) > 1.04
    avascular = np.hypot(*(points - fovea).T) < 0.17 if depth else np.zeros(len(points), bool)
    ended = np.flatnonzero(outside | avascular)
    points = points[: ended[0] + 1] if len(ended) else points
    if len(points) < 3:
        return
    end = width * (0.55 if depth == 0 else 0.6)
    pieces = max(1, len(points) // 5)
    cuts = np.linspace(0, len(points) - 1, pieces + 1).astype(int)
    for piece, (first, last) in enumerate(itertools.pairwise(cuts.tolist())):
        share = (piece + 0.5) / pieces
        yield Vessel(points=points[first : last + 1], width=width + (end - width) * share, artery=artery)
    if depth == 2:
        return
    every = 6 if depth == 0 else 7
    side = 1 if random.random() < 0.5 else -1
    for at in range(every, len(points) - 1, every):
        side = -side
        here = float(angles[min(at, len(angles) - 1)])
        local = width + (end - width) * at / len(points)
        leaving = here + side * np.radians(random.uniform(32, 62))
        yield from _branch(
            random, points[at], leaving, leaving + side * random.normal(0, 0.5), 0.62 * local,
            fovea=fovea, artery=artery, tortuosity=tortuosity, depth=depth + 1,
        )  # fmt: skip
