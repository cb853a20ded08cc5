"""The loss of people with several modalities, some of which are missing, is attributed to each of them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from mmcl_jax.config import input, projector, term, view
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain import Explanation
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.explain.integrate import Noise, integrated_gradients
from mmcl_jax.explain.losses.individuals import EACH, person_of
from mmcl_jax.explain.run import explain_run
from mmcl_jax.objectives import clip
from mmcl_jax.report.sections.explained import _columns, _modalities
from mmcl_jax.training.runs.run import Run
from tests.data import many
from tests.data.test_inputs import config_of

TRAINED = {"temperature": 0.1, "balance": 0.75}
PARTNERS = ("scores", "calls")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every fourth person lacks the scores, and every third the calls; persons 0 and 12 lack both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(many.LACKS, "calls", list(range(0, many.ROWS, 3)))
        return many.store_of(tmp_path_factory.mktemp("people") / "store")


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An image against two vectors, by a projector for each, as in ContIG."""
    config = config_of(store, "image", "scores", calls=input(missing="mean"))
    for partner in PARTNERS:
        config.projectors[f"image:{partner}"] = projector("mlp", hidden=4, out=4)
    config.objective = tuple(
        term("clip", between=(f"image:{partner}", partner), weight=0.5, **TRAINED) for partner in PARTNERS
    )
    del config.projectors["image"]
    return Run.begin(tmp_path_factory.mktemp("run") / "run", config, store, Inputs.fit(config.inputs, store))


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The initial weights, as if they had been trained."""

    def model(run: Run) -> Any:
        return run.untrained_model()

    monkeypatch.setattr(Run, "model", model)
    monkeypatch.setattr(Run, "step", lambda run: 0)


def explained(run: Run, folder: Path, **options: Any) -> dict[str, Explanation]:
    given = {"methods": ("loss",), "split": "train", "reference_split": "test", **options}
    return {one.about["input"]: one for one in explain_run(run, run.store(), ExplainOptions(**given), folder=folder)}


def losses(run: Run, partner: str, loss: str, zero: str = "") -> dict[str, float]:
    """The loss of the reference with each training row that has the partner, computed from projections.

    The input `zero` of the row is its baseline, zeros.
    """
    source, store = Source("run", run), run.store()
    has = {split: store.read(split, [partner])[partner].present for split in ("train", "test")}
    keys = {"image": f"image:{partner}", partner: partner}
    projected = {
        (name, split): source.projections(store, split, key)[has[split]]
        for name, key in keys.items()
        for split in ("train", "test")
    }
    model = run.model()
    if zero in keys:
        encoder, count = model.encoders[zero], len(projected[zero, "train"])
        embedded = jnp.zeros((1, *run.inputs.specs[zero].shape))
        start = model.project(keys[zero], encoder.body(embedded, train=False), train=False)
        projected[zero, "train"] = np.repeat(np.asarray(start), count, axis=0)
    criterion = clip(**(TRAINED if loss == "training" else {"temperature": 1.0, "balance": 0.5}))
    values = [
        0.5
        * float(
            criterion(*(np.concatenate([projected[name, "test"], projected[name, "train"][[row]]]) for name in keys))
        )
        for row in range(int(has["train"].sum()))
    ]
    names = [key for key, there in zip(store.keys("train"), has["train"], strict=True) if there]
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize("loss", ["released", "training"])
def test_each_modality_gets_the_loss_of_the_terms_that_a_person_takes_part_in(
    run: Run, store: Store, tmp_path: Path, loss: str
) -> None:
    found = explained(run, tmp_path / "out", loss=loss, steps=24)
    assert set(found) == {"image", "scores", "calls"}
    keys = [key for key in store.keys("train") if key not in ("p0", "p12")]  # they lack both partners
    for name, one in found.items():
        frame = one.attributions()
        assert frame["key"].to_list() == keys
        assert one.about["rows"] == len(keys)
        of = [partner for partner in PARTNERS if name in ("image", partner)]
        before, after = ([losses(run, partner, loss, zero) for partner in of] for zero in (name, ""))
        changes = [[new[key] - old[key] for new, old in zip(after, before, strict=True) if key in new] for key in keys]
        absent = [not change for change in changes]
        assert frame["change"].is_null().to_list() == absent
        assert one.about["details"]["absent"] == sum(absent) == {"image": 0, "scores": 2, "calls": 4}[name]
        expected = [sum(change) for change in changes if change]
        np.testing.assert_allclose(frame["change"].drop_nulls(), expected, rtol=1e-3, atol=1e-5)
        has = frame.drop_nulls("change")
        if name == "image":
            maps = np.load(one.directory / "maps.npy")
            assert maps.shape == (len(keys), 8, 8)
            sums, width = maps.sum(axis=(1, 2)), 64
            magnitudes = np.abs(maps).sum(axis=(1, 2))
            np.testing.assert_allclose(frame["attribution"], sums, rtol=1e-4, atol=1e-6)
        else:
            values = has["attributions"].to_numpy()
            assert frame["attributions"].is_null().to_list() == absent
            sums, width, magnitudes = values.sum(axis=1), many.FEATURES, np.abs(values).sum(axis=1)
        np.testing.assert_allclose(sums + has["error"].to_numpy(), has["change"], rtol=1e-4, atol=1e-6)
        assert one.about["details"]["completeness"]["error"] < 0.05
        modality = one.about["details"]["modality"]
        assert modality["summed"] == pytest.approx(magnitudes.mean(), rel=1e-5)
        assert modality["mean"] == pytest.approx(magnitudes.mean() / width, rel=1e-5)
        told = [note for note in one.about["notes"] if "the attribution is absent there, not 0" in note]
        assert len(told) == bool(sum(absent))
    assert {path.name for path in found["image"].directory.glob("*.png")} == {
        "mean.png", *(f"overlay-{number:02d}.png" for number in range(1, 15)),
    }  # fmt: skip


def test_people_and_options(run: Run, tmp_path: Path) -> None:
    given = {"inputs": ("scores", "calls"), "rows": 2, "individuals": ("p3", "p4"), "term": "clip/image:calls-calls"}
    with pytest.raises(UserError, match="no explained row of the split 'train' has the key 'p3'"):
        explained(run, tmp_path / "out", **{**given, "inputs": ("calls",)})
    with pytest.raises(UserError, match="--input scores: no explained term reads it"):
        explained(run, tmp_path / "out", **given)
    (one,) = explained(run, tmp_path / "out", rows=2, inputs=("scores",), individuals=("p4", "p5")).values()
    absent, person = one.about["details"]["individuals"]
    assert (absent["key"], absent["absent"], person["key"], person["absent"]) == ("p4", True, "p5", False)
    assert {"p4", "p5"} <= set(one.attributions()["key"])
    values = one.attributions().filter(pl.col("key") == "p5")["attributions"].to_numpy()[0]
    names = [column["name"] for column in one.about["columns"]]
    order = [names[index] for index in np.argsort(-values)]
    listed = [entry["name"] for entry in (*person["highest"], *person["lowest"][::-1])]
    assert listed == [name for name in order if values[names.index(name)] != 0]
    assert "individual-2.png" in {path.name for path in one.pictures}


def test_noise_is_averaged_and_depends_on_the_row_alone(run: Run, tmp_path: Path) -> None:
    options = {"inputs": ("scores",), "steps": 16, "noise_samples": 2, "noise_std": 0.3}
    (noisy,) = explained(run, tmp_path / "noisy", **options).values()
    (plain,) = explained(run, tmp_path / "plain", **{**options, "noise_samples": 0}).values()
    (few,) = explained(run, tmp_path / "few", **options, rows=4).values()
    assert noisy.about["settings"]["noise"] == {"samples": 2, "std": 0.3, "seed": 0}
    assert plain.about["settings"]["noise"] is None
    first, again, without = (
        dict(one.attributions().drop_nulls().select("key", "attributions").iter_rows()) for one in (noisy, few, plain)
    )
    assert again
    for key, values in again.items():
        np.testing.assert_allclose(values, first[key], rtol=1e-4, atol=1e-6)
    assert not np.allclose(first["p5"], without["p5"], rtol=1e-2)


@pytest.mark.core
def test_columns_of_noise_that_a_view_adds_are_explained_behind_the_features(store: Store, tmp_path: Path) -> None:
    """As in `contig/covariates`, whose explanation must find next to nothing in them."""
    config = config_of(store, "image", "scores")
    config.views.scores = view("vector_noise", modality="scores", noise=3)
    config.objective = (term("clip", between=("image", "scores"), **TRAINED),)
    noisy = Run.begin(tmp_path / "run", config, store, Inputs.fit(config.inputs, store))
    found = explained(noisy, tmp_path / "out", inputs=("scores",), steps=4)["scores"]
    columns, width = found.about["columns"], store.schema.entries["scores"].shape[0]
    assert [column["name"] for column in columns][width:] == ["noise 1", "noise 2", "noise 3"]
    assert [column["group"] for column in columns][-3:] == ["noise"] * 3
    values = np.stack(found.attributions()["attributions"].drop_nulls().to_list())
    assert values.shape[1] == width + 3
    np.testing.assert_allclose(np.abs(values).mean(axis=0), [column["importance"] for column in columns], rtol=1e-4)
    assert np.abs(values[:, -3:]).max() > 0  # the plain view draws noise, keyed by the row


def test_noise_of_a_linear_function_has_the_closed_form() -> None:
    weights, rows = np.array([1.0, -2.0, 3.0], np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    noise = Noise(samples=3, std=0.5, seed=7)
    found = integrated_gradients(lambda x: x @ weights, rows, 1.0, steps=2, noise=noise)
    draws = np.mean([np.asarray(noise.draw(draw, jnp.arange(2), 3)) for draw in range(3)], axis=0)
    np.testing.assert_allclose(found.attributions, (rows + draws - 1) * weights, rtol=1e-5)
    np.testing.assert_allclose(found.change, ((rows + draws - 1) * weights).sum(axis=1), rtol=1e-5)
    assert 0.2 < np.std(np.asarray(noise.draw(0, jnp.arange(500), 3))) < 0.8


@pytest.mark.core
def test_one_path_of_all_inputs_of_separate_terms_is_the_path_of_each() -> None:
    """So the released explainer, which joins the genetic inputs, and `--method loss` find the same."""
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    parts = (lambda x: jnp.tanh(x).prod(axis=1), lambda y: jnp.exp(y).sum(axis=1) ** 2)
    joined = integrated_gradients(lambda x: parts[0](x[:, :2]) + parts[1](x[:, 2:]), rows, steps=50)
    alone = [
        integrated_gradients(part, rows[:, at], steps=50)
        for part, at in zip(parts, (slice(2), slice(2, 5)), strict=True)
    ]
    np.testing.assert_allclose(
        joined.attributions, np.concatenate([one.attributions for one in alone], axis=1), rtol=1e-4
    )


@pytest.mark.core
def test_a_person_has_at_most_fifteen_features_of_a_sign() -> None:
    values = np.concatenate([np.arange(1.0, 41), -np.arange(1.0, 41), [0.0]])
    person = person_of("p", [f"f{index}" for index in range(81)], values)
    assert [entry["attribution"] for entry in person["highest"]] == [float(40 - index) for index in range(EACH)]
    assert [entry["attribution"] for entry in person["lowest"]] == [float(index - 40) for index in range(EACH)]
    assert person_of("p", ["a"], None)["absent"] is True


def test_columns_of_noise_get_next_to_nothing() -> None:
    """The paper's check of its explanations: a model on covariates beside noise, trained and explained."""
    rng, people, real, noise = np.random.default_rng(0), 512, 4, 5
    covariates = rng.normal(size=(2 * people, real))
    images = jnp.asarray(np.tanh(covariates @ rng.normal(size=(real, 16))), jnp.float32)
    table = jnp.asarray(np.concatenate([covariates, rng.uniform(size=(2 * people, noise)) - 0.5], axis=1), jnp.float32)
    shapes = {"image": (16, 32), "table": (real + noise, 32), "image out": (32, 8), "table out": (32, 8)}
    weights = {
        name: jnp.asarray(rng.normal(size=shape) / np.sqrt(shape[0]), jnp.float32) for name, shape in shapes.items()
    }
    train, released = clip(temperature=0.1), clip(temperature=1.0)

    def embedded(weights: Any, name: str, rows: Any) -> Any:
        return jnp.tanh(rows @ weights[name]) @ weights[f"{name} out"]

    def loss(weights: Any, rows: Any) -> Any:
        return train(embedded(weights, "image", images[rows]), embedded(weights, "table", table[rows]))

    @jax.jit
    def step(weights: Any, rows: Any) -> Any:
        return jax.tree.map(lambda w, g: (1 - 3e-3) * w - 0.1 * g, weights, jax.grad(loss)(weights, rows))

    for _ in range(400):
        weights = step(weights, jnp.asarray(rng.permutation(people)[:128]))
    reference = {
        name: embedded(weights, name, rows[people : people + 100])
        for name, rows in (("image", images), ("table", table))
    }
    importances = []
    for person in range(people + 100, people + 108):
        image = embedded(weights, "image", images[person][None])

        def of_row(row: Any, image: Any = image) -> Any:
            return released(
                jnp.concatenate([reference["image"], image]),
                jnp.concatenate([reference["table"], embedded(weights, "table", row)]),
            )[None]

        importances.append(np.abs(integrated_gradients(of_row, table[person][None], steps=50).attributions[0]))
    importance = np.mean(importances, axis=0)
    assert importance[real:].max() < 0.1 * importance[:real].min()


