"""Fractional amplitude of low-frequency fluctuations (fALFF), a map of one number per voxel from a series of volumes.

Zou et al., Journal of Neuroscience Methods 172 (2008). The series must be preprocessed: motion corrected, and
registered where volumes are to share a grid.
"""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from mmcl_jax.errors import check
from mmcl_jax.prepare.images.medical import open_nifti
from mmcl_jax.prepare.images.unusable import require

_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}  # units of time in the header of NIfTI


@dataclasses.dataclass(frozen=True, kw_only=True)
class Falff:
    """The request for fALFF in place of the series.

    Attributes:
      tr: the repetition time in seconds, between two volumes; None for that of each file's header.
      band: the lowest and highest frequency of the fluctuations, in Hz.
    """

    tr: float | None = None
    band: tuple[float, float] = (0.01, 0.1)

    def of_file(self, series: np.ndarray, path: Path, limit: int) -> np.ndarray:
        """Return the map `[D, H, W, 1]` of a file's series `[D, H, W, T]`.

        Raises:
          Unusable: the series is too short, its header has no repetition time and none was given, or no frequency of
            its spectrum is in the band.
        """
        tr = repetition_time(path, limit) if self.tr is None else self.tr
        require(
            tr > 0, "no repetition time", f"The header of {path} has no repetition time; give it with tr, in seconds."
        )
        try:
            return falff(series, tr=tr, band=self.band)[..., None]
        except ValueError as error:
            require(False, "broken series", f"The series {path} cannot be used: {error}.")
            raise


def repetition_time(path: Path, limit: int) -> float:
    """Return the seconds between two volumes of a NIfTI file by its header; 0 if the header does not say."""
    header = open_nifti(path, limit, "voxels").header
    steps, (_, unit) = header.get_zooms(), header.get_xyzt_units()
    return float(steps[3]) * _SECONDS.get(unit, 0.0) if len(steps) > 3 and np.isfinite(steps[3]) else 0.0


def falff(
    series: Shaped[np.ndarray, "*voxels T"], *, tr: float, band: tuple[float, float] = (0.01, 0.1)
) -> Float[np.ndarray, "*voxels"]:
    """Return the share of a band in the amplitudes of the spectrum of every voxel, from 0 to 1, float32.

    The amplitude of a frequency is the absolute value of the discrete Fourier transform. The sum of amplitudes over
    `band` (both ends included) is divided by the sum over all frequencies above 0 up to 1 / (2 tr). A voxel that does
    not change, such as one outside the head, is 0.

    Args:
      series: the values of every voxel over time.
      tr: the time between two values, in seconds.
      band: lowest and highest frequency, in Hz.

    Raises:
      ValueError: the series has fewer than 4 volumes, or no frequency lies in the band.

    Example:
      >>> time = 2.0 * np.arange(100)
      >>> slow, fast = np.sin(2 * np.pi * 0.05 * time), np.sin(2 * np.pi * 0.2 * time)
      >>> falff(np.stack([slow, fast, 3 * slow + fast]), tr=2.0).round(3).tolist()
      [1.0, 0.0, 0.75]
    """
    length = series.shape[-1]
    if length < 4:
        raise ValueError(f"it has {length} volumes, and a spectrum needs at least 4")
    frequencies = np.fft.rfftfreq(length, tr)[1:]
    inside = (frequencies >= band[0]) & (frequencies <= band[1])
    if not inside.any():
        raise ValueError(
            f"none of its frequencies, {frequencies[0]:.4g} to {frequencies[-1]:.4g} Hz by a repetition time of {tr:g} "
            f"s, is in the band from {band[0]:g} to {band[1]:g} Hz"
        )
    flat = series.reshape(-1, length)
    result = np.zeros(len(flat), np.float32)
    for start in range(0, len(flat), _VOXELS):
        values = flat[start : start + _VOXELS].astype(np.float64)
        values -= values.mean(axis=1, keepdims=True)
        changing = np.abs(values).max(axis=1) > 0
        amplitudes = np.abs(np.fft.rfft(values[changing], axis=1))[:, 1:]
        result[start : start + _VOXELS][changing] = amplitudes[:, inside].sum(axis=1) / amplitudes.sum(axis=1)
    return result.reshape(series.shape[:-1])


_VOXELS = 8192  # whose spectra are in memory at a time


def check_falff(tr: float | None, band: tuple[float, float] | None, where: str) -> None:
    """Raise `UserError` unless the repetition time is positive and the band is a range."""
    check(tr is None or tr > 0, f"{where}: tr must be a positive number of seconds, not {tr}.")
    check(band is None or 0 < band[0] < band[1], f"{where}: band must be two positive frequencies, the lower first.")
