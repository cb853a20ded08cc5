"""The commands of docs/buckets.md and others with addresses of a real server: killed, slow and refused."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax.bucket import workdir as publishing
from mmcl_jax.bucket.border import local
from mmcl_jax.cli.main import main
from mmcl_jax.training.log import read_metrics
from tests.bucket.conftest import KEY, SECRET, client, contents
from tests.bucket.server import Proxy, refusing, unreliable

pytestmark = pytest.mark.foreign

SMALL = (
    "batch_size=16", "schedule.warmup_epochs=0", "log_every=1", "checkpoint_every=1",
    "encoders.image.name=cnn", "encoders.image.channels=(4,)", "projectors.image.hidden=8", "encoders.table.hidden=8",
    "encoders.table.features=8", "projectors.table.hidden=8", "monitor.epochs=None",
)  # fmt: skip


def run(*words: str) -> None:
    assert main(list(words)) == 0


@pytest.fixture(scope="module")
def raw(server: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and photos, here and in the bucket."""
    folder, rng = tmp_path_factory.mktemp("raw"), np.random.default_rng(0)
    names = [f"{number}.png" for number in range(48)]
    (folder / "photos").mkdir()
    for name in names:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / "photos" / name)
    columns = {"file": names, "price": rng.normal(size=48), "age": rng.normal(size=48), "model": ["a", "b"] * 24}
    pl.DataFrame(columns).write_csv(folder / "ads.csv")
    for path in folder.rglob("*.*"):
        client().upload_file(str(path), "tests", f"raw/{path.relative_to(folder)}")
    return folder


@pytest.fixture(scope="module")
def store(raw: Path, server: Proxy) -> str:
    """The store, prepared in the bucket through a server that fails now and then."""
    given = ["--image-column", "file", "--label", "model", "--out", "s3://tests/stores/ads"]
    with server.ruled(unreliable(0.1)):
        run("prepare", "--table", "s3://tests/raw/ads.csv", "--images", "s3://tests/raw/photos", *given)
    return "s3://tests/stores/ads"


def pretrain(store: str, workdir: str, epochs: int = 4) -> list[str]:
    options = [f"--config.{text}" for text in (*SMALL, f"epochs={epochs}")]
    return ["pretrain", "--config", "mmcl/mmcl:own", f"--config.data={store}", "--workdir", workdir, *options]


def steps_and_losses(text: str) -> list[str]:
    return re.findall(r'"step": \d+|"loss": [^,]*', text)


