"""The cardiac data of MMCL (Hager et al., CVPR 2023): short-axis MR images and a table of UK Biobank.

root/table.csv                      the main table: eid, 31-0.0, 21002-2.0, ..., 41270-0.0, 41270-0.1, ...
root/images/<eid>/sa.nii.gz         the short-axis cine, as the usual conversion makes it; or
root/images/<eid>/*.dcm             one file per slice and frame; or
root/images/<eid>_20209_2_0.zip     these DICOM files as UK Biobank ships them
root/frames.csv                     eid,es_frame: the end-systolic frame, for subjects without sa_ES.nii.gz or
                                    seg_sa.nii.gz beside their cine
"""

import functools
import re
from pathlib import Path
from typing import Literal

import polars as pl

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.datasets.cardiac import icd10
from mmcl_jax.datasets.cardiac.fields import FIELDS
from mmcl_jax.datasets.cardiac.image import SIZE, Channels, es_frames, read_heart
from mmcl_jax.datasets.cardiac.splits import CardiacSplit, split, subsets
from mmcl_jax.datasets.cardiac.ukb import Field, UkbTable
from mmcl_jax.errors import check, check_name
from mmcl_jax.prepare.recipe import Recipe, Step

CardiacTarget = Literal["cad", "infarction"]
LABELS: tuple[CardiacTarget, ...] = ("cad", "infarction")
ETHNICITY = 21000
_ZIP = re.compile(r"(\d+)_20209_([23])_0\.zip")
_KINDS = {pl.Float64: "continuous", pl.Boolean: "boolean", pl.String: "categorical"}


def cardiac(
    root: Path,
    *,
    target: CardiacTarget = "cad",
    code_list: icd10.CodeList = "released",
    channels: Channels = "es-mid-ed",
    clip: float | None = 99.0,
    es_share: float | None = None,
    ethnicity: int | None = 1001,
    visits: tuple[int, ...] = (2, 0),
    min_coverage: float = 0.8,
    split_as: CardiacSplit = "paper",
    seed: int = 2023,
) -> Recipe:
    """Return the recipe of all subjects that have a cine and a row of the table, with both labels.

    A subject is positive if a hospital diagnosis, past or future, is in the list of codes, and negative otherwise, also
    without any diagnosis. Fields that the table lacks, and fields with values for too few subjects, are left out and
    named in the steps, as is every rule that changed values. Missing values stay missing.

    Args:
      root: folder of the raw files, as above.
      target: the label that splits are stratified and subsets are balanced by; it comes first.
      code_list: see `icd10.codes`.
      channels: see `read_heart`, as for `clip` and `es_share`.
      clip: percentile to clip images at.
      es_share: share of the beat after which end-systole is assumed if no file names its frame.
      ethnicity: code of the subjects to keep, 1001 (British) as in the released code; None keeps all subjects.
      visits: visits in order of preference; the first with a value is used. The released code uses the imaging visit
        alone, (2,), except for questions that were asked only at the first visit; its text says that the first visit
        fills gaps.
      min_coverage: smallest share of subjects with values of a field that is used.
      split_as: see `splits.split`; `splits.subsets` describes the subsets.
      seed: seed of splits and subsets.

    Raises:
      UserError: naming the file, column or subject that is wrong.
    """
    check_name(target, list(LABELS), "--dataset.target: there is no target")
    check(0 <= min_coverage <= 1, f"--dataset.min_coverage must be a share from 0 to 1, not {min_coverage}.")
    hearts = find_hearts(root / "images")
    needed = {number for field in FIELDS for number in field.needs} | {icd10.DIAGNOSES, ETHNICITY}
    table = UkbTable(root / "table.csv", needed, list(hearts))
    steps = [Step("subjects with a short-axis cine", table.total, len(table.rows))]
    if without_row := sorted(hearts.keys() - set(table.rows["eid"]), key=int):
        description = f"{len(without_row)} cines without a row of the table are left out: {_listed(without_row)}"
        steps.append(Step(description, len(table.rows), len(table.rows)))
    if ethnicity is not None:
        steps.append(_only(table, ethnicity))
    check(len(table.rows) > 0, f"No subject of {table.path} has a cine and passes --dataset.ethnicity={ethnicity}.")
    columns, declared = _features(table, visits, min_coverage, steps)
    eids = table.rows["eid"]
    diagnoses = table.columns(icd10.DIAGNOSES)
    check(bool(diagnoses), f"The table {table.path} has no diagnoses (41270-0.0, 41270-0.1, ...).")
    labels: list[str] = [target, *(label for label in LABELS if label != target)]
    diagnosed = {label: icd10.diagnosed(table.rows, diagnoses, icd10.codes(label, code_list)) for label in labels}
    rows = pl.DataFrame({"eid": eids, "image": [hearts[eid] for eid in eids], **diagnosed, **columns})
    rows = rows.sort(pl.col("eid").cast(pl.Int64))
    positive = rows[target].to_numpy()
    parts = split(positive, split_as, seed)
    frames = root / "frames.csv"
    if frames.is_file():
        es_frames(frames)  # an invalid table is refused once, not once per image
    reader = functools.partial(
        read_heart, channels=channels, clip=clip, es_share=es_share, frames=frames if frames.is_file() else None
    )
    roles = {
        "eid": Declared(role="identifier"),
        "image": Declared(role="image"),
        **{label: Declared(role="label", kind="boolean") for label in labels},
    }
    return Recipe(
        name="cardiac",
        rows=rows,
        images=root / "images",
        image_columns=("image",),
        image_size=(SIZE, SIZE),
        declaration=Declaration(columns={**roles, **declared}, missing=(), others="ignore"),
        splits={name: rows["eid"].gather(part).to_list() for name, part in parts.items()},
        subsets={name: rows["eid"].gather(part).to_list() for name, part in subsets(positive, parts, seed).items()},
        steps=tuple(steps),
        read=reader,
    )


