"""Generating hearts in the file formats of UK Biobank, drawn from numbers that the table has, too."""

import csv
from pathlib import Path

import numpy as np

from mmcl_jax.synthetic.hearts.draw import Heart, draw_cine, draw_labels
from mmcl_jax.synthetic.hearts.files import write_dicoms, write_nifti
from mmcl_jax.synthetic.hearts.tables import risk_of, table_row

FRAMES, SLICES = 10, 9
FIRST_EID = 1_000_001


def generate_cardiac(
    root: Path,
    *,
    subjects: int = 60,
    seed: int = 0,
    dicom: int = 4,
    broken: int = 2,
    prevalence: float = 0.3,
    missing: float = 0.03,
) -> None:
    """Write the files that the data set `cardiac` reads, and `truth.csv` with the numbers they were drawn from.

    The cine of a subject shows a left ventricle whose blood pool has the drawn end-diastolic and end-systolic volumes
    and whose wall has the drawn mass, a right ventricle, and around them a thorax without information. Coronary artery
    disease follows a risk of sex, age, blood pressure, smoking and weight, and weakens and thickens the ventricle. The
    ES frame is in `sa_ES.nii.gz`, `seg_sa.nii.gz` or `frames.csv`, in turn; for DICOM folders it is in `frames.csv`.

    Planted faults, in the column `fault` of the truth, are "slices" (only 7), "ethnicity" (another background),
    "no row" (a cine whose subject is not in the table), "no cine", and "broken" (a truncated file). Missing cells,
    answers such as -3, and a field without a value in most rows are planted without being listed.

    Args:
      root: the folder to write to.
      subjects: number of subjects.
      seed: the seed of all random numbers; a subject's heart does not depend on the format of its files.
      dicom: number of subjects whose cine is a folder of DICOM files.
      broken: number of truncated files.
      prevalence: the share of subjects with coronary artery disease; about half of them had an infarction.
      missing: the share of measured cells that are left empty.
    """
    random = np.random.default_rng(seed)
    people = [_person(np.random.default_rng((seed, 1, index))) for index in range(subjects)]
    _diagnose(people, prevalence, random)
    faults = ["slices", "ethnicity", "no row", "no cine", *["broken"] * broken]
    faulty = dict(zip(random.permutation(subjects)[: len(faults)].tolist(), faults, strict=False))
    faultless = [index for index in range(subjects) if index not in faulty]
    in_dicom = set(faultless[:dicom])

    rows, frames, truth = [], [], []
    for index, person in enumerate(people):
        eid, fault, own = str(FIRST_EID + 7 * index), faulty.get(index, ""), np.random.default_rng((seed, 2, index))
        heart = Heart.of(person, own, slices=7 if fault == "slices" else SLICES, frames=FRAMES)
        if fault != "no cine":
            labels = draw_labels(heart)
            cine = draw_cine(heart, labels, own)
            folder = root / "images" / eid
            folder.mkdir(parents=True)
            if index in in_dicom:
                write_dicoms(folder, cine, heart)
            else:
                write_nifti(folder, cine, heart, phases=index % 3 == 0, labels=labels if index % 3 == 1 else None)
            if index in in_dicom or index % 3 == 2:
                frames.append({"eid": eid, "es_frame": heart.es})
            if fault == "broken":
                file = folder / "sa.nii.gz"
                file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        if fault != "no row":
            row = table_row(person, np.random.default_rng((seed, 3, index)), missing)
            rows.append({"eid": eid, **row, "21000-0.0": 3001 if fault == "ethnicity" else 1001})
        truth.append({"eid": eid, "fault": fault, "es_frame": heart.es, **person})
    _write(root / "table.csv", rows)
    _write(root / "frames.csv", frames)
    _write(root / "truth.csv", truth)


def _person(random: np.random.Generator) -> dict[str, float]:
    """Draw the numbers of a person; `_diagnose` adds the disease and the ventricles."""
    male = float(random.random() < 0.5)
    height = random.normal(163 + 13 * male, 6)
    weight = max(45.0, (random.normal(26.5, 3.5)) * (height / 100) ** 2)
    person = {
        "male": male,
        "age": random.uniform(47, 79),
        "height": height,
        "weight": weight,
        "systolic": random.normal(136, 16),
        "pack_years": random.exponential(18) if random.random() < 0.35 else 0.0,
        "luck": random.normal(),
    }
    return {name: round(float(value), 3) for name, value in person.items()}


def _diagnose(people: list[dict[str, float]], prevalence: float, random: np.random.Generator) -> None:
    """Add the disease to the people with the highest risk, and ventricles to all, which depend on it."""
    order = np.argsort([-risk_of(person) for person in people])
    ill = order[: round(prevalence * len(people))].tolist()
    infarcted = set(random.permutation(ill)[: (len(ill) + 1) // 2].tolist())
    for index, person in enumerate(people):
        area = np.sqrt(person["height"] * person["weight"] / 3600)
        cad, infarction = index in ill, index in infarcted
        fraction = random.normal(0.60 - 0.07 * cad - 0.06 * infarction, 0.04)
        lvedv = random.normal(78 + 6 * person["male"] + 10 * infarction, 9) * area
        rvedv = random.normal(84 + 8 * person["male"], 9) * area
        mass = random.normal(42 + 9 * person["male"] + 0.25 * (person["systolic"] - 136) + 5 * cad, 4) * area
        volumes = {"lvedv": lvedv, "lvesv": lvedv * (1 - fraction), "lvm": max(mass, 45.0)}
        volumes |= {"rvedv": rvedv, "rvesv": rvedv * random.normal(0.43, 0.04)}
        person |= {name: round(float(value), 2) for name, value in volumes.items()}
        person |= {"risk": round(risk_of(person), 3), "cad": float(cad), "infarction": float(infarction)}


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, quoting=csv.QUOTE_ALL, restval="")
        writer.writeheader()
        writer.writerows(rows)