def test_a_killed_training_continues_to_the_same_bits_and_its_run_serves_every_command(
    store: str, raw: Path, server: Proxy, tmp_path: Path, monkeypatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run(*pretrain(store, str(tmp_path / "here")))
    workdir = "s3://tests/runs/ads"
    code = (
        "from mmcl_jax.bucket import workdir; workdir.INTERVAL = 0.05\n"
        "import sys; from mmcl_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    killed = subprocess.Popen([sys.executable, "-P", "-c", code, *pretrain(store, workdir)])
    server.delay = 0.01
    while killed.poll() is None and not any("/checksums.json" in name for name in names("runs/ads/checkpoints")):
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    server.delay = 0.0
    done = max(int(name.split("/")[3]) for name in names("runs/ads/checkpoints"))
    whole = read_metrics(tmp_path / "here")
    assert done < len(whole), "it was over before it was killed"
    assert "runs/ads/lock.json" in names("runs/ads")
    monkeypatch.setenv("MMCL_CACHE", str(tmp_path / "another machine"))
    monkeypatch.setattr(publishing, "INTERVAL", 0.2)
    with server.ruled(unreliable(0.1, seed=3)):
        run(*pretrain(store, workdir))
    assert "runs/ads/lock.json" not in names("runs/ads")
    published = contents("runs/ads/")
    logged = published["runs/ads/metrics.jsonl"].decode()
    assert steps_and_losses(logged) == steps_and_losses((tmp_path / "here" / "metrics.jsonl").read_text())
    assert any(name.startswith("runs/ads/events/") for name in published)

    out = tmp_path / "out"
    for where in (workdir, str(tmp_path / "here")):
        run("embed", "--run", where, "--store", store, "--out", f"{out}-{where == workdir}.parquet")
    ours, theirs = (pl.read_parquet(f"{out}-{here}.parquet") for here in (True, False))
    assert ours.equals(theirs)
    run("evaluate", "--run", workdir, "--protocol", "knn")
    run("embed", "--run", workdir, "--table", "s3://tests/raw/ads.csv", "--images", "s3://tests/raw/photos",
        "--out", "s3://tests/out/new.parquet")  # fmt: skip
    run("explain", "--run", workdir, "--method", "ablation", "--input", "table")
    run("export", "--run", workdir, "--format", "safetensors", "--out", "s3://tests/out/release")
    run("report", "--run", workdir)
    capfd.readouterr()
    run("runs", "s3://tests/runs")
    listing = capfd.readouterr().out
    assert "finished" in listing
    assert store in listing
    everything = contents()
    for name in (
        "runs/ads/evaluation.json",
        "runs/ads/report.html",
        "out/new.parquet",
        "out/new.unembedded.csv",
        "out/release/checksums.json",
    ):
        assert name in everything
    assert any(name.startswith("runs/ads/explanations/") for name in everything)
    told = b"".join(text for name, text in everything.items() if not name.startswith("raw/"))
    assert SECRET.encode() not in told
    assert KEY.encode() not in told
    copies = [name for name, text in everything.items() if os.environ["MMCL_CACHE"].encode() in text]
    assert [name for name in copies if not name.endswith("commit_success.txt")] == []  # Orbax's note of its folder
    assert not any("s3:" in path.name for path in tmp_path.rglob("*"))

    # A plain copy of the run's folder, in either direction, is the run.
    for path in (tmp_path / "here").rglob("*"):
        if path.is_file():
            client().upload_file(str(path), "tests", f"runs/copy/{path.relative_to(tmp_path / 'here')}")
    run(*pretrain(store, "s3://tests/runs/copy"))
    assert (
        len(names("runs/copy/checkpoints")) == len([*(tmp_path / "here/checkpoints").rglob("*.ocdbt")])
        or names("runs/copy/damaged") == []
    )


def names(prefix: str) -> list[str]:
    pages = client().get_paginator("list_objects_v2").paginate(Bucket="tests", Prefix=prefix)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def test_two_hosts_train_in_a_bucket_and_continue_on_others(store: str, server: Proxy, tmp_path: Path) -> None:
    workdir, epochs = "s3://tests/runs/hosts", 8
    with hosts(tmp_path / "first", pretrain(store, workdir, epochs)) as first:
        while all(host.poll() is None for host in first) and len(names("runs/hosts/checkpoints")) == 0:
            time.sleep(0.05)
        first[1].send_signal(signal.SIGTERM)  # to the host that does not publish
        said = [host.communicate(timeout=500)[0] for host in first]
    assert [host.returncode for host in first] == [os.EX_TEMPFAIL] * 2, said
    assert names("runs/hosts/lock.json") == []
    assert 0 < len(steps_and_losses(contents("runs/hosts/metrics.jsonl")["runs/hosts/metrics.jsonl"].decode())) / 2 < 16
    with hosts(tmp_path / "second", pretrain(store, workdir, epochs)) as second:
        said = [host.communicate(timeout=500)[0] for host in second]
    assert [host.returncode for host in second] == [0, 0], said
    assert "mmcl pretrain" not in said[1], "only the first process speaks"
    run(*pretrain(store, str(tmp_path / "here"), epochs))
    here, there = ([line["loss"] for line in read_metrics(at)] for at in (tmp_path / "here", local(workdir)))
    assert len(there) == len(here) == 16
    np.testing.assert_allclose(there, here, rtol=1e-5)


@contextlib.contextmanager
def hosts(folder: Path, words: list[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes with caches of their own, as on two machines that share nothing but the bucket.

    The first has a slow disk, so that each step of a checkpoint comes later there than on the second.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    variables = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_NUM_CPU_DEVICES": "1"}
    # A process that hangs prints where it hangs, and ends before the test gives up.
    code = (
        "import faulthandler; faulthandler.dump_traceback_later(400, exit=True)\n"
        "import os, time; make, slow = os.mkdir, os.environ['JAX_PROCESS_ID'] == '0'\n"
        "os.mkdir = lambda path, *rest, **named: (\n"
        "    time.sleep(0.2 * (slow and '/checkpoints/' in str(path))), make(path, *rest, **named))[1]\n"
        "from mmcl_jax.bucket import workdir; workdir.INTERVAL = 0.1\n"
        "import sys; from mmcl_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    with contextlib.ExitStack() as ended:
        processes = []
        for index in ("0", "1"):
            own = {"JAX_PROCESS_ID": index, "MMCL_CACHE": str(folder / index)}
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, *words, "--distributed"],
                env=os.environ | variables | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            ended.callback(process.kill)
            processes.append(process)
        yield processes


def test_a_bucket_that_cannot_be_used_ends_with_one_sentence_and_nothing_written(
    store: str, raw: Path, server: Proxy, capfd: pytest.CaptureFixture[str]
) -> None:
    table = ["--table", str(raw / "ads.csv"), "--images", str(raw / "photos"), "--image-column", "file"]
    before = names("")
    for words, sentence, rule in (
        (["prepare", *table, "--out", "s3://missing/x"], "The bucket s3://missing does not exist", None),
        (["prepare", *table, "--out", store], "s3://tests/stores/ads exists already", None),
        (["prepare", *table, "--out", "s3://tests/new"], "may not be written", refusing("PUT /tests/new")),
        (["prepare", "--table", "s3://tests/raw/no.csv", *table[2:], "--out", "x"], "s3://tests/raw/no.csv", None),
        (pretrain(store, "s3://missing/x"), "The bucket s3://missing does not exist", None),
        (pretrain("s3://tests/stores/no", "s3://tests/run"), "s3://tests/stores/no is not a store", None),
        (pretrain(store, "s3://tests/shut"), "may not be written", refusing("PUT /tests/shut")),
        (["evaluate", "--run", "s3://tests/runs/no"], "s3://tests/runs/no is not a run", None),
        (["runs", "s3://tests/no"], "s3://tests/no is no folder", None),
    ):
        server.rule = rule
        assert main(words) == 2, words
        server.rule = None
        error = capfd.readouterr().err.strip().splitlines()[-1]
        assert sentence in error, (words, error)
        assert SECRET not in error
        assert os.environ["MMCL_CACHE"] not in error
    assert names("") == before
    assert not Path("x").exists()
