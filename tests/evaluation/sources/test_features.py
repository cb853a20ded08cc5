"""Frozen features."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.config import load
from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import build_model
from mmcl_jax.evaluation.heads.encoded import plain_spec
from mmcl_jax.evaluation.sources.blocks import block_mesh
from mmcl_jax.evaluation.sources.features import _program, column_features, frozen_encoder, pixel_features
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run


def quiet(line: str) -> None:
    """Drops what training says."""


def test_features_are_frozen_and_do_not_depend_on_the_batch(tiny_config, tmp_path: Path, digits_store: Store) -> None:
    result = pretrain(tiny_config("digits_simclr"), tmp_path / "run", log=quiet)
    images = digits_store.arrays("val")["image"]
    model = Run.open(tmp_path / "run").model()
    whole = frozen_encoder(model, config=result.run.config)(images)
    assert whole.shape == (200, 8)
    parts = frozen_encoder(model, config=result.run.config, batch_size=32)(images[:70])
    np.testing.assert_allclose(parts, whole[:70], rtol=1e-5, atol=1e-6)
    untrained = frozen_encoder(Run.open(tmp_path / "run").untrained_model(), config=result.run.config)(images)
    assert np.abs(untrained - whole).max() > 1e-2


def test_the_trained_parameters_are_the_ones_that_are_loaded(tiny_config, tmp_path: Path) -> None:
    import jax

    from mmcl_jax.training.state.train_state import split_model

    result = pretrain(tiny_config("digits_simclr"), tmp_path / "run", log=quiet)
    params, model_state = split_model(Run.open(tmp_path / "run").model())
    for loaded, trained in ((params, result.state.params), (model_state, result.state.model_state)):
        jax.tree.map(np.testing.assert_array_equal, loaded, trained)


def test_reading_a_run_disturbs_no_save_that_is_going_on(tiny_config, tmp_path: Path) -> None:
    run = pretrain(tiny_config("digits_simclr"), tmp_path / "run", log=quiet).run
    going_on = run.checkpoints / "99.orbax-checkpoint-tmp"
    going_on.mkdir()
    assert run.latest_step() == 18
    run.model()
    assert going_on.is_dir()


@pytest.mark.core
def test_bfloat16_features_are_the_float32_ones_but_for_rounding(digits_store: Store) -> None:
    images = digits_store.arrays("val")["image"]
    options = ["encoders.image.name=resnet18", "encoders.image.width=0.125", "encoders.image.stem=cifar"]
    features = {}
    for dtype in ("float32", "bfloat16"):
        config = load("digits_simclr", [f"dtype={dtype}", *options])
        model = build_model(config, digits_store.schema, rngs=nnx.Rngs(0))
        features[dtype] = frozen_encoder(model, config=config)(images)
    np.testing.assert_allclose(features["bfloat16"], features["float32"], atol=0.05 * features["float32"].max())


def test_pixels() -> None:
    images = np.full((3, 2, 2, 1), 255, np.uint8)
    np.testing.assert_array_equal(pixel_features(images), np.ones((3, 4)))
    rising = np.arange(70 * 64, dtype=np.uint16).reshape(
        1, 70, 64, 1
    )  # squares of 3 x 3; the last row and column fill none
    averaged = pixel_features(np.repeat(rising, 2, axis=0)) * 255
    assert averaged.shape == (2, 23 * 21)
    assert averaged[0, 0] == pytest.approx(np.mean([64 * row + column for row in range(3) for column in range(3)]))


def test_columns_are_one_hot() -> None:
    rows = np.array([[0.5, 2.0], [-1.0, 0.0]], np.float32)
    np.testing.assert_array_equal(column_features(rows, (1, 3), missing="refuse"), [[0.5, 0, 0, 1], [-1, 1, 0, 0]])
    rows[0] = np.nan
    np.testing.assert_array_equal(column_features(rows, (1, 3), missing="token")[0], [0, 0, 0, 0, 1])


def test_tables_and_projections(tiny_config, digits_store: Store) -> None:
    config = tiny_config("digits_mmcl")
    model = build_model(config, digits_store.schema, rngs=nnx.Rngs(0))
    inputs = fit_inputs(config, digits_store)
    rows = input_arrays(digits_store, "val", inputs, ("table",))["table"]
    whole = frozen_encoder(model, config=config, modality="table")(rows)
    expected = model.encode("table", jnp.asarray(rows), train=False)
    np.testing.assert_allclose(whole, expected.pooled, rtol=1e-4, atol=1e-5)
    parts = frozen_encoder(model, config=config, modality="table", what="projected", batch_size=64)(rows)
    np.testing.assert_allclose(parts, model.project("table", expected, train=False), rtol=1e-4, atol=1e-5)


def test_models_of_one_structure_share_a_compiled_program(tiny_config, digits_store: Store) -> None:
    config = tiny_config("digits_mmcl")
    models = [build_model(config, digits_store.schema, rngs=nnx.Rngs(seed)) for seed in (0, 1)]
    programs = [
        _program(nnx.graphdef(model), "image", plain_spec(config, "image"), config.dtype, "pooled", "", block_mesh())
        for model in models
    ]
    assert programs[0] is programs[1]


def test_pictures_of_a_row_are_averaged(tiny_config, digits_store: Store) -> None:
    config = tiny_config("digits_mmcl")
    encode = frozen_encoder(build_model(config, digits_store.schema, rngs=nnx.Rngs(0)), config=config)
    images = np.asarray(digits_store.arrays("val")["image"])
    pairs = images.reshape(-1, 2, *images.shape[1:])
    np.testing.assert_allclose(encode(pairs), encode(images).reshape(len(pairs), 2, -1).mean(axis=1), rtol=1e-6)
