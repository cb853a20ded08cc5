"""The blocks of docs/export.md run as they are written."""

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.data.store import Store
from mmcl_jax.training.runs.run import Run

PAGE = Path(__file__).parent.parent.parent / "docs" / "export.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def block(word: str) -> str:
    (found,) = [text for text in BLOCKS if word in text]
    return found


@pytest.fixture
def pixels(release: Path, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Some images of the store; the working directory has them, and the export."""
    (tmp_path / "release").symlink_to(release)
    images = np.asarray(digits_store.read("test", ["image"])["image"][:5])
    np.save(tmp_path / "pixels.npy", images)
    monkeypatch.chdir(tmp_path)
    return images


def test_plain_flax(digits_run: Run, pixels: np.ndarray) -> None:
    names: dict[str, Any] = {}
    exec(block("ocp.load"), names)
    view = jnp.asarray(pixels, jnp.float32) / 255
    expected = digits_run.model().encoders["image"](view, train=False).pooled
    np.testing.assert_allclose(names["features"](view), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.foreign
def test_pytorch(digits_run: Run, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(".")  # which the block changes
    names: dict[str, Any] = {}
    exec(block("modeling_torch.load"), names)
    view, model = jnp.asarray(pixels, jnp.float32) / 255, digits_run.model()
    expected = model.encode("image", view, train=False)
    np.testing.assert_allclose(names["features"], expected.pooled, rtol=1e-4, atol=1e-4)
    projected = model.project("image", expected, train=False)
    np.testing.assert_allclose(names["embeddings"], projected, rtol=1e-4, atol=1e-4)


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == 3
