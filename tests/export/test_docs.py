"""The blocks of docs/export.md run as they are written."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.data.store import Store
from mmcl_jax.encoders.resnet import resnet50
from mmcl_jax.encoders.torch_names import to_torch, torchvision_name
from mmcl_jax.export.weights import save
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model
from tests.export.torchvision_names import torchvision_resnet

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


@pytest.mark.foreign
def test_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By modules with torchvision's names, since torchvision itself is not installed."""
    torch = pytest.importorskip("torch")
    shapes = nnx.eval_shape(lambda: resnet50(shape=(8, 8, 3), rngs=nnx.Rngs(0), width=1 / 16))
    trees = [jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, leaf.dtype), tree) for tree in split_model(shapes)]
    (tmp_path / "release").mkdir()
    save(tmp_path / "release" / "image.torchvision.safetensors", to_torch(*trees, name=torchvision_name))
    resnet = torchvision_resnet(torch, (3, 4, 6, 3), base=4, bottleneck=True)
    resnet.fc = torch.nn.Linear(128, 10)
    models = SimpleNamespace(resnet50=lambda: resnet)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    exec(block("torchvision.models"), {})
    assert all((tensor == 0.5).all() for name, tensor in resnet.state_dict().items() if "num_batches" not in name)


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == 3
