"""MIMIC-CXR as LoVT pretrains on it: a row is a study with its frontal images and its report.

root/mimic-cxr-jpg_2-0-0/files/pNN/pSUBJECT/sSTUDY/DICOM.jpg          (or without this folder)
     mimic-cxr-2.0.0-split.csv.gz        dicom_id, study_id, subject_id, split (train, validate or test)
     mimic-cxr-2.0.0-metadata.csv.gz     dicom_id, subject_id, study_id, ViewPosition, StudyDate
     mimic-cxr-2.0.0-chexpert.csv.gz     subject_id, study_id, and a column per finding: 1.0, 0.0, -1.0 or empty
     mimic-cxr-reports.zip               files/pNN/pSUBJECT/sSTUDY.txt
     patients.csv.gz                     of MIMIC-IV, may be missing: subject_id, gender, anchor_age, anchor_year
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.datasets.chest.reports import opened
from mmcl_jax.datasets.chest.tables import find, found, number, read_csv
from mmcl_jax.errors import check
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.prepare.reports.sections import FINDINGS as FINDINGS_IMPRESSION
from mmcl_jax.prepare.reports.sections import sections
from mmcl_jax.prepare.sources import Source
from mmcl_jax.text import brief

SIZE = (256, 256)
FINDINGS = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
DEVICES = "Support Devices"  # a label beside the five
FRONTAL = ("AP", "PA")
RESTRICTION = (
    "these weights were trained on images and reports of patients, which are for credentialed users of PhysioNet under "
    "its data use agreement; before weights are shared, read what the agreement says of models trained on the data."
)
SPLITS = {"train": "train", "validate": "val", "test": "test"}
_FOLDERS = ("mimic-cxr-jpg_2-0-0", "")
_VERSION = "mimic-cxr-2.0.0"


def mimic_cxr(
    *,
    root: Path,
    uncertain: Literal["positive", "negative", "missing"] = "positive",
    blank: Literal["negative", "missing"] = "negative",
    share: float = 1.0,
    most: int | None = None,
    reports: Path | None = None,
    vocabulary: Path | None = None,
    vocabulary_size: int = 8000,
    lowercase: bool | None = None,
    length: int | None = None,
    min_words: int = 3,
    drop: tuple[Literal["priors", "lateral"], ...] = (),
    show_text: bool = False,
    pad: bool = True,
) -> Recipe:
    """Return MIMIC-CXR: studies with their frontal images, `image`, and the findings and impression, `report`.

    A row is a study with at least one image of the view AP or PA; several images are `[N, V]`, -1 behind the last. The
    report has the text of the section of findings, then that of the impression; a study with neither lacks the entry.
    The splits are the official ones, and `group` is the subject. The labels are five findings of CheXpert (and the
    support devices), the view, and the sex and age in years where `patients.csv.gz` has them.

    Args:
      root: the folder of MIMIC-CXR-JPG, or the folder above it.
      uncertain: what a finding with -1 is; "positive" (U-Ones) in LoVT.
      blank: what a finding that the report does not mention is.
      share: of the training rows that are kept, the first in the order of the subjects, as LoVT's 30 %.
      most: the largest number of images that are kept of a study, the first by name; by default all.
      reports: the zip of the reports, or the folder of its `files/`; by default `mimic-cxr-reports.zip`.
      vocabulary: of word pieces, one per line, or a tokenizer.json; by default word pieces are fitted to the training
        rows.
      vocabulary_size: the largest size of a fitted vocabulary.
      lowercase: whether reports become lower case; by default, unless the vocabulary has capitals. The tokenizer of
        clinicalBERT makes them so, and its vocabulary has capitals.
      length: the largest number of tokens that the store keeps of a report; by default all.
      min_words: sentences of fewer words and punctuation marks are dropped; 3 in LoVT.
      drop: sentences that are dropped: those on earlier examinations ("priors"), and on a "lateral" view.
      show_text: whether pages may show reports.
      pad: whether images are padded to a square with black; if not, `--aspect` says how they are made to fit.

    Raises:
      UserError: a file is missing or wrong, tables contradict each other, or a report is missing or no text.
    """
    check(uncertain in ("positive", "negative", "missing"), f"--dataset.uncertain={uncertain} is no choice.")
    check(blank in ("negative", "missing"), f"--dataset.blank={blank} is neither negative nor missing.")
    check(0 < share <= 1, f"--dataset.share={share} is not a share above 0, up to 1.")
    check(most is None or most >= 1, f"--dataset.most={most} is not a number of images from 1 on.")
    check(root.is_dir(), f"--root: the folder {root} does not exist.")
    base = next((root / name for name in _FOLDERS if (root / name / "files").is_dir()), root)
    check((base / "files").is_dir(), f"--root: {root} has neither {_FOLDERS[0]}/files nor files.")
    folders = list(dict.fromkeys((base, root)))
    images, steps = _images(folders)
    studies, dropped = _studies(images, most)
    if dropped:
        words = f"{counted(dropped, 'image')} beyond the first {most} of a study are left out"
        steps.append(Step(words, studies.height, studies.height))
    path = _given(reports, root) or found(folders, ("mimic-cxr-reports.zip",), "the zip of the reports")
    kept, before = _first(studies, share), studies.height
    if kept.height < before:
        steps.append(Step(f"studies without the last {1 - share:.0%} of train", before, kept.height))
    studies = kept
    texts = _reports(path, studies)
    missing = sum(sections(text) is None for text in texts)
    steps.append(Step(f"studies; {missing} have neither findings nor impression", studies.height, studies.height))
    rows = _labelled(studies, folders, uncertain, blank)
    rows, labels = _of_patients(rows, folders)
    rows = rows.drop("split", "date")
    file = Path(f"reports of {path}")
    names = [name for name in rows.columns if name.startswith("image")]
    return Recipe(
        name="mimic_cxr",
        rows=rows,
        images=base,
        image_columns=tuple(names),
        image_size=SIZE,
        declaration=Declaration(
            columns={
                "study": Declared(role="identifier", verbatim=True),
                "subject": Declared(role="group", verbatim=True),
                **{name: Declared(role="image") for name in names},
                **{label_of(name): Declared(role="label", kind="boolean") for name in FINDINGS},
                **labels,
            },
            others="ignore",
        ),
        entries={
            "report": Source(
                kind="text", file=file, key="study", column=("report",), sections=FINDINGS_IMPRESSION,
                tokenizer="byte_pairs" if vocabulary else "word_pieces", vocabulary=vocabulary,
                vocabulary_size=vocabulary_size, lowercase=lowercase, length=length, min_words=min_words, drop=drop,
                show_text=show_text,
            )
        },
        tables={file: pl.DataFrame({"study": studies["study"], "report": pl.Series(texts, dtype=pl.String)})},
        required=("image",),
        splits={
            split: studies.filter(pl.col("split") == word)["study"].to_list() for word, split in SPLITS.items()
        },
        steps=tuple(steps),
        fields={"stack": "varying", "cohort": "outer", **({"aspect": "pad"} if pad else {})},
        restriction=RESTRICTION,
    )  # fmt: skip


def label_of(finding: str) -> str:
    """Return the name of the label of a finding, such as pleural_effusion."""
    return finding.lower().replace(" ", "_")


def _given(path: Path | None, root: Path) -> Path | None:
    """Return a path that was given, which may be relative to the root. Raises `UserError` if it does not exist."""
    if path is None:
        return None
    chosen = path if path.exists() else root / path
    check(chosen.exists(), f"--dataset.reports: neither {path} nor {chosen} exists.")
    return chosen


def _table(folders: Sequence[Path], name: str, columns: Sequence[str]) -> tuple[pl.DataFrame, Path]:
    """Return a table of the data set. Raises `UserError` if it is missing, or an id holds more than digits."""
    path = found(folders, (f"{_VERSION}-{name}.csv.gz", f"{_VERSION}-{name}.csv"), f"the table of {name}")
    table = read_csv(path, columns)
    for column in ("subject_id", "study_id"):
        bad = table.with_row_index(offset=1).filter(~pl.col(column).str.contains(r"^[0-9]+$"))
        if bad.height:
            row, cell = bad["index"][0], bad[column][0]
            check(False, f"{path}, row {row}: {column} is {brief(cell)}; an id has digits alone.")
    return table, path


def _images(folders: Sequence[Path]) -> tuple[pl.DataFrame, list[Step]]:
    """Return the frontal images with their split and view, in the order of subjects, studies and names.

    Raises:
      UserError: a table has an image twice, an image is in no split, a split has another name, or none is frontal.
    """
    ids = ("dicom_id", "subject_id", "study_id")
    splits, split_path = _table(folders, "split", (*ids, "split"))
    metadata, path = _table(folders, "metadata", (*ids, "ViewPosition"))
    for table, name in ((splits, split_path), (metadata, path)):
        twice = table.filter(pl.col("dicom_id").is_duplicated())["dicom_id"]
        check(twice.is_empty(), f"{name} has the image {brief(next(iter(twice), ''))} twice; keep one row.")
        unsafe = table.filter(~pl.col("dicom_id").str.contains(r"^[0-9A-Za-z-]+$"))["dicom_id"]
        check(unsafe.is_empty(), f"{name}: dicom_id is {brief(next(iter(unsafe), ''))}, which is no id of an image.")
    wrong = splits.with_row_index(offset=1).filter(~pl.col("split").is_in(list(SPLITS)))
    if wrong.height:
        row, word = wrong["index"][0], wrong["split"][0]
        check(False, f"{split_path}, row {row}: split is {brief(word)}; it must be {', '.join(SPLITS)}.")
    frontal = metadata.filter(pl.col("ViewPosition").is_in(FRONTAL))
    check(frontal.height > 0, f"{path} has no image whose ViewPosition is AP or PA.")
    both = frontal.join(splits.select(*ids, "split"), on=ids, how="left", maintain_order="left")
    alone = both.filter(pl.col("split").is_null())["dicom_id"]
    check(
        alone.is_empty(),
        f"{split_path} has no row of {counted(len(alone), 'frontal image')} of {path.name}, the first "
        f"{brief(next(iter(alone), ''))} of the same subject and study; download both tables again.",
    )
    keys = [pl.col("subject_id").cast(pl.Int64), pl.col("study_id").cast(pl.Int64), pl.col("dicom_id")]
    steps = [Step("frontal images (AP and PA) of all images", metadata.height, frontal.height)]
    if "StudyDate" not in both.columns:
        both = both.with_columns(pl.lit("").alias("StudyDate"))
    return both.sort(keys), steps


def _studies(images: pl.DataFrame, most: int | None) -> tuple[pl.DataFrame, int]:
    """Return a row per study, in order, and the number of images that `most` leaves out.

    The columns are study, subject, split, date, view ("AP", "PA" or "both"), and image, image_2, ... with the paths.

    Raises:
      UserError: the images of a study are of two subjects or in two splits.
    """
    folder = "files/p" + pl.col("subject_id").str.slice(0, 2) + "/p" + pl.col("subject_id") + "/s" + pl.col("study_id")
    grouped = images.with_columns((folder + "/" + pl.col("dicom_id") + ".jpg").alias("file"))
    grouped = grouped.group_by("study_id", maintain_order=True).agg(
        pl.col("subject_id").unique(maintain_order=True), pl.col("split").unique(maintain_order=True),
        pl.col("ViewPosition").unique(), pl.col("StudyDate").first().alias("date"), "file",
    )  # fmt: skip
    for column, what in (("subject_id", "subjects"), ("split", "splits")):
        several = grouped.filter(pl.col(column).list.len() > 1)["study_id"]
        check(several.is_empty(), f"--root: the study {next(iter(several), '')} has images of two {what}.")
    counts = grouped["file"].list.len()
    largest = min(int(counts.max()), most or int(counts.max()))  # type: ignore[arg-type]
    dropped = int((counts - largest).clip(lower_bound=0).sum())
    single = pl.col("ViewPosition").list.len() == 1
    studies = grouped.select(
        pl.col("study_id").alias("study"),
        pl.col("subject_id").list.first().alias("subject"),
        pl.col("split").list.first(),
        "date",
        pl.when(single).then(pl.col("ViewPosition").list.first()).otherwise(pl.lit("both")).alias("view"),
        *(
            pl.col("file").list.get(index, null_on_oob=True).alias(f"image_{index + 1}" if index else "image")
            for index in range(largest)
        ),
    )
    return studies, dropped


def _first(studies: pl.DataFrame, share: float) -> pl.DataFrame:
    """Return the studies without the training studies behind the first `share` of them."""
    train = pl.col("split") == "train"
    count = int(studies.select(train.sum()).item())
    return studies.filter(~train | (train.cum_sum() <= max(1, math.floor(share * count + 1e-9))))


def _reports(path: Path, studies: pl.DataFrame) -> list[str]:
    """Return the report of every study."""
    with opened(path) as reports:
        return [reports.text(subject, study) for subject, study in studies.select("subject", "study").iter_rows()]


def _labelled(studies: pl.DataFrame, folders: Sequence[Path], uncertain: str, blank: str) -> pl.DataFrame:
    """Return the studies with the labels of CheXpert, which are missing for studies that its table lacks.

    Raises:
      UserError: the table has a study twice, or none of these, or a cell is none of 1.0, 0.0, -1.0 and empty.
    """
    table, path = _table(folders, "chexpert", ("subject_id", "study_id", *FINDINGS))
    twice = table.filter(pl.col("study_id").is_duplicated())["study_id"]
    check(twice.is_empty(), f"{path} has the study {next(iter(twice), '')} twice; keep one row.")
    names = [name for name in (*FINDINGS, DEVICES) if name in table.columns]
    meaning = {"negative": False, "positive": True, "missing": None}
    codes: Mapping[str, bool | None] = {"1": True, "0": False, "-1": meaning[uncertain], "": meaning[blank]}
    columns = list[pl.Series]()
    for name in names:
        cells = table[name].str.strip_suffix(".0")
        for row, cell in enumerate(cells, start=1):
            if cell not in codes:
                check(False, f"{path}, row {row}: {name} is {brief(cell)}; it must be 1.0, 0.0, -1.0 or empty.")
        columns.append(pl.Series(label_of(name), [codes[cell] for cell in cells], dtype=pl.Boolean))
    known = studies["study"].is_in(table["study_id"].to_list()).any()
    check(known, f"{path} has no study of these images, so there are no labels; download both again.")
    labels = pl.DataFrame([table["study_id"].alias("study"), *columns])
    joined = studies.join(labels, on="study", how="left", maintain_order="left")
    return joined.select(pl.exclude("view"), "view")


def _of_patients(rows: pl.DataFrame, folders: Sequence[Path]) -> tuple[pl.DataFrame, dict[str, Declared]]:
    """Return the rows with sex and age where the table of MIMIC-IV's patients has them, and the further labels.

    Raises:
      UserError: the table has a subject twice, or a cell means nothing.
    """
    labels: dict[str, Any] = {}
    if label_of(DEVICES) in rows.columns:
        labels[label_of(DEVICES)] = Declared(role="label", kind="boolean")
    labels["view"] = Declared(role="label", kind="categorical", categories=(*FRONTAL, "both"))
    path = find(folders, ("patients.csv.gz", "patients.csv"))
    if path is None:
        return rows, labels
    table = read_csv(path, ("subject_id", "gender", "anchor_age", "anchor_year"))
    twice = table.filter(pl.col("subject_id").is_duplicated())["subject_id"]
    check(twice.is_empty(), f"{path} has the subject {brief(next(iter(twice), ''))} twice; keep one row.")
    people = {row["subject_id"]: (index, row) for index, row in enumerate(table.iter_rows(named=True), start=1)}
    sexes, ages = list[str | None](), list[float | None]()
    for subject, date in rows.select("subject", "date").iter_rows():
        index, person = people.get(subject, (0, None))
        where = f"{path}, row {index}"
        sex = person["gender"] if person else ""
        check(sex in ("M", "F", ""), f"{where}: gender is {brief(sex)}; it must be M, F or empty.")
        sexes.append(sex or None)
        known = person is not None and person["anchor_age"] and person["anchor_year"] and date[:4].isdecimal()
        if not known or person is None:
            ages.append(None)
            continue
        since = int(date[:4]) - number(person["anchor_year"], where, "anchor_year")
        ages.append(number(person["anchor_age"], where, "anchor_age") + since)
    labels["sex"] = Declared(role="label", kind="categorical", categories=("F", "M"))
    labels["age"] = Declared(role="label", kind="continuous", unit="years")
    return rows.with_columns(pl.Series("sex", sexes, dtype=pl.String), pl.Series("age", ages, dtype=pl.Float64)), labels
