"""The reports of a source, as sentences: from a column of a table, or from a file per row."""

import codecs
import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.join.folder import files_by_key
from mmcl_jax.prepare.join.keys import some
from mmcl_jax.prepare.join.tables import Keys
from mmcl_jax.prepare.limits import Limits, option
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.reports.remarks import remarks
from mmcl_jax.prepare.reports.sections import sections
from mmcl_jax.prepare.reports.sentences import split_sentences
from mmcl_jax.prepare.reports.vocabulary import read_tokenizer
from mmcl_jax.prepare.sources import Source
from mmcl_jax.prepare.table.cells import nameless, text_of
from mmcl_jax.prepare.table.table import require_columns
from mmcl_jax.text import brief

_WORD = re.compile(r"\w+(?:[-'’./,]\w+)*|[^\w\s]")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Report(NamedTuple):
    """The sentences of a text that are kept, and the number of sentences of each kind before any was dropped.

    `short` sentences are those of fewer words than `Source.min_words`, which are dropped; those that remark on `priors`
    or a `lateral` view are counted in texts with `Source.sections`, and dropped if `Source.drop` says so.
    """

    sentences: tuple[str, ...] = ()
    total: int = 0
    short: int = 0
    priors: int = 0
    lateral: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reports:
    """The texts of a source.

    Attributes:
      rows: the report of every row of the source; it has no sentences where the row has no report.
      index: the row of every key.
      bad: the cause and the reason, by row, why a row's file cannot be read.
      warnings: sentences that a user should read.
    """

    rows: Sequence[Report]
    index: dict[str, int]
    bad: dict[int, tuple[str, str]]
    warnings: list[str]


def read_reports(
    name: str, source: Source, key: str, where: str, tables: Keys, quarantine: Quarantine
) -> tuple[Reports, dict[str, int]]:
    """Return the reports of a source, and the row of every key that has a report, or a file that cannot be read.

    Args:
      name: of the entry.
      source: its declaration.
      key: the key column of a source that does not name it.
      where: how errors name the entry.
      tables: reads the table of texts, or of paths.
      quarantine: to which rows without a key, or with the key of an earlier row, are added.

    Raises:
      UserError: the table, folder or column is missing, or the vocabulary cannot be used.
    """
    if source.vocabulary is not None:
        read_tokenizer(source, where)  # is checked here, before the images of the rows are decoded
    bad: dict[int, tuple[str, str]] = {}
    if source.files:
        assert source.folder is not None
        files = files_by_key(source.folder, source.files, where)
        keys, cells, index = list(files), list(files.values()), {text: row for row, text in enumerate(files)}
    else:
        keyed = tables.keyed(source, key, where, quarantine)
        require_columns(keyed.frame.columns, source.column, source.file)
        cells = text_of(nameless(keyed.frame[source.column[0]])).fill_null("").to_list()
        keys, index = keyed.keys, dict(keyed.index)
    used, texts = set(index.values()), [""] * len(cells)
    for row, cell in enumerate(cells):
        if not cell or row not in used:
            continue
        if source.folder is None:
            texts[row] = cell
        else:
            try:
                texts[row] = read_text(source.folder, cell, source.encoding, tables.limits)
            except Unreadable as error:
                bad[row] = error.cause, str(error)
    rows, nowhere = [], []
    for row, text in enumerate(texts):
        body: str | None = text
        if source.sections and text.strip():
            body = sections(text, source.sections)
            nowhere += [keys[row]] if body is None else []
        rows.append(report_of(body or "", source))
    warnings = []
    if nowhere:
        without = f"{counted(len(nowhere), 'text')} of {name!r} without {' or '.join(source.sections or ())}"
        warnings.append(f"{without} {'counts' if len(nowhere) == 1 else 'count'} as absent: {some(nowhere)}.")
    emptied = [keys[row] for row, report in enumerate(rows) if report.total and not report.sentences]
    if emptied:
        none = f"{counted(len(emptied), 'text')} of {name!r} with no sentence left"
        warnings.append(f"{none} {'counts' if len(emptied) == 1 else 'count'} as absent: {some(emptied)}.")
    reports = Reports(rows=rows, index=index, bad=bad, warnings=warnings)
    return reports, {text: row for text, row in index.items() if rows[row].sentences or row in bad}


def report_of(text: str, source: Source) -> Report:
    """Return the report of a text, by the rules of the source."""
    kept, short, priors, lateral = [], 0, 0, 0
    joins = source.newlines == "join" or (source.newlines == "" and bool(source.sections))
    sentences = split_sentences(text, newlines="join" if joins else "break")
    for sentence in sentences:
        found = remarks(sentence) if source.sections or source.drop else frozenset()
        priors += "priors" in found
        lateral += "lateral" in found
        is_short = len(_WORD.findall(sentence)) < (source.min_words or 0)
        short += is_short
        if not is_short and not found.intersection(source.drop or ()):
            kept.append(sentence)
    return Report(tuple(kept), len(sentences), short, priors, lateral)


class Unreadable(Exception):
    """A file is no text that can be read; the message is one sentence, and `cause` a few words."""

    def __init__(self, cause: str, reason: str) -> None:
        """Take the cause that the row counts under, and the sentence."""
        super().__init__(reason)
        self.cause = cause


def read_text(folder: Path, name: str, encoding: str, limits: Limits) -> str:
    """Return the text of a file in the folder.

    Raises:
      Unreadable: the file is missing, lies outside of the folder, is too large, is not text, or has another encoding.
    """
    path = folder / name
    root = os.path.join(os.path.realpath(folder), "")
    if "\0" in name or not os.path.realpath(path).startswith(root):
        raise Unreadable("unsafe path", f"The text file {name!r} leaves the folder {folder}.")
    most = 4 * (limits.max_cell + 1)  # bytes of the largest text, with its mark
    try:
        if not path.is_file():
            raise Unreadable("missing text", f"The text file {path} does not exist.")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:  # also of a name that is too long, such as a text in place of a path
        reason = f"The text file {brief(name)} in {folder} cannot be read: {error.strerror}."
        raise Unreadable("unreadable text", reason) from error
    # The last character of a file that is too large may lack bytes, so it is not decoded.
    text = _decoded(content, encoding, path) if len(content) <= most else None
    if text is None or len(text) > limits.max_cell:
        limit = f"the limit is {limits.max_cell:,}; allow more with {option('max_cell')}"
        raise Unreadable("too large", f"The text file {path} has more than {limits.max_cell:,} characters; {limit}.")
    return text


def _decoded(content: bytes, encoding: str, path: Path) -> str:
    """Return the text of a file. Raises `Unreadable` for bytes that are no text in the encoding."""
    try:
        is_utf_8 = codecs.lookup(encoding).name == "utf-8"
        marked = is_utf_8 and content.startswith(_UTF_16)
        text = content.decode("utf-16" if marked else "utf-8-sig" if is_utf_8 else encoding)
    except (UnicodeDecodeError, LookupError) as error:
        fault = "is binary, and not text" if b"\0" in content else f"is not text in {encoding}"
        remedy = "" if b"\0" in content else "; name another encoding with encoding, such as latin-1"
        raise Unreadable("not text", f"The text file {path} {fault}{remedy}.") from error
    if "\0" in text:
        raise Unreadable("not text", f"The text file {path} is binary, and not text.")
    return text
