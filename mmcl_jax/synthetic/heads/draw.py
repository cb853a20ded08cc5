"""The scans of a drawn head: raw T1-weighted intensities, and fALFF."""

import dataclasses

import numpy as np
from scipy import ndimage

from mmcl_jax.synthetic.heads.anatomy import FIELD_MM, REGIONS, Tissues, coarse_field, fine

_T1 = {"grey": 0.56, "white": 0.92, "csf": 0.16, "scalp": 0.75}  # relative intensities
_FALFF = {"grey": 0.58, "white": 0.36, "csf": 0.36}
# Of fALFF: what differs between subjects, between scans, and between voxels.
_TRAIT, _STATE, _NOISE = 0.06, 0.1, 0.06


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scanner:
    """How a scanner changes what it sees, which tells nothing about the head.

    Attributes:
      name: of the scanner.
      gain: raw intensity of 1.
      gamma: exponent of the contrast of T1.
      noise: standard deviation of the noise of T1.
      bias: strength of the smooth field over T1.
      shift: what it adds to fALFF.
    """

    name: str
    gain: float
    gamma: float
    noise: float
    bias: float
    shift: float


SCANNERS = (
    Scanner(name="Trio", gain=900, gamma=1.0, noise=0.03, bias=0.08, shift=0.0),
    Scanner(name="Biograph", gain=420, gamma=1.15, noise=0.045, bias=0.14, shift=-0.03),
    Scanner(name="Avanto", gain=1500, gamma=0.88, noise=0.055, bias=0.2, shift=0.03),
)


def draw_t1(tissues: Tissues, scanner: Scanner, random: np.random.Generator) -> np.ndarray:
    """Return raw intensities `[x, y, z]` int16, from 0."""
    size = tissues.grey.shape[0]
    clean = sum((weight * getattr(tissues, name) for name, weight in _T1.items()), np.float32(0))
    field = 1 + scanner.bias * (fine(coarse_field(random, 3), size) + np.linspace(-1, 1, size)[None, :, None])
    seen = np.clip(clean, 0, None) ** scanner.gamma * np.clip(field, 0.4, 1.8)
    real, imaginary = random.standard_normal((2, *seen.shape), np.float32) * scanner.noise
    return np.rint(scanner.gain * np.hypot(seen + real, imaginary)).astype(np.int16)  # magnitudes: Rician noise


def draw_falff(
    tissues: Tissues, atrophy: float, trait: np.ndarray, scanner: Scanner, random: np.random.Generator
) -> np.ndarray:
    """Return fALFF `[x, y, z]` float32 within the brain, and 0 outside.

    Args:
      tissues: of the head, whose atrophy is seen blurred.
      atrophy: the share of the full atrophy.
      trait: a coarse field of variance 1 that is the subject's own.
      scanner: that adds its shift.
      random: draws what differs between scans.
    """
    size = tissues.grey.shape[0]
    lowered = np.array([0.0, *(region.falff for region in REGIONS)], np.float32)[tissues.atlas]
    level = sum((weight * getattr(tissues, name) for name, weight in _FALFF.items()), np.float32(0))
    level = level * (1 - atrophy * lowered)
    blurred = ndimage.gaussian_filter(level, 5.0 * size / FIELD_MM)
    within = ndimage.gaussian_filter(tissues.brain, 5.0 * size / FIELD_MM)
    smooth = _TRAIT * fine(trait, size) + _STATE * fine(coarse_field(random, 8), size)
    seen = (
        blurred / np.maximum(within, 0.2)
        + smooth
        + scanner.shift
        + _NOISE * random.standard_normal(level.shape, np.float32)
    )
    return np.where(tissues.brain > 0.5, np.clip(seen, 0.02, 1), 0).astype(np.float32)
