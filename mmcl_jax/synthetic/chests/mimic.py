"""Writing drawn persons in the files of MIMIC-CXR-JPG, and the truth about their findings and sentences."""

import csv
import gzip
import io
import textwrap
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mmcl_jax.data.workers import pool
from mmcl_jax.synthetic.chests.anatomy import pose_of
from mmcl_jax.synthetic.chests.draw import radiograph
from mmcl_jax.synthetic.chests.findings import box_of
from mmcl_jax.synthetic.chests.labels import COLUMNS, labels_of
from mmcl_jax.synthetic.chests.lateral import lateral
from mmcl_jax.synthetic.chests.ms_cxr import COLUMNS as PHRASES
from mmcl_jax.synthetic.chests.ms_cxr import phrase_rows
from mmcl_jax.synthetic.chests.people import YEAR, Study, counts_of_studies, person_of
from mmcl_jax.synthetic.chests.words import Report, report_of

FOLDER = "mimic-cxr-jpg_2-0-0"
SPLITS = {"train": 0.8, "validate": 0.1, "test": 0.1}  # shares of persons
_SPREAD, _MANY = 7_368_787, 9_999_991  # spreads numbers over identifiers, without a repetition
_CODES = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral"}
_IDS = ("subject_id", "study_id")
_METADATA = (
    "dicom_id", *_IDS, "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns", "StudyDate",
    "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip
_FINDINGS = (
    *_IDS, "dicom_id", "finding", "side", "zone", "size", "present", "x", "y", "width", "height", "mention", "sentence",
    "sentences", "image_width", "image_height",
)  # fmt: skip
_SENTENCES = (*_IDS, "sentence", "section", "state", "names", "text")


class _Task(NamedTuple):
    """A person to draw: its number, the number of its first study, its number of studies, and the options."""

    root: Path
    seed: int
    number: int
    first: int
    studies: int
    size: int
    missing: float


class _Rows(NamedTuple):
    """What the tables hold of one person: rows of each, by name, and the reports by name in the zip."""

    tables: dict[str, list[dict[str, Any]]]
    reports: dict[str, str]


def write_mimic(root: Path, truth: Path, *, studies: int, size: int, missing: float, seed: int, workers: int) -> None:
    """Write radiographs, tables and reports below `root`, and the truth.

    Args:
      root: the folder to make.
      truth: the folder of the truth to make.
      studies: number of studies.
      size: height and width of an image in pixels.
      missing: share of studies whose report has neither findings nor impression.
      seed: the seed of all random numbers.
      workers: number of processes.
    """
    tasks, first = list[_Task](), 0
    for number, count in enumerate(counts_of_studies(studies, np.random.default_rng((seed, 0)))):
        tasks.append(_Task(root, seed, number, first, count, size, missing))
        first += count
    splits = _splits(len(tasks), np.random.default_rng((seed, 1)))
    tables = dict[str, list[dict[str, Any]]]()
    reports = dict[str, str]()
    for split, rows in zip(splits, _drawn(tasks, workers), strict=True):
        for name, some in rows.tables.items():
            tables.setdefault(name, []).extend(some)
        tables.setdefault("split", []).extend(
            {**{key: row[key] for key in ("dicom_id", "study_id", "subject_id")}, "split": split}
            for row in rows.tables["metadata"]
        )
        reports |= rows.reports
    for rows_of_table in tables.values():
        rows_of_table.sort(key=lambda row: int(row["subject_id"]))  # keeps studies in order
    base = root / FOLDER
    _write_gz(base / "mimic-cxr-2.0.0-split.csv.gz", ("dicom_id", "study_id", "subject_id", "split"), tables["split"])
    _write_gz(base / "mimic-cxr-2.0.0-metadata.csv.gz", _METADATA, tables["metadata"])
    _write_gz(base / "mimic-cxr-2.0.0-chexpert.csv.gz", (*_IDS, *COLUMNS), tables["chexpert"])
    _write_gz(
        root / "patients.csv.gz",
        ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
        tables["patients"],
    )
    _write_zip(root / "mimic-cxr-reports.zip", reports)
    sentences = tables.get("sentences", [])
    split_of = {row["dicom_id"]: row["split"] for row in tables["split"]}
    phrases = phrase_rows(tables["findings"], sentences, split_of, size)
    _write(root / "MS_CXR_Local_Alignment_v1.0.0.csv", PHRASES, phrases)
    truth.mkdir(parents=True)
    _write(truth / "findings.csv", _FINDINGS, tables["findings"])
    _write(truth / "sentences.csv", _SENTENCES, sentences)
    _write(truth / "images.csv", ("dicom_id", *_IDS, "view", "devices"), tables["images"])


def identifier(first: int, number: int) -> str:
    """Return an identifier of eight digits that begins with the digit of `first`, another for every number."""
    return str(first + (number * _SPREAD) % _MANY)


def _splits(persons: int, random: np.random.Generator) -> list[str]:
    """Return the split of every person; every split has at least one."""
    counts = {name: max(1, round(share * persons)) for name, share in SPLITS.items()}
    counts["train"] = persons - counts["validate"] - counts["test"]
    names = [name for name, count in counts.items() for _ in range(count)]
    return [names[index] for index in random.permutation(persons)]


def _drawn(tasks: Sequence[_Task], workers: int) -> Iterable[_Rows]:
    """Yield what was drawn of every person, in their order."""
    if workers == 1:
        yield from map(_draw, tasks)
        return
    with pool(workers) as processes:
        yield from processes.map(_draw, tasks, chunksize=8)


def _draw(task: _Task) -> _Rows:
    """Draw a person, write the images, and return the rows of the tables."""
    random = np.random.default_rng((task.seed, 2, task.number))
    person = person_of(random, task.studies)
    subject = identifier(10_000_000, task.number)
    patient = {"gender": person.sex, "anchor_age": person.age, "anchor_year": YEAR, "anchor_year_group": "2014 - 2016"}
    rows = _Rows({"patients": [{"subject_id": subject, **patient, "dod": ""}]}, {})
    for turn, study in enumerate(person.studies):
        own = np.random.default_rng((task.seed, 3, task.number, turn))
        report = report_of(study, own)
        if own.random() < task.missing:
            report = Report(findings=(), impression=(), numbered=False)
        number = identifier(50_000_000, task.first + turn)
        ids = {"subject_id": subject, "study_id": number}
        name = f"p{subject[:2]}/p{subject}/s{number}"
        folder = task.root / FOLDER / "files" / name
        folder.mkdir(parents=True)
        rows.reports[f"files/{name}.txt"] = report_text(study, report, own)
        if not report.missing:
            values = {column: f"{value:.1f}" for column, value in labels_of(report).items()}
            rows.tables.setdefault("chexpert", []).append({**ids, **values})
        rows.tables.setdefault("sentences", []).extend({**ids, **row} for row in _sentence_rows(report))
        for view in (*study.views, *(("LATERAL",) if study.lateral else ())):
            code = "-".join(f"{part:08x}" for part in own.integers(2**32, size=5).tolist())
            if view == "LATERAL":
                pixels = lateral(person.chest, task.size, own)
            else:
                drawn = radiograph(person.chest, pose_of(own, view), study.findings, study.devices, task.size, own)
                pixels = drawn.pixels
                boxes = [box_of(mask) for mask in drawn.masks]
                rows.tables.setdefault("findings", []).extend(
                    {**ids, "dicom_id": code, **row, "image_width": task.size, "image_height": task.size}
                    for row in _finding_rows(study, boxes, report)
                )
            Image.fromarray(pixels).save(folder / f"{code}.jpg", quality=92)
            rows.tables.setdefault("metadata", []).append(_metadata(code, ids, view, study, task.size))
            devices = "; ".join(device.kind for device in study.devices)
            rows.tables.setdefault("images", []).append({"dicom_id": code, **ids, "view": view, "devices": devices})
    return rows


def _metadata(code: str, ids: Mapping[str, str], view: str, study: Study, size: int) -> dict[str, Any]:
    day = np.datetime64(f"{YEAR}-01-01") + np.timedelta64(study.day, "D")
    hours, rest = divmod(study.second, 3600)
    kind = _examination(study)
    return {
        "dicom_id": code,
        **ids,
        "PerformedProcedureStepDescription": kind,
        "ViewPosition": view,
        "Rows": size,
        "Columns": size,
        "StudyDate": str(day).replace("-", ""),
        "StudyTime": f"{hours:02d}{rest // 60:02d}{rest % 60:02d}.000",
        "ProcedureCodeSequence_CodeMeaning": kind,
        "ViewCodeSequence_CodeMeaning": _CODES[view],
        "PatientOrientationCodeSequence_CodeMeaning": "Erect",
    }


def _examination(study: Study) -> str:
    if study.views[0] == "AP":
        return "CHEST (PORTABLE AP)"
    return "CHEST (PA AND LAT)" if study.lateral else "CHEST (PA ONLY)"


def _sentence_rows(report: Report) -> list[dict[str, Any]]:
    rows = []
    for index, sentence in enumerate(report.sentences):
        rows.append(
            {
                "sentence": index,
                "section": "findings" if index < len(report.findings) else "impression",
                "state": sentence.state,
                "names": "; ".join(f"{side} {kind}".strip() for kind, side in sentence.names),
                "text": sentence.text,
            }
        )
    return rows


def _finding_rows(study: Study, boxes: Sequence[tuple[int, int, int, int]], report: Report) -> Iterable[dict[str, Any]]:
    """Yield a row for every finding with its box, and for everything else that the report excludes or suspects."""
    told: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for index, sentence in enumerate(report.sentences):
        for name in sentence.names:
            told.setdefault(name, []).append((index, sentence.state))
    there = {(one.kind, one.side) for one in study.findings}
    for one, (x, y, width, height) in zip(study.findings, boxes, strict=True):
        yield {
            "finding": one.kind, "side": one.side, "zone": one.zone, "size": f"{one.size:.3f}", "present": 1,
            "x": x, "y": y, "width": width, "height": height, **_mentioned(told.get((one.kind, one.side), [])),
        }  # fmt: skip
    for (kind, side), said in told.items():
        if (kind, side) not in there:
            yield {"finding": kind, "side": side, "present": 0, **_mentioned(said)}


def _mentioned(said: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Return how the report mentions a finding: as most of CheXpert's labels do, a positive mention counts first."""
    order = ("present", "uncertain", "absent")
    states = {state for _, state in said}
    state = next((state for state in order if state in states), "")
    indices = [index for index, own in said if own == state]
    return {
        "mention": {"absent": "negated", "": "none"}.get(state, state),
        "sentence": indices[0] if indices else "",
        "sentences": " ".join(str(index) for index in indices),
    }


def report_text(study: Study, report: Report, random: np.random.Generator) -> str:
    """Return the text of a report, with the headings and the lines of MIMIC-CXR."""
    reasons = (
        "___ year old with shortness of breath.", "Cough and fever.", "Chest pain, evaluate for pneumonia.",
        "Line placement.", "Preoperative evaluation.", "Hypoxia, evaluate for edema.", "Follow-up of effusion.",
    )  # fmt: skip
    reason = reasons[int(random.integers(len(reasons)))]
    parts = [f"EXAMINATION:  {_examination(study)}", f"INDICATION:  {reason}"]
    if random.random() < 0.6:
        parts.append("COMPARISON:  ___." if study.prior else "COMPARISON:  None.")
    if report.findings:
        parts.append("FINDINGS: \n \n" + _wrapped(" ".join(one.text for one in report.findings)))
    if report.impression:
        if report.numbered:
            lines = [_wrapped(f"{number}.  {one.text}") for number, one in enumerate(report.impression, 1)]
        else:
            lines = [_wrapped(" ".join(one.text for one in report.impression))]
        parts.append("IMPRESSION: \n \n" + " \n".join(lines))
    if report.missing:
        parts.append("A preliminary report was given by telephone, and no final report followed.")
    return " " * 33 + "FINAL REPORT\n" + "\n \n".join(f" {part}" for part in parts) + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text,
        76,
        initial_indent=" ",
        subsequent_indent=" ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_gz(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def _write_zip(path: Path, reports: Mapping[str, str]) -> None:
    """Write the reports into a zip whose bytes depend on them alone."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(reports):
            info = zipfile.ZipInfo(name, (2019, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, reports[name])
