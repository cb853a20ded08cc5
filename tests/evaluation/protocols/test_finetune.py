"""Heads on frozen encoders, fine-tuning and supervised baselines."""

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from mmcl_jax.config import encoder, experiment, input, view
from mmcl_jax.data.schema import SPLITS, Column, ImageSpec, Schema
from mmcl_jax.encoders import Model, build_model
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads import engine
from mmcl_jax.evaluation.heads.batches import Order, balanced, drawn_batches, in_parts, seed_word
from mmcl_jax.evaluation.heads.encoded import Encoders, FeatureEncoder, augmentation_of
from mmcl_jax.evaluation.heads.linear import LinearHead, every_output
from mmcl_jax.evaluation.heads.programs import HeadRecipe, Progress, judged, programs_of
from mmcl_jax.evaluation.protocols import made
from mmcl_jax.evaluation.protocols.finetune import Examples, FinetuneSettings, finetune
from mmcl_jax.tasks import Class, Number, Task
from mmcl_jax.training import mesh
from mmcl_jax.training.mesh import local_mesh
from mmcl_jax.training.state.train_state import split_model
from mmcl_jax.views import VIEWS

BRIGHT = Class(label="bright", classes=3)
PRICE = Number(label="price")
SCHEMA = Schema(
    columns=(
        Column(name="a", kind="continuous"),
        Column(name="b", kind="continuous"),
        Column(name="c", kind="categorical", categories=("x", "y", "z")),
    ),
    image=ImageSpec(height=10, width=8, channels=1, fit="as they are"),
)


@pytest.fixture(scope="module")
def config():
    """Images and tables, in groups of 8."""
    config = experiment()
    config.batch_norm.group_size = 8
    config.inputs = {"image": input(), "table": input()}
    config.views = {
        "image": view("augment", size=(8, 8), jitter=0.0, grayscale=0.0, blur=0.0),
        "table": view("scarf"),
    }
    config.encoders = {
        "image": encoder("cnn", channels=(4, 8)),
        "table": encoder("table_mlp", hidden=16, features=8),
    }
    return config


def model_of(config, seed: int = 0) -> Model:
    return build_model(config, SCHEMA, rngs=nnx.Rngs(seed))


def toy(rows: int, seed: int, *, pictures: int | None = None) -> Examples:
    """The class is in the picture (where its light stripe is) and, less surely, in the table."""
    rng = np.random.default_rng(seed)
    classes = np.arange(rows) % 3
    images = rng.integers(0, 60, (rows, pictures or 1, 10, 8, 1), np.uint8)
    for row, code in enumerate(classes):
        images[row, :, 3 * code : 3 * code + 3] += np.uint8(120)
    table = np.stack([rng.normal(size=rows), classes + rng.normal(size=rows), rng.integers(0, 3, rows)], axis=1)
    return Examples({"image": images if pictures else images[:, 0], "table": table.astype(np.float32)}, classes)


def priced(examples: Examples) -> Examples:
    """A number in large units, which the table has in it."""
    table = examples.inputs["table"]
    return dataclasses.replace(examples, targets=20_000 + 5_000 * table[:, 1] + 1_000 * table[:, 0])


def run(model: Model, config, *, task: Task = BRIGHT, modalities=("image",), frozen: bool, rows: int = 44, **options):
    pictures, report = options.pop("pictures", None), options.pop("report", None)
    parts = [toy(count, seed, pictures=pictures) for seed, count in enumerate((rows, 30, 33))]
    if task is PRICE:
        parts = [priced(part) for part in parts]
    settings = {"learning_rates": [1e-2], "seeds": [(0, 0)], "max_epochs": 3, "batch_size": 16, **options}
    splits = dict(zip(SPLITS, parts, strict=True))
    how = FinetuneSettings(task=task, modalities=modalities, frozen=frozen, **settings)
    return finetune(model, config, splits, how, report=report)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_model_that_is_given_stays_as_it_is(config, frozen: bool) -> None:
    model = model_of(config)
    before = jax.tree.map(np.array, split_model(model))
    run(model, config, frozen=frozen)
    jax.tree.map(np.testing.assert_array_equal, split_model(model), before)


def fit_directly(config, monkeypatch: pytest.MonkeyPatch, **options):
    """The weights that a call of `finetune` ended with, and the progress of every head."""
    seen = []
    original = engine.optimise

    def recording(*arguments, **named):
        found = original(*arguments, **named)
        seen.append(found[:2])
        return found

    monkeypatch.setattr(engine, "optimise", recording)
    outcomes = run(options.pop("model", None) or model_of(config), config, **options)
    return seen, outcomes


