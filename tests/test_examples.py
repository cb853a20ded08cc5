"""The programs of `examples/` and the README's Python block run as they are written."""

import functools
import re
import runpy
import shlex
import sys
from pathlib import Path

import jax
import nbformat
import numpy as np
import polars as pl
import pytest
from nbclient import NotebookClient
from PIL import Image

import mmcl_jax as mj
from mmcl_jax.cli.main import main
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


@pytest.fixture(autouse=True)
def one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples run on one device, for which programs compile sooner; other tests train on all eight."""
    (first, *_) = jax.devices()
    monkeypatch.setattr(jax, "devices", lambda *backend: [first])


def run_example(name: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", str(out)])
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in mj.Run.open(run).metrics()]


@pytest.mark.parametrize(("name", "share"), [("new_term", 0.95), ("new_encoder", 1.0), ("new_kind", 0.7)])
def test_a_part_of_ones_own_learns(name: str, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_example(name, tmp_path / "out", monkeypatch)
    found = losses(tmp_path / "out" / "run")
    assert np.mean(found[-5:]) < share * np.mean(found[:5])


@pytest.mark.parametrize("name", ["embed", "new_term", "new_encoder", "new_kind"])
def test_an_example_is_short_and_in_the_docs(name: str) -> None:
    assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) < 60
    assert f'\n--8<-- "examples/{name}.py"\n' in (ROOT / "docs" / "examples.md").read_text()


# Encoders, batches and lengths that compile and train in seconds.
TINY = {
    "epochs": 1, "schedule.warmup_epochs": 0, "batch_size": 32, "batch_norm.group_size": 4, "monitor.epochs": None,
    "encoders.image.channels": (4, 8), "encoders.table.hidden": 8, "encoders.table.features": 8,
    "projectors.image.hidden": 8, "projectors.table.hidden": 8,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*near")
def test_the_script_embeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    script = runpy.run_path(str(ROOT / "examples" / "embed.py"))
    script["SHORT"].update(TINY)
    embeddings = script["main"](tmp_path)
    assert embeddings.height == 2000
    assert np.isfinite(embeddings["embedding"].to_numpy()).all()
    assert embeddings.equals(pl.read_parquet(tmp_path / "embeddings.parquet"))
    assert "Nearest neighbours on images" in capsys.readouterr().out


def draw_ads(folder: Path, rows: int = 80) -> None:
    """Draw `ads.csv` and `photos/`, whose brightness is the model."""
    rng, code = np.random.default_rng(0), np.arange(rows) % 2
    (folder / "photos").mkdir()
    for row, bright in enumerate(code):
        pixels = (rng.normal(90 + 60 * bright, 20, (16, 16, 3))).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / f"{row}.png")
    pl.DataFrame(
        {
            "file": [f"{row}.png" for row in range(rows)],
            "price": (5000 + 900 * code + rng.normal(0, 400, rows)).round(),
            "fuel": rng.choice(["petrol", "diesel"], rows),
            "model": np.where(code, "Ada", "Boole"),
        }
    ).write_csv(folder / "ads.csv")


def test_the_readme_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    text = (ROOT / "README.md").read_text()
    python = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    commands = re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1]
    first_page = (ROOT / "docs" / "index.md").read_text()
    assert all(block in first_page for block in (*python, commands))
    draw_ads(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mj, "pretrain", functools.partial(mj.pretrain, overrides=TINY))
    monkeypatch.setattr(mj, "fit", functools.partial(mj.fit, overrides=TINY))
    names: dict = {}
    for block in python:
        exec(block, names)
    assert names["embeddings"].shape == (80, 8)
    assert names["store"].sizes == {"train": 56, "val": 8, "test": 16}
    assert "Linear probe on images" in capsys.readouterr().out

    # The commands beside it give the same store and continue the same run, which is complete.
    (tmp_path / "stores").rename(tmp_path / "before")
    before = mj.Store.open(tmp_path / "before" / "ads")
    for line in commands.replace("\\\n", " ").splitlines():
        if line:
            short = [f"--config.{key}={value}" for key, value in TINY.items()] if " pretrain " in line else []
            assert main([*shlex.split(line)[1:], *short]) == 0
    assert mj.Store.open("stores/ads").fingerprint == before.fingerprint
    assert mj.Run.open("runs/ads").step() == 1


def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    committed = [outputs_of(cell) for cell in notebook.cells]
    (settings,) = (cell for cell in notebook.cells if cell.source.startswith("SETTINGS = "))
    settings.source = f"SETTINGS = {TINY}\n" + settings.source.partition("\n")[2]
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    assert [outputs_of(cell) for cell in notebook.cells] == committed
    texts = [one.data["text/plain"] for cell in notebook.cells for one in cell.get("outputs", ()) if "data" in one]
    assert any(" mmcl " in text and "Written to" in text for text in texts)  # scores print themselves in a notebook
    text = (ROOT / "examples" / "quickstart.ipynb").read_text()
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)


def outputs_of(cell: nbformat.NotebookNode) -> list[list[str]]:
    """Return the forms of the results and pictures of a cell; lines of progress depend on the machine."""
    shown = [one for one in cell.get("outputs", ()) if "data" in one]
    return [sorted(one.data) for one in shown if one.output_type == "execute_result" or "image/png" in one.data]
