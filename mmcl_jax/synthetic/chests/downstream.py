"""Drawn trees of files in the layouts of RSNA, SIIM and COVID Rural: other persons, with boxes and masks."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mmcl_jax.data.workers import pool
from mmcl_jax.prepare.images.medical import extra
from mmcl_jax.synthetic.chests.anatomy import chest_of, pose_of
from mmcl_jax.synthetic.chests.devices import devices_of
from mmcl_jax.synthetic.chests.draw import radiograph
from mmcl_jax.synthetic.chests.findings import Finding, box_of, draw_findings, opacities, single

OPAQUE = (0.3, 0.4)  # shares of images of RSNA with opacities, and of those without them but with other findings
_VALIDATION, _TEST = 0.05, 0.08  # shares of the images of RSNA in lists; tables train on 10 % of the rest
COLLAPSED = 0.3  # share of images of SIIM with a pneumothorax
UNMASKED = 0.1  # share of images of COVID Rural without a mask
_UID = "1.2.826.0.1.3680043.8.498"  # the root of identifiers that pydicom makes
_XRAY = "1.2.840.10008.5.1.4.1.1.7"  # secondary capture
_STREAMS = {"rsna": 20, "siim": 21, "covid_rural": 22}
_Row = Mapping[str, Any]


class _Task(NamedTuple):
    """An image to draw: the folder of its data set, its name, the options and its number."""

    root: Path
    name: str
    size: int
    seed: int
    number: int


class _Scan(NamedTuple):
    """A drawn image with its findings and masks, and the person."""

    pixels: np.ndarray
    findings: tuple[Finding, ...]
    masks: tuple[np.ndarray, ...]
    sex: str
    age: int
    view: str


def write_downstream(root: Path, name: str, *, images: int, size: int, seed: int, workers: int) -> None:
    """Write a data set, "rsna", "siim" or "covid_rural", of a number of images into `root`.

    Args:
      root: the folder to make, in which the data set has its layout on disk.
      name: of the data set.
      images: number of images.
      size: height and width of an image in pixels.
      seed: the seed of all random numbers; an image depends on it, on the name and on the number of the image alone.
      workers: number of processes.

    Raises:
      UserError: pydicom is not installed, which writes the images of RSNA and SIIM.
    """
    draw, finish = {
        "rsna": (_rsna, _finish_rsna), "siim": (_siim, _finish_siim), "covid_rural": (_covid_rural, _finish_covid),
    }[name]  # fmt: skip
    for folder in {"covid_rural": ("jpgs", "pngs_masks"), "rsna": ("stage_2_train_images",)}.get(name, ()):
        (root / folder).mkdir(parents=True)
    root.mkdir(parents=True, exist_ok=True)
    tasks = [_Task(root, name, size, seed, number) for number in range(images)]
    finish(root, list(_in_order(draw, tasks, workers)))


def _in_order(draw: Callable[[_Task], list[_Row]], tasks: Sequence[_Task], workers: int) -> Iterable[_Row]:
    if workers == 1:
        for task in tasks:
            yield from draw(task)
        return
    with pool(workers) as processes:
        for rows in processes.map(draw, tasks, chunksize=16):
            yield from rows


def _scan(
    task: _Task, random: np.random.Generator, findings: Sequence[Finding], person: np.random.Generator | None = None
) -> _Scan:
    """Return an image of another person with these findings; `person` draws who it is, where images share a person."""
    person = random if person is None else person
    sex = "M" if person.random() < 0.56 else "F"
    age = int(np.clip(person.normal(48, 17), 18, 95))
    chest = chest_of(person, sex=sex, age=age)
    view = "AP" if random.random() < 0.45 else "PA"
    devices = devices_of(random, age=age, ill=view == "AP" and bool(findings))
    drawn = radiograph(chest, pose_of(random, view), findings, devices, task.size, random)
    return _Scan(drawn.pixels, tuple(findings), drawn.masks, sex, age, view)


def _others(random: np.random.Generator, *kinds: str) -> tuple[Finding, ...]:
    """Return random findings without those of some kinds."""
    return tuple(one for one in draw_findings(random, age=60) if one.kind not in kinds)


def _rsna(task: _Task) -> list[_Row]:
    """Draw an image of RSNA, and return its rows: a box per opacity, or a row without a box."""
    random = np.random.default_rng((task.seed, _STREAMS[task.name], task.number))
    luck, name = random.random(), _uuid(random)
    if luck < OPAQUE[0]:
        findings = opacities(random, int(random.choice((1, 2, 3), p=(0.5, 0.42, 0.08))))
        group = "Lung Opacity"
        if random.random() < 0.3:
            findings += _others(random, "consolidation", "nodule")
    else:
        findings = _others(random, "consolidation") if luck < sum(OPAQUE) else ()
        group = "No Lung Opacity / Not Normal" if findings else "Normal"
    scan = _scan(task, random, findings)
    series = _uid(task)
    _write_dicom(task.root / "stage_2_train_images" / f"{name}.dcm", scan, patient=name, uid=series)
    rows: list[_Row] = []
    for one, mask in zip(scan.findings, scan.masks, strict=True):
        if one.kind == "consolidation":
            box = dict(zip(("x", "y", "width", "height"), map(float, box_of(mask)), strict=True))
            rows.append({"patientId": name, **box, "Target": 1, "class": group})
    return rows or [{"patientId": name, "Target": 0, "class": group}]


def _finish_rsna(root: Path, rows: Sequence[_Row]) -> None:
    columns = ("patientId", "x", "y", "width", "height", "Target")
    _write(root / "stage_2_train_labels.csv", columns, rows)
    _write(root / "stage_2_detailed_class_info.csv", ("patientId", "class"), rows)
    ids = list(dict.fromkeys(row["patientId"] for row in rows))
    end, start = len(ids) - round(_TEST * len(ids)), len(ids) - round((_TEST + _VALIDATION) * len(ids))
    (root / "lists").mkdir()
    for name, part in {"train": ids[:start], "validation": ids[start:end], "test": ids[end:]}.items():
        _write(root / "lists" / f"{name}.csv", ("ID",), [{"ID": one} for one in part])


def _siim(task: _Task) -> list[_Row]:
    """Draw an image of SIIM, and return its rows: run lengths, or -1 without a pneumothorax."""
    random = np.random.default_rng((task.seed, _STREAMS[task.name], task.number))
    ill = random.random() < COLLAPSED
    others = _others(random, "pneumothorax") if random.random() < 0.5 else ()
    scan = _scan(task, random, (*others, single("pneumothorax", random)) if ill else others)
    uid = _uid(task)
    folder = task.root / "dicom-images-train" / f"{uid}.1" / f"{uid}.2"
    folder.mkdir(parents=True)
    _write_dicom(folder / f"{uid}.3.dcm", scan, patient=_uuid(random), uid=f"{uid}.3")
    runs = [
        run_lengths(mask) for one, mask in zip(scan.findings, scan.masks, strict=True) if one.kind == "pneumothorax"
    ]
    return [{"ImageId": f"{uid}.3", " EncodedPixels": f" {run}"} for run in runs or ["-1"]]


def _finish_siim(root: Path, rows: Sequence[_Row]) -> None:
    _write(root / "train-rle.csv", ("ImageId", " EncodedPixels"), rows)  # the space is that of the original


def run_lengths(mask: np.ndarray) -> str:
    """Return the run lengths of a mask as SIIM has them: down the columns, starts counted from the end of the last run.

    Example:
      >>> run_lengths(np.array([[0, 1], [1, 1], [0, 0]], bool))
      '1 1 1 2'
    """
    flat = np.concatenate([[False], mask.T.reshape(-1), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, ends = edges[::2], edges[1::2]
    gaps = starts - np.concatenate([[0], ends[:-1]])
    return " ".join(f"{gap} {length}" for gap, length in zip(gaps, ends - starts, strict=True))


def _covid_rural(task: _Task) -> list[_Row]:
    """Draw an image of COVID Rural, RGB as the originals, and its mask, 1 in opacities; a person has two images."""
    random = np.random.default_rng((task.seed, _STREAMS[task.name], task.number))
    person = np.random.default_rng((task.seed, _STREAMS[task.name], task.number // 2, 1))
    scan = _scan(task, random, opacities(random, 1 + int(random.integers(5))), person)
    name = f"COVID-19-AR-{16400000 + 37 * (task.number // 2)}_XR_CHEST_AP_{task.number % 2 + 1}"
    Image.fromarray(scan.pixels).convert("RGB").save(task.root / "jpgs" / f"{name}.jpg", quality=92)
    if random.random() >= UNMASKED:
        mask = np.any(np.stack(scan.masks), axis=0).astype(np.uint8)
        Image.fromarray(mask).save(task.root / "pngs_masks" / f"{name}.png")
    return []


def _finish_covid(root: Path, rows: Sequence[_Row]) -> None:
    """COVID Rural has no table."""


def _uuid(random: np.random.Generator) -> str:
    """Return a name as those of RSNA's patients."""
    digits = "".join(f"{part:08x}" for part in random.integers(2**32, size=4).tolist())
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _uid(task: _Task) -> str:
    """Return an identifier of DICOM."""
    return f"{_UID}.{task.seed}.{_STREAMS[task.name]}.{task.number}"


def _write_dicom(path: Path, scan: _Scan, *, patient: str, uid: str) -> None:
    """Write an image as DICOM, without compression."""
    pydicom = extra("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = _XRAY, uid
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dicom = pydicom.dataset.Dataset()
    dicom.file_meta = meta
    dicom.SOPClassUID, dicom.SOPInstanceUID, dicom.Modality = _XRAY, uid, "CR"
    dicom.PatientID = dicom.PatientName = patient
    dicom.PatientSex, dicom.PatientAge, dicom.ViewPosition = scan.sex, f"{scan.age:03d}Y", scan.view
    dicom.BodyPartExamined, dicom.PhotometricInterpretation, dicom.SamplesPerPixel = "CHEST", "MONOCHROME2", 1
    dicom.Rows, dicom.Columns = scan.pixels.shape
    dicom.BitsAllocated = dicom.BitsStored = 8
    dicom.HighBit, dicom.PixelRepresentation = 7, 0
    dicom.PixelData = scan.pixels.tobytes()
    dicom.save_as(path, enforce_file_format=True)


def _write(path: Path, columns: Sequence[str], rows: Iterable[_Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
