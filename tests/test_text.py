"""Foreign text is shown and never acts: control characters, marks of direction, line breaks, styles."""

import os
import subprocess
import sys
from inspect import signature
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

import mmcl_jax as mj
from mmcl_jax.api.given import command_of
from mmcl_jax.cli import types
from mmcl_jax.cli.disk import sentence_of
from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import grids, show
from mmcl_jax.page.html import name as named
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.page import render_card
from mmcl_jax.prepare.images.files import Unusable
from mmcl_jax.progress import Bar
from mmcl_jax.text import listed, visible

ACTING = [chr(code) for code in (*range(32), *range(127, 160), 0xAD, 0x061C, 0x200B, 0x200E, 0x200F, 0xFEFF, 0xE0001)]
ACTING += [chr(code) for code in (*range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xD800, 0xDC80, 0xDFFF)]
NAME = "[red]a\x1b[2J\x9b31m\r\n\u202eb\x7f:smile:\u2028"


def plain(printed: str) -> bool:
    """Whether nothing that is printed acts, but for line breaks of our own."""
    return not set(printed) - {"\n"} & set(ACTING)


@pytest.mark.parametrize("mark", ACTING, ids=lambda mark: f"U+{ord(mark):04X}")
def test_what_would_act_is_written_out(mark: str) -> None:
    shown = visible(f"a{mark}b")
    assert shown.isprintable()
    assert shown == f"a{repr(mark)[1:-1]}b"
    assert visible(shown) == shown
    for error in (UserError(f"The cell a{mark}b."), Unusable("broken", f"The cell a{mark}b.")):
        assert str(error) == f"The cell {shown}."
    shown.encode()


MESSAGES = """
import logging, sys, warnings
from mmcl_jax.data.workers import pool
from mmcl_jax.text import escape_messages

NAME = "a\\x1b[2Jb\\u202ec s3://me:secret@bucket/a?token=secret"

def speak(name):
    library = logging.getLogger(name)
    library.warning("%s is odd", NAME)  # the handler of last resort
    library.addHandler(handler := logging.StreamHandler())
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    try:
        raise ValueError(NAME)
    except ValueError:
        library.exception("of a column")
    warnings.warn(NAME)

if __name__ == "__main__":
    with pool(1) as workers:
        workers.submit(speak, "worker").result()
    escape_messages()
    speak("main")
    raise KeyError(NAME)
"""


def test_messages_of_libraries_are_escaped_in_the_command_and_its_workers(tmp_path: Path) -> None:
    """Warnings, log records by any handler, and tracebacks, which may quote the names of columns and addresses."""
    (tmp_path / "speaks.py").write_text(MESSAGES)
    error = subprocess.run(
        [sys.executable, tmp_path / "speaks.py"], capture_output=True, check=False, encoding="utf-8"
    ).stderr
    assert plain(error)
    printed = error.replace('NAME = "a', "")
    assert printed.count("a\\x1b[2Jb\\u202ec s3://***@bucket/a?token=***") == 7
    assert "secret" not in printed
    assert all(f"{name}: of a column" in error for name in ("worker", "main"))


def test_ordinary_text_of_any_language_stays() -> None:
    for text in ("größer", "日本語", "می\u200cخواهم", "👩\u200d🔬", "a\u00a0b", "e\u0301", "−5 µm", "C:\\new"):
        assert visible(text) == text


@pytest.mark.parametrize(
    "names",
    [
        ("a", "b"), ("a,b", "c"), ('say "x"', "y"), ('"quoted"',), ("a, b",), ("two\nlines", "c"), ("5\" wide", "d"),
        ("^x$", "[red]", "x;y"), (" padded ", "a"), (",",), ("'",),
    ],
)  # fmt: skip
def test_names_with_commas_go_through_the_command_line(names: tuple[str, ...]) -> None:
    for between in (",", ", "):
        assert types.names(listed(names, between)) == names
    assert types.paths(listed(names, ",")) == tuple(map(Path, names))


def test_lists_of_names() -> None:
    assert types.names("a,b") == ("a", "b")
    assert types.names("") == types.names(",") == ()
    assert types.names('"a,b",c') == ("a,b", "c")
    for text in ('"a', '"a"b'):
        with pytest.raises(types.argparse.ArgumentTypeError, match="in quotation marks"):
            types.names(text)


