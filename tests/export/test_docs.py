"""The blocks of docs/export.md run as they are written."""

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import mmcl_jax as mj
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.training.runs.run import Run
from tests.export.untrained import untrained_run

PAGE = Path(__file__).parent.parent.parent / "docs" / "export.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def block(word: str) -> str:
    (found,) = [text for text in BLOCKS if word in text]
    return found


@pytest.fixture(scope="module")
def run(digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = load("digits_mmcl", [f"data={digits_store.directory}"])
    return untrained_run(config, digits_store, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def pixels(run: Run, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Some images of the store; the working directory has them, and the export."""
    monkeypatch.chdir(tmp_path)
    mj.export(run, out="release", format=["safetensors", "orbax"])
    images = np.asarray(digits_store.read("test", ["image"])["image"][:5])
    np.save("pixels.npy", images)
    return images


def test_plain_flax(run: Run, pixels: np.ndarray) -> None:
    names: dict[str, Any] = {}
    exec(block("ocp.load"), names)
    view = jnp.asarray(pixels, jnp.float32) / 255
    expected = run.model().encoders["image"](view, train=False).pooled
    np.testing.assert_allclose(names["features"](view), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.foreign
def test_pytorch(run: Run, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(".")  # which the block changes
    names: dict[str, Any] = {}
    exec(block("modeling_torch.load"), names)
    view, model = jnp.asarray(pixels, jnp.float32) / 255, run.model()
    expected = model.encode("image", view, train=False)
    np.testing.assert_allclose(names["features"], expected.pooled, rtol=1e-4, atol=1e-4)
    projected = model.project("image", expected, train=False)
    np.testing.assert_allclose(names["embeddings"], projected, rtol=1e-4, atol=1e-4)


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == 3
