"""The log of a run: damage is restored from the newest checkpoint or said in one sentence, and no line is lost."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import mmcl_jax as mj
from mmcl_jax.border import parse
from mmcl_jax.errors import UserError
from mmcl_jax.files import write_checksums
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.runs.logged import FILE, copy_log, cut_log, size_of_log

pytestmark = pytest.mark.core

LINES = [json.dumps({"step": step, "loss": 1 / step, "seconds": 2.0 * step}) for step in range(10, 70, 10)]
STEPS = [10, 20, 30, 40, 50, 60]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run with six logged steps, and the checkpoint of the fourth."""
    (tmp_path / "checkpoints" / "40").mkdir(parents=True)
    log = tmp_path / FILE
    log.write_text("".join(f"{line}\n" for line in LINES[:4]))
    size = size_of_log(tmp_path)
    log.write_text("".join(f"{line}\n" for line in LINES))  # the training goes on while it saves
    copy_log(tmp_path, tmp_path / "checkpoints" / "40", size)
    write_checksums(tmp_path / "checkpoints" / "40", [tmp_path / "checkpoints" / "40" / FILE])
    return tmp_path


def of_lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], object]:
    return lambda log: log.write_bytes(b"".join(change(log.read_bytes().splitlines(keepends=True))))


def folder(log: Path) -> None:
    log.unlink()
    log.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a line deleted": of_lines(lambda lines: lines[:1] + lines[2:]),
    "the first line deleted": of_lines(lambda lines: lines[1:]),
    "a line cut": of_lines(lambda lines: [lines[0][:9], *lines[1:]]),
    "a line cut at its end": of_lines(lambda lines: [*lines[:2], lines[2][:9] + b"\n", *lines[3:]]),
    "NUL bytes": of_lines(lambda lines: [lines[0], bytes(len(lines[1])), *lines[2:]]),
    "two lines merged": of_lines(lambda lines: [lines[0].rstrip(), *lines[1:]]),
    "a step twice": of_lines(lambda lines: [lines[0], *lines]),
    "a digit": of_lines(lambda lines: [lines[0].replace(b"0.1", b"0.3"), *lines[1:]]),
    "bytes that are no text": of_lines(lambda lines: [b"\xff\xfe\n", *lines[1:]]),
    "lines in another order": of_lines(lambda lines: [lines[1], lines[0], *lines[2:]]),
    "cut to nothing": lambda log: log.write_bytes(b""),
    "deleted": Path.unlink,
    "a folder": folder,
}


@pytest.mark.parametrize("how", DAMAGES)
def test_lines_before_a_checkpoint_are_restored_and_later_lines_stay(
    how: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = read_metrics(run)
    assert ([line["step"] for line in whole], capsys.readouterr().err) == (STEPS, "")
    DAMAGES[how](run / FILE)
    later = whole[4:] if how not in ("cut to nothing", "deleted", "a folder") else []
    assert read_metrics(run) == whole[:4] + later
    said = capsys.readouterr().err
    assert said.startswith(f"{run / FILE} ")
    assert said.endswith("; the copy in the checkpoint of step 40 is used.\n")
    assert said.count("\n") == 1
    if how == "a folder":
        with pytest.raises(UserError, match=r"metrics\.jsonl is a folder; move it away, and the same command"):
            cut_log(run, 40)
        (run / FILE).rmdir()
    assert cut_log(run, 40).content == "".join(f"{line}\n" for line in LINES[:4])


@pytest.mark.parametrize("how", DAMAGES)
def test_without_a_copy_one_sentence_says_what_is_wrong(
    how: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint of an earlier version has no copy; then lines that are not there cannot be missed."""
    (run / "checkpoints" / "40" / FILE).unlink()
    (run / "checkpoints" / "40" / "checksums.json").unlink()
    DAMAGES[how](run / FILE)
    if how in ("a line deleted", "the first line deleted", "a digit", "cut to nothing"):
        assert len(read_metrics(run)) == {"cut to nothing": 0, "a digit": 6}.get(how, 5)
        return
    if how == "deleted":
        assert read_metrics(run) == []
        assert capsys.readouterr().err == f"{run / FILE} is missing, so the metrics that were logged are lost.\n"
        return
    with pytest.raises(UserError, match=r"metrics\.jsonl (is damaged \(line \d: .*\)|cannot be read \(.*\)); put"):
        read_metrics(run)
    with pytest.raises(UserError, match=r"metrics\.jsonl "):
        cut_log(run, 40)


def test_a_half_last_line_is_cut_before_lines_are_appended(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    with (run / FILE).open("a") as file:
        file.write(LINES[0][:20])
    assert [line["step"] for line in read_metrics(run)] == STEPS
    cut = cut_log(run, 60)
    assert cut == ("".join(f"{line}\n" for line in LINES), 60, "")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite_are_read_from_every_version(constant: str, run: Path) -> None:
    """Version 0.1.0 wrote them as numbers, later versions as null, and this version as texts."""
    shutil.rmtree(run / "checkpoints")
    forms = [constant, f'"{constant}"', "null"]
    lines = [f'{{"step": {step}, "loss": {form}, "seconds": 1}}\n' for step, form in enumerate(forms, start=1)]
    (run / FILE).write_text("".join(lines))
    read = [line["loss"] for line in read_metrics(run)]
    assert all(map(math.isnan, read)) if constant == "NaN" else read[:2] == [float(constant)] * 2
    for line in cut_log(run, 3).content.splitlines():  # what a continued training writes is strict
        parse(line)


@pytest.mark.parametrize(
    "line",
    ['{"step": true, "seconds": 1}', '{"step": 3.0, "seconds": 1}', '{"step": 1, "seconds": 1, "loss": 1e400}',
     '{"step": 1, "seconds": "NaN"}', '{"step": 1, "seconds": -1}', '{"step": 1, "step": 1, "seconds": 1}',
     '{"step": 1, "seconds": 1, "loss": {}}', '{"step": 1, "seconds": 1, "loss": "low"}'],
)  # fmt: skip
def test_a_value_of_another_kind_is_one_sentence(line: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f"{line}\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged \(line 1: .*\); put a copy of it back, or move"):
        read_metrics(tmp_path)


def test_the_list_of_runs_says_that_the_log_was_damaged(run: Path) -> None:
    (run / "config.json").write_text('{"name": "a", "seed": 0, "data": "b", "epochs": 1}')
    (run / FILE).write_text("")
    (row,) = mj.runs(run)
    assert row.state == "damaged"
    assert "metrics.jsonl does not begin with the lines that were logged before that step" in row.reason
    assert (row.step, row.loss) == (40, 0.025)
