"""Sinks: each with its local server or its offline mode, what happens when they fail, and that they change no bit."""

import contextlib
import json
import sqlite3
import struct
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
import pytest

from mmcl_jax.config import load
from mmcl_jax.errors import UserError
from mmcl_jax.training import sinks
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.renamed import translated
from mmcl_jax.training.sinks import SINKS, Session, check_sinks, open_sink, threads
from mmcl_jax.training.sinks.threads import Sinks
from mmcl_jax.training.validate import check_config

CONFIG = {"name": "digits_mmcl", "seed": 3, "encoders": {"image": {"name": "cnn"}}, "objective": [{"name": "clip"}]}


def train(name: str, run: Path, *, start: int, delivered: int, steps: range, finished: bool) -> list[str]:
    """What a session of a training hands to a sink; returns the lines that it logs."""
    said: list[str] = []
    session = Session(directory=run, config=CONFIG, start=start, delivered=delivered)
    opened = Sinks((name,), session, log=said.append)
    for step in steps:
        opened.log(step, {"loss": 1 / step, "online/knn_top1/image": float("nan") if step == 2 else 0.5})
    opened.close(finished=finished)
    return said


def two_sessions(name: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of three steps that was killed after a checkpoint of step 1, and one that continues it."""
    monkeypatch.setattr(threads, "_LONGEST_STOPPED", 100.0)  # on a busy machine, MLflow takes long to make its tables
    run.mkdir()
    assert train(name, run, start=0, delivered=0, steps=range(1, 4), finished=False) == []
    kept = json.loads((run / "sinks" / f"{name}.json").read_text())
    assert train(name, run, start=1, delivered=3, steps=range(2, 6), finished=True) == []
    assert json.loads((run / "sinks" / f"{name}.json").read_text()) == kept


def log_records(content: bytes) -> Iterator[bytes]:
    """The records of a file in the format of LevelDB's logs: blocks of 32 KiB, with pieces of records."""
    at, record = 7, b""  # behind W&B's own head
    while at + 7 <= len(content):
        if 2**15 - at % 2**15 < 7:  # too little of the block is left for a head
            at += 2**15 - at % 2**15
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece
            yield record
            record = b""


@pytest.mark.foreign
def test_wandb_in_its_offline_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    run = tmp_path / "first"
    check_sinks(["wandb"])
    two_sessions("wandb", run, monkeypatch)
    steps, runs, ends, until = list[int](), set[tuple[str, str, str]](), 0, time.monotonic() + 60
    while ends < 2 and time.monotonic() < until:  # a process of the library writes the files, and may not be done yet
        steps, ends = [], 0
        for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
            for content in log_records(path.read_bytes()):
                record = wandb_internal_pb2.Record()
                record.ParseFromString(content)
                kind = record.WhichOneof("record_type")
                ends += kind == "exit"
                if kind == "history":
                    steps.append(record.history.step.num)
                if kind == "run":
                    runs.add((record.run.project, record.run.run_id, record.run.display_name))
        time.sleep(0.05)
    kept = json.loads((run / "sinks" / "wandb.json").read_text())["id"]
    assert steps == [1, 2, 3, 4, 5]
    assert runs == {("mine", kept, "first")}


@pytest.mark.foreign
def test_mlflow_with_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    two_sessions("mlflow", tmp_path / "first", monkeypatch)
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert (found.info.run_name, found.info.status) == ("first", "FINISHED")
    assert found.data.params["encoders.image.name"] == "cnn"
    assert found.data.params["objective.0.name"] == "clip"
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / step) for step in range(1, 6)]


@pytest.mark.foreign
def test_trackio_with_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "db"))  # read at the import, which only this test does
    pytest.importorskip("trackio")
    two_sessions("trackio", tmp_path / "first", monkeypatch)
    with contextlib.closing(sqlite3.connect(tmp_path / "db" / "mmcl_jax.db")) as database:
        points = database.execute("select run_name, step, metrics from metrics order by step").fetchall()
    kept = json.loads((tmp_path / "first" / "sinks" / "trackio.json").read_text())["id"]
    assert [(name, step) for name, step, _ in points] == [(kept, step) for step in range(1, 6)]
    assert kept.startswith("first-")


