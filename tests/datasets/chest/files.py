"""Tiny data sets of chest radiographs, written as they lie on disk."""

import gzip
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 FINDINGS:

 There is a small left pleural effusion.  The heart is
 of normal size.

 IMPRESSION:  Small effusion of {name}.
"""
IMPRESSION_ALONE = " IMPRESSION:  No acute process in {name}.\n"
NEITHER = " EXAMINATION:  Chest.\n\n WET READ: unremarkable {name}.\n"


def compressed(path: Path, lines: Sequence[str]) -> None:
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


def grey(path: Path, seed: int, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 200, size, np.uint8)
    Image.fromarray(pixels).save(path)


def images_of(study: int) -> list[tuple[str, str]]:
    """The dicom ids and views of a study: one or two frontal images, and a lateral one of every third."""
    images = [(f"a{study}-1", "AP" if study % 2 else "PA")]
    images += [(f"a{study}-2", "PA")] if study % 4 == 0 else []
    return images + ([(f"b{study}-1", "LATERAL")] if study % 3 == 0 else [])


def write_mimic(root: Path, subjects: int = 12, *, reports: Mapping[int, str] | None = None) -> None:
    """Two studies per subject, of which the second of every fourth subject has a lateral image alone."""
    base = root / "mimic-cxr-jpg_2-0-0"
    base.mkdir(parents=True)
    split, metadata, labels = ["dicom_id,study_id,subject_id,split"], [], []
    metadata.append("dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,StudyDate")
    labels.append(
        "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Fracture,Pleural Effusion,Support Devices"
    )
    people = ["subject_id,gender,anchor_age,anchor_year,dod"]
    with zipfile.ZipFile(root / "mimic-cxr-reports.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(subjects):
            subject = 10_000_000 + 100_000 * number
            people.append(f"{subject},{'MF'[number % 2]},{40 + number},2150,")
            word = ("train", "train", "validate", "test")[number % 4]
            for study in (50_000_000 + 2 * number, 50_000_001 + 2 * number):
                folder = f"files/p{str(subject)[:2]}/p{subject}/s{study}"
                images = images_of(study) if study % 8 != 7 else [(f"b{study}-9", "LATERAL")]
                for dicom, view in images:
                    split.append(f"{dicom},{study},{subject},{word}")
                    metadata.append(f"{dicom},{subject},{study},CHEST,{view},{21520101 + study % 2}")
                    grey(base / folder / f"{dicom}.jpg", seed=zlib.crc32(dicom.encode()))
                cells = ["1.0", "0.0", "-1.0", ""]
                labels.append(f"{subject},{study}," + ",".join(cells[(study + one) % 4] for one in range(7)))
                kind = (reports or {}).get(study, (REPORT, IMPRESSION_ALONE, REPORT, NEITHER)[study % 4])
                archive.writestr(f"{folder}.txt", kind.format(name=f"patient {subject}"))
    for name, lines in (("split", split), ("metadata", metadata), ("chexpert", labels)):
        compressed(base / f"mimic-cxr-2.0.0-{name}.csv.gz", lines)
    compressed(base / "patients.csv.gz", people)
