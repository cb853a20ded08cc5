"""Paths of every kind as inputs and outputs: one sentence that names the option, and nothing is written."""

import os
import stat
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import mmcl_jax as mj
from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError
from mmcl_jax.targets import check_file, check_folder, named

pytestmark = pytest.mark.core

NEVER = {
    "": "the path is empty",
    "\0x": "cannot be a path, since it holds a NUL",
    "x" * 256: "has 256 bytes; a name here has at most 255",
    "é" * 128: "has 256 bytes; a name here has at most 255",
    "a/" * 2500: "has 5000 bytes; a path here has at most 4095",
}
NO_OUTPUT = {
    "x" * 230: "has 230 bytes; a name here has at most 215",
    "a/" * 1900: "bytes; a path here has at most 3595",
    "dangling": "dangling is a link that leads nowhere; remove it first",
    "dangling/x": "dangling is a link that leads nowhere; remove it first",
    "loop": "loop is a link that leads nowhere; remove it first",
    "loop/x": "cannot be made, since loop is a link that leads nowhere",
    "file/x": "cannot be made, since file is a file; name another path",
    "/dev/null/x": "cannot be made, since /dev/null is a file; name another path",
    "/proc/x": "cannot be made, since /proc cannot be written",
    "a\udcff": "is not UTF-8; name another path",
}
NO_FILE = {
    "/dev/null": "/dev/null is a device or a pipe; name a file",
    "/dev/full": "/dev/full is a device or a pipe; name a file",
    "pipe": "pipe is a device or a pipe; name a file",
    "folder": "folder is a folder; name a file in it",
}
NO_FOLDER = {"file": "since file is a file", "/dev/null": "since /dev/null is a file"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    Path("file").write_text("text")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    return tmp_path


def content(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize("text", NEVER, ids=range(len(NEVER)))
def test_what_can_be_no_path_is_refused_in_the_shell_and_in_python(
    text: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(here)
    for command in (
        ["pretrain", "--config", "digits_simclr", "--workdir", text], ["report", "--run", text], ["runs", text],
        ["prepare", "--table", text, "--out", "store"], ["prepare", "--table", "t.csv", "--out", text],
        ["upgrade", text], ["embed", "--run", "run", "--out", text], ["generate", "dvm", "--out", text],
    ):  # fmt: skip
        with pytest.raises(SystemExit, match="2"):
            main(command)
        assert capsys.readouterr().err.splitlines()[-1].count(NEVER[text]) == 1
    for call in (
        lambda: mj.pretrain("digits_simclr", text), lambda: mj.report(text), lambda: mj.runs(text),
        lambda: mj.prepare("t.csv", "folder", follow_links=text, out="store"), lambda: mj.generate("dvm", out=text),
        lambda: mj.upgrade(text), lambda: mj.prepare("t.csv", "folder", split_ids=[text] * 3, out="store"),
        lambda: named(text, "--out"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=NEVER[text]):
            call()
    assert content(here) == before


@pytest.mark.parametrize("text", [*NO_OUTPUT, *NO_FILE], ids=range(len(NO_OUTPUT) + len(NO_FILE)))
def test_no_file_is_written_where_it_cannot_be(text: str, here: Path) -> None:
    before, device = content(here), os.stat("/dev/null")
    with pytest.raises(UserError, match=f"^--out: .*{(NO_OUTPUT | NO_FILE)[text]}"):
        check_file(Path(text), "--out")
    assert content(here) == before
    assert stat.S_ISCHR(device.st_mode)


@pytest.mark.parametrize("text", [*NO_OUTPUT, *NO_FOLDER], ids=range(len(NO_OUTPUT) + len(NO_FOLDER)))
def test_no_folder_is_made_where_it_cannot_be(text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, sentence = content(here), (NO_OUTPUT | NO_FOLDER)[text]
    with pytest.raises(UserError, match=f"^--out: .*{sentence}"):
        check_folder(Path(text), "--out")
    assert main(["pretrain", "--config", "digits_simclr", "--config.data=x", "--workdir", text]) == 2
    assert sentence in capsys.readouterr().err
    assert content(here) == before


def test_an_output_never_replaces_or_joins_what_is_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"file": ["0.png"]}).write_parquet("rows.parquet")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("folder/0.png")
    before = content(here)
    for more, sentence in (
        (["--table", "rows.parquet", "--out", "rows.parquet"], "rows.parquet is what --table names"),
        (
            ["--table", "rows.parquet", "--out", "folder/../rows.parquet"],
            "is what --table names, which it would replace",
        ),
        (["--images", "folder", "--out", "folder/x.parquet"], "lies in the folder of --images"),
    ):
        assert main(["embed", "--run", "run", *more]) == 2
        assert sentence in capsys.readouterr().err
    assert content(here) == before


@pytest.mark.parametrize("text", ["²", "9" * 5000, "0", "-1", str(2**31), "1e3", "٣", ""])
def test_a_count_is_a_small_whole_number(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--workers", "--image-size", "--folds", "--max-pixels", "--channels"):
        with pytest.raises(SystemExit, match="2"):
            main(["prepare", f"{option}={text}"])
        last = capsys.readouterr().err.splitlines()[-1]
        assert f"argument {option}: " in last
        assert len(last) < 250
