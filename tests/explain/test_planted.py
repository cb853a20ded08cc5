"""What is planted in the weights of a model is what explanations find."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Encoder, Features, Model, table_mlp
from mmcl_jax.encoders.fusions import part_of
from mmcl_jax.encoders.table_input import TableInput
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.encoded import FeatureEncoder
from mmcl_jax.evaluation.heads.engine import Trained
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.standard import Standard
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.protocols.made import encoders_of
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain import Explanation, outputs
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.explain.run import explain_run
from mmcl_jax.objectives import clip
from mmcl_jax.tasks import Class, Number, Units
from mmcl_jax.training.mesh import make_mesh
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model
from tests.explain.conftest import Plant


def explained(run: Run, folder: Path, head: KeptHead | None = None, **options: Any) -> Explanation:
    given = ExplainOptions(**{"inputs": ("table",), **options})
    (one,) = explain_run(run, run.store(), given, folder=folder, head=head, head_name="head" if head else "")
    return one


def by_name(explanation: Explanation, key: str = "importance") -> dict[str, float]:
    return {column["name"]: column[key] for column in explanation.about["columns"]}


def embedded(run: Run, split: str) -> np.ndarray:
    """The one-hot rows and indicators of a split."""
    rows = Source("run", run).inputs(run.store(), split, "table")
    return np.asarray(TableInput(run.inputs.specs["table"].widths, missing="indicator")(jnp.asarray(rows)))


def of_columns(run: Run) -> np.ndarray:
    return np.array(TableInput(run.inputs.specs["table"].widths, missing="indicator").columns)


def linear(model: Model) -> None:
    """A table encoder that is one linear layer."""
    widths = model.encoders["table"].input.widths
    model.encoders["table"] = table_mlp(widths=widths, missing="indicator", rngs=nnx.Rngs(1), features=8, layers=1)


def without_noise(model: Model) -> None:
    """Noise has no weight, and the size has much."""
    encoder = model.encoders["table"]
    kernel, columns = encoder.layers[0].kernel, np.array(encoder.input.columns)
    scale = np.array([{0: 5.0, 3: 0.0}.get(column, 1.0) for column in columns], np.float32)
    kernel[...] = kernel[...] * scale[:, None]
    encoder.norms[0].bias[...] = jnp.linspace(-1, 1, 16)


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_a_linear_model_has_the_closed_form(plant: Plant, folder: Path, baseline: str) -> None:
    """The attribution of an element is (x - baseline) times its weight; those of a column are summed."""
    run = plant(linear)
    found = explained(run, folder, baseline=baseline)
    weights, rows = np.asarray(run.model().encoders["table"].layers[0].kernel[...]), embedded(run, "test")
    start = embedded(run, "train").mean(axis=0) if baseline == "mean" else np.zeros(rows.shape[1])
    parts = (rows - start)[:, :, None] * weights
    summed = np.stack([parts[:, of_columns(run) == column].sum(axis=1) for column in range(4)], axis=1)
    closed = np.abs(summed).mean(axis=2)
    frame = found.attributions()
    np.testing.assert_allclose(frame["attributions"].to_numpy(), closed, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(list(by_name(found).values()), closed.mean(axis=0), rtol=1e-4, atol=1e-6)
    assert frame["key"].to_list() == run.store().keys("test")
    assert found.about["settings"]["steps"] == 8  # the first number of steps is exact
    assert found.about["details"]["completeness"]["reached"] is True
    assert found.about["details"]["completeness"]["worst_row"] < 1e-4


def test_planted_columns_rank_first_and_noise_last(plant: Plant, folder: Path) -> None:
    found = explained(plant(without_noise), folder, tolerance=1e-3)
    importance = by_name(found)
    assert found.columns[0]["name"] == "size"
    assert found.columns[-1]["name"] == "noise"
    assert importance["noise"] == 0 < importance["kind"]
    assert found.about["details"]["completeness"]["error"] <= 1e-3
    assert 8 < found.about["settings"]["steps"] <= 512
    groups = {group["name"]: group for group in found.groups}
    assert groups["morphometric"]["columns"] == 2
    np.testing.assert_allclose(groups["morphometric"]["importance"], importance["size"] + importance["kind"])
    np.testing.assert_allclose(sum(group["share"] for group in found.groups), 1)


class Tokens(Encoder):
    """A vector for every column: a number times a vector, or the vector of a category; the body reads one column."""

    takes = ("table",)

    def __init__(self, vectors: np.ndarray, reads: int) -> None:
        self.vectors, self.reads, self.out_features = nnx.Param(jnp.asarray(vectors)), reads, 8

    def embed(self, view: jax.Array) -> jax.Array:
        vectors, view = self.vectors[...], jnp.nan_to_num(view)
        numbers = [view[:, column, None] * vectors[:1] for column in (0, 1, 3)]
        return jnp.stack([*numbers[:2], vectors[view[:, 2].astype(jnp.int32)], numbers[2]], axis=1)

    def body(self, embedded: jax.Array, *, train: bool, present: Any = None, keys: Any = None) -> Features:
        return Features(pooled=jnp.tanh(embedded[:, self.reads] * 1.5))


VECTORS = np.random.default_rng(5).normal(size=(3, 8)).astype(np.float32)
ORDER = np.array([2, 0, 1])  # the new code of each category


def tokens(order: np.ndarray | None, model: Model) -> None:
    model.encoders["table"] = Tokens(VECTORS if order is None else VECTORS[np.argsort(order)], reads=2)


def one_hot(order: np.ndarray | None, model: Model) -> None:
    """The rows of the kernel that belong to the categories follow their codes."""
    without_noise(model)
    encoder = model.encoders["table"]
    if order is not None:
        first = encoder.input.columns.index(2)
        kernel = encoder.layers[0].kernel
        kernel[...] = kernel[...].at[first : first + 3].set(kernel[...][first : first + 3][np.argsort(order)])


@pytest.mark.parametrize("encoder", [tokens, one_hot])
def test_a_category_gets_attribution_and_its_code_changes_nothing(
    plant: Plant, folder: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = explained(plant(lambda model: encoder(None, model)), folder / "a", steps=32)
    importance = by_name(found)
    if encoder is tokens:
        assert found.columns[0]["name"] == "kind"
        assert importance["kind"] > 0 == importance["size"] == importance["noise"]
    inputs = Source.inputs

    def shuffled(source: Source, store: Store, split: str, modality: str) -> np.ndarray:
        rows = np.array(inputs(source, store, split, modality))
        rows[:, 2] = ORDER[rows[:, 2].astype(int)]
        return rows

    monkeypatch.setattr(Source, "inputs", shuffled)
    again = explained(plant(lambda model: encoder(ORDER, model)), folder / "b", steps=32)
    for name, value in by_name(again).items():
        np.testing.assert_allclose(value, importance[name], rtol=1e-4, atol=1e-6)


def test_an_encoder_that_mixes_columns_is_refused(plant: Plant, folder: Path) -> None:
    class Mixed(Tokens):
        def embed(self, view: jax.Array) -> jax.Array:
            return super().embed(view)[:, :3]

    def mixed(model: Model) -> None:
        model.encoders["table"] = Mixed(VECTORS, reads=2)

    with pytest.raises(UserError, match=r"embeds 4 columns as 3 x 8.*embedded_columns"):
        explained(plant(mixed), folder)
    assert not any(folder.glob("*/*"))


def head_of(run: Run, reads: tuple[str, ...], *, number: bool = False) -> KeptHead:
    """A head with random weights on standardised features."""
    rng, width = np.random.default_rng(2), 8 if reads != ("image", "table") else 12
    task = Number(label="size") if number else Class(label="model", classes=3)
    weights = {"kernel": rng.normal(size=(width, task.outputs)), "bias": rng.normal(size=task.outputs)}
    return KeptHead(
        source=Source("run", run),
        trained=Trained(
            reads=reads,
            task=task,
            head=LinearHead(),
            params={name: array.astype(np.float32) for name, array in weights.items()},
            units=Units(5.0, 2.0) if number else Units(),
            encoder=None,
            rate=0.1,
            round=1,
            rounds=1,
            reached=0.0,
        ),
        standard=Standard(rng.normal(size=width), rng.uniform(0.5, 2, width)),
        labels={"model": ("m0", "m1", "m2")},
        of={"run": "planted, seed 0"},
        score=Score(
            method="planted",
            seed=0,
            protocol="probe",
            input="+".join(reads),
            label=task.label,
            budget="all",
            draw=0,
            metrics={},
            chosen={},
        ),
    )


def at_baseline(run: Run, head: KeptHead, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The outputs of a head for rows whose embedded table is zeros, put together from the parts of the model."""
    model = run.model()
    rows = len(inputs["table"])
    table = model.encoders["table"].body(jnp.zeros((rows, model.encoders["table"].input.size)), train=False)
    image = Features(pooled=jnp.asarray(frozen_encoder(model, config=run.config)(inputs["image"])))
    parts = tuple(part_of(one, local=False) for one in (image, table))
    pooled = {"table": table.pooled, "image": image.pooled}
    pooled["fused"] = model.encode("fused", parts, train=False).pooled
    features = np.concatenate([pooled[name] for name in head.trained.reads], axis=1)
    return head.trained.outputs(head.standard.apply(features))


