"""Speed, the share of waiting for input, the table of times, and profiles of a training."""

import gzip
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from mmcl_jax.api.commands.upkeep.runs import runs
from mmcl_jax.errors import UserError
from mmcl_jax.training import loop
from mmcl_jax.training.chips import CHIPS
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.speed.clock import Clock
from mmcl_jax.training.speed.meter import Speedometer, Work
from mmcl_jax.training.speed.profile import Profile, check_within, parse_steps
from mmcl_jax.training.speed.times import FILE, PARTS, Times, read_times


class Running:
    """The result of a step that runs until it is told to end."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def block_until_ready(self) -> "Running":
        assert self.end.wait(30)
        return self


def clock_of(directory: Path, **options: Any) -> Clock:
    return Clock(directory, **{"start": 0, "seconds": 0.0, "compiled": 2.0, "writes": True, **options})


def wait_for(clock: Clock) -> None:
    """Waits until the thread has seen all steps end."""
    while clock._watch.done < clock._watch.dispatched:
        threading.Event().wait(0.001)


def test_waiting_counts_only_while_no_step_runs(tmp_path: Path) -> None:
    """A batch that is drawn while the step before it still runs costs nothing."""
    clock = clock_of(tmp_path)
    step = Running()
    clock.dispatched(1, step)
    with clock.part("input"):
        threading.Event().wait(0.05)
    assert clock.stepping()[1] == 0
    began = time.monotonic()
    with clock.part("input"):  # half of it after the step has ended
        threading.Event().wait(0.1)
        step.end.set()
        wait_for(clock)
        threading.Event().wait(0.1)
    drawn = time.monotonic() - began
    assert 0.1 <= clock.stepping()[1] < drawn - 0.1
    with clock.part("validation"):
        threading.Event().wait(0.05)
    before, times, after = clock.seconds, clock.times(), clock.seconds
    clock.close()
    assert times.seconds["validation"] >= 0.05
    assert times.seconds["compile"] == 2.0
    assert before <= times.total - 2.0 <= after


@pytest.mark.parametrize("logged", [None, 130])
@pytest.mark.parametrize(("resumed", "at"), [(100, 50.0), (110, 55.0), (120, 60.0)])
def test_steps_that_are_done_again_are_lost(tmp_path: Path, resumed: int, at: float, logged: int | None) -> None:
    """A killed session leaves its last times, and perhaps later lines in the log; a stopped one loses nothing."""
    seconds = {**dict.fromkeys(PARTS, 0.0), "compile": 9.0, "step": 40.0, "input": 10.0, "checkpoint": 10.0}
    session = {**Times(seconds=seconds, sessions=1).to_dict(), "first": 0, "step": 120, "clock": 60.0}
    (tmp_path / FILE).write_text(json.dumps({"before": Times().to_dict(), "session": session}))
    reached, spent = (120, 60.0) if logged is None else (logged, 65.0)
    if logged is not None:
        (tmp_path / "metrics.jsonl").write_text(f'{{"step": {logged}, "seconds": 65.0}}\n{{"step": 131, "sec')
    clock = clock_of(tmp_path, start=resumed, seconds=at)
    clock.close()
    times = read_times(tmp_path)
    assert times is not None
    assert (times.lost_steps, times.seconds["lost"]) == (reached - resumed, pytest.approx(spent - at))
    assert times.total == pytest.approx(9.0 + spent + 2.0, abs=0.1)  # nothing is counted twice, nothing dropped
    assert times.seconds["compile"] == 11.0
    assert times.sessions == 2
    assert ("done again" in times.table()) == (reached > resumed)
    (tmp_path / "metrics.jsonl").unlink(missing_ok=True)  # the log of a training loses the lines of steps that follow
    # The next session, from where this one stopped, loses nothing more.
    clock_of(tmp_path, start=resumed, seconds=clock.seconds).close()
    again = read_times(tmp_path)
    assert again is not None
    assert again.lost_steps == times.lost_steps


@pytest.mark.parametrize("content", ["", "[]", '{"before": 1}', '{"before": {"seconds": 2}, "session": {}}'])
def test_times_that_cannot_be_read_begin_anew(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UserError, match=r"times\.json is damaged \(.*\); remove it"):
        read_times(tmp_path)
    clock_of(tmp_path).close()
    assert "the times of earlier sessions are left out" in capsys.readouterr().err
    times = read_times(tmp_path)
    assert times is not None
    assert times.sessions == 1


def test_speed_is_that_of_the_steps_since_the_last_line(tmp_path: Path) -> None:
    chip = CHIPS["TPU v5 lite"]
    work = Work(samples=512, flops=4e12, moved=60e9, peak=chip.flops["bfloat16"], bandwidth=chip.bandwidth)
    speed = work.speed(10, 1.5, 0.3)
    assert speed["samples_per_second"] == pytest.approx(512 * 10 / 1.5)
    assert speed["mfu"] == pytest.approx(4e12 * 10 / 1.5 / 197e12)
    assert speed["bandwidth"] == pytest.approx(60e9 * 10 / 1.5 / 819e9)
    assert work.describe(speed) == "3,413 images/s, memory bandwidth 49 %, input 20 %"
    assert set(Work(samples=512, flops=4e12, moved=60e9).speed(1, 1.0, 0.0)) == {"samples_per_second", "input_wait"}
    clock = clock_of(tmp_path, start=5)
    meter = Speedometer(work, clock, start=5)
    clock._inside |= {"input": 0.5, "validation": 100.0}
    clock._began -= 102.0
    assert meter.at(15)["input_wait"] == pytest.approx(0.25, rel=0.05)
    assert meter.at(15) == {}  # no step since then
    clock.close()


NAMES = ("views", "view.image", "view.table", "encoder.image", "encoder.table", "projector.image", "pairs",
         "term.clip.image-table", "gradients", "optimizer")  # fmt: skip


def test_a_training_tells_its_speed_its_times_and_its_profile(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, said = tiny_config("digits_mmcl"), list[str]()
    # CPUs have no published peak; with that of another device, the shares of its limits are told as well.
    with monkeypatch.context() as patch:
        patch.setitem(CHIPS, jax.devices()[0].device_kind, CHIPS["TPU v5 lite"])
        result = pretrain(config, tmp_path / "run", profile=(5, 6), log=said.append)
    lines = read_metrics(tmp_path / "run")
    assert all(line["speed/samples_per_second"] > 0 and 0 <= line["speed/input_wait"] <= 1 for line in lines)
    assert all(0 < line["speed/mfu"] < 1 for line in lines)
    assert result.speed["samples_per_second"] > 0
    assert "images/s" in result.describe()
    assert "compiling" in result.describe()
    assert result.times is not None
    assert result.times.total == pytest.approx(result.seconds + result.times.seconds["compile"], abs=0.5)
    recorded = read_times(tmp_path / "run")
    assert recorded is not None
    assert recorded.total == pytest.approx(result.times.total, abs=5)
    (row,) = runs(tmp_path)
    assert row.samples_per_second == pytest.approx(lines[-1]["speed/samples_per_second"])
    # The profile: XProf's file with the scopes, and Perfetto's.
    (trace,) = (tmp_path / "run" / "profile").rglob("*.xplane.pb")
    content = trace.read_bytes()
    assert [name for name in NAMES if name.encode() not in content] == []
    (perfetto,) = (tmp_path / "run" / "profile").rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(perfetto.read_bytes()))["traceEvents"]
    assert {event["args"]["step_num"] for event in events if event.get("name") == "step"} == {"5", "6"}
    assert any("profile of steps 5 to 6" in line for line in said)


def test_a_continued_run_profiles_what_is_left(tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command continues, with the same --profile, whether or not its steps are done."""
    config, real, drawn = tiny_config("digits_mmcl"), loop.put, iter(range(1, 10**6))

    def put(batch: Any, sharding: Any) -> Any:
        if next(drawn) == 7:
            signal.raise_signal(signal.SIGTERM)
        return real(batch, sharding)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "put", put)
        assert pretrain(config, tmp_path / "run", profile=(6, 9), log=lambda line: None).step == 7
    assert len(list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))) == 1  # of steps 6 and 7
    said: list[str] = []
    whole = pretrain(config, tmp_path / "run", profile=(3, 4), log=said.append)
    assert whole.finished
    assert whole.times is not None
    assert (whole.times.sessions, whole.times.lost_steps) == (2, 0)
    assert "--profile: nothing is recorded, since step 4 is done already." in said
    assert len(list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))) == 1


