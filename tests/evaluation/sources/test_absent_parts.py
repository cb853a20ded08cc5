"""A fusion with `absent="mask"` is evaluated and embedded on rows that lack a part, and as a member of an ensemble."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.modalities import write_case
from mmcl_jax.config import load
from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.encoders.fusions import Part, part_of
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.kept import load_head
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.export.embeddings.encoders import readers
from mmcl_jax.export.embeddings.stored import StoredRows
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.runs.run import Run

pytestmark = pytest.mark.core


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run before its first step, on images and scores that a fifth of the rows lacks."""
    folder = tmp_path_factory.mktemp("case") / "fusion"
    write_case("fusion", folder, rows=120)
    store = prepare(Request.read(folder / "request.json", {}), folder / "store")
    small = ("encoders.fusion.name=concat_mlp", "encoders.fusion.hidden=16", "encoders.fusion.features=8")
    masked = ("views.fused.of=('scores0', 'image.local')", "views.fused.absent=mask", "batch_norm.group_size=8")
    config = load(str(folder / "config.py"), [f"data={folder / 'store'}", *small, *masked])
    return Run.begin(folder / "run", config, store, fit_inputs(config, store))


def test_rows_that_lack_a_part_have_features_without_it(run: Run) -> None:
    source, model = Source("random", run), run.untrained_model()
    features = source.features(LabelledStore.of(run.store(), None), "fusion")["test"]
    arrays = input_arrays(run.store(), "test", run.inputs)
    present = arrays["present/scores0"]
    assert 0 < present.sum() < len(present) == len(features)
    image = model.encode("image", np.asarray(arrays["image"][:]).astype(np.float32) / 255, train=False)
    moments = run.inputs.fitted["scores0"]
    scores = (np.asarray(arrays["scores0"][:]) - moments["mean"]) / moments["std"]
    token = model.encode("scores0", jnp.asarray(np.where(present[:, None], scores, 0), jnp.float32), train=False)
    parts = Part(tokens=token.pooled[:, None], mask=jnp.asarray(present)[:, None]), part_of(image, local=True)
    expected = model.encoders.fusion(parts, train=False).pooled
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)

    (reader,) = readers(source, ["fusion"], "features", jax.devices()[:1])
    ((_, chunk),) = StoredRows(run, run.store(), reader.inputs, split="test", size=256).chunks(lambda index: False)
    assert chunk.reasons(reader.inputs, reader.spare) == {}
    np.testing.assert_array_equal(reader(chunk.given(reader.spare)), features)


def test_an_ensemble_is_trained_kept_and_predicts(run: Run, tmp_path: Path) -> None:
    said: list[str] = []
    options = EvaluationOptions(
        inputs=("ensemble:image+fusion",),
        protocols=("augmented_probe",),
        baselines=("random",),
        only_baselines=True,
        learning_rates=[1e-2],
        max_epochs=2,
        draws=1,
        keep=tmp_path / "heads",
    )
    (score,) = evaluate_runs([run], run.store(), options, log=said.append)
    assert (score.input, score.method) == ("ensemble:image+fusion", "random encoder")
    assert not any("left out" in line for line in said)
    head = load_head(next((tmp_path / "heads").iterdir()))
    assert head.trained.reads == ("image", "fusion")
    data = LabelledStore.of(run.store(), None)
    rows = Source("random", run).rows(run.store(), "test", head.trained.reads)
    outputs = head.outputs({name: values[data.rows["test"]] for name, values in rows.items()})
    assert score.metrics["top1"] == pytest.approx(float((outputs.argmax(axis=1) == data.targets["test"]).mean()))


@pytest.mark.parametrize(
    ("input", "protocol", "sentence"),
    [
        ("ensemble:image+fusion", "knn", "trained by finetune and augmented_probe alone, not by knn"),
        ("ensemble:image+scores0", "retrieval", "alone, not by retrieval"),
        ("ensemble:image", "finetune", "an ensemble has at least two members"),
        ("ensemble:image+fusoin", "finetune", r"there is no input 'fusoin' \(did you mean 'fusion'\?\)"),
    ],
)
def test_ensembles_are_checked(run: Run, input: str, protocol: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        evaluate_runs([run], run.store(), EvaluationOptions(inputs=(input,), protocols=(protocol,)))
