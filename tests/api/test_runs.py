"""`mmcl runs`: what folders of runs tell, whatever state they are in."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

import mmcl_jax as mj
from mmcl_jax.api.run_folders import STATES
from mmcl_jax.api.runs import SORTS
from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError
from mmcl_jax.files import write_checksums
from mmcl_jax.lock import locked
from mmcl_jax.training.runs.status import RunStatus

pytestmark = pytest.mark.core

Maker = Any


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Write the folder of a run: `make(name, done=30, finished=True)` is at step 30 of 40, in epoch 3 of 4."""

    def write(name: str, *, done: int = 30, finished: bool = False, loss: float | None = 1.5, seed: int = 0) -> Path:
        run = tmp_path / "runs" / name
        (run / "checkpoints" / str(done)).mkdir(parents=True)
        (run / "checkpoints" / str(done) / "weights").write_bytes(b"12345678")
        write_checksums(run / "checkpoints" / str(done), [run / "checkpoints" / str(done) / "weights"])
        config = {"name": "digits_mmcl", "seed": seed, "data": "stores/digits", "epochs": 4}
        (run / "config.json").write_text(json.dumps(config))
        (run / "store.json").write_text("{}")
        write_checksums(run, [run / "config.json", run / "store.json"])
        lines: list[dict[str, Any]] = [{"step": n, "seconds": 2.0 * n, "loss": 3.0 - n / 100} for n in (10, 20, done)]
        lines[0] |= {"validation/loss": 2.0, "online/knn_top1/table": 0.9, "online/knn_top1/image": 0.5}
        lines[1] |= {"validation/loss": 2.5, "online/knn_top1/image": 0.75, "online/retrieval_top1": 0.1}
        lines[2] |= {"validation/loss": None, "loss": loss}
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"step": 4')
        with RunStatus(run, steps=40, steps_per_epoch=10, writes=True) as status:
            status.step, status.finished = done, finished
        return run

    return write


def test_a_run_tells_its_progress_and_its_metrics(make: Maker) -> None:
    run = make("a", finished=False)
    (row,) = mj.runs(run.parent)
    assert (row.state, row.reason, row.step, row.steps, row.epochs_done, row.epochs) == ("stopped", "", 30, 40, 3.0, 4)
    assert (row.experiment, row.seed, row.data) == ("digits_mmcl", 0, "stores/digits")
    assert (row.loss, row.validation_loss, row.monitor) == (1.5, 2.0, 0.75)
    assert (row.monitor_name, row.seconds, row.seconds_left) == ("online/knn_top1/image", 60.0, None)
    assert row.updated == pytest.approx(time.time(), abs=100)


def score(metrics: dict[str, float | None], **other: Any) -> dict[str, Any]:
    named = {"method": "digits_mmcl", "protocol": "probe", "input": "image", "label": "digit", "budget": "all"}
    return {**named, "metrics": metrics, **other}


@pytest.mark.parametrize(
    ("scores", "best", "name"),
    [
        ([score({"top1": 0.8, "val_top1": 0.9}), score({"top1": 0.9, "val_top1": 0.7}),
          score({"top1": 0.84, "val_top1": 0.9}, protocol="knn"), score({"top1": 0.99, "val_top1": 1}, method="pixels"),
          score({"top1": 0.95, "val_top1": 1}, label="other")], 0.85, "top1 of digit, probe on image, labels: all"),
        ([score({"mae": 3.0, "val_mae": 1}), score({"mae": 2.0, "val_mae": 4}, input="table")], 2.0,
         "mae of digit, probe on table, labels: all"),
        ([score({"top1": None, "val_top1": None})], None, ""),
        ([], None, ""),
    ],
)  # fmt: skip
def test_the_best_test_score(scores: list[dict[str, Any]], best: float | None, name: str, make: Maker) -> None:
    run = make("a")
    (run / "evaluation.json").write_text(json.dumps({"scores": scores}))
    (row,) = mj.runs(run)
    assert (row.state, row.score_name) == ("stopped", name)
    assert row.score == (None if best is None else pytest.approx(best))


