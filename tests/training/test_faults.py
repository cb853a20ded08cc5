"""Numbers that go wrong: told once, recorded with their steps, and the end of a training where asked."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.objectives.base import LARGEST_LOG_SCALE
from mmcl_jax.report.health import checks
from mmcl_jax.training.faults import FILE, KINDS, Faults, read_faults

pytestmark = pytest.mark.core

RIGHT = {"loss": 1.0, "gradient_norm": 1.0, "parameter_norm": 30.0, "deviation/image": 0.5, "clip/a-b/log_scale": 2.0}
# What goes wrong by kind: the metrics, the gradient norms of two columns, the name, and words of the sentence.
WRONG = {
    "collapse": ({"deviation/image": 0.01}, (1, 1), "image", "have collapsed to one point (deviation 0.01)"),
    "columns": ({}, (1, 0), "table: b", "no gradient reaches a column (table: b)"),
    "norm": ({"gradient_norm": 500.0}, (1, 1), "gradient_norm", "exploded to 500, more than 100 times its median"),
    "temperature": (
        {"clip/a-b/log_scale": math.log(100)}, (1, 1), "clip/a-b", "the temperature of clip/a-b is at its bound, 0.01",
    ),
}  # fmt: skip


def started(directory: Path, lines: list[str], *, on: Sequence[str] = (), start: int = 0) -> Faults:
    bounds = {"clip/a-b/log_scale": LARGEST_LOG_SCALE}
    return Faults(directory, columns={"table": ["a", "b"]}, bounds=bounds, on=on, start=start, log=lines.append)


def step(faults: Faults, number: int, kind: str = "") -> None:
    metrics, norms, *_ = WRONG[kind] if kind else ({}, (1, 1))
    faults.at(number, {**RIGHT, **metrics}, {"table": np.array(norms, np.float32)})


def steps(faults: Faults, numbers: Sequence[int], kind: str = "") -> None:
    for number in numbers:
        step(faults, number, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_told_once_and_recorded(kind: str, tmp_path: Path) -> None:
    """Ten steps are right, ten wrong, one right and ten wrong; dead columns are known after five steps."""
    lines: list[str] = []
    faults = started(tmp_path, lines)
    for number in range(1, 32):
        step(faults, number, kind if 10 < number <= 20 or number > 21 else "")
    _, _, name, words = WRONG[kind]
    first, again = (15, 26) if kind == "columns" else (11, 22)
    assert [line.partition(":")[0] for line in lines] == [f"step {first}", f"step {again}"]
    assert all(words in line for line in lines)
    recorded = [(fault.step, fault.kind, fault.name, fault.ended) for fault in read_faults(tmp_path)]
    assert recorded == [(first, kind, name, False), (21, kind, name, True), (again, kind, name, False)]
    metrics = [{"step": 31.0, **RIGHT, **WRONG[kind][0]}]
    failed = "".join(check.sentence for check in checks(tmp_path, metrics) if not check.good)
    assert f"From step {first} to step 21, " in failed
    assert words in failed
    if kind != "collapse":  # which the last metrics tell
        assert f"From step {again} on, " in failed


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_continues_tells_nothing_twice(kind: str, tmp_path: Path) -> None:
    """A kill loses the steps after the checkpoint at step 20, which are repeated."""
    lines: list[str] = []
    faults = started(tmp_path, lines)
    for number in range(1, 31):
        step(faults, number, kind if 10 < number <= 25 else "")
    told, recorded = len(lines), read_faults(tmp_path)
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text() + '{"step": 3')  # a kill while a line was written
    faults = started(tmp_path, lines, start=20)
    assert [fault.step for fault in read_faults(tmp_path)] == [recorded[0].step]
    if kind in ("collapse", "temperature"):  # norms and columns are compared with the steps of the session
        for number in range(21, 31):
            step(faults, number, kind if number <= 25 else "")
        assert len(lines) == told == 1
        assert read_faults(tmp_path) == recorded


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_ends_the_training_only_where_asked(kind: str, tmp_path: Path) -> None:
    for on in ((), tuple(other for other in KINDS if other != kind), (kind,)):
        directory = tmp_path / "-".join(("run", *on))
        directory.mkdir()
        faults = started(directory, [], on=on)
        steps(faults, range(1, 11))
        if kind not in on:
            steps(faults, range(11, 16), kind)
            continue
        with pytest.raises(UserError, match=rf"Step 1[15]: .*config\.stop\.on has '{kind}'"):
            steps(faults, range(11, 16), kind)


def test_what_is_right_is_not_told(tmp_path: Path) -> None:
    """A few first steps, a norm that falls, a batch without a rare column, numbers that are not finite."""
    lines: list[str] = []
    faults = started(tmp_path, lines, on=KINDS)
    for number, norm in enumerate([1e6, 1e-3, 9.0, 1e-6, *np.geomspace(5, 1e-9, 40), math.inf, math.nan]):
        rare = np.array([1.0, 0.0 if number % 4 else 1e-3], np.float32)
        metrics = {**RIGHT, "gradient_norm": float(norm), "deviation/image": math.nan if number % 2 else 0.06}
        faults.at(number, metrics, {"table": rare if number % 4 != 1 else np.zeros(2, np.float32)})
    assert lines == []
    assert not (tmp_path / FILE).exists()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"step": true, "kind": "norm", "name": "x", "value": 1.0, "ended": false}\n')
    with pytest.raises(UserError, match=r"faults\.jsonl: line 1: step must be a whole number, not True; remove the"):
        read_faults(tmp_path)
