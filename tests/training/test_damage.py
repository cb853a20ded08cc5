"""Damaged checkpoints and other files: detected, named, and passed over."""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

import mmcl_jax as mj
from mmcl_jax.border import to_json
from mmcl_jax.border.checksum import Sums
from mmcl_jax.config import load
from mmcl_jax.data.format import flat_sums
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.imputation import IterativeImputer
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.file import ResultsFile, read_results
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.files import CHECKSUMS, damage, write_checksums
from mmcl_jax.lock import locked
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.report.health import checks
from mmcl_jax.report.scored import scored
from mmcl_jax.report.subject import groups_of, subjects_of
from mmcl_jax.training import comparison, loop
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.faults import Faults, read_faults
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import Result, pretrain
from mmcl_jax.training.runs.checkpoint import steps_of
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.runs.seen import Seen
from mmcl_jax.training.runs.skips import Skipped, SkippedSteps
from mmcl_jax.training.runs.status import read_status
from mmcl_jax.training.speed.times import read_times
from tests import damages
from tests.training.test_loop import bits, quiet


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, min(len(content) // 2 + 4, len(content))):
        content[place] ^= 0x55
    path.write_bytes(content)


HOW: dict[str, Callable[[Path], None]] = {"cut": truncate, "zeroed": zero, "flipped": flip, "deleted": Path.unlink}


@pytest.fixture(scope="module")
def trained(digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A finished run of 18 steps with the checkpoints of 12 and 18."""
    return pretrain(config_of(digits_store), tmp_path_factory.mktemp("damage") / "run", log=quiet)


def config_of(store: Store):
    return load(
        "digits_simclr",
        [
            f"data={store.directory}", "batch_size=64", "epochs=1", "schedule.warmup_epochs=0",
            "batch_norm.group_size=8", "encoders.image.channels=(4, 8)", "projectors.image.hidden=8",
            "checkpoint_every=6", "log_every=6",
        ],
    )  # fmt: skip


def files_of(folder: Path) -> Iterator[Path]:
    """Every file of a checkpoint, but its list of checksums."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != CHECKSUMS)


@pytest.mark.parametrize("how", HOW)
def test_damage_of_any_file_of_a_checkpoint_is_named(how: str, trained: Result, tmp_path: Path) -> None:
    source = trained.run.checkpoints / "18"
    files = [path.relative_to(source) for path in files_of(source)]
    assert len(files) > 15
    for file in files:
        if how != "deleted" and not (source / file).stat().st_size:
            continue
        copy = shutil.copytree(source, tmp_path / "18")
        assert damage(copy) is None
        HOW[how](copy / file)
        found = damage(copy)
        assert found is not None, file
        assert str(copy / file) in found
        shutil.rmtree(copy)


@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("model/d", "flipped"),
        ("commit_success.txt", "deleted"),
        (CHECKSUMS, "zeroed"),
    ],
)
def test_the_newest_intact_checkpoint_is_used(
    file: str, how: str, trained: Result, digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Evaluation uses it and leaves the damaged one alone; training sets that aside, and ends with the same bits."""
    run = Path(shutil.copytree(trained.run.directory, tmp_path / "run"))
    newest = run / "checkpoints" / "18"
    target = newest / file if (newest / file).is_file() else next(files_of(newest / file))
    HOW[how](target)
    intact = file == CHECKSUMS and how == "deleted"  # as an earlier version left it: nothing else is damaged
    opened = Run.open(run)
    assert opened.latest_step() == (18 if intact else 12)
    model = opened.model()
    error = capsys.readouterr().err
    assert error.count("\n") == (0 if intact else 1)
    if not intact:
        assert "The checkpoint of step 18 cannot be used" in error
        assert str(target) in error
        assert "the checkpoint of step 12 is used" in error
    expected = Run.open(trained.run.directory).model() if intact else None
    if expected is not None:
        jax.tree.map(np.testing.assert_array_equal, nnx.state(model), nnx.state(expected))
    assert steps_of(run / "checkpoints") == [18, 12]
    said: list[str] = []
    result = pretrain(config_of(digits_store), run, log=said.append)
    assert bits(result.state) == bits(trained.state)
    assert steps_of(run / "checkpoints") == [18, 12]
    assert damage(run / "checkpoints" / "18") is None
    assert steps_of(run / "damaged") == ([] if intact else [18])
    assert sum("checkpoint of step 18 cannot be used" in line for line in said) == (not intact)
    if not intact:  # it happens again: both are kept
        HOW[how](next(files_of(run / "checkpoints" / "18" / "model")))
        pretrain(config_of(digits_store), run, log=quiet)
        assert {path.name for path in (run / "damaged").iterdir()} == {"18", "18-2"}


def test_if_all_are_damaged_one_sentence_says_so_and_nothing_is_moved(
    trained: Result, digits_store: Store, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained.run.directory, tmp_path / "run"))
    for step in ("12", "18"):
        flip(next(files_of(run / "checkpoints" / step / "model" / "d")))
    sentence = r"run has no usable checkpoint; the checkpoint of step 18 cannot be used: the content of .*model/d/.* "
    for use in (lambda: pretrain(config_of(digits_store), run, log=quiet), lambda: Run.open(run).model()):
        with pytest.raises(UserError, match=sentence) as error:
            use()
        assert "\n" not in str(error.value)
        assert steps_of(run / "checkpoints") == [18, 12]


@pytest.mark.parametrize("how", ["cut", "deleted"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves coroutines behind
def test_checkpoints_of_versions_without_checksums_load_or_are_passed_over(
    how: str, trained: Result, digits_store: Store, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained.run.directory, tmp_path / "run"))
    for step in ("12", "18"):
        (run / "checkpoints" / step / CHECKSUMS).unlink()
    assert bits(pretrain(config_of(digits_store), run, log=quiet).state) == bits(trained.state)
    HOW[how](run / "checkpoints" / "18" / "model" / "manifest.ocdbt")
    with pytest.raises(UserError, match="the checkpoint of step 18 cannot be used: it cannot be read") as error:
        Run.open(run).model()
    assert "\n" not in str(error.value)
    said: list[str] = []
    assert bits(pretrain(config_of(digits_store), run, log=said.append).state) == bits(trained.state)
    assert any("checkpoint of step 18 cannot be used: it cannot be read" in line for line in said)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "file", ["config.json", "store.json", "schema.json", "statistics.json", "declaration.json", "encoding.json"]
)
@pytest.mark.parametrize("summed", [True, False])
def test_damage_of_a_run_s_other_files_is_one_sentence(
    file: str, how: str, summed: bool, trained: Result, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.run.directory, run, ignore=shutil.ignore_patterns("checkpoints"))
    if not summed:  # of an earlier version
        (run / CHECKSUMS).unlink()
        if how == "flipped":
            pytest.skip("without checksums nobody can tell")
    HOW[how](run / file)
    with pytest.raises(UserError, match=file.replace(".", r"\.")) as error:
        Run.open(run)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["cut", "zeroed"])
def test_a_damaged_imputer_is_one_sentence(how: str, digits_store: Store, tmp_path: Path) -> None:
    rows = np.asarray(digits_store.rows("train")["table"])[:50, :5].copy()
    rows[3, 2] = np.nan
    Encoding(schema=digits_store.schema, statistics=digits_store.statistics, missing="iterative").write(tmp_path)
    IterativeImputer.fit(rows).write(tmp_path / "imputer.npz")
    HOW[how](tmp_path / "imputer.npz")
    with pytest.raises(UserError, match=r"imputer\.npz is damaged \(.*\); put a copy of the file back"):
        Encoding.read(tmp_path)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "file",
    [
        "store.json",
        "manifest.json",
        "entries.json",
        "declaration.json",
        "statistics.json",
        "rows.npz",
        "keys.json",
    ],
)
def test_damage_of_a_store_s_files_is_one_sentence(file: str, how: str, digits_store: Store, tmp_path: Path) -> None:
    shutil.copytree(digits_store.directory, tmp_path / "store", ignore=shutil.ignore_patterns("flat"))
    HOW[how](tmp_path / "store" / file)
    if file in ("store.json", "manifest.json") and how == "flipped":
        pytest.skip("these two have no checksum: a run notices by the store's fingerprint")
    with pytest.raises(UserError, match=file.replace(".", r"\.")) as error:
        Store.open(tmp_path / "store")
    assert "\n" not in str(error.value)


def test_damaged_shards_are_not_restored_from(digits_store: Store, tmp_path: Path) -> None:
    shutil.copytree(digits_store.directory, tmp_path / "store", ignore=shutil.ignore_patterns("flat"))
    shard = next((tmp_path / "store").glob("*train*"))
    flip(shard)
    with pytest.raises(UserError, match=f"{shard.name} is damaged"):
        Store.open(tmp_path / "store").rows("train")
    assert not (tmp_path / "store" / "flat").exists()


def test_checksums_are_of_the_files_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    write_checksums(tmp_path, [tmp_path / "a"])
    (tmp_path / "b").write_text("c")
    assert damage(tmp_path) is None
    assert json.loads((tmp_path / CHECKSUMS).read_text())["a"]["bytes"] == 1


@pytest.fixture(scope="module")
def description(trained: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without its checkpoints and without what only informs: logs, times and status."""
    left_out = shutil.ignore_patterns("checkpoints", "events", "metrics.jsonl", "times.json", "status.json")
    return Path(shutil.copytree(trained.run.directory, tmp_path_factory.mktemp("run") / "run", ignore=left_out))


def opened(directory: Path) -> list[object]:
    """What a run says of itself and of how it reads rows, as values that can be compared."""
    run, seen = Run.open(directory), Seen.read(directory)
    assert seen is not None
    hashes = {name: values.tobytes() for name, values in seen.hashes.items()}
    return [run.config.to_json(), run.schema, run.encoding.statistics, run.declaration, run.fingerprint, hashes]


@pytest.mark.parametrize("how", damages.DAMAGES)
def test_a_damaged_run_is_as_it_was_or_gives_one_sentence(how: str, description: Path, tmp_path: Path) -> None:
    """`mmcl check` finds every damage, and writes nothing."""
    expected, copy, tried = opened(description), tmp_path / "a" / "b" / "run", 0
    for name in damages.damaged(description, copy, how):
        before = damages.files_of(copy)
        found, _ = damages.outcome(lambda: mj.check(copy))
        got, sentence = damages.outcome(lambda: opened(copy))
        assert damages.files_of(copy) == before
        if name == CHECKSUMS and how == "deleted":  # as an early version left it: it is told that nothing was compared
            assert got == expected
            assert "not compared" in found.describe()
        else:
            assert sentence, name
            assert found is None or found.exit_status == 2
        tried += 1
    assert tried >= 2


@pytest.mark.parametrize("how", ["flipped", "deleted", "a link out"])
def test_what_the_store_determines_of_a_run_is_made_again(how: str, description: Path, tmp_path: Path) -> None:
    copy, files = tmp_path / "a" / "b" / "run", ("seen.npz", "schema.json", "store.json", "statistics.json")
    for name in damages.damaged(description, copy, how, files if how == "flipped" else files[-1:]):
        with pytest.raises(UserError, match="mmcl check --repair"):
            Run.open(copy)
        found = mj.check(copy, repair=True)
        assert not found.faults
        assert [line.rpartition(" was made again")[0] for line in found.repairs] == [str(copy / name)]
        assert (copy / name).read_bytes() == (description / name).read_bytes()
        assert opened(copy) == opened(description)


def test_what_nothing_determines_is_left(description: Path, tmp_path: Path) -> None:
    """A config is nowhere else; and of another store, other files come out, which do not take their place."""
    copy = tmp_path / "a" / "b" / "run"
    for name in damages.damaged(description, copy, "flipped", ["config.json"]):
        found = mj.check(copy, repair=True)
        assert found.left == (f"{copy / name} cannot be made again; put a copy of it back.",)
    for name in damages.damaged(description, copy, "flipped", ["statistics.json"]):
        sums = json.loads((copy / CHECKSUMS).read_text())
        sums[name]["sha256"] = "0" * 64
        (copy / CHECKSUMS).write_text(json.dumps(sums))
        before = (copy / name).read_bytes()
        found = mj.check(copy, repair=True)
        assert "was made again, but is not as recorded" in found.left[0]
        assert (copy / name).read_bytes() == before
        assert found.exit_status == 2


def test_an_imputer_is_fitted_again(raw: Request, tmp_path: Path) -> None:
    """On the same training rows, and so to the same bits."""
    store = prepare(raw, tmp_path / "store")
    config = load("digits_mmcl", [f"data={store.directory}", "inputs.table.missing=iterative"])
    run = Run.begin(tmp_path / "run", config, store, fit_inputs(config, store)).directory
    before = run / "imputer.npz"
    content = before.read_bytes()
    flip(before)
    found = mj.check(run, repair=True)
    assert not found.faults
    assert before.read_bytes() == content


def test_half_lines_leftovers_and_damaged_checkpoints_of_a_run(trained: Result, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained.run.directory, tmp_path / "run"))
    metrics = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(metrics + b'{"step": 24, "lo')
    flip(next(files_of(run / "checkpoints" / "18" / "optimizer")))
    (run / "checkpoints" / "24.orbax-checkpoint-tmp").mkdir()
    (run / ".status.json.partial").write_text("half")
    for path in (run / "checkpoints" / "24.orbax-checkpoint-tmp", run / ".status.json.partial"):
        os.utime(path, (0, 0))
    (run / "lock.json").write_text(json.dumps({"host": os.uname().nodename, "pid": 2**22 + 1, "started": "1"}))
    found = mj.check(run)
    assert {fault.name for fault in found.faults} == {"metrics.jsonl", "checkpoints/18"}
    assert len(found.leftovers) == 3
    assert steps_of(run / "checkpoints") == [18, 12]
    found = mj.check(run, repair=True)
    assert (found.faults, found.leftovers, found.left) == ((), (), ())
    assert len(found.repairs) == 5
    assert (run / "metrics.jsonl").read_bytes() == metrics
    assert steps_of(run / "checkpoints") == [12]
    assert steps_of(run / "damaged") == [18]
    (run / "metrics.jsonl").unlink()
    assert [fault.name for fault in mj.check(run).faults] == ["metrics.jsonl"]
    assert not mj.check(run, repair=True).faults
    lines = (run / "metrics.jsonl").read_bytes()
    assert lines
    assert metrics.startswith(lines)  # the lines up to the checkpoint
    # Without an intact checkpoint, the same training would begin anew and not say so.
    flip(next(files_of(run / "checkpoints" / "12" / "optimizer")))
    found = mj.check(run, repair=True)
    assert found.exit_status == 2
    assert "none is moved" in found.left[0]
    assert steps_of(run / "checkpoints") == [12]