@pytest.mark.parametrize("reads", [("table",), ("image", "table"), ("fused",)], ids="+".join)
def test_the_outputs_of_a_head_are_explained(plant: Plant, folder: Path, reads: tuple[str, ...]) -> None:
    """What changes from the baseline to a row is what the kept head itself predicts for both."""
    run = plant(without_noise)
    head = head_of(run, reads)
    inputs = {name: np.asarray(head.source.inputs(run.store(), "test", name)) for name in ("image", "table")}
    expected = head.outputs(inputs) - at_baseline(run, head, inputs)
    found = explained(run, folder, head, output="m1", steps=64)
    frame = found.attributions()
    np.testing.assert_allclose(frame["change"].to_numpy(), expected[:, 1], rtol=1e-3, atol=1e-4)
    summed = frame["attributions"].to_numpy().sum(axis=1) + frame["error"].to_numpy()
    np.testing.assert_allclose(summed, frame["change"].to_numpy(), rtol=1e-4, atol=1e-4)
    assert by_name(found)["noise"] == 0 < by_name(found)["size"]
    assert "mean" in found.about["columns"][0]
    if reads != ("table",):
        return
    chosen = head.outputs(inputs).argmax(axis=1)
    predicted = explained(run, folder, head, output="predicted", steps=64).attributions()["change"].to_numpy()
    np.testing.assert_allclose(predicted, expected[np.arange(len(chosen)), chosen], rtol=1e-3, atol=1e-4)
    every = explained(run, folder, head, steps=64)
    np.testing.assert_allclose(every.attributions()["change"].to_numpy(), np.abs(expected).mean(axis=1), rtol=1e-3)
    assert every.about["details"]["signed"] is False


