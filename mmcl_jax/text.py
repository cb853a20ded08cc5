"""Safe display of text from files and tables, in messages, on the terminal and on pages."""

import csv
import difflib
import io
import logging
import re
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Iterable
from types import TracebackType
from typing import Any

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format, surrogate, line and paragraph separators
_JOINERS = frozenset("\u200c\u200d")  # format characters that ordinary Persian, Hindi and emoji need
_CREDENTIALS = re.compile(r"(://)[^/\s]*:[^/\s]*@")
_SECRET_PARAMETER = re.compile(r"(?i)([?&][\w.~%-]*(?:sig|token|key|secret|passw|credential)[\w.~%-]*=)[^&,;\s'\"]+")
_CALLED: dict[str, str] = {}  # the names of folders that people know under another name than their path


def call(path: str, name: str) -> None:
    """From now on, show a name in place of a path: the address in a bucket in place of its copy on this machine."""
    _CALLED[path] = name


def called(text: object) -> str:
    """Return a text with the names of paths that were given to `call`.

    >>> call("/cache/s3/ads", "s3://ads")
    >>> called("/cache/s3/ads/table.csv"), called("No /cache/s3/ads."), called("/cache/s3/ads-2, /cache/s3/ads.csv")
    ('s3://ads/table.csv', 'No s3://ads.', '/cache/s3/ads-2, /cache/s3/ads.csv')
    """
    plain = str(text)
    for path in sorted(_CALLED, key=len, reverse=True):
        if path in plain:
            plain = re.sub(rf"{re.escape(path)}(?![\w-]|\.\w)", lambda match: _CALLED[match[0]], plain)
    return plain


def visible(text: object) -> str:
    r"""Return the text with its invisible characters escaped, such as `\n` or `\x1b`.

    A cell or a file name can hold terminal commands, line breaks, or marks that turn the direction of the line. Visible
    characters stay as they are, so applying the function twice changes nothing. A copy of a folder in a bucket is shown
    as its address, and an address without its secrets.

    >>> print(visible("a\x1b[2J\nb"), visible("grün"))
    a\x1b[2J\nb grün
    """
    plain = redacted(called(text))
    if plain.isprintable():
        return plain
    return "".join(
        repr(mark)[1:-1] if unicodedata.category(mark) in _INVISIBLE and mark not in _JOINERS else mark
        for mark in plain
    )


def visible_lines(text: object) -> str:
    """Return `visible` of every line of a text, which keeps its lines."""
    return "\n".join(map(visible, str(text).split("\n")))


def escape_messages() -> None:
    """Show warnings, log records and tracebacks of this process, also those of libraries, as `visible_lines`.

    Their messages may quote cells, paths and addresses. Records are escaped as they are made, whatever prints them.
    """
    formatted = warnings.formatwarning

    def print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        print(visible_lines(text), end="", file=sys.stderr)

    sys.excepthook = print_traceback
    warnings.formatwarning = lambda *args, **kwargs: visible_lines(formatted(*args, **kwargs))
    logging.setLogRecordFactory(_VisibleRecord)


class _VisibleRecord(logging.LogRecord):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0] is not None:  # formatters take the text where a record has one
            self.exc_text = visible_lines("".join(traceback.format_exception(*self.exc_info)).rstrip("\n"))

    def getMessage(self) -> str:
        return visible_lines(super().getMessage())


def redacted(text: str) -> str:
    """Return a text in which addresses have no passwords, tokens and signatures.

    >>> redacted("https://me:pw@host/a.csv?part=3&X-Amz-Signature=1a2b, s3://bucket/a@b")
    'https://***@host/a.csv?part=3&X-Amz-Signature=***, s3://bucket/a@b'
    """
    if "://" not in text:
        return text
    return _SECRET_PARAMETER.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", text))


def brief(value: object, most: int = 60) -> str:
    """Return how Python writes a value, on one line of at most `most` characters.

    >>> brief("cnn"), brief("x" * 99, most=9), brief(10**99)
    ("'cnn'", "'xxxxx...", 'a number of more than 60 digits')
    """
    if isinstance(value, int) and abs(value) >= 10**60:
        return "a number of more than 60 digits"
    try:
        text = visible(repr(value[:most] if isinstance(value, str | bytes) else value))
    except (ValueError, RecursionError):  # huge numbers, and objects that hold themselves, cannot be written
        return f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def words_of(error: BaseException, most: int = 200) -> str:
    r"""Return what a library says of a failure: its first line, on at most `most` characters, without a final dot.

    Libraries quote damaged files, at any length. An error without words is called by its type.

    >>> words_of(ValueError("not 7.\nbut 8")), words_of(KeyError()), words_of(ValueError("x" * 99), most=9)
    ('not 7', 'KeyError', 'xxxxxx...')
    """
    words = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return words if len(words) <= most else f"{words[: most - 3]}..."


def encodable(text: str) -> bool:
    """Return whether a text can be written as UTF-8: names of files that are not UTF-8 hold surrogates in Python."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def nearest(name: object, options: Iterable[object]) -> str:
    """Return a question that names the option most like an unknown name, for the middle of a sentence; "" if none is.

    >>> nearest("Reset18", ["resnet18", "cnn"]), nearest("cnm", ["resnet18"])
    (" (did you mean 'resnet18'?)", '')
    """
    by_lower = {str(option).lower(): str(option) for option in options}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def listed(names: Iterable[str], between: str = ", ") -> str:
    """Return names as a command-line option takes them: a name with a comma or quotation marks is quoted as in CSV.

    >>> print(listed(["a", "b, c", 'a "d" e']))
    a, "b, c", "a ""d"" e"
    """
    return between.join(_quoted(name) for name in names)


def first_few(names: Iterable[str], most: int = 5) -> str:
    """Return the first names as a list in words, and the number of the others.

    >>> print(first_few(["a", "b"]), "/", first_few("abcdefg"))
    a, b / a, b, c, d, e and 2 more
    """
    names = list(names)
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _quoted(name: str) -> str:
    special = any(mark in name for mark in ',"\r\n') or name != name.strip() or not name
    if not special:
        return name
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="").writerow([name])
    return buffer.getvalue()
