"""fALFF of a series: its definition, planted waves, and files."""

from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.prepare.images.falff import Falff, falff
from mmcl_jax.prepare.images.files import Fit
from mmcl_jax.prepare.images.volume import read_volume

nibabel = pytest.importorskip("nibabel")


@pytest.mark.parametrize("length", [40, 41])
def test_falff_is_the_share_of_amplitudes_in_the_band(length: int) -> None:
    """By the sums of sines and cosines that define the transform."""
    series, tr = np.random.default_rng(0).normal(100, 3, (2, 3, length)), 2.2
    time, amplitudes, inside = np.arange(length), [], []
    for turns in range(1, length // 2 + 1):
        angle = 2 * np.pi * turns * time / length
        amplitudes.append(np.hypot((series * np.cos(angle)).sum(-1), (series * np.sin(angle)).sum(-1)))
        inside.append(0.01 <= turns / (length * tr) <= 0.1)
    amplitudes = np.stack(amplitudes)
    assert 0 < sum(inside) < len(inside)
    np.testing.assert_allclose(falff(series, tr=tr), amplitudes[inside].sum(0) / amplitudes.sum(0), rtol=1e-6)


def test_planted_waves() -> None:
    time = 2.0 * np.arange(100)

    def wave(hertz: float) -> np.ndarray:
        return np.sin(2 * np.pi * hertz * time)

    series = np.stack([wave(0.05), wave(0.2), wave(0.05) + wave(0.2), 2 * wave(0.05) + 1e4, np.full(100, 7.0)])
    np.testing.assert_allclose(falff(series, tr=2.0), [1, 0, 0.5, 1, 0], atol=1e-6)
    np.testing.assert_allclose(falff(series, tr=2.0, band=(0.15, 0.25)), [0, 1, 0.5, 0, 0], atol=1e-6)


def test_falff_of_files(tmp_path: Path) -> None:
    """The repetition time is the header's, in its unit, unless it is given; the map is turned like a volume."""
    series = np.random.default_rng(0).normal(100, 3, (3, 4, 5, 30)).astype(np.float32)
    image = nibabel.Nifti1Image(series, np.diag([-3, 3, 3, 1]))
    image.header.set_zooms((3, 3, 3, 2200))
    image.header.set_xyzt_units("mm", "msec")
    path = tmp_path / "bold.nii.gz"
    nibabel.save(image, path)
    made, size = read_volume(str(path), (5, 4, 3, 1), Fit(), "float16", falff=Falff())
    assert size == (5, 4, 3)
    expected = falff(series, tr=2.2)[::-1].T[..., None]
    np.testing.assert_array_equal(made, expected.astype(np.float16))
    slower, _ = read_volume(str(path), (5, 4, 3, 1), Fit(), "float16", falff=Falff(tr=4.0))
    assert (slower > made).mean() > 0.5  # a slower series has fewer frequencies above the band
    image.header.set_xyzt_units("mm", "unknown")
    nibabel.save(image, tmp_path / "none.nii")
    with pytest.raises(UserError, match=r"none\.nii has no repetition time; give it with tr"):
        read_volume(str(tmp_path / "none.nii"), (5, 4, 3, 1), Fit(), "float16", falff=Falff())
    with pytest.raises(UserError, match=r"none of its frequencies, .* is in the band from 0\.01 to 0\.1 Hz"):
        read_volume(str(path), (5, 4, 3, 1), Fit(), "float16", falff=Falff(tr=0.05))
    nibabel.save(nibabel.Nifti1Image(series[..., 0], np.eye(4)), tmp_path / "single.nii")
    with pytest.raises(UserError, match="it has 1 volumes, and a spectrum needs at least 4"):
        read_volume(str(tmp_path / "single.nii"), (5, 4, 3, 1), Fit(), "float16", falff=Falff(tr=2.0))