def test_the_encoder_that_was_trained_with_a_head_is_explained(plant: Plant, folder: Path) -> None:
    run = plant(without_noise)
    head = head_of(run, ("table",))
    params, statistics = split_model(encoders_of(run.model(), run.config, ("table",))[1])
    encoder = FeatureEncoder(
        params=jax.tree.map(lambda array: 1.3 * array, params), statistics=statistics, fitted={"table": {}}
    )
    tuned = dataclasses.replace(head, standard=None, trained=dataclasses.replace(head.trained, encoder=encoder))
    found = explained(run, folder, tuned, output="m1", steps=64)
    change = found.attributions()["change"].to_numpy()
    outputs = tuned.outputs({"table": np.asarray(tuned.source.inputs(run.store(), "test", "table"))})[:, 1]
    np.testing.assert_allclose(change - change[0], outputs - outputs[0], rtol=1e-3, atol=1e-4)


def test_a_number_is_explained_in_its_units(plant: Plant, folder: Path) -> None:
    run = plant(linear)
    head = head_of(run, ("table",), number=True)
    found = explained(run, folder, head)
    inputs = {name: np.asarray(head.source.inputs(run.store(), "test", name)) for name in ("image", "table")}
    expected = head.outputs(inputs) - at_baseline(run, head, inputs)
    np.testing.assert_allclose(found.attributions()["change"].to_numpy(), expected[:, 0], rtol=1e-3, atol=1e-4)


def test_the_loss_is_that_of_the_reference_batch_with_the_row(plant: Plant, folder: Path) -> None:
    run = plant(without_noise)
    store, source = run.store(), Source("run", run)
    given = {"reference": 10, "reference_split": "train", "temperature": 1.0, "term": "clip/image-table", "steps": 32}
    found = explained(run, folder, methods=("loss",), rows=6, **given)
    frame = found.attributions()
    reference = np.sort(np.random.default_rng(0).choice(store.sizes["train"], 10, replace=False))
    images, tables = (source.projections(store, "train", name)[reference] for name in ("image", "table"))
    rows = [store.keys("test").index(key) for key in frame["key"]]
    own_images, own_tables = (source.projections(store, "test", name)[rows] for name in ("image", "table"))
    encoder = run.model().encoders["table"]
    zero = run.model().project("table", encoder.body(jnp.zeros((1, encoder.input.size)), train=False), train=False)
    term = clip(temperature=1.0)
    for index, change in enumerate(frame["change"]):
        image = np.concatenate([images, own_images[index : index + 1]])
        with_row, with_baseline = (np.concatenate([tables, one]) for one in (own_tables[index : index + 1], zero))
        expected = term(image, with_row) - term(image, with_baseline)
        np.testing.assert_allclose(change, expected, rtol=1e-3, atol=1e-5)
    summed = frame["attributions"].to_numpy().sum(axis=1) + frame["error"].to_numpy()
    np.testing.assert_allclose(summed, frame["change"].to_numpy(), rtol=1e-4, atol=1e-6)
    assert np.abs(frame["error"]).max() < 0.05 * np.abs(frame["change"]).max()
    assert by_name(found)["noise"] == 0 < by_name(found)["size"]


