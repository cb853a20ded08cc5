"""The programs of `examples/` and the README's Python block run as they are written."""

import runpy
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.encoders import ENCODERS
from mmcl_jax.objectives import TERMS
from mmcl_jax.views import VIEWS

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def forget_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example registers is not known to the tests behind it."""
    for registry in (ENCODERS, TERMS, VIEWS):
        monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    for kind in KINDS:
        monkeypatch.setitem(KINDS, kind, KINDS[kind])


def run_example(name: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", str(out)])
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in mj.Run.open(run).metrics()]


@pytest.mark.core
@pytest.mark.parametrize(("name", "share"), [("new_term", 0.95), ("new_encoder", 1.0), ("new_kind", 0.7)])
def test_a_part_of_ones_own_learns(name: str, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_example(name, tmp_path / "out", monkeypatch)
    found = losses(tmp_path / "out" / "run")
    assert np.mean(found[-5:]) < share * np.mean(found[:5])


@pytest.mark.parametrize("name", ["embed", "new_term", "new_encoder", "new_kind"])
def test_an_example_is_short(name: str) -> None:
    assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) < 60


def test_the_script_embeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    run_example("embed", tmp_path, monkeypatch)
    embeddings = pl.read_parquet(tmp_path / "embeddings.parquet")
    assert embeddings.height == 2000
    assert np.isfinite(embeddings["embedding"].to_numpy()).all()
    assert "Nearest neighbours on images" in capsys.readouterr().out