def test_every_state(make: Maker) -> None:
    assert {mj.runs(make("whole", done=40, finished=True))[0].state} == {"finished"}
    failing = make("failing")
    with pytest.raises(UserError), RunStatus(failing, steps=40, steps_per_epoch=10, writes=True):
        raise UserError("The loss was not finite.")
    (row,) = mj.runs(failing)
    assert (row.state, row.reason) == ("failed", "The loss was not finite.")
    killed = make("killed")
    RunStatus(killed, steps=40, steps_per_epoch=10, writes=True).__enter__()
    assert mj.runs(killed)[0].state == "stopped"
    with locked(killed / "lock.json", what="trains"):
        (row,) = mj.runs(killed)
        assert row.state == "running"
        assert row.seconds_left == pytest.approx(20, abs=10)  # 10 steps of 2 s
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    holder = {"host": socket.gethostname(), "pid": int(dead.stdout), "started": "1", "beat": 1}
    (killed / "lock.json").write_text(json.dumps(holder))
    assert mj.runs(killed)[0].state == "stopped"
    (killed / "lock.json").write_text(json.dumps({**holder, "host": "another"}))
    assert mj.runs(killed)[0].state == "running"  # its heartbeat is fresh
    os.utime(killed / "lock.json", (0, 0))
    assert mj.runs(killed)[0].state == "stopped"


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", None, "config.json is missing"),
        ("config.json", b"", "config.json is damaged"),
        ("config.json", b"[]", "config.json is damaged"),
        ("config.json", b'{"name": "a", "seed": 1e400, "data": "", "epochs": 1}', "config.json is damaged"),
        ("config.json", b"\xff\xfe", "config.json is damaged"),
        ("store.json", None, "store.json is missing"),
        ("store.json", b"{} ", "store.json has 3 bytes, not 2"),
        ("metrics.jsonl", b"{}\n", "metrics.jsonl is damaged"),
        ("metrics.jsonl", b"x" * 9 + b"\n", "metrics.jsonl is damaged"),
        ("status.json", b'{"state": "asleep"}', "status.json is damaged"),
        ("status.json", b'{"state": "running", "step": 1, "steps": 2, "steps_per_epoch": 1, "time": 0}', "is damaged"),
        ("evaluation.json", b'{"scores": 3}', "evaluation.json is damaged"),
        ("checksums.json", b"3", "checksums.json cannot be read"),
        ("checkpoints/30/weights", b"1", "checkpoints/30/weights has 1 bytes, not 8"),
    ],
)
def test_a_damaged_run_is_listed_with_its_reason(
    file: str, content: bytes | None, reason: str, make: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    run, whole = make("a"), make("b")
    (run / file).unlink() if content is None else (run / file).write_bytes(content)
    damaged, other = mj.runs(run.parent)
    assert damaged.state == "damaged"
    assert reason in damaged.reason
    assert (other.path, other.state) == (whole, "stopped")
    assert main(["runs", str(run.parent)]) == 0
    assert f"a is damaged: {damaged.reason}" in capsys.readouterr().out


def test_a_finished_run_without_checkpoints_is_damaged(make: Maker) -> None:
    run = make("a", finished=True)
    shutil.rmtree(run / "checkpoints" / "30")
    assert mj.runs(run)[0].reason == "checkpoints is empty"


def test_folders_links_and_other_files(make: Maker, tmp_path: Path) -> None:
    first, second = make("deep/er/a"), make("b")
    (second / "run of mine").mkdir()
    (tmp_path / "runs" / ".b.partial").mkdir()
    shutil.copytree(second, tmp_path / "runs" / ".b.partial", dirs_exist_ok=True)
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs", target_is_directory=True)
    (tmp_path / "runs" / "itself").symlink_to("itself")
    (tmp_path / "elsewhere").symlink_to(first, target_is_directory=True)
    (tmp_path / "runs" / "model").mkdir()
    (tmp_path / "runs" / "model" / "config.json").write_text("{}")  # as of another program
    outside = make("../outside")
    (tmp_path / "runs" / "c").symlink_to(outside, target_is_directory=True)
    found = mj.runs(tmp_path / "runs")
    assert [row.path for row in found] == [second, first]
    named = ", ".join(str(tmp_path / "runs" / name) for name in ("c", "loop"))
    assert found.notes()[-1] == (
        f"2 links to folders ({named}) were not followed: give such a link as the folder to list."
    )
    assert [row.path.name for row in mj.runs(tmp_path / "elsewhere")] == ["elsewhere"]


def test_the_search_is_bounded(make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Upper levels come first, so that a folder of a million files beside the runs does not hide them."""
    run = make("z")
    for number in range(30):
        (tmp_path / "runs" / "a" / str(number) / "b").mkdir(parents=True)
    found = mj.runs(tmp_path / "runs", most_folders=10)
    assert [row.path for row in found] == [run]
    assert found.notes()[-1].startswith("Only 10 folders were searched, the upper levels first, and ")
    assert mj.runs(tmp_path / "runs").remarks == ()
    assert main(["runs", str(tmp_path / "runs" / "a"), "--most-folders", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["runs"] == []
    assert "--most-folders" in answer["remarks"][0]


def test_order_filter_and_forms(make: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make("a", loss=2.0, seed=3).parent
    make("b", loss=None, done=40, finished=True)
    make("c\x1b[2J", loss=float("nan"), seed=1)
    (make("d", loss=0.5) / "evaluation.json").write_text(json.dumps({"scores": [score({"top1": 1, "val_top1": 1})]}))

    def names(**options: Any) -> str:
        return "".join(row.path.name[0] for row in mj.runs(folder, **options))

    assert names() == "abcd"
    assert names(sort="loss") == "dabc"
    assert names(sort="progress") == "bacd"
    assert names(sort="score") == "dabc"
    assert names(sort="seed") == "bdca"
    assert names(state="finished") == "b"
    assert names(state=["stopped", "finished"], sort="loss") == "dabc"
    assert all(sorted(names(sort=sort)) == list("abcd") for sort in SORTS)

    frame = mj.runs(folder).to_frame()
    assert frame["state"].to_list() == ["stopped", "finished", "stopped", "stopped"]
    assert frame["updated"].dtype.is_temporal()
    assert mj.runs(folder, state="running").to_frame().columns == frame.columns
    assert main(["runs", str(folder), "--json"]) == 0
    out, table = capsys.readouterr()
    listed = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert [run["loss"] for run in listed["runs"]] == [2.0, None, None, 0.5]
    assert "\x1b" not in table
    assert "4 runs: 3 stopped, 1 finished." in table
    assert "75 %, epoch 3 of 4" in mj.runs(folder)._repr_html_()
    assert mj.runs(folder)[1:3].rows == mj.runs(folder).rows[1:3]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sort": "score_"}, "--sort: there is no order 'score_'"),
        ({"state": "finish"}, "--state: there is no state 'finish'"),
    ],
)
def test_unknown_names(options: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        mj.runs(tmp_path, **options)
    with pytest.raises(UserError, match="no folder"):
        mj.runs(tmp_path / "nowhere")
    assert str(mj.runs(tmp_path)) == f"No run lies in {tmp_path}."


def test_a_run_of_an_earlier_version(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parents[1] / "legacy" / "v0.1.0.tar.gz") as file:
        file.extractall(tmp_path, filter="data")
    rows = mj.runs(tmp_path)
    assert {row.state for row in rows} == {"unknown"}
    assert all(row.step and row.loss and row.experiment for row in rows)
    assert set(STATES) >= {row.state for row in rows}


def test_the_example_of_the_docs(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make("a").parents[1])
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["frame"]["state"].to_list() == ["stopped"]


def test_a_hundred_runs_are_listed_without_jax_in_less_than_a_second(make: Maker) -> None:
    run = make("0")
    for number in range(1, 100):
        shutil.copytree(run, run.parent / str(number))
    code = (
        "import sys, time\nfrom mmcl_jax.cli.main import main\nmain(['runs', sys.argv[1]])\n"
        "heavy = {'jax', 'numpy', 'polars', 'matplotlib', 'ml_collections', 'sklearn'} & set(sys.modules)\n"
        "print(time.process_time(), sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code, run.parent], capture_output=True, text=True, check=True).stdout
    seconds, _, heavy = out.splitlines()[-1].partition(" ")
    assert "100 runs: 100 stopped." in out
    assert heavy == "[]"
    assert float(seconds) < 1
