"""Writing a cine as NIfTI files, as the usual UK Biobank pipeline does, or as a DICOM file per slice and frame."""

import gzip
from pathlib import Path

import numpy as np

from mmcl_jax.prepare.images.medical import extra
from mmcl_jax.synthetic.hearts.draw import PIXEL, SPACING, Heart

BEAT = 900.0  # ms


def write_nifti(folder: Path, cine: np.ndarray, heart: Heart, *, labels: np.ndarray | None, phases: bool) -> None:
    """Write `sa.nii.gz` `[X, Y, Z, T]`, and optionally `seg_sa.nii.gz`, or `sa_ES.nii.gz` and `sa_ED.nii.gz`.

    Args:
      folder: the folder of the subject.
      cine: `[row, column, slice, frame]`.
      heart: the heart that the cine shows.
      labels: the label of every voxel, in the shape of `cine`; None for no `seg_sa.nii.gz`.
      phases: whether to write the ES and ED frames as files of their own, clipped to the 1st and 99th percentiles of
        the cine, as the pipeline does.
    """
    _save(folder / "sa.nii.gz", cine)
    if labels is not None:
        _save(folder / "seg_sa.nii.gz", labels)
    if phases:
        clipped = np.clip(cine.astype(np.float32), *np.percentile(cine, (1, 99)).astype(np.float32))
        for name, frame in (("ES", heart.es), ("ED", 0)):
            _save(folder / f"sa_{name}.nii.gz", clipped[..., frame])


def _save(path: Path, values: np.ndarray) -> None:
    nibabel = extra("nibabel")
    image = nibabel.Nifti1Image(np.swapaxes(values, 0, 1), np.diag([-PIXEL, -PIXEL, SPACING, 1]))
    # gzip would write the time of day into its header; without it, equal images give equal files.
    path.write_bytes(gzip.compress(image.to_bytes(), 1, mtime=0))


def write_dicoms(folder: Path, cine: np.ndarray, heart: Heart) -> None:
    """Write a DICOM file per slice and frame, with names in random order."""
    pydicom = extra("pydicom")
    slices, frames = cine.shape[2:]
    names = np.random.default_rng(heart.es).permutation(slices * frames)
    for index, (z, t) in enumerate(np.ndindex(slices, frames)):
        unique = f"1.2.826.0.1.3680043.10.999.{folder.name}.{z + 1}"
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.MRImageStorage, f"{unique}.{t + 1}"
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.Modality, data.PatientID = "MR", folder.name
        data.SeriesDescription = f"CINE_segmented_SAX_b{z + 1}"
        data.SeriesInstanceUID, data.SeriesNumber, data.InstanceNumber = unique, 10 + z, t + 1
        data.TriggerTime, data.CardiacNumberOfImages = f"{BEAT * t / frames:.1f}", frames
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [-80, -80, 100 - SPACING * z]
        data.SliceLocation, data.SpacingBetweenSlices, data.PixelSpacing = 100 - SPACING * z, SPACING, [PIXEL, PIXEL]
        data.Rows, data.Columns = cine.shape[:2]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = np.ascontiguousarray(cine[:, :, z, t]).astype("<u2").tobytes()
        data.save_as(folder / f"{names[index]:04}.dcm", enforce_file_format=True)
