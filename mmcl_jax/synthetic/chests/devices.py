"""Devices in drawn chests: tubes, lines, pacemakers and wires, which are brighter than bone."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mmcl_jax.synthetic.chests.anatomy import Plane

# Of each kind: its course as points x and y of the chest, its width, and its brightness.
_LINES: dict[str, tuple[tuple[tuple[tuple[float, float], ...], ...], float, float]] = {
    "endotracheal tube": ((((0.0, -1.0), (-0.005, -0.6), (-0.01, -0.36)),), 0.022, 0.3),
    "enteric tube": ((((0.02, -1.0), (0.015, -0.4), (0.04, 0.1), (0.12, 0.4), (0.3, 0.62)),), 0.014, 0.35),
    "central line": ((((-0.2, -0.95), (-0.16, -0.7), (-0.12, -0.45), (-0.11, -0.12)),), 0.014, 0.35),
    "PICC": ((((-0.95, -0.35), (-0.6, -0.62), (-0.3, -0.55), (-0.13, -0.4), (-0.11, -0.1)),), 0.012, 0.32),
    "pacemaker": (
        (
            ((0.5, -0.5), (0.3, -0.58), (0.05, -0.42), (-0.08, -0.15), (-0.1, 0.12)),
            ((0.5, -0.47), (0.28, -0.54), (0.04, -0.38), (-0.06, -0.1), (0.05, 0.2), (0.26, 0.3)),
        ),
        0.016,
        0.4,
    ),
    "sternotomy wires": (
        tuple(((-0.03, height - 0.02), (0.03, height + 0.02)) for height in (-0.4, -0.26, -0.12, 0.02, 0.16)),
        0.02,
        0.4,
    ),
}
DEVICES = tuple(_LINES)
_IN_BED = ("endotracheal tube", "enteric tube", "central line", "PICC")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """A device: its `kind`, a key of `DEVICES`, and its `seed`, by which its course differs a little."""

    kind: str
    seed: int


def devices_of(random: np.random.Generator, *, age: float, ill: bool) -> tuple[Device, ...]:
    """Return random devices: more in those who are ill, and pacemakers in the old."""
    kinds = [kind for kind in _IN_BED if random.random() < (0.2 if ill else 0.02)]
    if "central line" in kinds and "PICC" in kinds:
        kinds.remove("PICC")
    if random.random() < 0.1 * np.clip((age - 50) / 30, 0, 1):
        kinds.append("pacemaker")
    if random.random() < 0.12 * np.clip((age - 50) / 30, 0, 1):
        kinds.append("sternotomy wires")
    return tuple(Device(kind=kind, seed=int(random.integers(2**31))) for kind in kinds)


def draw_devices(devices: Sequence[Device], plane: Plane, fine: int) -> np.ndarray:
    """Return what devices add to the brightness of every pixel `[size, size]`; lines are drawn `fine` times larger."""
    added = np.zeros((plane.size, plane.size), np.float32)
    unit = fine * plane.size / 2 * plane.pose.zoom
    for device in devices:
        random = np.random.default_rng(device.seed)
        courses, width, strength = _LINES[device.kind]
        picture = Image.new("L", (fine * plane.size, fine * plane.size))
        pen = ImageDraw.Draw(picture)
        off = random.normal(0, 0.012, 2)
        for course in courses:
            points = np.array(course) + off + random.normal(0, 0.008, (len(course), 2))
            dots = [(float(x), float(y)) for x, y in fine * plane.pixels(_smooth(points))]
            thick = width * unit
            pen.line(dots, fill=min(255, int(255 * thick)), width=max(1, round(thick)), joint="curve")
        if device.kind == "pacemaker":
            x, y = fine * plane.pixels(np.array([[0.52, -0.46]]) + off)[0]
            pen.rounded_rectangle(
                [x - 0.09 * unit, y - 0.075 * unit, x + 0.09 * unit, y + 0.075 * unit], 0.04 * unit, fill=255
            )
        added = np.maximum(added, strength * np.asarray(picture.reduce(fine), np.float32) / 255)
    return added


def _smooth(points: np.ndarray) -> np.ndarray:
    """Return points on a smooth curve through `points` `[n, 2]`."""
    if len(points) < 3:
        return points
    for _ in range(2):  # Chaikin: corners are cut
        quarter, rest = 0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]
        inner = np.stack([quarter, rest], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], inner[1:-1], points[-1:]])
    return points
