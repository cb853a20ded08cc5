"""The downstream data sets of chest radiographs as tiny files in their layouts, each with what they show."""

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 20, 16


def pixels_of(name: str, *, colours: int = 0) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return random.integers(40, 120, (HEIGHT, WIDTH, colours) if colours else (HEIGHT, WIDTH), np.uint8)


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = "1.2.840.10008.5.1.4.1.1.7", ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns, data.SamplesPerPixel = *pixels.shape, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelData = 7, pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=100) if path.suffix == ".jpg" else Image.fromarray(pixels).save(path)


def write_rows(path: Path, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def write_rsna(root: Path, count: int = 20) -> None:
    """Every second image has a box, and every fourth another one."""
    rows: list[tuple[object, ...]] = []
    for number in range(count):
        key = f"{number:04d}-rsna"
        write_dicom(root / "stage_2_train_images" / f"{key}.dcm", pixels_of(key))
        if number % 2:
            rows.append((key, "", "", "", "", 0))
            continue
        rows.append((key, 2.0, 3.0, 5.0, 6.0, 1))
        if number % 4 == 0:
            rows.append((key, 9.0, number % 8, 7.0, 12.0, 1))
    write_rows(root / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), rows)


def write_siim(root: Path, count: int = 20) -> None:
    """Every third image has one annotation, and one of these another."""
    rows: list[tuple[object, ...]] = []
    for number in range(count):
        key = f"1.2.276.{number}"
        write_dicom(root / "dicom-images-train" / f"a.{number}" / f"b.{number}" / f"{key}.dcm", pixels_of(key))
        rows.append((key, " 21 3 17 4" if number % 3 == 0 else " -1"))
    rows.append(("1.2.276.0", "0 2"))
    write_dicom(root / "dicom-images-train" / "a.x" / "b.x" / "unlisted.dcm", pixels_of("unlisted"))
    write_rows(root / "train-rle.csv", ("ImageId", " EncodedPixels"), rows)


def write_covid(root: Path, count: int = 20) -> None:
    """Two images per patient; the last has no mask."""
    base = root / "covid_rural_annot"
    for number in range(count):
        key = f"COVID-19-AR-{16406488 + number // 2}_01-{number:02d}-2012-XR"
        write_picture(base / "jpgs" / f"{key}.jpg", pixels_of(key, colours=3))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[3 : 5 + number % 4, 2:9] = number % 5 > 0
        if number < count - 1:
            write_picture(base / "pngs_masks" / f"{key}.png", mask)


OBJECTS = ("0 2 3 8 5;1 4 6 12 9", "", "2 1 1 12 1 12 6 1 6", "")


def write_objects(root: Path, count: int = 20) -> None:
    """Of four images, one has a box and an ellipse, one a polygon, and two nothing."""
    for part, numbers in (("train", range(count)), ("dev", range(count, count + 6))):
        rows = []
        for number in numbers:
            name = f"{number:05d}.jpg"
            write_picture(root / "input" / part / name, pixels_of(name))
            rows.append((name, OBJECTS[number % 4]))
        write_rows(root / "input" / f"{part}.csv", ("image_name", "annotation"), rows)


def write_nih(root: Path, count: int = 20) -> None:
    """One or two classes per image, two images per patient, and five images without a finding."""
    rows, entries = [], []
    names = ("Atelectasis", "Infiltrate", "Mass", "Effusion")
    for number in range(count + 5):
        name = f"{number // 2:08d}_{number:03d}.png"
        write_picture(root / "images" / f"images_{number % 3 + 1:02d}" / "images" / name, pixels_of(name))
        entries.append((name, "No Finding" if number >= count else "Mass|Nodule"))
        if number < count:
            rows.append((name, names[number % 4], 1.5, 2.0, 6.25, 8.0, "", "", ""))
        if number % 5 == 0 and number < count:
            rows.append((name, "Mass", 8, 9, 4, 4, "", "", ""))
    write_rows(
        root / "BBox_List_2017.csv", ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", ""), rows
    )
    write_rows(root / "Data_Entry_2017_v2020.csv", ("Image Index", "Finding Labels"), entries)


WRITERS = {
    "rsna": write_rsna, "siim": write_siim, "covid_rural": write_covid, "object_cxr": write_objects,
    "nih_boxes": write_nih,
}  # fmt: skip
