"""The sizes of stored images and of views, which for DVM-CAR and the cardiac data are those of the released code."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from mmcl_jax.config import experiments, load
from mmcl_jax.data.store import Store
from mmcl_jax.datasets import make
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.synthetic.cars.generator import generate_dvm
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.state.model import trained_model


@pytest.mark.core
def test_views_of_the_papers_data_have_128_pixels_and_those_of_small_data_their_own() -> None:
    sizes = {"mmcl": (128, 128), "simclr": (128, 128), "digits_mmcl": None, "digits_simclr": None}
    for name in experiments():
        data = name.partition(":")[2]
        expected = sizes.get(name, (128, 128) if data in ("dvm", "cardiac") else None)
        if data in ("dvm", "cardiac", "digits", "cars", "membranes") or name in sizes:
            assert {v.size for v in load(name).views.values() if v.modality == "image"} <= {expected}


@pytest.mark.parametrize(
    ("sides", "asked", "stored"),
    [((32,), None, 32), ((300,), None, 300), ((32, 40), None, 300), ((301,), None, 300), ((32,), (24, 24), 24)],
)
def test_dvm_is_stored_at_300_pixels_at_most(
    tree: Path, tmp_path: Path, sides: tuple[int, ...], asked: tuple[int, int] | None, stored: int
) -> None:
    root = tmp_path / "raw"
    shutil.copytree(tree, root)
    for index, file in enumerate(sorted(root.rglob("*.jpg"))):
        with Image.open(file) as image:
            changed = image.resize((sides[index % len(sides)],) * 2)
        changed.save(file)
    recipe = make("dvm", root, ["min_ads=12"])
    store = prepare(Request(image_size=asked, max_bad=0.2), tmp_path / "store", recipe=recipe)
    assert store.schema.image.shape == (stored, stored, 3)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dvm") / "raw"
    generate_dvm(root, models=4, ads=140, image_size=32, broken=0, min_ads=12)
    return root


def test_evaluation_sees_the_size_that_was_trained(tiny_config) -> None:
    """Images of twice the size, with every pixel four times, are resized to the original images."""
    config = tiny_config("digits_mmcl", "views.image.size=(16, 16)")
    schema = build_experiment(config, Store.open(config.data)).schema
    model = trained_model(config, schema, rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), np.uint8)
    encode = frozen_encoder(model, config=config)
    np.testing.assert_array_equal(encode(images.repeat(2, axis=1).repeat(2, axis=2)), encode(images))


@pytest.mark.parametrize(("size", "said"), [((24, 20), True), ((4, 4), False), (None, False)])
def test_that_views_enlarge_what_is_stored_is_said(tiny_config, tmp_path: Path, size: object, said: bool) -> None:
    config = tiny_config("digits_mmcl", f"views.image.size={size}", "epochs=1", "schedule.warmup_epochs=0")
    lines: list[str] = []
    pretrain(config, tmp_path / "run", log=lines.append)
    actual = [line for line in lines if "they are enlarged" in line]
    assert len(actual) == said
    if said:
        assert "config.views.image.size is 24 x 20 and stored images have 16 x 15" in actual[0]
