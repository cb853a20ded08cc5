"""Measuring a model while it is trained."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.config import load
from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import build_model
from mmcl_jax.evaluation.monitor import OnlineKNN
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.build import fit_inputs

pytestmark = pytest.mark.core


def test_the_nearest_neighbour_of_all_rows_by_hand_and_nothing_is_compiled_again(
    tiny_config, digits_store: Store
) -> None:
    config = tiny_config("digits_mmcl")
    inputs = fit_inputs(config, digits_store)
    models = [build_model(config, digits_store.schema, rngs=nnx.Rngs(seed)) for seed in (0, 1)]
    look = OnlineKNN(digits_store, config, inputs, neighbours=1)
    metrics = look(models[0])
    assert metrics.keys() == {"online/knn_top1/image", "online/knn_top1/table", "online/retrieval_top1"}
    arrays = {split: input_arrays(digits_store, split, inputs, ("image",)) for split in ("train", "val")}
    bank, queries = (frozen_encoder(models[0], config=config)(one["image"]) for one in arrays.values())
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (bank.astype(float), queries.astype(float))]
    nearest = (unit[1] @ unit[0].T).argmax(axis=1)
    expected = (arrays["train"]["target/digit"][nearest] == arrays["val"]["target/digit"]).mean()
    assert metrics["online/knn_top1/image"] == pytest.approx(expected, abs=0.011)  # rounding may turn a tie or two
    assert 0 <= metrics["online/retrieval_top1"] < 0.1
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax._src.compiler, "backend_compile_and_load", lambda *a, **k: pytest.fail("compiled again"))
        other = look(models[1])
    assert other != metrics


def test_few_rows_are_always_the_same(tiny_config, digits_store: Store) -> None:
    config = tiny_config("digits_simclr")
    inputs = fit_inputs(config, digits_store)
    model = build_model(config, digits_store.schema, rngs=nnx.Rngs(0))
    results = [OnlineKNN(digits_store, config, inputs, rows=100)(model) for _ in range(2)]
    assert results[0] == results[1]
    assert results[0].keys() == {"online/knn_top1/image"}  # this model has no table
    assert 0.2 < results[0]["online/knn_top1/image"] <= 1


def ads(raw: Request, out: Path, *options: str):
    store = prepare(raw, out)
    tiny = [f"data={store.directory}", "encoders.image.channels=(4,)", "encoders.table.hidden=8", *options]
    config = load("digits_mmcl", tiny)
    inputs = fit_inputs(config, store)
    model = build_model(config, inputs.schema, rngs=nnx.Rngs(0))
    return OnlineKNN(store, config, inputs)(model)


def test_without_labels_there_is_retrieval(raw: Request, tmp_path: Path) -> None:
    assert ads(dataclasses.replace(raw, label=()), tmp_path / "store").keys() == {"online/retrieval_top1"}


def test_twenty_labelled_rows_vote_and_a_table_with_the_label_in_it_does_not(raw: Request, tmp_path: Path) -> None:
    metrics = ads(raw, tmp_path / "store", "inputs.table.label_as_feature=True")
    assert metrics.keys() == {"online/knn_top1/image", "online/retrieval_top1"}
