"""Painting the radiograph of a drawn chest."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from mmcl_jax.synthetic.chests.anatomy import AP_MAGNIFICATION, SIDES, Chest, Lung, Plane, Pose
from mmcl_jax.synthetic.chests.devices import Device, draw_devices
from mmcl_jax.synthetic.chests.findings import Finding, cover, mask_of, raised, texture

FINE = 3  # times the size of the picture, in which lines are drawn to have smooth edges
# Brightness, from 0 for air to 1: of soft tissue, of the lungs, of the heart and of what fills the lungs.
_TISSUE, _LUNG, _HEART, _FLUID = 0.66, 0.2, 0.7, 0.65
LARGE = (0.5, 0.13)  # cardiothoracic ratio of the smallest cardiomegaly, and the growth to the largest
# How strongly a finding covers the lung: at size 0, and the growth to size 1.
_STRENGTH = {
    "edema": (0.12, 0.4),
    "consolidation": (0.6, 0.25),
    "atelectasis": (0.4, 0.25),
    "pleural_effusion": (0.85, 0.1),
    "nodule": (0.65, 0.2),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Radiograph:
    """A radiograph, `pixels` `[size, size]` uint8, and a mask `[size, size]` bool of each finding, in their order."""

    pixels: np.ndarray
    masks: tuple[np.ndarray, ...]


def radiograph(
    chest: Chest,
    pose: Pose,
    findings: Sequence[Finding],
    devices: Sequence[Device],
    size: int,
    random: np.random.Generator,
) -> Radiograph:
    """Return the radiograph of a chest.

    Args:
      chest: the anatomy.
      pose: the view, the position and the contrast.
      findings: what is wrong with it.
      devices: tubes, lines and pacemakers.
      size: height and width in pixels.
      random: draws what differs between pictures of the same person: scatter and noise.
    """
    plane, rise = Plane(chest, pose, size), raised(findings)
    lungs = {side: Lung(plane, side, raised=rise[side]) for side in SIDES}
    heart = _heart(plane, findings)
    seen = 1 - 0.93 * heart  # of what lies behind the heart
    bright = _TISSUE * _body(plane)
    air = sum((lung.share for lung in lungs.values()), np.float32(0)) * seen
    bright = bright + air * (_LUNG - bright)
    bright = bright + 0.9 * heart * np.clip(_HEART - bright, 0, None)
    covers = [heart if one.kind == "cardiomegaly" else seen * cover(one, plane, lungs) for one in findings]
    collapsed, wet = np.zeros_like(air), np.zeros_like(air)
    for one, covered in zip(findings, covers, strict=True):
        if one.kind == "pneumothorax":
            collapsed = np.maximum(collapsed, covered)
        elif one.kind == "edema":
            wet = wet + one.size * covered
    vessels = _vessels(plane, lungs)
    bright = bright + air * vessels * (1 - collapsed) * (0.13 + 0.2 * wet)
    for one, covered in zip(findings, covers, strict=True):
        if one.kind in _STRENGTH:
            least, growth = _STRENGTH[one.kind]
            strength = (least + growth * one.size) * covered
            bright = bright + strength * np.clip(_FLUID - bright, 0, None)
    bright = bright - 0.1 * collapsed * air
    edge = collapsed * (1 - collapsed) * 4  # the pleura, a thin line
    bright = bright + 0.16 * edge * air
    bright = _bones(bright, plane)
    bright = bright + draw_devices(devices, plane, FINE)
    masks = tuple(mask_of(covered) for covered in covers)
    return Radiograph(pixels=_taken(bright, plane, random), masks=masks)


def _body(plane: Plane) -> np.ndarray:
    """Return how much tissue lies behind every pixel `[size, size]`, from 0 outside the body."""
    chest = plane.chest
    away = np.abs(plane.x)
    shoulder = np.clip((plane.y + 0.98) / 0.5, 0, 1)
    side = 0.2 + (chest.width + chest.fat - 0.1) * shoulder**0.7
    body = plane.step(side - away, 0.03) * (0.86 + 0.2 * np.exp(-((plane.x / 0.5) ** 2)))
    belly = plane.step(plane.y - plane.base, 0.12)
    bubble = plane.ellipse((0.28, plane.base + 0.02), (0.14, 0.08), soft=0.04)  # air in the stomach
    return body * (1 + 0.2 * belly) - 0.3 * bubble * belly


def _heart(plane: Plane, findings: Sequence[Finding]) -> np.ndarray:
    """Return the share of every pixel `[size, size]` that the heart covers, above the diaphragm."""
    chest = plane.chest
    ratio = chest.ratio
    for one in findings:
        if one.kind == "cardiomegaly":
            ratio = LARGE[0] + LARGE[1] * one.size
    ratio = ratio * (AP_MAGNIFICATION if plane.pose.view == "AP" else 1.0)
    half = ratio * chest.width
    high = 0.27 * np.sqrt(ratio / 0.44) * chest.tall
    tilt = chest.tilt
    long = np.sqrt(max(half**2 - (high * np.sin(tilt)) ** 2, 0.01)) / np.cos(tilt)
    bottom = float(np.mean(chest.domes)) + plane.pose.breath
    centre = (0.34 * half, bottom + chest.low - 0.72 * high)
    own = plane.ellipse(centre, (float(long), float(high)), tilt, soft=max(plane.soft, 0.016))
    return own * plane.step(np.float32(bottom + 0.1) - plane.y, 0.05)


def _vessels(plane: Plane, lungs: dict[str, Lung]) -> np.ndarray:
    """Return how much of every pixel `[size, size]` the vessels of the lungs and the hila cover."""
    random = np.random.default_rng(plane.chest.vessels)
    fine = Image.new("L", (FINE * plane.size, FINE * plane.size))
    pen = ImageDraw.Draw(fine)
    unit = FINE * plane.size / 2 * plane.pose.zoom
    for lung in lungs.values():
        x, y = lung.point(0.08, 0.52)
        for angle in np.linspace(-1.25, 1.25, 9) + random.normal(0, 0.1, 9):
            points, heading, at = [(x, y)], float(angle), np.array([x, y])
            for _ in range(9):
                heading += float(random.normal(0.03 * np.sign(angle), 0.16))
                at = at + 0.065 * np.array([lung.sign * np.cos(heading), np.sin(heading)])
                points.append((float(at[0]), float(at[1])))
            dots = FINE * plane.pixels(np.array(points))
            for number in range(len(dots) - 1):
                width = 0.03 * (1 - number / 11) * unit
                line = [(float(a), float(b)) for a, b in dots[number : number + 2]]
                pen.line(line, fill=min(255, 40 + int(215 * min(1.0, width))), width=max(1, round(width)))
    lines = np.asarray(fine.reduce(FINE), np.float32) / 255
    blurred = ndimage.gaussian_filter(lines, 0.006 * plane.size)
    for lung in lungs.values():
        blurred = np.maximum(blurred, 0.9 * plane.ellipse(lung.point(0.05, 0.5), (0.07, 0.13), soft=0.05))
    return blurred


def _bones(bright: np.ndarray, plane: Plane) -> np.ndarray:
    """Return the picture with spine, mediastinum, ribs, clavicles, aorta, trachea and breasts."""
    chest, y = plane.chest, plane.y
    away = np.abs(plane.x)
    centre = plane.step(0.105 - away, 0.03) * plane.step(y + 0.95, 0.05)
    bright = bright + 0.8 * centre * np.clip(0.7 - bright, 0, None)
    bright = bright + centre * 0.022 * (1 + np.sin(2 * np.pi * (y / 0.105 + chest.phase)))  # vertebrae
    knob = plane.ellipse((0.11, -0.27), (chest.knob, 1.15 * chest.knob))
    bright = bright + 0.75 * knob * np.clip(0.68 - bright, 0, None)
    trachea = plane.step(0.038 - np.abs(plane.x + 0.01), 0.015) * plane.step(-0.24 - y, 0.05)
    bright = bright - 0.14 * trachea
    out = np.clip(away / chest.width, 0, 1.2)
    inside = plane.step(chest.width * np.clip((y - chest.apex + 0.05) / 1.2, 0, 1) ** 0.3 + 0.03 - away, 0.02)
    inside = inside * plane.step(away - 0.09, 0.02) * plane.step(plane.base - y, 0.1)
    behind = (y - chest.slope * out**1.6 + 0.1 * np.sin(np.pi * np.clip(out, 0, 1))) / chest.ribs + chest.phase
    before = (y + 0.42 * out - 0.14 * out**2) / (1.12 * chest.ribs) + chest.phase
    for course, strength in ((behind, 0.1), (before, 0.05)):
        wave = np.cos(2 * np.pi * course)
        bright = bright + strength * inside * plane.step(wave - 0.2, 0.3)
    for sign in SIDES.values():
        outwards = sign * plane.x
        line = chest.clavicle - 0.16 * outwards - 0.05 * np.sin(5 * outwards)
        bone = plane.step(0.026 - np.abs(y - line), 0.012)
        bone = bone * plane.step(outwards - 0.07, 0.02) * plane.step(chest.width + 0.08 - outwards, 0.03)
        bright = bright + 0.12 * bone
        if chest.breasts:
            breast = plane.ellipse((sign * 0.42, 0.28), (0.3, 0.24), soft=0.08)
            bright = bright + chest.breasts * breast * (1 - bright)
    return bright


def _taken(bright: np.ndarray, plane: Plane, random: np.random.Generator) -> np.ndarray:
    """Return the picture as the detector gives it, uint8: exposure, scatter, focus, noise."""
    pose, size = plane.pose, plane.size
    field = texture(random, plane, 1.2)
    bright = bright * (1 + 0.03 * field) + 0.02 * texture(random, plane, 0.12)
    bright = ndimage.gaussian_filter(bright, 0.004 * size)
    seen = np.clip(pose.gain * bright, 0, 1) ** np.float32(pose.gamma)
    noise = pose.noise * random.standard_normal(seen.shape, np.float32) * (0.5 + seen)
    return np.clip(255 * (0.03 + 0.94 * seen + noise), 0, 255).astype(np.uint8)
