"""`--json`: one JSON object on standard output, and everything else on standard error."""

import dataclasses
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_jax.cli.main import COMMANDS, main, module_of
from mmcl_jax.cli.output import redirected, values_of
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.prepare.request import Request


def strict(text: str) -> dict[str, Any]:
    """Parse one line that holds one JSON object without NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse)


@dataclasses.dataclass
class Point:
    x: float
    folder: Path


@pytest.mark.core
@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.nan, None),
        (-math.inf, None),
        (np.float32("inf"), None),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.array([1.0, math.nan]), [1.0, None]),
        (True, True),
        (Path("a/b"), "a/b"),
        (os.fsdecode(b"gr\xfcn"), "gr\\udcfcn"),
        ({"s3://me:secret@a": ["https://b/c?sig=secret&d=1"]}, {"s3://***@a": ["https://b/c?sig=***&d=1"]}),
        ((1, {"a": {2}}), [1, {"a": [2]}]),
        (Point(math.nan, Path("c")), {"x": None, "folder": "c"}),
        (Score(method="m", seed=0, protocol="probe", input="image", label="", budget="all", draw=0,
               metrics={"top1": math.nan}, chosen={}).to_json()["metrics"], {"top1": None}),
    ],
)  # fmt: skip
def test_values_are_strict_json(value: Any, plain: Any) -> None:
    assert values_of({"value": value}) == {"value": plain}
    json.dumps(values_of({"value": value}), allow_nan=False).encode()


@pytest.mark.core
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_in_json_where_it_is_called_wrongly(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([command, "--json", "--no-such-option"])
    out, err = capsys.readouterr()
    answer = strict(out)
    assert leaving.value.code == answer["status"] == 2
    assert answer.keys() == {"status", "error"}
    assert answer["error"] in err


@pytest.mark.core
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_returns_what_has_values(command: str) -> None:
    """The mechanism prints what `run` returns, so it returns an object, and no exit status."""
    run = importlib.import_module(f"mmcl_jax.cli.commands.{module_of(command)}").run
    from mmcl_jax.data.store import Store
    from mmcl_jax.training.runs.run import Run

    returned = typing.get_type_hints(run, localns={"Store": Store, "Run": Run})["return"]
    for one in [returned] if isinstance(returned, type) else typing.get_args(returned) or [returned]:
        origin = typing.get_origin(returned) or one
        named = issubclass(origin, dict | Path) if isinstance(origin, type) else False
        named = named or dataclasses.is_dataclass(one) or hasattr(one, "to_dict")
        assert named, f"{command} returns {returned}"


@pytest.mark.core
def test_prepare_and_upgrade(raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--table", str(raw.table), "--images", str(raw.images), "--image-column", "file", "--label", "model"]
    assert main(["prepare", *words, "--check", "--json"]) == 0
    out, err = capsys.readouterr()
    checked = strict(out)
    assert checked.keys() == {"status", "findings"}
    assert {column["name"]: column["role"] for column in checked["findings"]["columns"]}["model"] == "label"
    assert "gearbox" in err

    store = tmp_path / "store"
    assert main(["prepare", *words, "--out", str(store), "--workers", "2", "--js"]) == 0
    made = strict(capsys.readouterr().out)
    assert made["store"]["directory"] == str(store)
    assert sum(made["store"]["rows"].values()) == made["findings"]["kept"] == 40
    assert made["store"]["labels"] == {"model": {"kind": "categorical", "classes": ["m0", "m1", "m2", "m3"]}}
    assert Path(made["card"]).is_file()

    assert main(["upgrade", str(store), "--json"]) == 0
    assert strict(capsys.readouterr().out) == {"status": 0, **made["store"]}


@pytest.mark.core
def test_bad_input_is_a_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", "nowhere", "--json"]) == 2
    out, err = capsys.readouterr()
    answer = strict(out)
    assert answer == {"status": 2, "error": err.removeprefix("mmcl upgrade: ").rstrip("\n")}
    assert "nowhere is neither a store" in answer["error"]


@pytest.mark.core
def test_an_error_in_the_software_is_a_json_object_and_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = importlib.import_module("mmcl_jax.cli.commands.upkeep.runs")
    monkeypatch.setattr(command, "runs", lambda **options: 1 / 0)
    monkeypatch.setattr(command.types, "arguments_of", lambda function, options: {})
    with pytest.raises(ZeroDivisionError):
        main(["runs", "--json"])
    assert strict(capsys.readouterr().out) == {"status": 1, "error": "ZeroDivisionError: division by zero"}


@pytest.mark.core
def test_a_reader_that_has_ended_is_no_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -m mmcl_jax runs {tmp_path} --json | true; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("0\n", f"No run lies in {tmp_path}.\n")


@pytest.mark.core
def test_generated_data_have_a_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "cardiac", "--out", str(tmp_path / "raw"), "--dataset.subjects=8", "--json"]
    assert main(words) == 0
    assert strict(capsys.readouterr().out) == {"status": 0, "path": str(tmp_path / "raw")}


@pytest.mark.core
def test_what_a_process_or_a_library_in_c_prints_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    print("before", flush=True)
    with capfd.disabled():  # so that the descriptors 1 and 2 are those of a process
        code = (
            "import os, subprocess\nfrom mmcl_jax.cli.output import redirected\n"
            "with redirected() as out:\n print('text'); os.write(1, b'library\\n')\n"
            " subprocess.run(['echo', 'child']); out.write('{}\\n')\nprint('after')"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "{}\nafter\n"
    assert sorted(ran.stderr.split()) == ["child", "library", "text"]
    with redirected() as out:
        print("text")
        print("{}", file=out)
    assert capfd.readouterr().out == "before\n{}\n"


@pytest.mark.core
def test_a_command_that_is_asked_to_stop_says_so_in_json() -> None:
    code = (
        "import sys, time\nfrom mmcl_jax.cli import main\n"
        "main._parsed = lambda words: print('ready', file=sys.stderr, flush=True) or time.sleep(60)\n"
        "main.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "evaluate", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == os.EX_TEMPFAIL
    assert strict(out) == {"status": os.EX_TEMPFAIL, "error": "stopped; the same command continues."}
    assert err == "mmcl evaluate: stopped; the same command continues.\n"
