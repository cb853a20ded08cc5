"""`--input fusion`: what its parts' plain views give, rows without a part left out, trained with its encoders."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from examples.modalities import write_case
from mmcl_jax.config import load
from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.encoders.fusions import part_of
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.encoded import Encoders, FeatureEncoder, trained_spec, training_values
from mmcl_jax.evaluation.monitor import OnlineKNN
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run before its first step, on images and scores that a fifth of the rows lacks."""
    folder = tmp_path_factory.mktemp("case") / "fusion"
    write_case("fusion", folder, rows=120)
    store = prepare(Request.read(folder / "request.json", {}), folder / "store")
    small = ("encoders.fusion.name=concat_mlp", "encoders.fusion.hidden=16", "encoders.fusion.features=8")
    config = load(str(folder / "config.py"), [f"data={folder / 'store'}", *small, "batch_norm.group_size=8"])
    return Run.begin(folder / "run", config, store, fit_inputs(config, store))


def by_hand(run: Run, arrays: dict[str, np.ndarray]) -> jax.Array:
    """The fusion of these rows, whose plain views are their pixels and their standardised scores."""
    model, moments = run.untrained_model(), run.inputs.fitted["scores0"]
    image = model.encode("image", arrays["image"].astype(np.float32) / 255, train=False)
    scores = (arrays["scores0"] - moments["mean"]) / moments["std"]
    parts = part_of(image, local=True), part_of(model.encode("scores0", scores, train=False), local=False)
    return model.encode("fusion", parts, train=False).pooled


def rows_of(run: Run, split: str, count: int) -> dict[str, np.ndarray]:
    arrays = input_arrays(run.store(), split, run.inputs)
    chosen = np.flatnonzero(arrays["present/scores0"])[:count]
    return {name: np.asarray(arrays[name][chosen]) for name in ("image", "scores0")}


def test_frozen_features_are_of_plain_views_and_the_mean_of_several_pictures(run: Run) -> None:
    model, arrays = run.untrained_model(), rows_of(run, "test", 5)
    encode = frozen_encoder(model, config=run.config, modality="fusion", fitted=run.inputs.fitted, batch_size=8)
    expected = by_hand(run, arrays)
    np.testing.assert_allclose(encode(arrays), expected, rtol=1e-4, atol=1e-5)
    pictures = np.stack([arrays["image"], arrays["image"][::-1]], axis=1)
    mirrored = by_hand(run, {**arrays, "image": arrays["image"][::-1]})
    mean = (expected + mirrored) / 2
    np.testing.assert_allclose(encode({**arrays, "image": pictures}), mean, rtol=1e-4, atol=1e-5)
    pictures[2, 1] = 0  # a row without a second picture
    mean = mean.at[2].set(expected[2])
    np.testing.assert_allclose(encode({**arrays, "image": pictures}), mean, rtol=1e-4, atol=1e-5)


def test_what_is_trained_sees_each_view_once_and_the_mean_of_several_pictures(run: Run) -> None:
    model, arrays = run.untrained_model(), rows_of(run, "test", 5)
    names = ("image", "fusion")
    module = nnx.Dict({name: model.encoders[name] for name in ("image", "fusion", "scores0")})
    params, statistics = split_model(module)
    views = tuple(trained_spec(run.config, name, probability=0.8) for name in names)
    encoders = Encoders(graphdef=nnx.graphdef(module), modalities=names, views=views)
    given, fitted = jax.tree.map(jnp.asarray, (arrays, dict(run.inputs.fitted)))
    seen = training_values(views, given, jax.random.split(jax.random.key(0), 5), fitted)
    assert sorted(dict(spec)["modality"] for spec in seen) == ["image", "scores0"]
    pictures = {**arrays, "image": np.stack([arrays["image"], arrays["image"][::-1]], axis=1)}
    mirrored = by_hand(run, {**arrays, "image": arrays["image"][::-1]})
    expected = (by_hand(run, arrays) + mirrored) / 2
    encoder = FeatureEncoder(params=params, statistics=statistics, fitted=fitted)
    found = encoders.plain(encoder, jax.tree.map(jnp.asarray, pictures))
    assert found.shape == (5, 32 + 8)
    np.testing.assert_allclose(found[:, 32:], expected, rtol=1e-4, atol=1e-5)


def test_a_fusion_is_evaluated_by_its_name_on_the_rows_that_have_its_parts(run: Run) -> None:
    said: list[str] = []
    options = EvaluationOptions(
        inputs=("image+fusion",),
        protocols=("probe", "knn", "finetune"),
        baselines=("random", "pixels"),
        only_baselines=True,
        learning_rates=[1e-2],
        max_epochs=1,
        draws=1,
    )
    scores = evaluate_runs([run], run.store(), options, log=said.append)
    assert {(score.input, score.protocol, score.method) for score in scores} == {
        *(("image+fusion", name, "random encoder") for name in ("probe", "knn")),
        ("image+fusion", "finetune", "supervised image+fusion"),
    }
    assert any(
        line.startswith("--input image+fusion: rows with the label 'quarter' that lack this input are left out")
        for line in said
    )
    with pytest.raises(
        UserError,
        match=r"there is no input 'fused'; choose from image, table, ",
    ):
        evaluate_runs([run], run.store(), EvaluationOptions(inputs=("fused",)))


def test_the_monitor_watches_a_fusion(run: Run, tmp_path: Path) -> None:
    store: Store = run.store()
    metrics = OnlineKNN(store, run.config, run.inputs, neighbours=1)(run.untrained_model())
    assert metrics.keys() == {
        *(f"online/knn_top1/{name}" for name in ("image", "scores0", "fusion")),
        "online/retrieval_top1/image-scores0",
    }
    assert metrics["online/knn_top1/fusion"] > 0.25
