"""Generating heads in the layout of the taxonomy's OASIS-3: pairs of T1 and fALFF, with folds of subjects."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from mmcl_jax.errors import check
from mmcl_jax.prepare.images.medical import extra
from mmcl_jax.synthetic.heads.anatomy import REGIONS, Head, affine_of_size, tissues
from mmcl_jax.synthetic.heads.draw import SCANNERS, draw_falff, draw_t1
from mmcl_jax.synthetic.heads.people import Subject, diagnoses, subject_of

FOLDS = 5
HOLD_OUT = 0.12  # of subjects, as in the paper: 100 of 826
_TARGETS = {"HC": 0, "AD": 1, "other": 2}
_COLUMNS = ("subject", "filename_1", "filename_2", "target", "M/F", "ageAtEntry", "scanner")


def generate_oasis(
    root: Path,
    *,
    subjects: int = 300,
    size: int = 32,
    visits: int = 4,
    layout: Literal["folds", "bids"] = "folds",
    seed: int = 0,
) -> tuple[str, ...]:
    """Write volumes of drawn heads, in the layout of OASIS-3 as the taxonomy reads it (Fedorov et al.).

    `scans/SUBJECT/` has a T1-weighted volume and a map of fALFF per visit, `fold_{0..4}/{train,valid,infer}.csv` the
    pairs, and `brain_mask.nii.gz` the brain of the template. `truth/atlas.nii.gz` has the regions of the template,
    `truth/regions.csv` their names and what the atrophy does to each, and `truth/scans.csv` the atrophy of each scan.

    Every subject has an anatomy of its own. Subjects with AD have more atrophy, by which the hippocampus, the temporal
    cortex and the posterior cingulate shrink, and the ventricles grow. T1 shows it well. fALFF shows it weakly: its
    values fall a little in the hippocampus, temporal cortex and posterior cingulate, under a noise that differs between
    scans. So a model that learns what fALFF shares with T1 has more to gain than one that learns from fALFF alone. Age
    (which is higher with AD), sex and scanner change the volumes, too.

    A subject depends only on the seed and its number.

    Args:
      root: the folder to write to.
      subjects: number of subjects.
      size: voxels along each axis: 32 of 6 mm, or 64 of 3 mm.
      visits: the largest number of visits, each with a pair of scans, of a subject.
      layout: "folds", or "bids" for a tree with participants.tsv, which has no folds.
      seed: the seed of all random numbers.

    Returns:
      The options with which `mmcl prepare` reads the brain mask.

    Raises:
      UserError: an option is out of range, or nibabel is not installed.
    """
    check(60 <= subjects <= 9999, f"--dataset.subjects={subjects} is not between 60 and 9999.")
    check(size in (16, 32, 64, 128), f"--dataset.size={size} is not 16, 32, 64 or 128.")
    check(1 <= visits <= 12, f"--dataset.visits={visits} is not between 1 and 12.")
    check(layout in ("folds", "bids"), f"--dataset.layout={layout} is neither folds nor bids.")
    check(0 <= seed < 2**32, f"--dataset.seed={seed} is not between 0 and 4294967295.")
    root.mkdir(parents=True, exist_ok=True)
    named = diagnoses(subjects, np.random.default_rng((seed, 0)))
    people = [
        subject_of(number, diagnosis, visits, np.random.default_rng((seed, 1, number)))
        for number, diagnosis in enumerate(named)
    ]
    rows, truth = dict[str, list[dict[str, object]]](), []
    for number, person in enumerate(people):
        rows[person.name] = []
        for turn, visit in enumerate(person.visits):
            files = _names(person, visit.day, layout)
            drawn, scanner = tissues(person.head(visit), size), SCANNERS[visit.scanner]
            random = np.random.default_rng((seed, 2, number, turn))
            t1 = draw_t1(drawn, scanner, random)
            falff = draw_falff(drawn, visit.atrophy, person.trait, scanner, random)
            for name, values in zip(files, (t1, falff), strict=True):
                _save(root / name, values, size)
            known = {"target": _TARGETS[person.diagnosis], "M/F": person.sex, "ageAtEntry": person.age}
            pair = dict(zip(_COLUMNS[:3], (person.name, *files), strict=True))
            rows[person.name].append({**pair, **known, "scanner": scanner.name})
            truth.append({**pair, "atrophy": f"{visit.atrophy:.4f}", "day": visit.day, "scanner": scanner.name})
    template = tissues(Head(), size)
    _save(root / "brain_mask.nii.gz", (template.brain > 0.5).astype(np.uint8), size)
    _save(root / "truth" / "atlas.nii.gz", template.atlas, size)
    regions = [
        {"index": index, "region": region.name, "t1": region.t1, "falff": region.falff}
        for index, region in enumerate(REGIONS, start=1)
    ]
    _write(root / "truth" / "regions.csv", regions, ("index", "region", "t1", "falff"))
    _write(root / "truth" / "scans.csv", truth, (*_COLUMNS[:3], "atrophy", "day", "scanner"))
    if layout == "bids":
        _write_bids(root, people)
    else:
        _write_folds(root, people, rows, seed)
    return ("--dataset.brain_mask=brain_mask.nii.gz",)


def _names(person: Subject, day: int, layout: str) -> tuple[str, str]:
    """Return the names of the T1 and fALFF of a visit."""
    session = f"ses-d{day:04d}"
    if layout == "bids":
        folder, start = f"sub-{person.name}/{session}", f"sub-{person.name}_{session}"
        return f"{folder}/anat/{start}_T1w.nii.gz", f"{folder}/func/{start}_task-rest_falff.nii.gz"
    start = f"scans/{person.name}/{session}"
    return f"{start}_T1w.nii.gz", f"{start}_falff.nii.gz"


def _save(path: Path, values: np.ndarray, size: int) -> None:
    """Write values `[x, y, z]` as NIfTI."""
    nibabel = extra("nibabel")
    image = nibabel.Nifti1Image(values, affine_of_size(size))
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def _write_folds(
    root: Path, people: Sequence[Subject], rows: Mapping[str, Sequence[Mapping[str, object]]], seed: int
) -> None:
    """Write the tables of every fold: the hold-out is in all of them, and the other subjects are stratified."""
    names = np.array([person.name for person in people])
    classes = np.array([person.diagnosis for person in people])
    rest, infer = train_test_split(np.arange(len(people)), test_size=HOLD_OUT, random_state=seed, stratify=classes)
    rest = np.sort(rest)
    divided = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rest, classes[rest])
    for fold, (train, valid) in enumerate(divided):
        for part, members in (("train", rest[train]), ("valid", rest[valid]), ("infer", np.sort(infer))):
            pairs = [row for name in names[members] for row in rows[name]]
            _write(root / f"fold_{fold}" / f"{part}.csv", pairs, _COLUMNS)


def _write_bids(root: Path, people: Sequence[Subject]) -> None:
    """Write participants.tsv; sessions are labelled by their days."""
    columns = ("participant_id", "diagnosis", "sex", "age")
    rows = [(f"sub-{person.name}", person.diagnosis, person.sex, person.age) for person in people]
    _write(root / "participants.tsv", [dict(zip(columns, row, strict=True)) for row in rows], columns, "\t")


def _write(path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str], separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