def scripted(monkeypatch: pytest.MonkeyPatch, script: Iterator[float], *, heads: int = 1) -> None:
    """What validation shall give, head by head and epoch by epoch."""

    def measured(*_) -> tuple[jax.Array, jax.Array]:
        metric = jnp.array([[next(script) for _ in range(heads)]], jnp.float32)
        return metric, metric

    monkeypatch.setattr(engine, "measured", measured)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_same_weights_on_one_and_on_several_devices(config, monkeypatch: pytest.MonkeyPatch, frozen: bool) -> None:
    def trained():
        options = {"modalities": ("image", "table"), "batch_size": 24, "max_epochs": 1, "learning_rates": [1e-3]}
        ((weights, _),), outcomes = fit_directly(config, monkeypatch, frozen=frozen, **options)
        return weights, outcomes

    with monkeypatch.context() as patch:
        patch.setattr(mesh, "own_devices", jax.local_devices)
        several, outcomes = trained()
    assert len(jax.tree.leaves(several)[0].sharding.device_set) == 8
    one, alone = trained()
    assert len(jax.tree.leaves(one)[0].sharding.device_set) == 1
    for a, b in zip(jax.tree.leaves(several), jax.tree.leaves(one), strict=True):
        if a.ndim > 1:  # a bias before normalisation has no gradient, so Adam makes steps of what rounding leaves
            np.testing.assert_allclose(a, b, atol=2e-5)
    assert outcomes[0].metrics == pytest.approx(alone[0].metrics, abs=1e-3)


def test_every_epoch_is_reported(config) -> None:
    said: list[str] = []
    (outcome,) = run(model_of(config), config, frozen=False, learning_rates=[1e-3], max_epochs=2, report=said.append)
    assert [line.rpartition(" ")[0] for line in said] == [
        f"learning rate 0.001, epoch {epoch} of at most 2, validation top1" for epoch in (1, 2)
    ]
    assert said[-1].endswith(f"{outcome.metrics['val_top1']:.3f}")


def test_a_head_does_not_depend_on_those_beside_it(config, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, seeds = [1e-3, 3e-2], [(0, 0), (0, 1), (1, 0)]
    ((many, _),), _ = fit_directly(config, monkeypatch, frozen=True, learning_rates=rates, seeds=seeds)
    ((one, _),), _ = fit_directly(config, monkeypatch, frozen=True, learning_rates=[3e-2], seeds=[(0, 1)])
    assert many.heads["kernel"].shape == (1, 6, 8, 3)
    for beside, alone in zip(jax.tree.leaves(many.heads), jax.tree.leaves(one.heads), strict=True):
        np.testing.assert_allclose(beside[0, 3], alone[0, 0], atol=1e-5)
    kernels = np.asarray(many.heads["kernel"])[0]
    assert all(np.abs(kernels[3] - kernels[other]).max() > 1e-3 for other in (0, 1, 2, 4, 5))


def test_fine_tuning_trains_the_encoder_and_fits_better(config, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"max_epochs": 12, "patience": 12, "learning_rates": [1e-2]}
    ((probe, _),), (frozen,) = fit_directly(config, monkeypatch, frozen=True, **options)
    ((tuned, _),), (trained,) = fit_directly(config, monkeypatch, frozen=False, **options)
    assert probe.encoder is None
    params, statistics = split_model(nnx.Dict({"image": model_of(config).encoders["image"]}))
    for old, new in ((params, tuned.encoder.params), (statistics, tuned.encoder.statistics)):
        moved = [np.abs(a - b).max() for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)]
        assert min(moved) > 1e-4
    assert trained.metrics["top1"] > frozen.metrics["top1"] + 0.1
    assert trained.metrics["top1"] > 0.9


