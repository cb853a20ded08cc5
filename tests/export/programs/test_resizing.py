"""Images are resized inside of programs as they are in training: stripes of one pixel, and no other size is taken."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, term, view
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.training.runs.run import Run
from mmcl_jax.views import resized
from tests.export.programs.test_onnx import in_onnxruntime, translated
from tests.export.untrained import untrained_run

pytestmark = pytest.mark.foreign
SIZES = {"down": (40, 25), "odd": (96, 62), "same": (97, 61), "up": (150, 100)}


def stripes() -> np.ndarray:
    """Rows and columns of one pixel, 97 x 61; the second channel is the negative."""
    images = np.zeros((4, 97, 61, 3), np.uint8)
    images[0, ::2], images[1, :, 1::2], images[2, 1::3], images[3, :, :1] = 255, 255, 255, 255
    images[..., 1] = 255 - images[..., 1]
    return images


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    images = np.concatenate([stripes(), rng.integers(0, 256, (16, 97, 61, 3), np.uint8)])
    store = mj.prepare(None, images, out=folder / "store", duplicates="keep")
    config = experiment()
    config.name, config.data, config.batch_size = "stripes", str(store.directory), 4
    config.inputs = {"image": input()}
    config.views = {name: view("augment", size=SIZES["down"]) for name in ("image", "again")}
    config.encoders = {"image": encoder("cnn", channels=(4, 8))}
    config.objective = (term("nt_xent", between=("image:none", "again:none")),)
    return untrained_run(config, store, folder / "run")


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("flatbuffers")
    out = tmp_path_factory.mktemp("release") / "stripes"
    mj.export(run, out=out, format="stablehlo")
    return out


@pytest.fixture(scope="module")
def expected(run: Run) -> np.ndarray:
    return frozen_encoder(run.model(), config=run.config, fitted=run.inputs.fitted)(stripes())


def test_stablehlo(folder: Path, expected: np.ndarray) -> None:
    found = mj.load_program(folder)(image=stripes())["features"]
    assert np.abs(expected[0] - expected[1]).max() > 0.01  # the stripes are not lost
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 61, 97, 3), (4, 40, 25, 3), (4, 98, 61, 3), (4, 97, 61, 1)])
def test_another_size_is_refused(shape: tuple[int, ...], folder: Path) -> None:
    with pytest.raises(UserError, match=r"image: the shape .* does not fit; give rows \[B, 97, 61, 3\]"):
        mj.load_program(folder)(image=np.zeros(shape, np.uint8))


def test_onnx(run: Run, expected: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    ort: Any = pytest.importorskip("onnxruntime")
    mj.export(run, out=tmp_path / "out", format="onnx")
    session = ort.InferenceSession(tmp_path / "out" / "image.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["features"], {"image": stripes()})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        session.run(None, {"image": np.zeros((4, 40, 25, 3), np.uint8)})


def test_every_direction_of_resizing_in_onnx() -> None:
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")

    def views(rows: dict[str, jax.Array]) -> dict[str, jax.Array]:
        keys = jax.numpy.broadcast_to(jax.random.key(0)[None], rows["image"].shape[:1])
        return {name: resized(size=size).plain(rows["image"], keys, {}).values for name, size in SIZES.items()}

    rows = {"image": stripes()}
    found = in_onnxruntime(ort, translated(views, rows), rows)
    for name, array in jax.jit(views)(rows).items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)
