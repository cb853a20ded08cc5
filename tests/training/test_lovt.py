"""LoVT's experiments on a small drawn store of radiographs, up to two per study, some of which lack their report."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from sklearn.metrics import roc_auc_score

from mmcl_jax.config import CHEXPERT_LABELS, load
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.writing import finish, write
from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.data.schema import Column, Entry
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.monitor import OnlineKNN
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.files import atomic
from mmcl_jax.training import loop
from mmcl_jax.training.build import Experiment, build_experiment, fit_inputs
from mmcl_jax.training.loop import Result, pretrain
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.model import trained_model
from mmcl_jax.training.step.train_step import parts_of_loss
from tests.training.test_loop import bits, losses, quiet, stop_at
from tests.training.walk import begin, compiled

ROWS, STEPS, SIDE = 40, 2, 12
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "heart", "is", "large", "lungs", "clear", "no", "effusion")
SMALL = (
    "batch_size=16",
    "batch_norm.group_size=4",
    "views.*.blur_kernel=3",
    "encoders.image.channels=(4, 8)",
    "encoders.image.depths=(1, 2)",
    "encoders.report.layers=1",
    "encoders.report.width=8",
    "encoders.report.heads=2",
    "encoders.report.hidden=8",
    "encoders.report.sentences=3",
    "projectors.*.hidden=8",
    "projectors.*.out=4",
    "objective.0.within=8",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every fifth study has no report, and every third has two images."""
    rng, directory = np.random.default_rng(0), tmp_path_factory.mktemp("chests") / "store"
    rows = np.arange(ROWS)
    tokens = np.full((ROWS, 9, 2), -1, np.int32)
    for row in rows:
        lengths = rng.integers(1, 4, rng.integers(1, 4))
        sentences = np.repeat(np.arange(len(lengths)), lengths)
        tokens[row, : len(sentences)] = np.stack([rng.integers(5, len(WORDS), len(sentences)), sentences], axis=1)
    report = np.where(rows % 5 > 0, np.cumsum(rows % 5 > 0) - 1, -1)
    pictures = np.stack([rows, np.where(rows % 3 == 0, ROWS + rows // 3, -1)], axis=1)
    images = rng.integers(1, 255, (pictures.max() + 1, SIDE, SIDE, 1), np.uint8)
    labels = tuple(Column(name=name, kind="boolean", categories=("false", "true")) for name in CHEXPERT_LABELS)
    codes = rng.integers(0, 2, (ROWS, len(labels))).astype(float)
    codes[rows % 7 == 0] = np.nan
    content = Content(
        parts={
            "image": Part(entry=Entry(kind="image", shape=(SIDE, SIDE, 1), dtype="uint8"), values=images, at=pictures),
            "report": Part(
                entry=Entry(kind="text", shape=(9, 2), dtype="int32"),
                values=tokens[rows % 5 > 0],
                at=report,
                names=WORDS,
            ),
            "labels": Part(entry=Entry.table(labels, role="target"), values=codes),
        },
        id=rows,
        keys=[str(row) for row in rows],
        splits=dict(zip(("train", "val", "test"), np.split(rows, (30, 36)), strict=True)),
    )
    with atomic(directory) as partial:
        partial.mkdir(parents=True)
        write(partial, content, description="Chests")
        finish(partial)
    return Store.open(directory)


def config_of(store: Store, name: str, *options: str):
    """A shipped experiment at a size for a test; a star stands for every part."""
    config = load(f"lovt/{name}:chest", [f"data={store.directory}"])
    overrides = []
    for option in SMALL:
        head, star, tail = option.partition(".*.")
        keys = [f"{head}.{part}.{tail}" for part in config[head]] if star else [option]
        overrides += [key for key in keys if exists(config, key.partition("=")[0])]
    return load(f"lovt/{name}:chest", [f"data={store.directory}", *overrides, *options])


def exists(config, key: str) -> bool:
    group, _, rest = key.partition(".")
    if group in ("projectors", "predictors"):
        name, _, option = rest.rpartition(".")
        return name in config[group] and option in config[group][name] and config[group][name].name == "lovt_mlp"
    for part in key.split("."):
        if isinstance(config, tuple):
            config = config[int(part)]
        elif part not in config:
            return False
        else:
            config = config[part]
    return True


def first_steps(experiment: Experiment) -> list[dict[str, float]]:
    """The metrics of the first steps."""
    state, batches, constants = begin(experiment, STEPS)
    step, found = compiled(experiment), []
    for batch in batches:
        state, metrics = step(state, batch, constants)
        found.append({name: float(value) for name, value in metrics.items()})
    return found


def first_loss(experiment: Experiment) -> dict[str, float]:
    """The metrics of the first batch, without the gradient, which takes longest to compile."""
    state, (batch,), constants = begin(experiment, 1)

    @jax.jit
    def measure(state, batch, constants):
        encode, contrast = parts_of_loss(experiment, state, constants)
        outputs, _ = encode(state.params, state.model_state, batch)
        return contrast(state.params, outputs, batch)[1][0]

    return {name: float(value) for name, value in measure(state, batch, constants).items()}


@pytest.mark.parametrize("name", ["lovt", "pixelpro"])
def test_the_losses_of_2_devices_in_slices_are_those_of_the_whole_batch(store: Store, name: str) -> None:
    alone = build_experiment(config_of(store, name), store, jax.devices()[:1])
    whole = first_loss(alone)
    expected = first_steps(build_experiment(config_of(store, name, "micro_batch=8"), store, jax.devices()[:2]))
    assert len({metrics["loss"] for metrics in expected}) == STEPS
    assert set(whole) <= set(expected[0])
    for key, value in whole.items():
        if "/top1" not in key:  # equal reports are as near as each other, but for rounding
            assert expected[0][key] == pytest.approx(value, rel=1e-4, abs=1e-6), key
    if name == "lovt":
        parts = ("clip/image-report", "local_alignment/image.local-report.local")
        for metrics in expected:
            assert metrics["loss"] == pytest.approx(metrics[parts[0]] + 0.75 * metrics[parts[1]], rel=1e-5)
            assert metrics["multi_label/image"] == 0  # the probes are not part of the loss
            assert metrics["multi_label/image/cross_entropy"] > 0.1
        assert alone.batches.rows == 24  # of 30 studies, those with a report
    else:
        for metrics in expected:
            pixel, instance = metrics["pixpro/image_1.local-image_2.local"], metrics["byol/image_1-image_2"]
            assert metrics["loss"] == pytest.approx(pixel + instance / 2, rel=1e-5)
            assert metrics["pixpro/image_1.local-image_2.local/overlapping"] > 0.5  # both views show one image


def test_a_run_that_is_killed_ends_with_the_same_bits(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, drawn images and sentences in other orders. All sessions share a program, which takes longest."""
    without = ("monitor.epochs=None", "validation.epochs=None", "stop.patience=None")  # see test_validation.py
    config = config_of(store, "lovt", "batch_size=8", "epochs=2", "checkpoint_every=2", *without)
    trace, compile_program = once(loop.check_step), once(loop.compile_traced)
    for name, function in (("check_step", trace), ("trace_step", trace), ("compile_traced", compile_program)):
        monkeypatch.setattr(loop, name, function)

    def train(name: str) -> Result:
        return pretrain(config, tmp_path / name, devices=jax.devices()[:1], log=quiet)

    whole = train("whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        assert (train("killed").step, whole.step) == (5, 6)
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "5")  # a kill leaves steps in the log that have no checkpoint
    continued = train("killed")
    assert bits(continued.state) == bits(whole.state)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose first result is that of all calls."""
    results: list[Any] = []

    def called(*arguments: Any, **options: Any) -> Any:
        if not results:
            results.append(function(*arguments, **options))
        return results[0]

    return called


def test_the_monitor_measures_the_probes(store: Store) -> None:
    """The AUROC of a probe whose weights are 0 but for one feature is that of the feature."""
    config = config_of(store, "chexpert")
    inputs = fit_inputs(config, store)
    model = trained_model(config, inputs.schema, inputs.specs, rngs=nnx.Rngs(0))
    layer = model.heads["term_0"]["image"]
    layer.kernel[...] = jax.numpy.zeros_like(layer.kernel[...]).at[3].set(1.0)
    metrics = OnlineKNN(store, config, inputs)(model)
    arrays = input_arrays(store, "val", inputs)
    feature = frozen_encoder(model, config=config)(arrays["image"])[:, 3]
    aurocs = []
    for name in CHEXPERT_LABELS:
        codes = np.asarray(arrays[f"target/{name}"])
        known = codes >= 0
        if len(set(codes[known])) == 2:
            aurocs.append(roc_auc_score(codes[known], feature[known]))
    assert metrics["online/auroc/image"] == pytest.approx(np.mean(aurocs))


def test_an_untrained_run_has_the_initial_weights(store: Store, tmp_path: Path) -> None:
    config = config_of(store, "random")
    result = pretrain(config, tmp_path / "run", log=lambda line: None)
    assert (result.step, result.steps, result.finished) == (0, 0, True)
    run = Run.open(tmp_path / "run")
    weights = [model.encoders["image"].convs[0].kernel[...] for model in (run.model(), run.untrained_model())]
    np.testing.assert_allclose(*weights, rtol=1e-6, atol=1e-7)  # one of them is compiled
    assert pretrain(config, tmp_path / "run", log=lambda line: None).step == 0  # the same command again
    with pytest.raises(UserError, match=r"resnet18.pth does not exist; give a file of weights"):
        pretrain(config_of(store, "imagenet"), tmp_path / "imagenet", log=lambda line: None)
    assert not (tmp_path / "imagenet").exists()
