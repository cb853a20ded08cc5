"""A copy, on this machine, of a folder or file in a bucket.

    fetch      makes the copy equal to what the bucket holds now; only what has changed is transferred
    publish    makes the bucket equal to the copy; only what has changed here is transferred

So a program works on ordinary files, and never on half an object. What marks a folder as complete (the manifest of a
store or checkpoint, then `store.json` or `config.json`) is published last, and removed first.

`index.json` remembers every object's content and its file's size and time; it lies apart from the copy. Large files can
be left out: a file of their size without content (`OMITTED`) stands for them until `fill` fetches it.
"""

import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypedDict

from mmcl_jax.border import parse, to_json, typed
from mmcl_jax.bucket import cache
from mmcl_jax.bucket.address import Address
from mmcl_jax.bucket.objects import ChangedError, Objects, Sent, Stored, in_parallel
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import CHECKSUMS, write_text
from mmcl_jax.lock import locked
from mmcl_jax.text import call

LOCK = "lock.json"  # of a run: who trains in it
_FETCHES = 4  # times that a folder is listed anew because it changes while it is fetched
_LARGE = 64 * 2**10  # bytes from which a file of a checkpoint can be left out
_SPARE = 2**28  # bytes of the disk that stay free
_CHECKPOINT = re.compile(r"(?:.*/)?checkpoints/(\d+)/")
_TEMPORARY = re.compile(r"(?:.*/)?checkpoints/[^/]*[^\d/][^/]*/")  # of Orbax, which has not completed it
# Published in this order: what says that something is complete comes last.
_SEALS = ("manifest.json", "seal.json", CHECKSUMS, "store.json", "config.json")

Omit = Callable[[str, Stored], bool]


def everything(name: str, stored: Stored) -> bool:
    """Omit nothing."""
    return False


def checkpoints(name: str, stored: Stored) -> bool:
    """Omit the large files of checkpoints, which `fill` fetches when they are used."""
    return stored.size > _LARGE and _CHECKPOINT.match(name) is not None


def unlisted(name: str, stored: Stored) -> bool:
    """Omit all files that a listing of runs does not read."""
    last = name.rpartition("/")[2]
    return last not in (LOCK, CHECKSUMS, "config.json", "status.json", "times.json", "metrics.jsonl", "evaluation.json")


@dataclasses.dataclass
class _Known:
    """What the index tells of an object: its content in the bucket, and the file that holds it."""

    size: int
    tag: str
    file: list[int]  # size and time of the file
    omitted: bool = False


class _Index(TypedDict):
    """The content of the index."""

    address: str
    files: dict[str, _Known]