@pytest.mark.parametrize("text", ["", "0", "-3", "a", "3:", ":3", "5:3", "0:4", "1:2:3", "1.5", "²"])
def test_steps_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="--profile"):
        parse_steps(text)


@pytest.mark.parametrize(("steps", "within"), [((1, 18), True), ((18, 19), False), (16, True), (17, False)])
def test_a_training_has_the_steps_to_profile(steps: Any, within: bool) -> None:
    if within:
        check_within(steps, 18)
        return
    with pytest.raises(UserError, match="more than the training has, 18 steps"):
        check_within(steps, 18)


@pytest.mark.parametrize(
    ("steps", "start", "expected"),
    [((5, 6), 0, [5, 6]), ((5, 9), 6, [7, 8, 9]), ((5, 6), 6, []), (2, 0, [3, 4]), (2, 7, [10]), (3, 9, [])],
)
def test_steps_of_a_session(
    steps: Any, start: int, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, steps_recorded = [False], []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda *a, **o: recording.__setitem__(0, True))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: recording.__setitem__(0, False))
    profile = Profile(steps, tmp_path, start=start, total=10, writes=True, log=lambda line: None)
    for step in range(start + 1, 11):
        profile.before(step)
        steps_recorded += [step] * recording[0]
        profile.after(step, np.zeros(()))
    profile.close()
    assert (steps_recorded, recording) == (expected, [False])
