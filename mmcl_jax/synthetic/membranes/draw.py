"""Drawing a section through a membrane as an electron microscope shows it: skin, fingers, sponge, edges that glow."""

import dataclasses
import math
from statistics import NormalDist

import numpy as np
from scipy import ndimage

from mmcl_jax.synthetic.membranes.structure import Structure

_OVERSAMPLING = 2  # drawn pixels per pixel of the result, in each direction


@dataclasses.dataclass(frozen=True, kw_only=True)
class Micrograph:
    """How the microscope was set, which tells nothing about the membrane.

    Attributes:
      tilt: of the section, in radians.
      shift: of the section to below, in image heights.
      field_um: height of the image in the object.
      brightness: factor on all greys.
      contrast: factor on the differences of greys.
      noise: standard deviation of the noise, of a range of greys from 0 to 1.
      focus: standard deviation of the blur in pixels.
    """

    tilt: float
    shift: float
    field_um: float
    brightness: float
    contrast: float
    noise: float
    focus: float

    @classmethod
    def random(cls, random: np.random.Generator) -> "Micrograph":
        """Return random settings."""
        return cls(
            tilt=random.normal(0, 0.05),
            shift=random.uniform(-0.04, 0.04),
            field_um=random.uniform(160, 180),
            brightness=random.uniform(0.85, 1.1),
            contrast=random.uniform(0.85, 1.15),
            noise=random.uniform(0.02, 0.045),
            focus=random.uniform(0.3, 0.7),
        )


def draw(
    structure: Structure, micrograph: Micrograph, *, shape: str, size: int, random: np.random.Generator
) -> np.ndarray:
    """Return greys `[size, size]` uint8.

    Args:
      structure: of the membrane.
      micrograph: the settings of the microscope.
      shape: "flat sheet", or "hollow fibre", whose wall is bent and has fingers from both sides.
      size: height and width in pixels.
      random: draws the voids, the pores and the noise.
    """
    fine = size * _OVERSAMPLING
    along, depth = _coordinates(structure, micrograph, shape == "hollow fibre", fine)
    solid, lit = _sponge(structure, depth, fine, random)
    skin = 0.02 + 0.10 * structure.skin_um  # drawn thicker than it is, lest no pixel shows it
    # How deep fingers may reach; and the sides that have a skin, of which the inner one of a fibre is thinner.
    deep, sides = (0.45, ((depth, 1.0), (1 - depth, 0.5))) if shape == "hollow fibre" else (0.85, ((depth, 1.0),))
    for below, share in sides:
        void, inside = _fingers(structure, along, below - skin, deep=deep, random=random)
        solid = solid * (1 - void)
        lit = np.where(void > 0.5, inside, lit)
        dense = _step((skin * share - below) * fine / 3)
        solid, lit = np.maximum(solid, dense), lit + 0.16 * dense * share
    within = _step(depth * fine / 2) * _step((1 - depth) * fine / 2)
    height = solid * within
    glow = ndimage.gaussian_gradient_magnitude(height, 1.0)  # edges emit more electrons
    grey = (0.10 + 0.38 * height) * lit + 0.9 * glow
    grey = np.where(within > 0.5, grey, 0.05 + 0.5 * glow)
    return _photographed(grey, micrograph, size, random)


def _coordinates(structure: Structure, micrograph: Micrograph, bent: bool, fine: int) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each pixel, where it lies along the membrane (in image widths) and across it (0 top, 1 bottom)."""
    y, x = np.mgrid[:fine, :fine] / fine - 0.5
    cos, sin = math.cos(micrograph.tilt), math.sin(micrograph.tilt)
    x, y = cos * x - sin * y, sin * x + cos * y - micrograph.shift
    thickness = structure.thickness_um / micrograph.field_um
    if bent:
        radius = 1.1  # of the outer side, in image heights
        away = np.hypot(x, y + thickness / 2 - radius - 0.05)
        return np.arctan2(x, radius - y) * radius, (radius - away) / thickness
    return x, (y + thickness / 2) / thickness


def _step(values: np.ndarray) -> np.ndarray:
    """Return a soft step from 0 to 1 around 0."""
    return np.clip(values + 0.5, 0, 1)


def _field(fine: int, scale: float, random: np.random.Generator) -> np.ndarray:
    """Return smooth noise with structures of `scale` pixels, of mean 0 and variance 1."""
    noise = ndimage.gaussian_filter(random.standard_normal((fine, fine)), scale, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def _sponge(
    structure: Structure, depth: np.ndarray, fine: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return where there is polymer (0 to 1), with pores that grow with the depth, and how bright its rough face is."""
    scale = fine / 128 * (0.35 + 0.11 * structure.pore_nm)
    near = np.clip(1.1 - 1.2 * depth, 0, 1)
    mixed = near * _field(fine, scale, random) + (1 - near) * _field(fine, 2.0 * scale, random)
    mixed /= np.hypot(near, 1 - near)
    # The share of pores in a section is below the porosity, since many pores are too small to be seen.
    solid = _step((mixed - NormalDist().inv_cdf(0.65 * structure.porosity)) * 2)
    rough = 0.08 * _field(fine, fine / 60, random) + 0.05 * _field(fine, fine / 6, random)
    return 0.3 + 0.7 * solid, 1 + rough


def _fingers(
    structure: Structure, along: np.ndarray, below: np.ndarray, *, deep: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return where there are finger-like voids (0 to 1), wider below, and how bright their walls are."""
    void, inside = np.zeros_like(below), np.ones_like(below)
    count = round(4 + 9 * structure.fingers)
    starts = (np.arange(count) + random.uniform(-0.3, 0.3, count)) / count * 1.6 - 0.8
    for start in starts:
        length = deep * structure.fingers * random.uniform(0.7, 1.1)
        if length < 0.08:
            continue
        width = 0.5 * 1.6 / count * random.uniform(0.6, 0.95) * min(1.0, 0.35 + structure.fingers)
        t = np.clip(below / length, 0, 1)
        half = width * np.sqrt(np.sin(np.pi * t**1.6).clip(0)) * (0.35 + 0.65 * t)
        bend = start + 0.02 * np.sin(7 * t + 10 * start) + random.normal(0, 0.01) * t
        across = np.abs(along - bend)
        own = _step((half - across) * below.shape[0] / 2) * (t > 0) * (t < 1)
        void = np.maximum(void, own)
        inside = np.where(own > 0.5, 0.35 + 0.5 * (across / np.maximum(half, 1e-3)) ** 2, inside)
    return void, inside


def _photographed(grey: np.ndarray, micrograph: Micrograph, size: int, random: np.random.Generator) -> np.ndarray:
    blurred = ndimage.gaussian_filter(grey, micrograph.focus * _OVERSAMPLING)
    pixels = blurred.reshape(size, _OVERSAMPLING, size, _OVERSAMPLING).mean(axis=(1, 3))
    pixels = micrograph.brightness * (0.35 + micrograph.contrast * (pixels - 0.35))
    pixels = pixels + micrograph.noise * random.standard_normal(pixels.shape) * np.sqrt(0.3 + pixels.clip(0))
    return np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