def test_checkpoints_that_links_lead_to_are_refused(trained: Result, tmp_path: Path) -> None:
    for what in ("checkpoints", "checkpoints/18"):
        run = Path(shutil.copytree(trained.run.directory, tmp_path / "run"))
        outside = shutil.move(run / what, tmp_path / "outside")
        (run / what).symlink_to(outside)
        assert mj.check(run).exit_status == 2
        _, sentence = damages.outcome(lambda run=run: Run.open(run).at(18).step())
        assert "leads out" in sentence
        if what == "checkpoints/18":
            assert Run.open(run).latest_step() == 12
        shutil.rmtree(run)
        shutil.rmtree(outside)


def test_a_run_in_training_is_not_repaired(description: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(description, tmp_path / "run"))
    with locked(run / "lock.json", what="trains"):
        assert not mj.check(run).faults
        with pytest.raises(UserError, match="trains in"):
            mj.check(run, repair=True)


def test_a_large_array_that_changes_stops_the_training_before_a_checkpoint(
    digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Joined(comparison.Comparison):
        """Has compared all files before the first step."""

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            assert self._thread.ident is not None
            self._thread.join()

    monkeypatch.setattr(flat_sums, "LARGE", 1000)
    monkeypatch.setattr(comparison, "_SHARE", 1)
    monkeypatch.setattr(loop, "Comparison", Joined)
    store, run = Path(shutil.copytree(digits_store.directory, tmp_path / "store")), tmp_path / "run"
    image = store / "flat" / "image.npy"
    flip(image)
    with pytest.raises(
        UserError, match=r"The content of .*image\.npy has changed since .* mmcl check --repair"
    ) as error:
        pretrain(config_of(Store.open(store)), run, log=quiet)
    assert "\n" not in str(error.value)
    assert steps_of(run / "checkpoints") == []
    assert not mj.check(store, repair=True).faults  # the remedy that the sentence names


def test_shards_are_compared_in_the_background_too(digits_store: Store, tmp_path: Path) -> None:
    store = Store.open(Path(shutil.copytree(digits_store.directory, tmp_path / "store")))
    names = [path.name for path, _ in store.layout.large_files(["image", "table"], streamed=True)]
    assert names == sorted(path.name for path in store.directory.glob("*.array_record-*"))
    shard = store.directory / names[0]
    flip(shard)
    compared = comparison.Comparison(store, ["image"], streamed=True, runs=True)
    compared._thread.join()
    with pytest.raises(UserError, match=shard.name):
        compared.check()
    compared.close()
    other = comparison.Comparison(store, ["image"], streamed=True, runs=False)
    other.check()
    other.close()


OTHERS = (None, True, -1, 3.0, 1e300, "x", [], {}, [1], {"x": 1})
_COUNT = 60  # replacements per file, drawn once


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values within a JSON value, and that of the value itself."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from nodes(item, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], other)
    return copy


def read_all(run: Path) -> None:
    """What the commands read of a run before they compute: its description, log, status, times and results."""
    opened = Run.open(run)
    checks(run, opened.metrics())
    read_times(run)
    read_results(run / "evaluation.json")
    scored(groups_of(subjects_of([opened], store=None, most=1)), ())


GROWING = ("status.json", "times.json", "metrics.jsonl", "skipped.jsonl", "faults.jsonl")


def without_checksums(value: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name not in ("sha256", "sum")}


@pytest.fixture
def grown(trained: Result, tmp_path: Path) -> Path:
    """A run without copies of its log, with skipped steps and faults, such as a session behind a checkpoint leaves."""
    run = tmp_path / "a" / "b" / "run"
    shutil.copytree(trained.run.directory, run, ignore=shutil.ignore_patterns("checkpoints"))
    faults = Faults(run, columns={}, bounds={}, on=(), start=0, log=quiet)
    for step in (6, 12, 18):
        faults.at(step, {"deviation/image": step / 10**4 if step != 12 else 1.0}, {})
    sums = Sums()
    lines = [sums.seal(to_json({"step": step, "ids": [step], "keys": [f"row {step}"]})) for step in (7, 9, 13)]
    (run / "skipped.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return run


def read_growing(run: Path) -> dict[str, Any]:
    """What is read of the files that grow; a session of the training reads the skipped steps, and writes them again."""
    SkippedSteps(run, None, list, limit=1, start=99, before=Skipped(), log=quiet)  # type: ignore[arg-type]
    skipped = run / "skipped.jsonl"
    return {
        "status.json": read_status(run),
        "times.json": read_times(run),
        "faults.jsonl": [str(fault) for fault in read_faults(run)],  # NaN is not NaN
        "metrics.jsonl": read_metrics(run),
        "skipped.jsonl": skipped.read_text().splitlines() if skipped.exists() else [],
    }


@pytest.mark.parametrize("how", damages.DAMAGES)
def test_files_that_grow_are_as_they_were_or_give_one_sentence(how: str, grown: Path, tmp_path: Path) -> None:
    """`mmcl check` finds every damage except a missing end: nothing says how many lines there were."""
    copy, tried = tmp_path / "c" / "d" / "e" / "run", []
    assert not mj.check(grown).faults
    for name in damages.damaged(grown, copy, how, GROWING):
        found, ends = mj.check(copy), how in ("deleted", "emptied", "halved")
        assert ends or any(fault.name == name for fault in found.faults)
        got, sentence = damages.outcome(lambda: read_growing(copy))
        expected = read_growing(grown)
        tried.append(name)
        if sentence:
            assert how == "swapped" or name in sentence
        elif ends and isinstance(expected[name], list):
            assert got.pop(name) == expected.pop(name)[: len(read_growing(copy)[name])]
            assert got == expected
        else:
            assert got == (expected | {name: None} if how == "deleted" else expected)
    assert len(tried) == len(GROWING)


def test_an_intended_change_of_a_line_removes_its_checksum(grown: Path) -> None:
    lines = (grown / "metrics.jsonl").read_text().splitlines()
    changed = [json.dumps({**json.loads(lines[0]), "loss": 7.0}), *lines[1:]]
    (grown / "metrics.jsonl").write_text("".join(f"{line}\n" for line in changed))
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged \(line 1: .* remove its key 'sum'\)"):
        read_metrics(grown)
    (row,) = mj.runs(grown)
    assert (row.state, row.reason.count("line 1")) == ("damaged", 1)
    changed[0] = json.dumps(without_checksums(json.loads(changed[0])))
    (grown / "metrics.jsonl").write_text("".join(f"{line}\n" for line in changed))
    assert read_metrics(grown)[0]["loss"] == 7.0
    assert not mj.check(grown).faults


def test_a_repair_moves_what_only_informs_away(grown: Path) -> None:
    for name in ("status.json", "times.json"):
        damages.another_digit(grown / name)
    found = mj.check(grown, repair=True)
    assert not found.faults
    assert len(found.repairs) == 2
    assert {path.name for path in (grown / "damaged").iterdir()} == {"status.json", "times.json"}
    assert [row.state for row in mj.runs(grown)] == ["unknown"]


def test_damaged_lines_behind_the_checkpoint_are_told_and_logged_again(
    trained: Result, digits_store: Store, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained.run.directory, tmp_path / "run"))
    shutil.rmtree(run / "checkpoints" / "18")
    *lines, last = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join([*lines, last.replace('"loss": ', '"loss": 1')]))
    assert [fault.name for fault in mj.check(run).faults] == ["metrics.jsonl"]
    said: list[str] = []
    assert bits(pretrain(config_of(digits_store), run, log=said.append).state) == bits(trained.state)
    assert sum("; the lines behind step 12 are logged again." in line for line in said) == 1
    losses = [[line["loss"] for line in read_metrics(folder)] for folder in (run, trained.run.directory)]
    assert losses[0] == losses[1]
    assert not mj.check(run).faults


