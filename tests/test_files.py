"""Files that are there whole or not at all."""

import errno
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.data.format import flat
from mmcl_jax.errors import UserError
from mmcl_jax.files import atomic, reading, system_error, write_text, writing

pytestmark = pytest.mark.core


@pytest.mark.timeout(20)
def test_errors_that_are_causes_of_one_another_are_read_once() -> None:
    """An error that a thread left and that is raised again, while its consequence is handled, is one of these."""
    lost, consequence = ConnectionError("the other process is gone"), RuntimeError("the checkpoint was not saved")
    consequence.__cause__, lost.__context__ = lost, consequence
    assert system_error(consequence) is None
    with pytest.raises(RuntimeError, match="not saved"), writing(Path("store")):
        raise consequence


@pytest.mark.parametrize("text", ["cannot be encoded: \ud800", "cannot be moved"])
def test_a_text_that_cannot_be_written_leaves_what_was_there(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    if text == "cannot be moved":
        path.mkdir()
    else:
        path.write_text("before")
    with pytest.raises((OSError, UnicodeEncodeError)):
        write_text(path, text)
    assert [one.name for one in tmp_path.iterdir()] == ["file.json"]
    assert path.is_dir() or path.read_text() == "before"


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_or_folder_appears_when_it_is_whole(folder: bool, tmp_path: Path) -> None:
    """What a call that was killed left is no part of it, and what raises leaves nothing."""
    path = tmp_path / "made"

    def write(partial: Path, text: str) -> None:
        if folder:
            partial.mkdir()
        (partial / "file" if folder else partial).write_text(text)

    write(path.with_name(".made.partial"), "left by a call that was killed")

    def stopped() -> None:
        with atomic(path) as partial:
            write(partial, "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not list(tmp_path.iterdir())
    with atomic(path) as partial:
        write(partial, "all")
        assert not path.exists()
    assert [one.name for one in tmp_path.iterdir()] == ["made"]
    assert (path / "file" if folder else path).read_text() == "all"


def test_a_mapped_array_has_its_disk_space_before_it_is_written(tmp_path: Path) -> None:
    """A write into a hole of a file ends the process when the disk is full: SIGBUS, without a word."""
    array = flat.allocate(tmp_path, "image", (1000, 1000), "uint8")
    assert Path(str(array.filename)).stat().st_blocks * 512 >= array.nbytes


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (RuntimeError("write() failed: No space left on device; writing store-train.array_record"), errno.ENOSPC),
        (ValueError("RESOURCE_EXHAUSTED: Error writing local file"), errno.ENOSPC),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes."), errno.ENOMEM),
        (OSError("I/O error: No space left on device (os error 28)"), errno.ENOSPC),  # without a number
        (MemoryError(), errno.ENOMEM),
        (RuntimeError("can't start new thread"), errno.EAGAIN),
        (ValueError("pipe() failed: Too many open files"), errno.EMFILE),
        (RuntimeError("Read-only file system (os error 30)"), errno.EROFS),
        (ValueError("a fault of ours"), None),
    ],
)
def test_errors_of_the_system_are_known_in_the_words_of_libraries(error: Exception, number: int | None) -> None:
    wrapped = KeyError("a library's own")
    wrapped.__cause__ = error
    for one in (error, wrapped):
        found = system_error(one, Path("store"))
        assert (found and found.errno) == number
        named = number not in (None, errno.ENOMEM, errno.EAGAIN, errno.EMFILE)  # the others are of no file
        assert (found and found.filename) == ("store" if named else None)
    with pytest.raises(type(error) if number is None else OSError), writing(Path("store")):
        raise error


# Writes a folder over an older one, in forked processes that are killed at their first, second, ... change of names.
KILLED = """
import os, signal, sys
from pathlib import Path
from mmcl_jax.files import atomic
path, count = Path(sys.argv[1]), 0
def write(text, names):
    with atomic(path) as partial:
        partial.mkdir()
        for name in names: (partial / name).write_text(text)
def found(): return {one.name: one.read_text() for one in path.iterdir()} if path.exists() else None
OLD, NEW = {"a": "old", "b": "old"}, {"a": "new", "c": "new"}
moment, killed = 0, True
while killed:
    moment += 1
    write("old", "ab")
    pid = os.fork()
    if pid == 0:
        def hook(event, arguments):
            global count
            if event in ("os.rename", "os.remove", "os.rmdir"):
                count += 1
                if count == moment: os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        write("new", "ac")
        os._exit(0)
    killed = os.waitpid(pid, 0)[1] != 0
    assert found() in (OLD, NEW, None), (moment, found())
    try:
        with atomic(path): raise ValueError
    except ValueError: pass
    assert found() in (OLD, NEW), (moment, found())
    assert [one.name for one in path.parent.iterdir()] == [path.name]
print(moment)
"""


def test_a_folder_that_is_replaced_is_old_or_new_whenever_the_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 5


def test_an_archive_of_arrays_with_any_changed_byte_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez_compressed(path, a=np.arange(3), b=np.ones(2))
    whole, named = path.read_bytes(), 0
    for index in range(len(whole)):
        for mask in (0x01, 0x80, 0xFF):
            path.write_bytes(whole[:index] + bytes([whole[index] ^ mask]) + whole[index + 1 :])
            try:
                with path.open("rb") as file, reading(path, "make it again"):
                    arrays = np.load(file, allow_pickle=False)
                    _ = {name: arrays[name] for name in arrays.files}
            except UserError as error:
                named += str(path) in str(error)
    assert named > len(whole)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_one_sentence_however_it_is_compressed(compression: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w", compression) as archive, archive.open("a.npy", "w") as member:
        np.save(member, np.random.default_rng(0).normal(size=500))
    content = path.read_bytes()
    path.write_bytes(content[:900] + bytes(400) + content[1300:])
    with (
        pytest.raises(UserError, match=r"rows\.npz is damaged"),
        reading(path, "prepare the store again"),
        np.load(path) as opened,
    ):
        opened["a"]
