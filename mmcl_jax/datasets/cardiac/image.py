"""One image per heart: the middle short-axis slice at two or three moments of the beat, as MMCL prepares it."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from mmcl_jax.datasets.cardiac.cine import dicom_cine
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.medical import nifti_array
from mmcl_jax.prepare.table.cells import canonical_integers
from mmcl_jax.text import words_of

Channels = Literal["es-mid-ed", "es-ed"]
SIZE = 210
FEWEST_SLICES = 8
MAX_VOXELS = 1 << 28


def read_heart(
    path: Path,
    *,
    channels: Channels = "es-mid-ed",
    clip: float | None = 99.0,
    frames: Path | None = None,
    es_share: float | None = None,
) -> np.ndarray:
    """Return the image of the heart of one subject.

    The cine must have more than seven short-axis slices. The image is the middle slice (n // 2) at end-systole (ES),
    half-way to it (mid), and end-diastole (ED), which is frame 0, when the electrocardiogram triggers. The ES frame is
    taken from the first of these sources that exists:

    1. `frames`, a table of the ES frame of each subject;
    2. `sa_ES.nii.gz` beside the cine, as the usual UK Biobank pipeline writes it: the frame that equals it;
    3. `seg_sa.nii.gz` beside the cine: the frame with the smallest left-ventricular blood pool, label 1;
    4. `es_share`: a convention, not a measurement.

    Bright values are clipped at a percentile of the whole cine. (The released notebook clips only the middle frame
    itself, but insists that the ES file equals the clipped cine: the pipeline that wrote those files had clipped them.)
    The image is padded with zeros to 210 x 210 about its centre. Its range over all channels is scaled to 0-255, the
    paper's min-max normalisation to 0-1 in 8 bits, so the moments keep their relative brightness. Rows and columns are
    as in the DICOM files; the released arrays are transposed.

    Args:
      path: `<eid>/sa.nii.gz` `[X, Y, Z, T]`; or any file of a folder `<eid>` of DICOM files; or UK Biobank's zip of
        these, `<eid>_20209_2_0.zip`.
      channels: "es-mid-ed" as in the released code, whose configuration then sets the first channel to zero, or
        "es-ed" as in the paper.
      clip: percentile, or None to clip nothing.
      frames: CSV file with the columns eid and es_frame, counted from 0.
      es_share: share of the beat after which ES is assumed, such as 0.35.

    Returns:
      `[210, 210, C]` uint8.

    Raises:
      UserError: the cine cannot be read, has too few slices, is larger than 210 x 210, or its ES frame is unknown.
    """
    check(channels in ("es-mid-ed", "es-ed"), f"--dataset.channels must be es-mid-ed or es-ed, not {channels!r}.")
    cine = load_cine(path)
    slices, moments = cine.shape[2:]
    check(slices >= FEWEST_SLICES, f"The heart {path} has {slices} slices; {FEWEST_SLICES} or more are needed.")
    highest = None if clip is None else float(np.percentile(cine, clip))
    es = _end_systole(path, cine, frames, es_share)
    check(0 <= es < moments, f"The end-systolic frame {es} of {path} is not among its {moments} frames.")
    selected = [es, es // 2, 0] if channels == "es-mid-ed" else [es, 0]
    picture = cine[:, :, slices // 2, selected]
    if highest is not None:
        picture = np.minimum(picture, highest)
    return _scaled(_padded(picture, path))


@functools.lru_cache(maxsize=4)  # a worker process reads thousands of hearts
def es_frames(path: Path) -> Mapping[str, int]:
    """Return the index of the end-systolic frame, by subject.

    Raises:
      UserError: the table is missing, or does not have the columns eid and es_frame with one whole number per subject.
    """
    check(path.is_file(), f"The table of frames {path} does not exist.")
    try:
        table = pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"The table of frames {path} cannot be read: {words_of(error)}.") from error
    check({"eid", "es_frame"} <= set(table.columns), f"The table of frames {path} needs the columns eid and es_frame.")
    eids = canonical_integers(table["eid"].str.strip_chars())
    texts = canonical_integers(table["es_frame"].str.strip_chars().replace("", None))
    check(eids.is_unique().all(), f"The table of frames {path} has a subject more than once; keep one row.")
    frames = texts.cast(pl.Int64, strict=False)
    invalid = texts.filter(frames.is_null() & texts.is_not_null())
    check(
        invalid.is_empty(),
        f"The table of frames {path} has the es_frame {next(iter(invalid), '')!r}, no whole number; correct it.",
    )
    return {eid: frame for eid, frame in zip(eids, frames, strict=True) if frame is not None}


def subject_of(path: Path) -> str:
    """Return the identifier of the subject that a file belongs to."""
    return path.name.partition("_")[0] if path.suffix == ".zip" else path.parent.name


def load_cine(path: Path) -> np.ndarray:
    """Return the cine of a subject, `[row, column, slice, frame]` float32.

    Raises:
      UserError: the file cannot be read, or is not a series of volumes.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        values = nifti_array(path, max_pixels=MAX_VOXELS)
        check(values.ndim == 4, f"The heart {path} has {values.ndim} dimensions; a cine has four: x, y, slice, frame.")
        return values.astype(np.float32).transpose(1, 0, 2, 3)
    return dicom_cine(path, max_voxels=MAX_VOXELS)


def _end_systole(path: Path, cine: np.ndarray, frames: Path | None, es_share: float | None) -> int:
    subject = subject_of(path)
    if frames is not None and subject in (frame_of := es_frames(frames)):
        return frame_of[subject]
    moments, size = cine.shape[3], np.swapaxes(cine, 0, 1).shape
    if path.suffix != ".zip" and (file := path.with_name("sa_ES.nii.gz")).is_file():
        target = nifti_array(file, max_pixels=MAX_VOXELS).astype(np.float32)
        check(target.shape in (size[:3], (*size[:3], 1)), f"{file} and {path.name} differ in size.")
        target = target.reshape(size[:3]).swapaxes(0, 1)
        # The pipeline clips the files that it writes, so only values between the extremes can be compared.
        inside = (target > target.min()) & (target < target.max())
        same = [float(np.mean(target[inside] == cine[..., t][inside])) if inside.any() else 0 for t in range(moments)]
        check(max(same) > 0.99, f"{file} is equal to no frame of {path.name}.")
        return int(np.argmax(same))
    if path.suffix != ".zip" and (file := path.with_name("seg_sa.nii.gz")).is_file():
        labels = nifti_array(file, max_pixels=MAX_VOXELS)
        check(labels.shape == size, f"{file} and {path.name} differ in size.")
        pool = (labels == 1).sum((0, 1, 2))
        check(bool(pool.any()), f"{file} has no left-ventricular blood pool (label 1).")
        return int(np.argmin(pool))
    check(
        es_share is not None,
        f"The end-systolic frame of {path} is not known: name it in frames.csv (eid,es_frame), put sa_ES.nii.gz or "
        "seg_sa.nii.gz beside it, or assume a share of the beat with --dataset.es_share=0.35.",
    )
    return round(float(es_share or 0) * moments)


def _padded(picture: np.ndarray, path: Path) -> np.ndarray:
    height, width, _ = picture.shape
    check(max(height, width) <= SIZE, f"The heart {path} is {height} x {width}, larger than {SIZE} x {SIZE}.")
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    return np.pad(picture, ((top, SIZE - height - top), (left, SIZE - width - left), (0, 0)))


def _scaled(picture: np.ndarray) -> np.ndarray:
    low, high = float(picture.min()), float(picture.max())
    scaled = (picture.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.rint(255 * scaled).astype(np.uint8)