@pytest.fixture(scope="module")
def described(trained: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run with a results file, without checksums and without the weights."""
    run = tmp_path_factory.mktemp("described") / "run"
    shutil.copytree(trained.run.directory, run, ignore=shutil.ignore_patterns("checkpoints", "checksums.json"))
    for file in (run / name for name in GROWING if (run / name).exists()):  # as an earlier version wrote them
        lines = [without_checksums(json.loads(line)) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    score = Score(
        method="digits_simclr", seed=0, protocol="probe", input="image", label="digit", budget="all", draw=0,
        metrics={"top1": 0.5, "val_top1": math.nan}, chosen={"learning_rate": 0.1}, absent={"test": ["a"]},
    )  # fmt: skip
    of = {"source": "run", "run": "digits_simclr, seed 0", "step": 18, "state": "a", "store": "b"}
    ResultsFile(run / "evaluation.json", store="b", sources=[of], head={"command": "mmcl evaluate"}).keep(of, [score])
    return run


@pytest.mark.parametrize(
    "file",
    ["config.json", "store.json", "schema.json", "statistics.json", "declaration.json", "encoding.json", "status.json",
     "times.json", "evaluation.json", "metrics.jsonl"],
)  # fmt: skip
def test_any_json_value_in_place_of_another_is_read_or_one_sentence(file: str, described: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(described, run)
    read_all(run)
    lines = (run / file).read_text().splitlines() if file.endswith("l") else [(run / file).read_text()]
    whole = json.loads(lines[0])
    every = [(path, other) for path in nodes(whole) for other in OTHERS]
    drawn = np.random.default_rng(0).permutation(np.arange(len(OTHERS), len(every)))[:_COUNT]
    said: list[str] = []
    for path, other in [*every[: len(OTHERS)], *(every[index] for index in drawn)]:
        (run / file).write_text("\n".join([json.dumps(replaced(whole, path, other)), *lines[1:], ""]))
        assert len(mj.runs(run.parent)) == 1
        try:
            read_all(run)
        except UserError as error:
            said.append(str(error))
    assert all(sentence.isprintable() for sentence in said)
    assert all(file in sentence or "config." in sentence for sentence in said), said
    assert said or file == "status.json"  # a report says that its status is damaged, and shows the rest