def test_the_best_epoch_is_kept_and_tested(config, monkeypatch: pytest.MonkeyPatch) -> None:
    script = iter([0.2, 0.6, 0.6001, 0.1, 0.9])
    scripted(monkeypatch, script)
    options = {"frozen": True, "patience": 2, "max_epochs": 5, "learning_rates": [0.1]}
    ((best, progress),), (outcome,) = fit_directly(config, monkeypatch, **options)
    # 0.6001 is no improvement that resets patience, though it is the best; so training ends at the fourth epoch.
    assert progress.stopped.all()
    assert next(script) == 0.9
    assert (outcome.trained.reached, outcome.chosen["epoch"]) == (np.float32(0.6001), 3)
    scripted(monkeypatch, iter([0.1, 0.2, 0.3]))
    ((until_then, _),), (same,) = fit_directly(config, monkeypatch, **{**options, "max_epochs": 3})
    jax.tree.map(np.testing.assert_array_equal, best, until_then)
    assert same.metrics["top1"] == outcome.metrics["top1"]


def test_every_head_keeps_its_own_best_epoch(config, monkeypatch: pytest.MonkeyPatch) -> None:
    def kernels(*scores: float) -> np.ndarray:
        scripted(monkeypatch, iter(scores), heads=2)  # of the first head and the second, epoch by epoch
        options = {"frozen": True, "max_epochs": len(scores) // 2, "learning_rates": [0.1, 0.05]}
        ((best, _),), _ = fit_directly(config, monkeypatch, **options)
        return np.asarray(best.heads["kernel"])[0]

    early, late = kernels(0.2, 0.5), kernels(0.2, 0.5, 0.3, 0.6)
    np.testing.assert_array_equal(kernels(0.2, 0.5, 0.3, 0.1), np.stack([late[0], early[1]]))
    assert (np.abs(late - early).max(axis=(1, 2)) > 1e-3).all()


@pytest.mark.core
def test_early_stopping_by_hand() -> None:
    def followed(metrics: list[float], *, since: str = "improvement") -> tuple[list[bool], Progress]:
        rule = HeadRecipe(head=LinearHead(), task=PRICE, patience=2, min_delta=0.1, since=since, mesh=local_mesh(1))
        kept, progress = [], Progress.start(1, 1)
        for epoch, metric in enumerate(metrics, 1):
            progress, better = judged(progress, jnp.float32([[-metric]]), jnp.ones((1, 1)), jnp.int32(epoch), rule)
            kept.append(bool(better))
        return kept, progress

    # 1.95 beats the best by less than min_delta; 1.89 beats the reference, 2.0, by more.
    errors = [2.0, 1.95, 1.89, 3.0, 1.85, 0.0]
    kept, rule = followed(errors)
    assert kept == [True, True, True, False, True, False]
    assert (-rule.metric.item(), rule.round.item(), rule.stopped.item()) == (pytest.approx(1.85), 5, True)
    # Since the best, 1.89 is no improvement on 1.95, so training ends with it.
    kept, rule = followed(errors, since="best")
    assert kept == [True, True, True, False, False, False]
    assert bool(rule.stopped)
    kept, diverged = followed([float("nan")])
    assert kept == [False]
    assert bool(diverged.stopped)
    assert not np.isfinite(diverged.metric)


@pytest.mark.core
@pytest.mark.parametrize(
    ("rows", "group", "size", "steps"), [(44, 8, 16, 3), (20, 8, 16, 2), (15, 8, 8, 2), (3, 8, 8, 1), (20, None, 16, 2)]
)
def test_every_row_counts_once_in_an_epoch_and_batches_are_whole(rows: int, group, size: int, steps: int) -> None:
    order = Order.of(rows, batch_size=20 if group else 16, group_size=group)
    assert (order.size, order.steps) == (size, steps)
    batches = list(order.epoch(1, seed=0))
    together = {name: np.concatenate([batch[name] for batch in batches]) for name in ("row", "weight", "id")}
    assert {len(batch["row"]) for batch in batches} == {size}
    np.testing.assert_array_equal(np.bincount(together["row"], together["weight"]), np.ones(rows))
    assert len(set(together["id"].tolist())) == steps * size
    assert all(batch["weight"].sum() > 0 for batch in batches)
    other = np.concatenate([batch["row"] for batch in order.epoch(2, seed=0)])
    assert (other != together["row"]).any()


@pytest.mark.core
def test_parts_are_padded_to_one_shape() -> None:
    parts = list(in_parts(toy(5, 0), 3))
    assert [part["image"].shape for part in parts] == [(3, 10, 8, 1)] * 2
    joined = np.concatenate([part["table"] for part in parts])
    np.testing.assert_array_equal(joined[:5], toy(5, 0).inputs["table"])
    assert not joined[5:].any()


@pytest.mark.core
def test_losses_of_heads_by_hand() -> None:
    head = LinearHead()
    params = head.new(4, 3, seeds=[0, 1])
    bound = max(np.abs(leaf).max() for leaf in jax.tree.leaves(params))
    assert 0.4 < bound <= 0.5  # 1 / sqrt(4)
    features = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    outputs = np.asarray(every_output(head, jax.tree.map(lambda x: x[None], params), features[None]))[0]
    np.testing.assert_allclose(outputs[1], features @ params["kernel"][1] + params["bias"][1][None], rtol=1e-5)
    targets, weights = np.array([0, 1, 2, 1, 0], np.int32), np.array([1, 1, 1, 1, 0], np.float32)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=2, keepdims=True)
    expected = -np.log(shares[:, np.arange(4), targets[:4]]).mean(axis=1)
    np.testing.assert_allclose(
        BRIGHT.mean_loss(outputs, jnp.asarray(targets)[None], weights[None]), expected, rtol=1e-5
    )
    numbers = np.arange(5, dtype=np.float32)
    squares = ((outputs[:, :4, 0] - numbers[None, :4]) ** 2).mean(axis=1)
    np.testing.assert_allclose(
        PRICE.mean_loss(outputs[:, :, :1], jnp.asarray(numbers)[None], weights[None]), squares, rtol=1e-5
    )


