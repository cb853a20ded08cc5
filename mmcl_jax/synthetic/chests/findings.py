"""Findings in drawn chests: their kinds, how often they occur, and which part of a picture each covers."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from mmcl_jax.synthetic.chests.anatomy import SIDES, Lung, Plane

KINDS = ("cardiomegaly", "edema", "consolidation", "atelectasis", "pleural_effusion", "pneumothorax", "nodule")
ZONES = {"upper": (0.2, 0.4), "mid": (0.42, 0.6), "lower": (0.62, 0.8)}  # shares of the height of a lung, from its top
COVERED = 0.4  # a pixel belongs to a finding that covers this share of it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of a person at one time.

    Attributes:
      kind: a key of `KINDS`.
      side: "left", "right", or "" for the heart.
      zone: a key of `ZONES`, "apex" for a pneumothorax, "base" at the diaphragm, or "" for the whole lung.
      size: from 0 (just visible) to 1.
      centre: shares of the width and of the height of the lung.
      shape: ratio of height and width.
      seed: of its outline.
    """

    kind: str
    side: str
    zone: str
    size: float
    centre: tuple[float, float] = (0.5, 0.5)
    shape: float = 1.0
    seed: int = 0


def draw_findings(random: np.random.Generator, *, age: float, heart: bool | None = None) -> tuple[Finding, ...]:
    """Return random findings of a person of an age; some come together, as effusion and atelectasis do.

    Args:
      random: the source of randomness.
      age: in years.
      heart: whether the person has cardiomegaly, if known.
    """
    found: list[Finding] = []
    enlarged = random.random() < 0.16 + 0.16 * np.clip((age - 45) / 40, 0, 1) if heart is None else heart
    if enlarged:
        found.append(_finding("cardiomegaly", "", "", random))
    edema = random.random() < (0.3 if enlarged else 0.08)
    if edema:
        size = float(random.random())
        found += [_finding("edema", side, "", random, size) for side in SIDES]
    for side in _sides(random, 0.4 if edema else 0.16, both=0.4):
        found.append(_finding("pleural_effusion", side, "base", random))
    wet = {one.side for one in found if one.kind == "pleural_effusion"}
    for side in SIDES:
        if random.random() < (0.3 if side in wet else 0.08):
            found.append(_finding("atelectasis", side, "base", random))
    for side in _sides(random, 0.16, both=0.15):
        for _ in range(1 + int(random.random() < 0.2)):
            found.append(_finding("consolidation", side, str(random.choice(list(ZONES))), random))
    for side in _sides(random, 0.06, both=0.03):
        found.append(_finding("pneumothorax", side, "apex", random))
    for side in _sides(random, 0.08, both=0.05):
        found.append(_finding("nodule", side, str(random.choice(list(ZONES))), random))
    return tuple(found)


def opacities(random: np.random.Generator, count: int) -> tuple[Finding, ...]:
    """Return `count` consolidations at random sides and zones, each in another zone of a lung if there are enough."""
    places = [(side, zone) for side in SIDES for zone in ZONES]
    chosen = [places[index] for index in random.permutation(len(places))[:count]]
    return tuple(_finding("consolidation", side, zone, random) for side, zone in chosen)


def single(kind: str, random: np.random.Generator) -> Finding:
    """Return a random finding of a kind on a random side."""
    zone = {"pneumothorax": "apex", "pleural_effusion": "base", "atelectasis": "base"}.get(kind, "")
    side = "" if kind == "cardiomegaly" else str(random.choice(list(SIDES)))
    return _finding(kind, side, zone or (str(random.choice(list(ZONES))) if kind in _IN_ZONES else ""), random)


_IN_ZONES = ("consolidation", "nodule")


def _finding(kind: str, side: str, zone: str, random: np.random.Generator, size: float | None = None) -> Finding:
    size = float(random.random()) if size is None else size
    beside = 0.5 if side == "left" and zone == "lower" else 0.3  # the heart hides what lies behind it
    across = float(random.uniform(beside, 0.75))
    along = float(random.uniform(*ZONES[zone])) if zone in ZONES else 0.78
    return Finding(
        kind=kind,
        side=side,
        zone=zone,
        size=size,
        centre=(across, along),
        shape=float(np.exp(random.normal(0, 0.2))),
        seed=int(random.integers(2**31)),
    )


