"""`mmcl upgrade`: it upgrades the store and run of version 0.1.0, also after a call that was killed at any point."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_jax.cli.main import main
from mmcl_jax.data.format import upgrade, writing
from mmcl_jax.data.format.format2 import REPLACED
from mmcl_jax.data.format.upgrade import upgrade_store
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.files import sha256
from mmcl_jax.training.runs.run import Run

pytestmark = pytest.mark.core


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """Return the folder with `store` and `run` of version 0.1.0."""
    with tarfile.open(Path(__file__).parents[1] / "legacy" / "v0.1.0.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def held(directory: Path, *, streamed: bool = False) -> dict[str, Any]:
    """Return everything that can be read from a store."""
    store = Store.open(directory)
    arrays = {split: store.arrays(split, streamed=streamed) for split in store.sizes}
    return {
        "fingerprint": store.fingerprint,
        "schema": store.schema,
        "statistics": store.statistics,
        "keys": {split: store.keys(split) for split in store.sizes},
        "subsets": {name: store.subset(name)[1].tolist() for name in store.lists.subsets},
        "arrays": {
            split: {name: np.asarray(one).tobytes() for name, one in of.items()} for split, of in arrays.items()
        },
    }


@pytest.mark.parametrize("out", [None, "copy"])
@pytest.mark.parametrize("with_flat", [True, False])
def test_an_upgraded_store_holds_the_same(out: str | None, with_flat: bool, legacy: Path) -> None:
    before = held(legacy / "store")
    shards = {path.name: path.stat().st_mtime_ns for path in (legacy / "store").glob("*.array_record-*")}
    if not with_flat:
        shutil.rmtree(legacy / "store" / "flat")
    assert upgrade_store(legacy / "store", legacy / out if out else None)
    made = legacy / (out or "store")
    assert held(made) == held(made, streamed=True) == before
    shutil.rmtree(made / "flat")
    assert held(made) == before
    assert not [name for name in REPLACED if (made / name).exists()]
    assert json.loads((made / "store.json").read_text())["format"] == 3
    if out:
        assert held(legacy / "store") == before  # and is left as it was
        assert json.loads((legacy / "store" / "store.json").read_text())["format"] == 2
    else:
        assert {path.name: path.stat().st_mtime_ns for path in made.glob("*.array_record-*")} == shards
    assert not upgrade_store(made)


class Killed(BaseException):
    """The simulated kill of a process."""


def sums(store: Path) -> dict[str, str]:
    return {str(path.relative_to(store)): sha256(path) for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize("moment", range(1, 18))
def test_a_killed_upgrade_loses_nothing(moment: int, legacy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that stops at any file leaves a store that opens, and a second call completes it to the same bits."""
    before, calls = held(legacy / "store"), 0
    shutil.copytree(legacy / "store", legacy / "whole")
    upgrade_store(legacy / "whole")

    def killing(how: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == moment:
                raise Killed
            return how(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in (
            (upgrade.flat, "write_at"),
            (upgrade.Lists, "write"),
            (Path, "write_text"),
            (upgrade, "write_manifest"),
            (writing, "write_text"),
            (writing, "write_seal"),
            (upgrade.flat_sums, "write"),
            (Path, "unlink"),
            (shutil, "rmtree"),
        ):
            patch.setattr(owner, name, killing(getattr(owner, name)))
        with pytest.raises(Killed):
            upgrade_store(legacy / "store")
    for name in ("flat.lock", ".store.json.partial", ".manifest.json.partial", ".entries.json.old"):
        (legacy / "store" / name).write_text("{")  # a process that is killed removes no file of these
    assert held(legacy / "store") == before
    upgrade_store(legacy / "store")
    left = {".store.json.partial", ".manifest.json.partial", ".entries.json.old"}
    assert {name: found for name, found in sums(legacy / "store").items() if name not in left} == sums(legacy / "whole")
    assert held(legacy / "store") == before
    assert not [name for name in REPLACED if (legacy / "store" / name).exists()]
    assert not upgrade_store(legacy / "store")


def test_damage_is_not_given_a_new_checksum(legacy: Path) -> None:
    shard = next((legacy / "store").glob("*train*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=f"{shard.name} is damaged"):
        upgrade_store(legacy / "store")
    assert (legacy / "store" / "checksums.json").is_file()


def test_what_was_written_after_an_upgrade_is_noticed(legacy: Path) -> None:
    upgrade_store(legacy / "store")
    manifest = legacy / "store" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(" ", "", 1))
    with pytest.raises(UserError, match=r"manifest\.json is not what mmcl upgrade wrote"):
        Store.open(legacy / "store")


def test_the_command_upgrades_stores_and_runs_which_still_belong_together(
    legacy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Run.open(legacy / "run")
    for path, what in ((legacy / "store", "of today's format"), (legacy / "run", "a run of today's version")):
        for word in ("now", "already"):
            assert main(["upgrade", str(path)]) == 0
            assert f"{path} is {word} {what}." in capsys.readouterr().out
    run, config = Run.open(legacy / "run"), json.loads((legacy / "run" / "config.json").read_text())
    assert run.config == before.config
    assert run.inputs.specs == before.inputs.specs
    assert run.fingerprint == before.fingerprint == Store.open(legacy / "store").fingerprint
    assert not Run.is_old(legacy / "run")
    assert config["inputs"]["table"]["missing"] == "iterative"
    assert "input" not in config
    assert "entries" in json.loads((legacy / "run" / "schema.json").read_text())
    rows = np.asarray(Store.open(legacy / "store").rows("test")["table"])
    assert run.encoding.encode(rows).tobytes() == before.encoding.encode(rows).tobytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "nothing is neither a store (it has no store.json) nor a run (it has no config.json)."),
        (["run", "--out", "new"], "--out: a run is upgraded in its folder; leave --out away, or copy the run first."),
        (["store", "--out", "run"], "run exists already; choose another --out, or remove it first."),
    ],
)
def test_refusals(
    arguments: list[str],
    sentence: str,
    legacy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(legacy)
    assert main(["upgrade", *arguments]) == 2
    assert capsys.readouterr().err == f"mmcl upgrade: {sentence}\n"
    assert (legacy / "store" / "checksums.json").is_file()