def test_a_number_is_predicted_in_its_own_units(config) -> None:
    options = {"task": PRICE, "modalities": ("table",), "max_epochs": 40, "learning_rates": [1e-2, 1e-6]}
    (outcome,) = run(model_of(config), config, frozen=False, **options)
    variance = float(np.var(priced(toy(33, 2)).targets))
    assert outcome.metrics["mse"] < 0.3 * variance
    assert 50 < outcome.metrics["mae"] < 5e3
    assert outcome.metrics["pearson"] > 0.85
    assert outcome.chosen["learning_rate"] == 1e-2
    assert outcome.metrics["val_mse"] < 0.5 * variance


def test_the_unit_of_a_label_does_not_matter(config) -> None:
    model, parts = model_of(config), [priced(toy(rows, seed)) for seed, rows in enumerate((44, 30, 33))]
    options = {"task": PRICE, "modalities": ("table",), "frozen": False, "learning_rates": [1e-3], "seeds": [(0, 0)]}
    outcomes = []
    for unit in (1.0, 2.0**-20):
        changed = [dataclasses.replace(part, targets=unit * part.targets) for part in parts]
        splits = dict(zip(SPLITS, changed, strict=True))
        settings = FinetuneSettings(max_epochs=12, batch_size=16, patience=2, **options)
        (outcome,) = finetune(model, config, splits, settings)
        outcomes.append(outcome)
    assert outcomes[0].chosen == outcomes[1].chosen
    assert outcomes[0].chosen["epoch"] > 4
    assert outcomes[1].metrics["mse"] == pytest.approx(2.0**-40 * outcomes[0].metrics["mse"], rel=1e-3)


def test_image_and_table_are_concatenated(config, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"modalities": ("image", "table"), "max_epochs": 2}
    ((both, _),), (outcome,) = fit_directly(config, monkeypatch, frozen=False, **options)
    assert both.heads["kernel"].shape == (1, 1, 16, 3)
    assert {"top1", "auroc", "val_top1"} <= set(outcome.metrics)
    untrained = split_model(nnx.Dict(model_of(config).encoders))[0]
    for modality in ("image", "table"):
        old, new = jax.tree.leaves(untrained[modality]), jax.tree.leaves(both.encoder.params[modality])
        assert min(np.abs(a - b).max() for a, b in zip(old, new, strict=True)) > 1e-5


@pytest.mark.parametrize("frozen", [True, False])
def test_another_run_of_the_same_config_compiles_nothing(config, frozen: bool, caplog) -> None:
    def compiled(seed: int) -> list[str]:
        caplog.clear()
        # A command of another test may have silenced JAX's logger in this process.
        with caplog.at_level(logging.WARNING, logger="jax"), jax.log_compiles():
            settings = {"seeds": [(seed, 0)], "learning_rates": [1e-2 * (seed + 1)], "batch_size": 24}
            run(model_of(config, seed), config, frozen=frozen, max_epochs=2, **settings)
        return [record.getMessage() for record in caplog.records if record.getMessage().startswith("Compiling")]

    assert any("_step" in line for line in compiled(0))
    assert compiled(1) == []