@pytest.mark.foreign
def test_captum_averages_over_noise_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """NoiseTunnel (SmoothGrad) around integrated gradients, with the same draws of noise."""
    torch = pytest.importorskip("torch")
    captum = pytest.importorskip("captum.attr")
    rng, noise = np.random.default_rng(0), Noise()
    weights, rows = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(3, 6)).astype(np.float32)
    start = rng.normal(size=6).astype(np.float32)
    found = integrated_gradients(
        lambda x: jnp.tanh(x @ weights).prod(axis=1) + x[:, 0] ** 3, rows, start, steps=50, noise=noise
    )
    draws = np.stack([np.asarray(noise.draw(draw, jnp.arange(3), 6)) for draw in range(5)], axis=1).reshape(15, 6)
    monkeypatch.setattr(torch, "normal", lambda *given, **named: torch.tensor(draws))

    def function(x: Any) -> Any:
        return torch.tanh(x @ torch.tensor(weights)).prod(dim=1) + x[:, 0] ** 3

    tunnel = captum.NoiseTunnel(captum.IntegratedGradients(function))
    expected = tunnel.attribute(
        torch.tensor(rows), baselines=torch.tensor(start[None]), n_steps=50, nt_type="smoothgrad"
    )
    np.testing.assert_allclose(found.attributions, expected.detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.core
def test_the_report_has_a_table_of_modalities_and_no_more_than_the_first_columns(tmp_path: Path) -> None:
    columns = [
        {"name": f"rs{index}", "group": "other", "importance": 1 / (index + 1), "share": 0.0, "rank": index + 1}
        for index in range(20_000)
    ]
    about = {
        "method": "loss", "input": "snp", "of": "the loss", "rows": 30, "columns": columns, "pictures": [], "notes": [],
        "groups": [{"name": "other", "colour": "#0072B2", "columns": 20_000, "importance": 1.0, "share": 1.0}],
        "details": {"absent": 4, "modality": {"summed": 0.125, "mean": 6.25e-6}},
    }  # fmt: skip
    found = Explanation(tmp_path, about)
    page = str(_columns(found, "Loss"))
    assert len(page) < 200_000
    assert "The first 500 of 20,000 columns; explanation.json has all" in page
    assert "rs499" in page
    assert "rs500" not in page
    table = str(_modalities([found]))
    for text in ("snp", ">26<", ">4<", "0.125", "6.25e-06"):
        assert text in table
    assert _modalities([Explanation(tmp_path, {**about, "method": "ablation"})]) is None