def _sides(random: np.random.Generator, share: float, *, both: float) -> list[str]:
    """Return no side, one, or with the share `both` of persons that have the finding, two."""
    if random.random() >= share:
        return []
    first = str(random.choice(list(SIDES)))
    return [first, *(side for side in SIDES if side != first)] if random.random() < both else [first]


def raised(findings: Sequence[Finding]) -> dict[str, float]:
    """Return by how much atelectasis raises each half of the diaphragm."""
    rise = dict.fromkeys(SIDES, 0.0)
    for one in findings:
        if one.kind == "atelectasis":
            rise[one.side] = max(rise[one.side], 0.03 + 0.06 * one.size)
    return rise


def cover(finding: Finding, plane: Plane, lungs: Mapping[str, Lung]) -> np.ndarray:
    """Return how much of every pixel `[size, size]` a finding of a lung covers, from 0 to 1."""
    lung = lungs[finding.side]
    random = np.random.default_rng(finding.seed)
    wide = plane.chest.width - 0.12
    size = finding.size
    if finding.kind == "consolidation":
        radius = (0.18 + 0.14 * size) * wide
        x, y = lung.point(*finding.centre)
        away = np.hypot((plane.x - x) / radius, (plane.y - y) / (radius * finding.shape))
        rough = 0.22 * texture(random, plane, 0.5 * radius)
        return lung.share * plane.step(1 - away + rough, 0.3)
    if finding.kind == "nodule":
        x, y = lung.point(*finding.centre)
        radius = nodule_radius(finding)
        return lung.share * plane.ellipse((x, y), (radius, radius * min(1.2, finding.shape)), soft=0.02)
    if finding.kind == "edema":
        near = np.exp(-((lung.across / 0.75) ** 2)) * np.exp(-(((lung.along - 0.55) / 0.34) ** 2))
        rough = 1 + 0.25 * texture(random, plane, 0.06)
        return np.clip(lung.share * near * rough, 0, 1)
    if finding.kind == "atelectasis":
        x, y = lung.point(0.45, 0.76 - 0.1 * size * finding.shape)
        half = (0.3 + 0.15 * size) * wide
        incline = float(random.uniform(-0.35, 0.15))
        thick = 0.03 + 0.035 * size
        out, down = lung.sign * (plane.x - np.float32(x)), plane.y - np.float32(y)
        off = down - incline * out - 0.25 * out**2
        band = plane.step(thick - np.abs(off), 0.025) * plane.step(half - np.abs(out), 0.06)
        below = plane.step(plane.y - (lung.floor - 0.05 - 0.04 * size), 0.04)  # little air above the diaphragm
        return lung.share * np.maximum(band, 0.6 * below)
    if finding.kind == "pleural_effusion":
        height = 0.11 + 0.42 * size**1.5
        surface = lung.bottom - height * (0.45 + 0.55 * np.clip(lung.across, 0, 1) ** 2)
        return lung.share * plane.step(plane.y - surface, 0.02)
    if finding.kind == "pneumothorax":
        collapse = 0.1 + 0.24 * size
        border = lung.outer * (1 - collapse * np.clip((0.8 - lung.along) * 1.4, 0, 1)) + 0.03 * (lung.along > 0.8)
        left = plane.step(border - lung.outwards, 0.012) * plane.step(lung.along - (0.07 + 0.22 * size), 0.012)
        return lung.share * (1 - left)
    raise ValueError(finding.kind)


def nodule_radius(finding: Finding) -> float:
    """Return the radius of a nodule in coordinates of the chest, half of whose picture is about 20 cm."""
    return 0.038 + 0.032 * finding.size


def texture(random: np.random.Generator, plane: Plane, length: float) -> np.ndarray:
    """Return smooth noise `[size, size]` of about unit variance with structures of a length of the chest.

    The noise is drawn on a grid of its own, so that pictures of all sizes show the same.
    """
    cells = int(np.clip(np.ceil(2.4 / length), 4, 64))
    grid = random.standard_normal((cells, cells)).astype(np.float32)
    place = (np.stack([plane.y, plane.x]) + 1.2) * np.float32(cells / 2.4) - 0.5
    return 1.3 * ndimage.map_coordinates(grid, place, order=1, mode="nearest")


def mask_of(covered: np.ndarray) -> np.ndarray:
    """Return the pixels of a finding, bool: where it covers enough, and at least that which it covers most."""
    return covered >= min(COVERED, 0.8 * float(covered.max()))


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return x, y, width and height in pixels of the smallest box around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)