def resized(images: np.ndarray) -> jax.Array:
    """As evaluation sees pictures."""
    shrink = VIEWS.build(view("resized", size=(8, 8)), "view")
    return shrink.apply(jax.numpy.asarray(images), jax.random.split(jax.random.key(0), len(images)), {}).values


def test_features_of_several_pictures_are_averaged(config) -> None:
    model, images = model_of(config), toy(6, 0, pictures=2).inputs["image"]
    module = nnx.Dict({"image": model.encoders["image"]})
    params, statistics = split_model(module)
    encoders = Encoders(
        graphdef=nnx.graphdef(module),
        modalities=("image",),
        views=(augmentation_of(config, probability=0.8),),
    )
    recipe = HeadRecipe(
        head=LinearHead(), task=BRIGHT, encoders=encoders, patience=1, min_delta=0.0, mesh=local_mesh(1)
    )
    features = programs_of(recipe).features(FeatureEncoder(params=params, statistics=statistics), {"image": images})
    single = [model.encode("image", resized(images[:, place]), train=False).pooled for place in (0, 1)]
    np.testing.assert_allclose(features, (single[0] + single[1]) / 2, rtol=1e-4, atol=1e-6)
    images[:3, 1] = 0  # a row without a second picture
    features = programs_of(recipe).features(FeatureEncoder(params=params, statistics=statistics), {"image": images})
    np.testing.assert_allclose(features[:3], single[0][:3], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(features[3:], (single[0] + single[1])[3:] / 2, rtol=1e-4, atol=1e-6)
    (outcome,) = run(model, config, frozen=True, pictures=2, max_epochs=2)
    assert outcome.metrics["top1"] >= 1 / 3


def test_an_epoch_of_a_frozen_probe_by_hand(config, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rate = model_of(config), 1e-2
    model.encoders["image"].norms[0].mean[...] += 0.1  # running statistics that no batch has
    options = {"frozen": True, "max_epochs": 1, "batch_size": 30, "learning_rates": [rate]}

    def heads_after(probability: float):
        results = fit_directly(config, monkeypatch, model=model, augment_probability=probability, **options)
        return jax.tree.map(lambda x: x[0], results[0][0][0].heads)

    train, adam = toy(44, 0), optax.adam(rate)
    pooled = model.encode("image", resized(train.inputs["image"]), train=False).pooled
    head = LinearHead()
    expected = head.new(8, 3, seeds=[seed_word((0, 0))])
    moments = adam.init(expected)
    permutation = next(Order(44, 44).epoch(1, seed=seed_word((config.seed,))))["row"]

    @jax.jit
    def after(heads, moments, features, targets):
        def loss(heads):
            outputs = jax.vmap(head, in_axes=(0, None))(heads, features)
            return BRIGHT.mean_loss(outputs, targets[None]).sum()

        with jax.numpy_dtype_promotion("standard"):
            updates, moments = adam.update(jax.grad(loss)(heads), moments)
        return optax.apply_updates(heads, updates), moments

    for rows in (permutation[:30], permutation[30:]):  # the second batch is a short one
        expected, moments = after(expected, moments, pooled[rows], train.targets[rows].astype(np.int32))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), heads_after(0.0), expected)
    augmented = heads_after(1.0)
    assert np.abs(np.asarray(augmented["kernel"] - expected["kernel"])).max() > 1e-3


def test_the_augmentation_is_the_runs_own_with_larger_crops(config) -> None:
    spec = dict(augmentation_of(config, probability=0.8))
    expected = {**config.views["image"], "crop_scale": (0.6, 1.0), "probability": 0.8}
    assert spec == expected


def test_what_does_not_fit_is_refused(config) -> None:
    model = model_of(config)
    with pytest.raises(UserError, match="no encoder of 'report'; it has those of image, table"):
        run(model, config, modalities=("report",), frozen=True)
    with pytest.raises(UserError, match="a batch of 4 has no whole group of 8"):
        run(model, config, frozen=False, batch_size=4)
    with pytest.raises(UserError, match="diverged at every learning rate"):
        run(model, config, frozen=True, learning_rates=[3e38])
    with pytest.raises(UserError, match="no class codes from 0 to 1"):
        run(model, config, frozen=True, task=dataclasses.replace(BRIGHT, classes=2))
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    broken = nnx.merge(graphdef, jax.tree.map(lambda x: x * jnp.nan, params), rest)
    with pytest.raises(UserError, match=r"weights of the model of .* are not finite"):
        run(broken, config, frozen=True)
    plain = config.copy_and_resolve_references()
    plain.views = {"image": view("resized"), "table": view("scarf")}
    with pytest.raises(UserError, match="no view augments 'image'"):
        run(model, plain, frozen=True)


