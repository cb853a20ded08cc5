"""Radiological reports: the texts of a zip or of a folder, by subject and study, and their findings and impression."""

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mmcl_jax.errors import UserError, check
from mmcl_jax.files import ZIP_FAULTS
from mmcl_jax.text import words_of

LARGEST = 1_000_000  # bytes of a report; the longest of MIMIC-CXR has some 10,000


class Reports(Protocol):
    """A source of reports."""

    def text(self, subject: str, study: str) -> str:
        """Return the report of a study. Raises `UserError` if it is missing, too large or not text in UTF-8."""
        ...


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Reports]:
    """Open `mimic-cxr-reports.zip`, or the folder that it was unpacked to.

    Nothing is unpacked: a report is looked up by the name that its study has, so names in the zip lead nowhere.

    Raises:
      UserError: the file is no zip.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no zip that can be read: {words_of(error)}; download it again.") from error
    with archive:
        yield _Zip(path, archive)


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive = path, archive
        self._infos = {info.filename: info for info in archive.infolist()}

    def text(self, subject: str, study: str) -> str:
        name = name_of(subject, study)
        info = self._infos.get(name)
        if info is None:
            raise UserError(f"{self._path} has no report {name}, whose study is listed; download it again.")
        _check_size(f"{name} in {self._path}", info.file_size)
        try:
            with self._archive.open(info) as file:
                content = file.read(LARGEST + 1)
        except ZIP_FAULTS as error:
            raise UserError(f"The report {name} in {self._path} cannot be read: {words_of(error)}.") from error
        return _decoded(content, f"{name} in {self._path}")


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def text(self, subject: str, study: str) -> str:
        path = self._path / name_of(subject, study)
        check(path.is_file(), f"The report {path} does not exist, and its study is listed.")
        _check_size(str(path), path.stat().st_size)
        return _decoded(path.read_bytes(), str(path))


def name_of(subject: str, study: str) -> str:
    """Return the name of a report below the zip or the folder.

    Example:
      >>> name_of("10000032", "50414267")
      'files/p10/p10000032/s50414267.txt'
    """
    return f"files/p{subject[:2]}/p{subject}/s{study}.txt"


def _check_size(name: str, size: int) -> None:
    sentence = f"The report {name} has {size:,} bytes, and more than {LARGEST:,} are refused; it is no report."
    check(size <= LARGEST, sentence)


def _decoded(content: bytes, name: str) -> str:
    _check_size(name, len(content))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"The report {name} is not a text in UTF-8.") from error
    check("\0" not in text, f"The report {name} holds zero bytes, so it is not a text.")
    return text