@pytest.mark.parametrize("replacement", ["mean", "zero", "permuted"])
def test_ablation_of_a_linear_model_has_the_closed_form(plant: Plant, folder: Path, replacement: str) -> None:
    run = plant(linear)
    found = explained(run, folder, methods=("ablation",), replacement=replacement)
    layer, rows, of = run.model().encoders["table"].layers[0], embedded(run, "test"), of_columns(run)
    weights = np.asarray(layer.kernel[...])
    other = {
        "mean": embedded(run, "train").mean(axis=0)[None],
        "zero": np.zeros((1, rows.shape[1])),
        "permuted": rows[np.random.default_rng(0).permutation(len(rows))],
    }[replacement]
    norms = np.linalg.norm(rows @ weights + np.asarray(layer.bias[...]), axis=1)

    def change(columns: tuple[int, ...]) -> float:
        return float((np.linalg.norm(((rows - other) * np.isin(of, columns)) @ weights, axis=1) / norms).mean())

    np.testing.assert_allclose(list(by_name(found).values()), [change((index,)) for index in range(4)], rtol=1e-4)
    groups = {group["name"]: group["importance"] for group in found.groups}
    np.testing.assert_allclose(groups["morphometric"], change((0, 2)), rtol=1e-4)
    np.testing.assert_allclose(groups["other"], change((1, 3)), rtol=1e-4)


def test_ablation_scores_a_head_without_each_group(plant: Plant, folder: Path) -> None:
    run = plant(without_noise)
    head = head_of(run, ("table",))
    (folder.parent / "groups.json").write_text(json.dumps({"nothing": ["noise"], "much": ["size", "kind"]}))
    (found,) = explain_run(
        run, run.store(), ExplainOptions(methods=("ablation",)), folder=folder, head=head, head_name="head",
        groups=folder.parent / "groups.json",
    )  # fmt: skip
    details = found.about["details"]
    assert details["groups"]["nothing"]["metrics"] == details["metrics"]
    assert details["groups"]["nothing"]["change"] == 0 < details["groups"]["much"]["change"]
    assert details["groups"]["much"]["metrics"] != details["metrics"]
    labels = run.store().labels("test")["label"]
    inputs = {"table": np.asarray(head.source.inputs(run.store(), "test", "table"))}
    assert details["metrics"] == pytest.approx(head.trained.task.metrics(head.outputs(inputs), labels), rel=1e-6)
    assert found.directory.name == "ablation-table-head"


def test_one_device_explains_as_eight_do(
    plant: Plant, folder: Path, eight_devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plant(without_noise)
    assert outputs.local_mesh(8).size == 8
    many = explained(run, folder / "many", steps=16).attributions()
    monkeypatch.setattr(outputs, "local_mesh", lambda rows: make_mesh(jax.devices()[:1]))
    one = explained(run, folder / "one", steps=16).attributions()
    np.testing.assert_allclose(one["attributions"].to_numpy(), many["attributions"].to_numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.foreign
@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_captum_finds_the_same(plant: Plant, folder: Path, baseline: str) -> None:
    torch = pytest.importorskip("torch")
    captum = pytest.importorskip("captum.attr")
    run = plant(without_noise)
    encoder = run.model().encoders["table"]
    first, last, norm = encoder.layers[0], encoder.layers[1], encoder.norms[0]
    layers = torch.nn.Linear(encoder.input.size, 16), torch.nn.BatchNorm1d(16, eps=norm.epsilon), torch.nn.Linear(16, 8)
    with torch.no_grad():
        for layer, mine in ((layers[0], first), (layers[2], last)):
            layer.weight.copy_(torch.tensor(np.asarray(mine.kernel[...]).T.copy()))
            layer.bias.copy_(torch.tensor(np.asarray(mine.bias[...])))
        layers[1].weight.copy_(torch.tensor(np.asarray(norm.scale[...])))
        layers[1].bias.copy_(torch.tensor(np.asarray(norm.bias[...])))
        layers[1].running_mean.copy_(torch.tensor(np.asarray(norm.mean[...])))
        layers[1].running_var.copy_(torch.tensor(np.asarray(norm.var[...])))
    module = torch.nn.Sequential(layers[0], layers[1], torch.nn.ReLU(), layers[2]).eval()
    rows = torch.tensor(embedded(run, "test"))
    start = torch.tensor(
        embedded(run, "train").mean(axis=0)[None] if baseline == "mean" else np.zeros((1, rows.shape[1]))
    ).float()
    gradients = captum.IntegratedGradients(module)
    by_output = np.stack([gradients.attribute(rows, start, target=k, n_steps=50).numpy() for k in range(8)], axis=1)
    summed = np.stack([by_output[:, :, of_columns(run) == column].sum(axis=2) for column in range(4)], axis=2)
    found = explained(run, folder, steps=50, baseline=baseline).attributions()["attributions"].to_numpy()
    np.testing.assert_allclose(found, np.abs(summed).mean(axis=1), rtol=1e-4, atol=1e-4)