def test_slices_add_up_to_the_batch_and_held_encoders_stay(config) -> None:
    """With a held encoder, which no slice normalises, the gradient of four slices is that of the batch, copies too."""
    model = model_of(config)
    before = jax.tree.map(np.array, split_model(model.encoders["image"])[0])
    held = {"frozen": False, "frozen_epochs": 3, "frozen_rate": 1e-2, "learning_rates": [1.0], "augment": "none"}
    whole, slices, decayed = (
        run(model, config, **held, **more)[0] for more in ({}, {"accumulate": 4}, {"weight_decay": 1.0})
    )
    np.testing.assert_allclose(slices.outputs, whole.outputs, rtol=1e-4, atol=1e-5)
    assert np.abs(decayed.trained.params["kernel"]).sum() < np.abs(whole.trained.params["kernel"]).sum()
    for one in (whole, slices, decayed):
        jax.tree.map(np.testing.assert_array_equal, one.trained.encoder.params["image"], before)


def test_the_normalisation_of_a_held_encoder_adapts_if_asked_for(config) -> None:
    """The released probe of Fedorov et al.: weights stay, and running statistics follow the training rows."""
    model = model_of(config)
    params, statistics = jax.tree.map(np.array, split_model(model.encoders["image"]))
    options: dict[str, Any] = {"frozen": True, "augment": "none", "patience": 99}
    (tuned,) = run(model, config, normalisation="adapts", **options)
    assert tuned.trained.encoder is not None
    jax.tree.map(np.testing.assert_array_equal, tuned.trained.encoder.params["image"], params)
    adapted = jax.tree.leaves(tuned.trained.encoder.statistics["image"])
    assert all((np.abs(new - old) > 0).any() for new, old in zip(adapted, jax.tree.leaves(statistics), strict=True))
    rows = {"image": jnp.asarray(toy(33, 2).inputs["image"])}
    encoders, _ = made.encoders_of(model, config, ("image",), augment="none")
    outputs = tuned.trained.outputs(np.asarray(encoders.plain(tuned.trained.encoder, rows)))
    np.testing.assert_allclose(outputs, tuned.outputs, rtol=1e-4, atol=1e-5)


def test_classes_are_drawn_as_often_if_asked_for() -> None:
    codes = np.array([0] * 20 + [1] * 4)
    order = Order.of(24, batch_size=16, group_size=None)
    batches = list(order.epoch(1, seed=3, sampler=balanced(codes)))
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    real = whole["weight"] > 0
    assert np.bincount(codes[whole["row"][real]]).tolist() == [12, 12]
    assert len(np.unique(whole["id"])) == len(whole["id"])  # copies are augmented differently
    rows = np.stack([np.arange(24), np.arange(24)[::-1]])
    rounds = drawn_batches(
        rows, [(0, 0), (0, 1)], batch_size=10, least_steps=6, samplers=[balanced(codes[drawn]) for drawn in rows]
    )
    for _ in range(2):
        batch = next(rounds)
        for group in range(2):
            drawn = batch["row"][:, group][batch["weight"][:, group] > 0]
            assert np.bincount(codes[drawn]).tolist() == [24, 24]  # two epochs
    assert not (next(rounds)["row"] == batch["row"]).all()


def test_the_loss_selects_the_epoch_if_asked_for(config) -> None:
    tuned = run(model_of(config), config, frozen=True, select="loss", learning_rates=[1e-2, 1e-1], patience=99)[0]
    val = toy(30, 1)
    losses = BRIGHT.mean_loss(jnp.asarray(outputs_on(tuned, model_of(config), config, val)), jnp.asarray(val.targets))
    assert tuned.trained.reached == pytest.approx(float(losses), rel=1e-4)


def outputs_on(tuned, model: Model, config, examples: Examples) -> np.ndarray:
    """The outputs of a tuned head on plain rows."""
    encoder = model.encoders["image"]
    view = VIEWS.build(config.views.image, "view")
    keys = jax.random.split(jax.random.key(0), len(examples))
    views = view.plain(jnp.asarray(examples.inputs["image"]), keys, {}).values
    return tuned.trained.outputs(encoder(views, train=False).pooled)