ADDRESSES = [
    "https://me:s3cret@host/a", "s3://key:s3cret@bucket/a?part=1", "http://:s3cret@host", "https://me:@s3cret@host",
    *(f"https://h/a?x=1&{key}=s3cret&y=2" for key in ("X-Amz-Signature", "sig", "token", "api_key", "AWSAccessKeyId")),
    *(f"https://host/a?{key}=s3cret" for key in ("password", "client_secret", "X-Goog-Credential", "access_token")),
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_secret_in_an_address_is_shown_and_recorded_nowhere(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [str(UserError(f"No {address}.")), sentence_of(OSError(5, f"no {address}", address)), visible(address)]
    told.append(command_of(mj.reproduce, {**dict.fromkeys(signature(mj.reproduce).parameters), "title": address}))
    told.append(
        repr(named(address))
        + render_card(Findings(source=address, rows=0, kept=0), title=address, images=[], quarantine=[])
    )
    for words in (["upgrade", address], ["pretrain", "--config", address, "--workdir", str(tmp_path / "run")],
                  ["prepare", "--table", address, "--images", ".", "--out", str(tmp_path / "store")]):  # fmt: skip
        assert main(words) == 2
    told += capsys.readouterr()
    assert not [text for text in told if "s3cret" in text]
    assert visible(visible(address)) == visible(address)
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_secrets_stays() -> None:
    for address in (
        "https://host/a?id=3&page=2",
        "s3://bucket/a@b:c",
        "mailto:me@host",
        "https://me@host/a",
        "12:30@x",
    ):
        assert visible(address) == address


def test_tables_and_progress_show_foreign_text_as_it_is(capsys: pytest.CaptureFixture) -> None:
    score = Score(
        method=NAME, seed=0, protocol="probe", input="image", label="c", budget=NAME, draw=0,
        metrics={"top1": 0.5, "auroc": 0.5}, chosen={},
    )  # fmt: skip
    show(grids([score]), Console(width=300, force_terminal=False))
    with Bar(NAME, 1) as bar:
        bar.update(1, NAME)
    out, err = capsys.readouterr()
    assert plain(out)
    assert plain(err)
    assert out.count(visible(NAME)) == 4
    assert err.count(visible(NAME)) == 2


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A table and images whose names and cells are written to act on a terminal or a page."""
    folder = tmp_path / f"folder {NAME[:20]}"
    folder.mkdir()
    names = [f"{i}{'[bold]' if i % 2 else ''}\x1b[31m.png" for i in range(60)]
    for row, name in enumerate(names):
        Image.fromarray(np.full((4, 4), row, np.uint8)).save(folder / name)
    classes = np.random.default_rng(0).integers(0, 2, 60)
    table = {
        "file": names,
        NAME: [f"u{NAME}" if i % 3 else f"v{NAME}" for i in range(60)],
        "a,b": [("[blue]\x9bx", "\u202ey")[one] for one in classes],
        "n\x07": [f"{i * 7 % 13}.5" for i in range(60)],
        "all one\x1b": ["\x1b]0;title\x07"] * 60,
    }
    pl.DataFrame(table).write_csv(folder / "table.csv")
    return folder


def options_of(folder: Path) -> list[str]:
    return [
        "--table", str(folder / "table.csv"), "--images", str(folder), "--image-column", "file", "--workers", "1",
    ]  # fmt: skip


def command(folder: Path, *more: str) -> tuple[int, str]:
    """The exit status of `mmcl prepare` and all that it prints."""
    words = [sys.executable, "-m", "mmcl_jax.cli.main", "prepare", *options_of(folder), *more]
    done = subprocess.run(words, capture_output=True, env=os.environ | {"PYTHONUTF8": "1"})
    return done.returncode, (done.stdout + done.stderr).decode()


def test_nothing_that_a_command_prints_or_writes_acts(hostile: Path) -> None:
    store = hostile / "sto\x1bre"
    status, printed = command(hostile, "--label", '"a,b"', "--out", str(store))
    assert status == 0, printed
    assert plain(printed)
    assert r"[red]a\x1b[2J" in printed
    assert ":smile:" in printed
    assert r"[blue]\x9bx" in printed
    for name in ("card.html", "findings.json", "quarantine.jsonl", "entries.json", "declaration.json", "store.json"):
        assert plain((store / name).read_text()), name
    assert command(hostile, "--label", '"a,b"', "--out", str(store)) == (
        2, f"mmcl prepare: {visible(store)} exists already; choose another --out, or remove it first.\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--label", f"x{NAME[:10]}"], "There is no column"),
        (["--schema", "no\x1b\udc80.json"], r"The schema no\x1b\udc80.json does not exist"),
        (["--categorical", "n\x07", "--ignore", "n\x07", "--label", "n\x07"], "and given ignore by an option"),
        (["--max-bad", "\x1b"], r"invalid float value: '\x1b'"),
        (["--key-column", "all one\x1b"], r"'\x1b]0;title\x07'"),
        (["--no-such-option\x1b"], r"unrecognized arguments: --no-such-option\x1b"),
        (["--label", '"a,b'], "in quotation marks"),
    ],
)
def test_errors_are_one_sentence_that_does_not_act(
    hostile: Path, more: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["prepare", *options_of(hostile), *more, "--out", str(hostile / "store")])
    except SystemExit as leaving:  # of the options
        status = leaving.code
    printed = "".join(capfd.readouterr())
    assert status == 2
    assert plain(printed)
    assert words in printed
    assert words in printed.splitlines()[-1]
    assert printed.splitlines()[-1].startswith("mmcl")
    assert not (hostile / "store").exists()


def test_names_that_a_message_lists_can_be_given(raw, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    pl.read_csv(raw.table).rename({"price": "price, net"}).write_csv(raw.table)
    options = ["--table", str(raw.table), "--images", str(raw.images), "--image-column", "file", "--check"]
    assert main(["prepare", *options, "--ignore", "price, net"]) == 2
    assert 'it has ad, file, "price, net", seats, gearbox, model' in capsys.readouterr().err
    assert main(["prepare", *options, "--ignore", '"price, net",seats']) == 0
    assert "price, net, seats: it is declared so" in capsys.readouterr().out
