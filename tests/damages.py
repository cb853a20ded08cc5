"""Damages to files, and what may come of them: the right result, or one sentence."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from mmcl_jax.cli.disk import sentence_of
from mmcl_jax.errors import UserError


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """One bit of the byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def another_digit(path: Path) -> None:
    """The last digit of the text, which is still the same text to a parser."""
    content = bytearray(path.read_bytes())
    at = max(index for index, byte in enumerate(content) if 48 <= byte < 57)
    content[at] += 1
    path.write_bytes(content)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_out(path: Path) -> None:
    """The same file, in another folder: what is there tomorrow, nobody knows."""
    outside = path.parent / ".." / ".." / ".." / f"outside-{os.getpid()}-{path.name}"
    shutil.move(path, outside)
    path.symlink_to(outside.resolve())


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\x00garbage\n")


def swap(path: Path) -> None:
    """The content of another file of the same kind, if possible of the same size."""
    content = path.read_bytes()
    others = [other for other in _beside(path) if other.suffix == path.suffix and other.read_bytes() != content]
    other = min(others, key=lambda other: (abs(other.stat().st_size - len(content)), other.name))
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _beside(path: Path) -> list[Path]:
    return [other for other in path.parent.iterdir() if other.is_file() and other != path]


def lock_away(path: Path) -> None:
    path.chmod(0)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "deleted": Path.unlink,
    "halved": halve,
    "emptied": lambda path: path.write_bytes(b"") and None,
    "flipped": flip,
    "another digit": another_digit,
    "a folder": folder,
    "a link out": link_out,
    "appended": append,
    "swapped": swap,
    **({} if os.geteuid() == 0 else {"unreadable": lock_away}),
}
_TEXTS = (".json", ".jsonl", ".txt", ".html", ".csv")


def applies(how: str, path: Path) -> bool:
    """Whether a damage changes a file: an empty file has no byte to flip, and a binary file no digit of a text."""
    content = path.read_bytes()
    if how == "another digit":
        return path.suffix in _TEXTS and any(48 <= byte < 57 for byte in content)
    if how == "swapped":
        return any(other.suffix == path.suffix and other.read_bytes() != content for other in _beside(path))
    return bool(content) or how in ("deleted", "a folder", "a link out", "appended", "unreadable")


def files_of(directory: Path) -> list[Path]:
    """The paths of all files, below the folder."""
    return sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())


def outcome(read: Callable[[], Any]) -> tuple[Any, str]:
    """The result, or the one sentence that the command line prints."""
    try:
        return read(), ""
    except UserError as error:
        sentence = str(error)
    except OSError as error:
        sentence = sentence_of(error)
    assert sentence
    assert "\n" not in sentence
    return None, sentence


def damaged(directory: Path, copy: Path, how: str, files: Collection[str] = ()) -> Iterator[str]:
    """Copies of a folder, in each of which another file (of `files`, if any are given) is damaged; yields its path."""
    for name in files or map(str, files_of(directory)):
        if applies(how, directory / name):
            shutil.copytree(directory, copy)
            DAMAGES[how](copy / name)
            yield name
            shutil.rmtree(copy)
