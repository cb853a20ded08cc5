"""The cache of compiled programs: private, bounded, counted, and never the end of a command."""

import os
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from mmcl_jax import compilation
from mmcl_jax.api.commands.evaluate import evaluate
from mmcl_jax.compilation import PROGRAMS, Programs, use_cache
from mmcl_jax.evaluation.monitor import monitor
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.mesh import by_example, make_mesh, replicated
from mmcl_jax.training.runs.run import Run

DIRECTORY, LEAST, MOST = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_compilation_cache_max_size",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The empty cache folder of a user; JAX knows of no other cache, and every program is worth keeping."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compilation, "_WORTH_KEEPING", 0.0)
    monkeypatch.setattr(compilation, "_told", {"listening"} if "listening" in compilation._told else set())
    kept = {name: jax.config.values[name] for name in (DIRECTORY, LEAST, MOST)}
    jax.config.update(DIRECTORY, None)
    reset_cache()
    yield tmp_path
    for name, value in kept.items():
        jax.config.update(name, value)
    reset_cache()
    jax.clear_caches()


def added(work: Callable[[], Any]) -> Programs:
    """Does the work as a new process would, and returns what it compiled."""
    jax.clear_caches()
    before = Programs(PROGRAMS.compiled, PROGRAMS.cached, PROGRAMS.seconds)
    work()
    return PROGRAMS.since(before)


def program() -> None:
    jax.jit(lambda x: jnp.sin(x) * 2)(jnp.ones(3)).block_until_ready()


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("jit_*-cache"))


def test_a_program_is_compiled_once(home: Path) -> None:
    use_cache()
    folder = home / "mmcl_jax" / "programs"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder)] == [0o700, 0o700]
    first, second = added(program), added(program)
    assert first.compiled > 0
    assert (first.cached, second.compiled) == (0, 0)
    assert second.cached == first.compiled
    assert second.seconds > 0
    assert len(entries(folder)) == first.compiled


@pytest.mark.parametrize("collectives", [1, 2])
def test_a_cpu_program_with_several_collectives_is_compiled_in_each_process(collectives: int, home: Path) -> None:
    """XLA loses the order of collectives when it writes such a program: devices then wait for one another for ever."""
    use_cache()
    mesh = make_mesh(jax.devices()[:2])
    rows = jax.device_put(jnp.arange(4.0), by_example(mesh))
    sums = (lambda x: jnp.cos(x).sum(), lambda x: jnp.sin(x).max())[:collectives]
    total = jax.jit(lambda x: [each(x) for each in sums], out_shardings=replicated(mesh))
    first, second = (added(lambda: jax.block_until_ready(total(rows))) for _ in range(2))
    assert first.cached == 0 < first.compiled
    assert (second.compiled > 0) == (collectives > 1)


@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_an_entry_that_cannot_be_read_is_compiled_told_once_and_mended(
    content: bytes | None, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kill while an entry is written leaves a part of it, which JAX itself would refuse for ever."""
    use_cache()
    folder = home / "mmcl_jax" / "programs"
    wanted = added(program).compiled
    for path in entries(folder):
        path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    again = added(program)
    assert (again.compiled, again.cached) == (wanted, 0)
    assert capsys.readouterr().err.count("programs that cannot be used") == 1
    assert added(program).cached == wanted
    assert capsys.readouterr().err == ""


def test_a_folder_that_vanishes_costs_nothing_but_time(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use_cache()
    folder = home / "mmcl_jax" / "programs"
    folder.rmdir()
    folder.write_text("a file in its place")
    assert added(program).compiled > 0
    assert 1 <= len(capsys.readouterr().err.splitlines()) <= 2  # that it cannot be read, and not be written


def test_a_full_disk_is_told_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use_cache()
    cut = home / "mmcl_jax" / "programs" / "jit_step-0123-cache"
    for _ in range(3):
        cut.write_bytes(b"as far as the disk went")
        text = "Error writing persistent compilation cache entry for 'jit_step': OSError: [Errno 28] No space left"
        warnings.warn(text, stacklevel=1)
        assert not cut.exists()
    said = capsys.readouterr().err
    assert said.count("No space left") == 1
    assert str(cut.parent) in said


def test_what_others_may_have_written_is_not_run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "mmcl_jax" / "programs"

    def linked() -> None:
        (home / "planted").mkdir()
        folder.parent.mkdir()
        folder.symlink_to(home / "planted")

    def opened() -> None:
        folder.mkdir(mode=0o700)
        folder.chmod(0o777)

    def writable_above() -> None:
        folder.chmod(0o700)
        home.chmod(0o770)

    def foreign() -> None:
        home.chmod(0o700)
        monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)

    def in_the_way() -> None:
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "planted" / "file"))
        (home / "planted" / "file").write_text("")

    def homeless() -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "relative/to/nothing")
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)

    for prepare, reason in (
        (linked, "is a link"),
        (lambda: folder.unlink(), ""),
        (opened, "other users may enter"),
        (lambda: folder.chmod(0o750), "other users may enter"),
        (writable_above, "other users may write into"),
        (foreign, "belongs to another user"),
        (in_the_way, "cannot be used"),
        (homeless, "has no home directory"),
    ):
        prepare()
        if reason:
            compilation._told.discard("Compiled programs are not kept")
            use_cache()
            assert jax.config.values[DIRECTORY] is None
            assert reason in capsys.readouterr().err
    added(program)  # goes on without a cache


def test_the_cache_that_jax_uses_already_wins(home: Path) -> None:
    jax.config.update(DIRECTORY, str(home / "given"))
    use_cache()
    assert jax.config.values[DIRECTORY] == str(home / "given")
    assert not (home / "mmcl_jax").exists()


def test_the_folder_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest programs go first."""
    folder = home / "mmcl_jax" / "programs"
    folder.parent.mkdir(mode=0o700)
    folder.mkdir(mode=0o700)
    for number in range(10):
        path = folder / f"jit_{number}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (number, number))
    monkeypatch.setattr(compilation, "LIMIT", 450)
    use_cache()
    assert [path.name for path in entries(folder)] == [f"jit_{number}-cache" for number in range(6, 10)]


def test_an_orphan_does_not_stop_a_limited_cache(home: Path) -> None:
    """With a limit of its own, JAX refuses to write beside a program whose time of last use is not recorded."""
    jax.config.update(DIRECTORY, str(home))
    jax.config.update(MOST, 10**9)
    (home / "jit_orphan-cache").write_bytes(b"of a kill")
    use_cache()
    wanted = added(program).compiled
    assert added(program).cached == wanted > 0


@pytest.fixture
def trained(tiny_config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run, which is trained before `home` leaves the cache of the tests."""
    return pretrain(tiny_config("digits_mmcl"), tmp_path_factory.mktemp("runs") / "run", log=lambda line: None).run


def test_monitor_and_evaluation_share_the_programs_of_encoders(trained: Run, home: Path) -> None:
    run = trained
    use_cache()
    folder = home / "mmcl_jax" / "programs"
    jax.clear_caches()
    monitor(run.store(), run.config, run.inputs)(run.model())
    encoders = sorted(folder.glob("jit_encode-*"))
    assert len(encoders) == 4  # features and projections of images and tables
    evaluated = added(lambda: evaluate(run, protocol=["knn", "retrieval"], baselines=()))
    assert sorted(folder.glob("jit_encode-*")) == encoders
    assert evaluated.cached >= 3
