"""Pairing the scans of a BIDS tree: every functional scan with the T1-weighted image of the nearest date.

participants.tsv                                        participant_id, diagnosis, sex, age, scanner
sub-0001/sub-0001_sessions.tsv                          session_id, acq_time
sub-0001/ses-d0129/anat/sub-0001_ses-d0129_T1w.nii.gz
sub-0001/ses-d0129/func/sub-0001_ses-d0129_task-rest_bold.nii.gz, or ..._falff.nii.gz
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from mmcl_jax.datasets.oasis.pairs import Pair, Pairs, diagnosis_of, keyed, number_of, sex_of
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.recipe import Step
from mmcl_jax.prepare.table.table import UNREADABLE
from mmcl_jax.text import brief, words_of

_DAYS = re.compile(r"ses-d(\d+)")  # since entry, as OASIS-3 labels its sessions
_T1 = "_T1w.nii"
HEALTHY = ("HC", "CN", "control", "cognitively normal")
ALZHEIMER = ("AD", "AD dementia", "Alzheimer's disease")


class Scan(NamedTuple):
    """A scan: its path below the root, its session, and its day on a common calendar (None if it is unknown)."""

    file: str
    session: str
    day: float | None


def read_bids(
    root: Path, *, functional: str, max_days: float | None = None, unpaired: bool = False
) -> tuple[Pairs, list[Step]]:
    """Return the pairs of a BIDS tree, whose splits are to be drawn, and what was done, in words.

    A row is a functional scan with the T1-weighted image of the same session or, if that has none, of the session of
    the nearest date (the earlier of two equally near). Of several images of a session, the first by name is taken. The
    rows of a subject are in the order of their dates.

    Args:
      root: the folder with participants.tsv.
      functional: the ending of the names of functional scans, "_falff.nii" or "_bold.nii" (with or without .gz).
      max_days: functional scans with no T1-weighted image so near have no partner; None for any distance.
      unpaired: whether scans without a partner are rows, too.

    Raises:
      UserError: participants.tsv is missing or wrong, a subject is not in it, sessions need a date and have none, or
        there is no pair.
    """
    people = _people(root / "participants.tsv")
    folders = sorted(path for path in root.glob("sub-*") if path.is_dir())
    check(bool(folders), f"{root} has no folder sub-*; --root is the folder with participants.tsv.")
    pairs, alone = list[Pair](), {"t1": 0, "functional": 0}
    for folder in folders:
        person = people.get(folder.name)
        if person is None:
            raise UserError(f"{root / 'participants.tsv'} has no row of {folder.name}, whose folder exists; add it.")
        images, series = (_scans(root, folder, *kind) for kind in (("anat", _T1), ("func", functional)))
        found = paired(images, series, max_days, folder)
        used = {image for image, _ in found if image is not None}
        left = [(image, None) for image in images if image.file not in {one.file for one in used}]
        alone["functional"] += sum(image is None for image, _ in found)
        alone["t1"] += len(left)
        kept = [*found, *left] if unpaired else [(image, scan) for image, scan in found if image is not None]
        kept.sort(key=_order)
        pairs += [
            person._replace(t1=image and image.file, falff=scan and scan.file) for image, scan in kept if image or scan
        ]
    check(
        bool(pairs),
        f"{root} has no subject with a T1-weighted image and a functional scan{functional}.gz or {functional}.",
    )
    total = len(pairs) + (0 if unpaired else alone["functional"])
    words = "are rows without a partner" if unpaired else "are left out"
    steps = [
        Step(f"{alone['functional']} functional scans without a T1-weighted image {words}", total, len(pairs)),
        Step(f"{alone['t1']} T1-weighted images that no functional scan takes {words}", len(pairs), len(pairs)),
    ]
    return Pairs(pairs=keyed(pairs)), steps


def paired(
    images: Sequence[Scan], series: Sequence[Scan], max_days: float | None, folder: Path
) -> list[tuple[Scan | None, Scan | None]]:
    """Return every functional scan with its image, or None if no image is near enough.

    Raises:
      UserError: scans of different sessions must be paired, and a session has no date.
    """
    first = dict[str, Scan]()
    for image in images:
        first.setdefault(image.session, image)
    found = list[tuple[Scan | None, Scan | None]]()
    for scan in series:
        if scan.session in first:
            found.append((first[scan.session], scan))
            continue
        if not first:
            found.append((None, scan))
            continue
        for one in (scan, *first.values()):
            sentence = (
                f"{folder}: the session {one.session or 'of the subject'} has no date, and {scan.file} has no "
                f"T1-weighted image in its own session; give acq_time in {folder.name}_sessions.tsv."
            )
            check(one.day is not None, sentence)
        near = min(first.values(), key=lambda image: (abs(_day(image) - _day(scan)), _day(image)))
        close = max_days is None or abs(_day(near) - _day(scan)) <= max_days
        found.append((near if close else None, scan))
    return found


def _day(scan: Scan) -> float:
    assert scan.day is not None
    return scan.day


def _order(pair: tuple[Scan | None, Scan | None]) -> tuple[float, str]:
    scan = pair[1] or pair[0]
    assert scan is not None
    return (float("inf") if scan.day is None else scan.day, scan.file)


def _scans(root: Path, folder: Path, kind: str, ending: str) -> list[Scan]:
    """Return the scans of a subject by session and name."""
    dates = _dates(folder / f"{folder.name}_sessions.tsv")
    files = [*folder.glob(f"{kind}/*{ending}*"), *folder.glob(f"ses-*/{kind}/*{ending}*")]
    scans = []
    for path in sorted(files):
        if path.name.endswith((ending, f"{ending}.gz")):
            session = "" if path.parent.parent == folder else path.parent.parent.name
            days = _DAYS.fullmatch(session)
            day = dates.get(session, float(days[1]) if days and not dates else None)
            scans.append(Scan(path.relative_to(root).as_posix(), session, day))
    return scans


def _dates(path: Path) -> dict[str, float]:
    """Return the day of every session that has one, from a table with session_id and acq_time; {} without the table."""
    if not path.is_file():
        return {}
    table = _read(path, ("session_id", "acq_time"))
    dates = {}
    for number, (session, text) in enumerate(table.select("session_id", "acq_time").iter_rows(), start=1):
        if text in ("", "n/a"):
            continue
        try:
            time = datetime.datetime.fromisoformat(text)
        except ValueError as error:
            raise UserError(
                f"{path}, row {number}: acq_time is {brief(text)}; write it as 2015-03-29T10:15:00."
            ) from error
        dates[session] = (time.replace(tzinfo=None) - datetime.datetime(1970, 1, 1)).total_seconds() / 86_400
    return dates


def _people(path: Path) -> Mapping[str, Pair]:
    """Return a pair without scans for every subject in participants.tsv."""
    table = _read(path, ("participant_id", "diagnosis"))
    people = dict[str, Pair]()
    for number, row in enumerate(table.iter_rows(named=True), start=1):
        where, name = f"{path}, row {number}", row["participant_id"]
        cells = {key: "" if text == "n/a" else text for key, text in row.items()}
        check(name not in people, f"{where}: {brief(name)} has two rows; keep one.")
        people[name] = Pair(
            subject=name.removeprefix("sub-"),
            t1=None,
            falff=None,
            diagnosis=_diagnosis(cells["diagnosis"], where),
            sex=sex_of(cells.get("sex", ""), where, "sex"),
            age=number_of(cells.get("age", ""), where, "age"),
            scanner=cells.get("scanner") or None,
        )
    return people


def _diagnosis(text: str, where: str) -> str | None:
    """Return HC, AD or other for the words of `participants.tsv`; None for an empty cell."""
    word = text.lower()
    if word in map(str.lower, HEALTHY):
        return "HC"
    if word in map(str.lower, ALZHEIMER):
        return "AD"
    return diagnosis_of(text, where, "diagnosis") if word in ("", "0", "1", "2", "-1") else "other"


def _read(path: Path, needed: Sequence[str]) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, separator="\t", infer_schema=False)
    except (FileNotFoundError, *UNREADABLE) as error:
        raise UserError(f"{path} cannot be read: {words_of(error)}.") from error
    for name in needed:
        check(name in table.columns, f"{path} has no column {name!r}; it needs {', '.join(needed)}.")
    return table.with_columns(pl.all().fill_null("").str.strip_chars())