class Mirror:
    """The copy of one address, at `path`.

    Copies of the kinds "raw" (files of others, such as photos), "read" (stores, runs and results) and "list" (whose
    files have the times of their objects) are shared by all processes of the user; others belong to one at a time.
    """

    def __init__(self, address: Address, *, kind: str = "read") -> None:
        """Take the address; messages from now on name it where they would name the copy."""
        self.address, self.objects, self._kind = address, Objects(address), kind
        cache.make_folder()
        self.path = cache.place(kind, address)
        digest = hashlib.sha256(f"{kind} {address}".encode()).hexdigest()[:24]
        self._lock = cache.folder() / "locks" / f"{digest}.lock"
        self._index = cache.folder() / "indices" / f"{digest}.json"
        self._outgoing = cache.folder() / "outgoing" / digest
        call(str(self.path), str(address))

    def fetch(self, omit: Omit = everything) -> Path:
        """Make the copy equal to the bucket, and return its path; the copy is absent if the bucket has nothing there.

        Files of this machine that the bucket lacks are removed if anything else has changed; otherwise they stay, such
        as arrays that were restored from a store's shards.

        Raises:
          UserError: the bucket does not exist or may not be read, or the disk has not enough space.
        """
        with locked(self._lock, what=f"fetches {self.address}", wait=True):
            for _ in range(_FETCHES):
                try:
                    self._fetch(self._found(), omit)
                    return self.path
                except ChangedError as error:
                    changed = str(error)
        raise UserError(f"{changed} changes all the time; wait until the program that writes it has ended.")

    def _found(self) -> dict[str, Stored]:
        """Return the objects of the bucket that the copy has, too."""
        found = self.objects.list()
        if self._kind == "raw":
            return found
        store, lists, found = "store.json" in found, self._kind == "list", _whole(found)
        return {name: s for name, s in found.items() if _travels(name, store) or (lists and name.endswith(f"/{LOCK}"))}

    def _fetch(self, found: dict[str, Stored], omit: Omit) -> None:
        index = self._read_index()
        wanted, changed = [], bool(index.keys() - found.keys())
        for name, stored in found.items():
            known, omitted = index.get(name), omit(name, stored)
            content = known is not None and (known.size, known.tag) == (stored.size, stored.tag)
            changed |= known is not None and not content
            if known and content and _file(self._local(name)) == known.file and (omitted or not known.omitted):
                continue
            if omitted:
                index[name] = self._omit(name, stored)
            elif stored.md5 and not (known and known.omitted) and self._has(name, stored):
                index[name] = _Known(stored.size, stored.tag, _file(self._local(name)))
            else:
                wanted.append(name)
        if changed or not index:
            self._remove_others(found)
        for name in index.keys() - found.keys():
            del index[name]
        self._check_space(found[name].size for name in wanted)

        def get(name: str) -> None:
            self._make_room(name)
            self.objects.get(name, found[name], self._local(name))
            if self._kind == "list":
                os.utime(self._local(name), (found[name].modified, found[name].modified))
            index[name] = _Known(found[name].size, found[name].tag, _file(self._local(name)))

        try:
            in_parallel(get, wanted)
        finally:
            self._write_index(index)

    def fill(self, folder: Path) -> None:
        """Fetch the omitted files below a folder of the copy.

        Raises:
          ChangedError: they were replaced or removed meanwhile.
        """
        with locked(self._lock, what=f"fetches {self.address}", wait=True):
            index = self._read_index()
            names = [n for n, known in index.items() if known.omitted and folder in self._local(n).parents]
            self._check_space(index[name].size for name in names)

            def get(name: str) -> None:
                known = index[name]
                self.objects.get(name, Stored(known.size, known.tag, 0.0), self._local(name))
                index[name] = dataclasses.replace(known, omitted=False, file=_file(self._local(name)))

            try:
                in_parallel(get, names)
            finally:
                self._write_index(index)

    def publish(self, *, guarded: bool = False) -> None:
        """Make the bucket equal to the copy, and compare what it then holds with what was sent.

        Args:
          guarded: whether an object that another program has changed since `fetch` is an error, and not overwritten.

        Raises:
          UserError: the bucket may not be written, or does not answer, or another program writes there.
        """
        for _ in range(_FETCHES):
            try:
                self._publish(guarded)
                return
            except ChangedError:  # the training has removed a checkpoint meanwhile
                continue
        raise UserError(f"{self.path} changes all the time; wait until the program that writes it has ended.")

    def _publish(self, guarded: bool) -> None:
        with locked(self._lock, what=f"publishes {self.address}", wait=True):
            index = self._read_index()
            # All names come first: so the log, which is written before a checkpoint, is at least as new as it.
            files = {name: _file(self._local(name)) for name in [*self._files()]}
            sent = {name for name, file in files.items() if name not in index or index[name].file != file}
            gone = index.keys() - files.keys()
            if not sent and not gone:
                return
            before = self.objects.list()
            if guarded:
                self._check_unchanged(before, index, sent | gone)
            # What is replaced or removed stops being complete first, and becomes so again last.
            broken = {seal for name in sent | gone if name in before and (seal := _seal_of(name))}
            sent |= broken & files.keys()
            ranks = {name: 0 if _seal_of(name) in broken - {name} else _rank(name) for name in sent}
            links = {name: self._link(name, number) for number, name in enumerate(sent)}
            self.objects.remove(broken & before.keys())
            self.objects.remove(gone - broken)
            was: dict[str, Sent] = {}
            for rank in sorted(set(ranks.values())):
                names = [name for name in sent if ranks[name] == rank]
                in_parallel(lambda name: was.update({name: self.objects.put(name, links[name])}), names)
            after = self.objects.list()
            for name in sent:
                check(
                    name in after and was[name].is_in(after[name]),
                    f"{self.address / name} was changed by another program while it was published; see to it that a "
                    "single program writes there, and run the same command again.",
                )
                index[name] = _Known(after[name].size, after[name].tag, files[name])
            for name in gone:
                del index[name]
            self._write_index(index)
            shutil.rmtree(self._outgoing, ignore_errors=True)

    def _check_unchanged(self, found: dict[str, Stored], index: dict[str, _Known], names: Iterable[str]) -> None:
        for name in names:
            stored, known = found.get(name), index.get(name)
            same = (stored is None) == (known is None) and (
                stored is None or known is None or (stored.size, stored.tag) == (known.size, known.tag)
            )
            check(
                same or (stored is not None and stored.md5 is not None and self._has(name, stored)),
                f"{self.address / name} was changed by another program meanwhile and is not overwritten; run the "
                "same command again.",
            )

    def _link(self, name: str, number: int) -> Path:
        """Return a second name of a file, under which it outlives its removal by the training that wrote it."""
        path = self._outgoing / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a publication that was killed
        try:
            os.link(self._local(name), path)
        except FileNotFoundError as error:
            raise ChangedError(name) from error
        return path

    def _omit(self, name: str, stored: Stored) -> _Known:
        self._make_room(name)
        path = self._local(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with path.open("wb") as file:
            file.truncate(stored.size)
        return _Known(stored.size, stored.tag, _file(path), omitted=True)

    def _has(self, name: str, stored: Stored) -> bool:
        """Return whether a file has the content of an object already."""
        path = self._local(name)
        if not path.is_file() or path.stat().st_size != stored.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == stored.md5

    def _make_room(self, name: str) -> None:
        """Remove a folder where the bucket has a file, or a file where it has a folder."""
        path = self._local(name)
        if path.is_dir():
            shutil.rmtree(path)
        for parent in path.parents:
            if parent.is_file():
                parent.unlink()

    def _remove_others(self, found: dict[str, Stored]) -> None:
        for name in [*self._files(all_files=True)]:
            if name not in found:
                self._local(name).unlink(missing_ok=True)
        if self.path.is_dir():
            for folder, _, _ in os.walk(self.path, topdown=False):
                if not os.listdir(folder):
                    os.rmdir(folder)

    def _check_space(self, sizes: Iterable[int]) -> None:
        needed, root = sum(sizes), cache.folder()
        free = shutil.disk_usage(root).free - _SPARE
        check(
            needed <= free,
            f"{self.address} needs {needed / 2**30:.1f} GiB on this machine, and {root} has {max(0, free) / 2**30:.1f} "
            f"GiB free; set {cache.VARIABLE} to a folder on a larger disk, or remove copies in {root / 'read'}.",
        )

    def _local(self, name: str) -> Path:
        return self.path / name if name else self.path

    def _files(self, *, all_files: bool = False) -> Iterator[str]:
        """Yield the names of the files that travel, or of all files but hidden ones."""
        if self.path.is_file():
            yield ""
        store = (self.path / "store.json").is_file()
        for folder, folders, files in os.walk(self.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            of = PurePosixPath(folder).relative_to(self.path)
            below = f"{of}/" if of.parts else ""
            if not all_files and _CHECKPOINT.fullmatch(below) and CHECKSUMS not in files:
                folders[:] = []  # it is not complete yet
                continue
            for name in files:
                if not name.startswith(".") and (all_files or _travels(f"{below}{name}", store)):
                    yield f"{below}{name}"

    def _read_index(self) -> dict[str, _Known]:
        try:
            return typed(_Index, parse(self._index.read_bytes()), str(self._index))["files"]
        except (OSError, ValueError, UserError):
            return {}

    def _write_index(self, index: dict[str, _Known]) -> None:
        self._index.parent.mkdir(exist_ok=True)
        content = {"address": str(self.address), "files": {n: dataclasses.asdict(k) for n, k in index.items()}}
        write_text(self._index, to_json(content))


def _file(path: Path) -> list[int]:
    """Return size and time of a file, by which a change is noticed; [] without the file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [status.st_size, status.st_mtime_ns]


def _travels(name: str, store: bool) -> bool:
    """Return whether a file is neither temporary nor a lock, nor, in a store, an array that the shards can restore."""
    parts = name.split("/")
    if any(part.startswith(".") for part in parts) or _TEMPORARY.match(name):
        return False
    if parts[-1].endswith((".lock", ".partial")) or parts[-1] == LOCK:
        return False
    return not (store and parts[0] in ("flat", "flat.partial"))


def _whole(found: dict[str, Stored]) -> dict[str, Stored]:
    """Return the objects without those of checkpoints whose checksums, which are written last, are missing."""

    def complete(name: str) -> bool:
        match = _CHECKPOINT.match(name)
        return match is None or f"{match[0]}{CHECKSUMS}" in found

    return {name: stored for name, stored in found.items() if complete(name)}


def _rank(name: str) -> int:
    """Return the rank of a file in the order of publishing."""
    last = name.rpartition("/")[2]
    return _SEALS.index(last) + 1 if last in _SEALS else 0


def _seal_of(name: str) -> str | None:
    """Return the name of the checksums without which the folder of a changed file is not complete, None for none."""
    match = _CHECKPOINT.match(name)
    return f"{match[0]}{CHECKSUMS}" if match else CHECKSUMS if name == "config.json" else None