def find_hearts(images: Path) -> dict[str, str]:
    """Return the path of each subject's cine below `images`; NIfTI is preferred to DICOM to a zip, visit 2 to 3."""
    check(images.is_dir(), f"The image folder {images} does not exist.")
    cines: dict[str, str] = {}
    for entry in sorted(images.iterdir()):
        if entry.name.isdigit() and entry.is_dir():
            names = sorted(file.name for file in entry.iterdir())
            dicoms = [name for name in names if name.endswith(".dcm")]
            cine = ["sa.nii.gz"] if "sa.nii.gz" in names else dicoms[:1]
            if cine:
                cines[entry.name] = f"{entry.name}/{cine[0]}"
        elif match := _ZIP.fullmatch(entry.name):
            cines.setdefault(match[1], entry.name)
    check(bool(cines), f"The folder {images} has no <eid>/sa.nii.gz, no <eid>/*.dcm and no <eid>_20209_2_0.zip.")
    return cines


def _only(table: UkbTable, ethnicity: int) -> Step:
    names = table.columns(ETHNICITY, (0,))
    check(
        bool(names),
        f"The table {table.path} has no column {ETHNICITY}-0.0 (ethnic background); keep all subjects with "
        "--dataset.ethnicity=None.",
    )
    before = len(table.rows)
    table.keep(table.rows[names[0]].cast(pl.Float64, strict=False).eq_missing(float(ethnicity)))
    return Step(f"subjects of ethnic background {ethnicity}", before, len(table.rows))


def _features(
    table: UkbTable, visits: tuple[int, ...], min_coverage: float, steps: list[Step]
) -> tuple[dict[str, pl.Series], dict[str, Declared]]:
    subjects = len(table.rows)
    available = [field for field in FIELDS if any(map(table.has, field.ids))]
    if absent := [field.name for field in FIELDS if field not in available]:
        steps.append(Step(f"{len(absent)} fields are not in the table: {_listed(absent)}", subjects, subjects))
    columns = {field.name: table.values(field, visits) for field in available}
    for rule, changed in table.changes.items():
        total = f"{sum(changed.values()):,} values {rule}"
        steps.append(Step(f"{total}: {_listed([f'{name} {n:,}' for name, n in changed.items()])}", subjects, subjects))
    declared = {}
    for field in available:
        coverage = 1 - columns[field.name].null_count() / subjects
        declared[field.name] = _declared(field, columns[field.name])
        if coverage < min_coverage:
            declared[field.name] = Declared(role="ignore")
            reason = f"{field.name} has values of {coverage:.1%} of subjects, fewer than {min_coverage:.0%}: left out"
            steps.append(Step(reason, subjects, subjects))
    used = [name for name, column in declared.items() if column.role == "feature"]
    check(
        bool(used),
        f"No field of the table {table.path} has values of {min_coverage:.0%} of subjects; lower "
        "--dataset.min_coverage.",
    )
    return columns, declared


def _declared(field: Field, column: pl.Series) -> Declared:
    kind = _KINDS[type(column.dtype)]
    texts = tuple(field.coding.values()) if kind == "categorical" else ()
    return Declared(role="feature", kind=kind, categories=texts, unit=field.unit, tags=field.tags)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