class Broken:
    """A sink that fails when it is opened, when it takes metrics or when it is closed."""

    identity = None

    def __init__(self, where: str) -> None:
        self.where = where
        if where == "open":
            raise OSError("the network is down\nand more")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if self.where == "log":
            raise ValueError("the network is down")
        if self.where == "never":
            time.sleep(60)

    def close(self, *, finished: bool) -> None:
        if self.where == "close":
            raise RuntimeError("the network is down")


@pytest.mark.core
@pytest.mark.parametrize("where", ["open", "log", "close", "never"])
def test_a_sink_that_fails_says_so_once(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "open_sink", lambda name, session: Broken(where))
    monkeypatch.setattr(threads, "_LONGEST", 0.1 if where == "never" else 60.0)
    began = time.monotonic()
    (line,) = train("wandb", tmp_path, start=0, delivered=0, steps=range(1, 200), finished=True)
    assert line.startswith("config.sinks: wandb failed, and gets no more metrics: ")
    assert line.endswith("in time at the end" if where == "never" else "the network is down")
    assert time.monotonic() - began < 10


def test_no_sink_changes_a_bit_of_a_training(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training with TensorBoard, and one with a sink whose server is gone, end alike."""
    monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(
        threads, "open_sink", lambda name, session: Broken("log") if name == "mlflow" else open_sink(name, session)
    )
    results = []
    for index, names in enumerate([("tensorboard",), ("mlflow",)]):
        config = tiny_config("digits_simclr", "batch_size=512", "log_every=2", f"sinks={names}")
        results.append(pretrain(config, tmp_path / str(index)))
    assert capsys.readouterr().out.count("config.sinks: mlflow failed") == 1
    losses = [[line["loss"] for line in result.run.metrics()] for result in results]
    assert losses[0] == losses[1]
    jax.tree.map(np.testing.assert_array_equal, *(jax.device_get(result.state.params) for result in results))
    assert [(tmp_path / str(index) / "events").exists() for index in range(2)] == [True, False]


@pytest.mark.core
def test_a_slow_sink_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "open_sink", lambda name, session: Broken("never"))
    monkeypatch.setattr(threads, "_WAITING", 10)
    (line,) = train("wandb", tmp_path, start=0, delivered=0, steps=range(1, 50), finished=True)
    assert "has not taken the last 10 logged steps" in line


@pytest.mark.core
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("'wandb'", r"config\.sinks: 'wandb' is not of type tuple"),
        (
            "('wnadb',)",
            r"config\.sinks: there is no sink 'wnadb' \(did you mean 'wandb'\?\); choose from",
        ),
        ("('mlflow','mlflow')", r"config\.sinks: \('mlflow', 'mlflow'\) must be a tuple of different names"),
        ("('wandb',)", r'config\.sinks: wandb is not installed; run pip install "mmcl_jax\[wandb\]"\.'),
    ],
)
def test_bad_sinks_are_told_before_the_training(value: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda name: None if name == "wandb" else object())
    with pytest.raises(UserError, match=sentence):
        check_config(load("digits_mmcl", ["data=x", f"sinks={value}"]))
    check_config(load("digits_mmcl", ["data=x", "sinks=()"]))


@pytest.mark.foreign
def test_wandb_does_not_ask_for_a_key_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(UserError, match="set WANDB_MODE=offline"):
        check_sinks(["wandb"])


@pytest.mark.core
def test_the_extras_exist_and_old_runs_had_tensorboard() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {extra for _, extra in SINKS.values() if extra} <= project["optional-dependencies"].keys()
    assert translated({"encoders": {}})["sinks"] == ["tensorboard"]


def test_tags_of_tensorboard_act_nowhere(tmp_path: Path) -> None:
    """A metric has the name of a view or term of the config; tensorboardX writes other characters than letters as _."""
    session = Session(directory=tmp_path, config=CONFIG, start=0, delivered=0)
    sink = open_sink("tensorboard", session)
    sink.log(1, {"deviation/a\x1b[2J<script>\u202e": 1.0})
    sink.close(finished=True)
    (events,) = (tmp_path / "events").iterdir()
    assert b"deviation/a__2J_script__" in events.read_bytes()
    # The escape alone may be a byte of a checksum or of a time.
    assert b"\x1b[2J" not in events.read_bytes()
