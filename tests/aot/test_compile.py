"""`mj.compile` and `mmcl compile`: what a step needs on eight devices of this machine, and what they refuse."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

import mmcl_jax as mj
from mmcl_jax.aot.program import _refused, cache_folder
from mmcl_jax.aot.suggest import slices, tried_changes
from mmcl_jax.aot.topology import machine_of
from mmcl_jax.cli.main import main
from mmcl_jax.cli.output import values_of
from mmcl_jax.config import load
from mmcl_jax.data.samplers.base import Repeated
from mmcl_jax.errors import UserError
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.step.train_step import compile_step, make_step

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield


def test_the_page_tells_what_pretrain_compiles(
    tiny_config: Any, digits_store: Any, eight_devices: None, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    config = tiny_config()
    page = mj.compile(config)
    said = capsys.readouterr()
    experiment = build_experiment(config, digits_store)
    compiled = compile_step(make_step(experiment), *experiment.shapes(), dtype="float32")
    memory, needs = compiled.memory_analysis(), page.needs
    assert needs.memory["temporary"] == memory.temp_size_in_bytes
    batch = sum(array.size // 8 * array.dtype.itemsize for array in experiment.shapes()[1].values())
    held = memory.argument_size_in_bytes + batch  # this batch, and the next
    assert needs.memory["state"] + needs.memory["input"] == held
    assert needs.total == sum(needs.memory.values())
    assert needs.fits
    assert needs.moved == compiled.cost_analysis()["bytes accessed"]
    assert needs.flops > 0
    assert needs.unexplained == ()
    assert {"pairs", "gradients"} <= {word for _, purpose in needs.collectives for word in str(purpose).split(", ")}
    assert needs.bound is None  # a CPU's limits are not published
    assert "64 rows per step, 8 per device, float32" in said.out
    assert "It fits" in said.out
    assert "so far" not in said.err

    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "compile.md").read_text(), re.DOTALL)
    monkeypatch.setattr(mj, "compile", lambda *_, **given: page if given["data"] == "stores/ads" else None)
    exec(block, {})
    printed = capsys.readouterr().out
    assert printed.startswith(f"True {needs.total} None\n")
    assert printed.count("\n") == 1 + len(needs.collectives)
    monkeypatch.undo()

    # The second time, nothing is compiled.
    monkeypatch.setattr(jax.stages.Lowered, "compile", None)
    again = mj.compile(config)
    assert values_of(again) == values_of(page)
    assert json.dumps(values_of(page), allow_nan=False)
    for path in cache_folder().iterdir():  # damage
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TypeError, match="not callable"):
        mj.compile(config)


def test_a_store_may_be_smaller_than_a_batch(tiny_config: Any, digits_store: Any) -> None:
    config = tiny_config("digits_mmcl", "batch_size=65536")
    with pytest.raises(UserError, match=r"config\.batch_size"):
        build_experiment(config, digits_store)
    _, batch, _ = build_experiment(config, digits_store, repeated=True).shapes()
    assert batch["image"].shape == (65536, 16, 15, 1)


def test_repeating_keeps_what_the_batch_holds() -> None:
    assert Repeated(SimpleNamespace(repeats=True, size=3), least=2).size == 3  # type: ignore[arg-type]
    assert Repeated(SimpleNamespace(repeats=True, size=3), least=2).repeats  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--config", "digits_mmcl", "--topology", "v99:2x4"], "--topology: 'v99:2x4': there is no chip 'v99'"),
        (["--config", "digits_mmcl", "--config.data=nowhere"], "nowhere is not a store"),
        (["--config", "digits_mmcl", "--config.batch_size=100", "--config.batch_norm.group_size=10"],
         "does not divide evenly among 8 devices"),
        (["--config", "mmcl/supcon:dvm", "--config.batch_size=512"], "a term of this config reads labels"),
        (["--config", "nothing"], "There is no config 'nothing'"),
        (["--config", "mmcl/mmcl:own"], "give it with --config.data"),
        (["--config", "digits_mmcl", "--config.mesh.model=3"], "3 does not divide 8"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", *words]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in said


@pytest.mark.parametrize(
    ("message", "field", "size"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (28.54G) "
            "exceeds available HBM (15.75G).",
            "temporary",
            28.54 * 2**30,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 20.50G "
            "of 15.75G hbm. Exceeded hbm capacity by 4.75G.",
            "used",
            20.5 * 2**30,
        ),
    ],
)
def test_a_program_that_is_too_large_tells_its_size(message: str, field: str, size: float) -> None:
    program = _refused(jax.errors.JaxRuntimeError(message), machine_of(None), 1.0)
    assert program.refused
    assert getattr(program, field) == int(size)
    with pytest.raises(UserError, match="cannot compile this step for 8 x cpu: INTERNAL: no"):
        _refused(jax.errors.JaxRuntimeError("INTERNAL: no\nmore"), machine_of(None), 1.0)


def needs(total: float, limit: float = 16.0) -> Any:
    memory = {"state": 1.0, "input": 1.0, "temporary": total - 2.0}
    return SimpleNamespace(devices=8, limit=limit, memory=memory, total=total, fits=total <= limit)


def test_changes_are_tried_until_a_slice_fits() -> None:
    config = load("mmcl/mmcl:dvm", ["batch_size=16384", "data=x"])
    assert slices(config, needs(30.0)) == [8192, 4096, 2048, 1024, 512]

    def measure(overrides: list[str]) -> Any:
        (first, *_) = overrides
        if first == "mesh.model=8":
            raise UserError("it cannot be")
        return needs({"micro_batch=8192": 17.0, "micro_batch=4096": 10.0}.get(first, 29.0))

    tried = list(tried_changes(config, needs(30.0), measure))
    assert [overrides for overrides, _ in tried] == [
        ("micro_batch=8192",),
        ("micro_batch=4096",),
        ("encoders.image.remat=blocks",),
        ("pairs.execution=ring",),
        ("mesh.model=8",),
    ]
    assert [one if isinstance(one, str) else one.fits for _, one in tried] == [
        False,
        True,
        False,
        False,
        "it cannot be",
    ]
    config.batch_norm.group_size = None
    assert slices(config, needs(30.0)) == []


@pytest.mark.foreign
@pytest.mark.timeout(600)
def test_pairs_and_a_step_for_eight_tpus_need_what_was_committed() -> None:
    """The whole check of all machines is `python -m benchmarks compile --check`."""
    pytest.importorskip("libtpu")
    from benchmarks import compile as benchmark
    from benchmarks.record import RESULTS

    machine = machine_of("v5e:2x4")

    def grown(content: dict[str, Any]) -> list[str]:
        row = {"machine": machine.name, "compiler": machine.compiler, **content}
        return [sentence for sentence in benchmark.growth(row, RESULTS) if "another compiler" not in sentence]

    assert grown(benchmark.kernel(machine, "gathered", 131072)) == []
    step = benchmark.step(machine, "resnet18")
    assert step["unexplained"] == 0
    assert [sentence for sentence in grown(step) if "no figures" not in sentence] == []


def test_growth_is_told(tmp_path: Path) -> None:
    from benchmarks import compile as benchmark

    total = {"count": 3, "bytes": 1000}
    row = {
        "machine": "v5e:2x4",
        "compiler": "c",
        "program": "pairs",
        "batch": 8,
        "temporary_bytes": 1000,
        "total_bytes": 9,
    }
    row = {**row, "collectives": {"all-gather": total}}
    assert benchmark.growth(row, tmp_path) == ["v5e:2x4, pairs, batch 8: no figures are committed."]
    path = tmp_path / f"{benchmark.file_of(row)}.json"
    path.write_text(json.dumps({"rows": [row]}))
    assert benchmark.growth({**row, "temporary_bytes": 1010}, tmp_path) == []
    grown: list[dict[str, Any]] = [
        {"temporary_bytes": 1011},
        {"unexplained": 1},
        {"collectives": {"all-gather": {**total, "count": 4}}},
        {"collectives": {"all-gather": {**total, "bytes": 1011}}},
        {"collectives": {"all-gather": total, "all-reduce": {"count": 1, "bytes": 4}}},
    ]
    for change in grown:
        assert len(benchmark.growth({**row, **change}, tmp_path)) == 1, change
    assert "another compiler" in benchmark.growth({**row, "compiler": "d"}, tmp_path)[0]
