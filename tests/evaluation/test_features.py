"""Frozen features."""

from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import build_model
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.budgets import Budget
from mmcl_jax.evaluation.features import frozen_encoder, pixel_features
from mmcl_jax.evaluation.protocol import probe_runs
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.run import Run


def quiet(line: str) -> None:
    """Drops what training says."""


def test_features_are_frozen_and_do_not_depend_on_the_batch(tiny_config, tmp_path: Path, digits_store: Store) -> None:
    result = pretrain(tiny_config("digits_simclr"), tmp_path / "run", say=quiet)
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

    from mmcl_jax.training.state import split_model

    result = pretrain(tiny_config("digits_simclr"), tmp_path / "run", say=quiet)
    params, model_state = split_model(Run.open(tmp_path / "run").model())
    for loaded, trained in ((params, result.state.params), (model_state, result.state.model_state)):
        jax.tree.map(np.testing.assert_array_equal, loaded, trained)


def test_reading_a_run_disturbs_no_save_that_is_going_on(tiny_config, tmp_path: Path) -> None:
    run = pretrain(tiny_config("digits_simclr"), tmp_path / "run", say=quiet).run
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


def test_the_protocol_pairs_methods_by_seed(tiny_config, tmp_path: Path, digits_store: Store) -> None:
    runs = [
        pretrain(tiny_config(name, f"seed={seed}", "epochs=2"), tmp_path / f"{name}{seed}", say=quiet).run
        for name in ("digits_mmcl", "digits_simclr")
        for seed in (0, 1)
    ]
    scores = probe_runs(runs, digits_store, [Budget(per_class=2), Budget()], draws=2)
    counted = {(s.method, s.seed, s.budget): 0 for s in scores}
    for s in scores:
        counted[s.method, s.seed, s.budget] += 1
    methods = ("pixels", "random encoder", "digits_mmcl", "digits_simclr")
    assert counted == {
        (method, seed, budget): draws
        for method in methods
        for seed in (0, 1)
        for budget, draws in (("2 per class", 2), ("all", 1))
    }
    pixels = {s.seed: s.top1 for s in scores if s.method == "pixels" and s.budget == "all"}
    assert pixels[0] == pixels[1] > 0.9
    with pytest.raises(UserError, match="Two runs are of the experiment 'digits_mmcl' with the seed 0"):
        probe_runs([runs[0], runs[0]], digits_store, [Budget()], draws=1)
    with pytest.raises(UserError, match="no baseline 'forest'"):
        probe_runs(runs, digits_store, [Budget()], draws=1, baselines=["forest"])
