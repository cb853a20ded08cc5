"""The soak itself: some kills of a cheap command, and that it notices what it looks for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from tests.soak.compare import differences, digest
from tests.soak.tries import Watch

ROOT = Path(__file__).parents[2]


def soak(out: Path, kills: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.soak", "--kills", str(kills), "--commands", "upgrade", "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def test_a_command_that_is_killed_and_run_again_leaves_the_same_bits(tmp_path: Path) -> None:
    done = soak(tmp_path, 2)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    noted = json.loads((tmp_path / "soak.json").read_text())
    assert len(noted["kills"]) >= 2
    assert {killed["command"] for killed in noted["kills"]} == {"upgrade"}
    assert [end["differences"] for end in noted["ends"]] == [[]] * len(noted["ends"])
    assert "0 with differing files, 0 faults" in done.stdout


@pytest.mark.core
def test_a_checkpoint_of_devices_that_are_not_here_is_compared(tmp_path: Path) -> None:
    def save(name: str, weight: float) -> str:
        mesh = jax.sharding.Mesh(jax.devices()[:2], ("data",))
        on_both = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        model = {"kernel": jax.device_put(np.full(3, weight, np.float32), on_both)}
        folder = tmp_path / name / "checkpoints" / "2"
        ocp.save_checkpointables(folder, {"model": model, "data": {"next_index": 2}, "clock": {"seconds": weight}})
        places = folder / "model" / "_sharding"
        text = places.read_text()
        assert '"id\\": 1}' in text
        places.write_text(text.replace('"id\\": 1}', '"id\\": 2048}'))  # a device of a second process
        return digest(tmp_path / name)["checkpoints/2"]

    assert save("first", 1.0) == save("again", 1.0) != save("other", 2.0)


@pytest.mark.core
def test_differences_are_noticed_and_times_are_none(tmp_path: Path) -> None:
    def write(name: str, text: str) -> dict[str, str]:
        (tmp_path / name).write_text(text)
        return digest(tmp_path)

    before = write("scores.json", '{"seconds": 1.5, "scores": [{"value": 1, "cost": {"seconds": 2}}]}')
    assert write("scores.json", '{"seconds": 2.5, "scores": [{"value": 1, "cost": {"seconds": 3}}]}') == before
    assert write("scores.json", '{"scores": [{"value": 1}], "evaluation_seconds": {"probe": 4}}') == before
    assert differences(before, write("scores.json", '{"scores": [{"value": 2}]}')) == ["scores.json differs"]
    page = write("page.html", "<b>3 min</b><td>1.5 s</td><td>14</td>")
    assert write("page.html", "<b>2 min</b><td>0.5 s</td><td>14</td>") == page
    assert write("page.html", "<b>2 min</b><td>0.5 s</td><td>15</td>") != page
    (tmp_path / "page.html").unlink()
    watch = Watch(tmp_path)
    after = write(".rows.partial", "rows")
    watch.look()
    watch.look()
    assert watch.changes == 1
    assert differences(before, after) == [".rows.partial is left", "scores.json differs"]
    assert differences(after, before) == [".rows.partial is missing", "scores.json differs"]
