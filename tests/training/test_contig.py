"""ContIG's experiments on a small drawn store of two eyes per person, of which some lack their genetics."""

import json
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from flax import nnx
from PIL import Image

from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import ViewSpec, build_model
from mmcl_jax.errors import UserError
from mmcl_jax.explain.columns import Columns, noise_columns
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training import parameters
from mmcl_jax.training.build import Experiment, build_experiment
from mmcl_jax.training.mesh import by_example, make_mesh, put
from mmcl_jax.training.optim.optimizer import OPTIMIZERS
from mmcl_jax.training.optim.schedules import constant
from mmcl_jax.training.step.train_step import make_step, trace_step
from mmcl_jax.views import VIEWS, apply_views
from tests.training.walk import begin, compiled

PEOPLE, STEPS = 48, 2
WIDTHS = {"snp": 9, "pgs": 5, "burden": 7, "covariates": 4}
NOISE = tuple(f"noise {index}" for index in range(1, 6))
GENETICS = ("snp", "pgs", "burden")
SMALL = ["batch_size=32", "batch_norm.group_size=8", "encoders.image.channels=(4,)", "monitor.epochs=None"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two eyes of every person; of the people, every fourth lacks variants, every fifth scores, every sixth burdens."""
    folder = tmp_path_factory.mktemp("eyes")
    rng = np.random.default_rng(0)
    people = [f"p{n}" for n in range(PEOPLE)]
    eyes = [f"{person}_{side}" for person in people for side in ("left", "right")]
    (folder / "images").mkdir()
    for eye in eyes:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / "images" / f"{eye}.png")
    owners = [eye.partition("_")[0] for eye in eyes]
    age = dict(zip(people, rng.normal(60, 8, PEOPLE), strict=True))
    frame = pl.DataFrame({"eye": eyes, "person": owners, "age": [age[owner] for owner in owners]})
    frame.write_csv(folder / "eyes.csv")
    lacking = {"snp": 4, "pgs": 5, "burden": 6}
    entries: dict[str, Any] = {
        "image": {"kind": "image", "folder": str(folder / "images"), "files": "{key}.png"},
        "table": {"kind": "table", "file": str(folder / "eyes.csv")},
    }
    for name, width in WIDTHS.items():
        kept = [n for n in range(len(eyes)) if name not in lacking or n // 2 % lacking[name]]
        numbers = rng.integers(0, 3, (PEOPLE, width)) if name == "snp" else rng.normal(size=(PEOPLE, width))
        values = np.repeat(numbers, 2, axis=0)[kept]
        columns = {f"{name}{index}": values[:, index] for index in range(width)}
        pl.DataFrame({"eye": [eyes[n] for n in kept], **columns}).write_csv(folder / f"{name}.csv")
        entries[name] = {"kind": "vector", "file": str(folder / f"{name}.csv"), "key": "eye"}
    entries["snp"]["dtype"] = "int8"
    request = {"key_column": "eye", "group_column": "person", "split": [0.7, 0.1, 0.2], "entries": entries}
    (folder / "request.json").write_text(json.dumps(request))
    prepare(Request.read(folder / "request.json", {}), folder / "store")
    return Store.open(folder / "store")


def experiment_of(store: Store, name: str, devices: int, *options: str) -> Experiment:
    """A shipped experiment at a size for a test."""
    config = load(f"contig/{name}:fundus", [f"data={store.directory}", *SMALL, *options])
    for part in ("encoders", "projectors"):
        for key, spec in config[part].items():
            if "hidden" in spec:
                config[part][key].hidden = 8
    return build_experiment(config, store, jax.devices()[:devices])


def first_steps(experiment: Experiment) -> list[dict[str, float]]:
    """The metrics of the first steps."""
    state, batches, constants = begin(experiment, STEPS)
    step, found = compiled(experiment), []
    for batch in batches:
        state, metrics = step(state, batch, constants)
        found.append({name: float(value) for name, value in metrics.items()})
    return found


@pytest.mark.parametrize("cohort", ["outer", "inner"])
def test_the_same_losses_on_1_and_2_devices(store: Store, cohort: str) -> None:
    """One term keeps both eyes as negatives, one leaves them out, and one attracts them."""
    rules = [f"objective.{index}.group={group}" for index, group in enumerate(("repel", "ignore", "attract"))]
    alone = experiment_of(store, cohort, 1, *rules)
    expected = first_steps(alone)
    assert len({metrics["loss"] for metrics in expected}) == STEPS
    for index, metrics in enumerate(expected):
        parts = [metrics[f"clip/image:{name}-{name}"] for name in GENETICS]
        assert np.isfinite(parts).all()
        assert metrics["loss"] == pytest.approx(sum(parts) / 3, rel=1e-5)
        batch = alone.batches[index]
        for name in GENETICS:
            there = int(batch[f"present/{name}"].sum())
            assert metrics[f"clip/image:{name}-{name}/rows"] == there
            assert (there == 32) == (cohort == "inner")
    options = ["micro_batch=16"] if cohort == "outer" else ["pairs.execution=dense"]
    for mine, theirs in zip(first_steps(experiment_of(store, cohort, 2, *rules, *options)), expected, strict=True):
        for name in ("loss", *(f"clip/image:{name}-{name}" for name in GENETICS)):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-5)


def operations(experiment: Experiment) -> Counter[str]:
    """The number of operations of each kind in the step, inside of loops and functions too."""
    found: Counter[str] = Counter()

    def count(jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            found[equation.primitive.name] += 1
            for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    count(inner)

    count(trace_step(make_step(experiment), *experiment.shapes()).jaxpr.jaxpr)
    return found


def test_an_image_is_encoded_once_however_many_partners_it_has(store: Store) -> None:
    """The released code runs the image's encoder, and updates its statistics, once for each of them."""
    one, three = (operations(experiment_of(store, name, 1)) for name in ("pgs", "outer"))
    assert one["conv_general_dilated"] == three["conv_general_dilated"] > 0
    assert one["dot_general"] < three["dot_general"]


def test_noise_is_drawn_anew_at_every_step_and_once_per_row_without_training(store: Store) -> None:
    made = experiment_of(store, "covariates", 1)
    assert made.config.encoders.covariates.layers == 0
    batch = put(made.batches[0], by_example(made.mesh))
    seen = [
        np.asarray(
            apply_views(
                {"covariates": made.views["covariates"]},
                batch,
                seed=jnp.uint32(1),
                step=jnp.int32(step),
                fitted=jax.tree.map(jnp.asarray, made.fitted),
                plain=plain,
            )["covariates"].values
        )
        for step, plain in ((0, False), (1, False), (0, True), (0, True))
    ]
    noise = [values[:, -5:] for values in seen]
    assert seen[0].shape == (32, WIDTHS["covariates"] + 5)
    assert all((values >= 0).all() and (values < 1).all() for values in noise)
    assert not (noise[0] == noise[1]).any()
    np.testing.assert_array_equal(seen[2], seen[3])
    np.testing.assert_array_equal(seen[0][:, :-5], seen[1][:, :-5])
    assert len(np.unique(noise[0])) == 32 * 5
    assert made.fitted_inputs is not None
    count = noise_columns(made.config, "covariates")
    columns = Columns.of(made.fitted_inputs, made.inputs["covariates"], "covariates", store, noise=count)
    assert columns.names == ("covariates0", "covariates1", "covariates2", "covariates3", *NOISE)
    assert columns.groups == ("other",) * 4 + ("noise",) * 5
    assert noise_columns(made.config, "image") == 0
    with pytest.raises(UserError, match="noise must be positive, not 0; the view 'vector' has none"):
        VIEWS.build(VIEWS.spec("vector_noise", noise=0), "config.views.covariates")


def test_a_store_without_groups_is_named(digits_store: Store) -> None:
    config = load("digits_mmcl", [f"data={digits_store.directory}", "objective.0.group=ignore"])
    with pytest.raises(UserError, match=r"config.objective.0.group: the store does not say which samples are of one"):
        build_experiment(config, digits_store)


def abstract(features: int, *, model: int = 1, layers: int = 1) -> None:
    """Check the parameters of `contig/snp` on this many variants."""
    config = load("contig/snp:ukb", [f"encoders.snp.layers={layers}", f"mesh.model={model}"])
    specs = {"image": ViewSpec(kind="image", shape=(32, 32, 3)), "snp": ViewSpec(kind="vector", shape=(features,))}
    made = nnx.eval_shape(lambda: build_model(config, specs, rngs=nnx.Rngs(0)))
    optimizer = OPTIMIZERS.build(config.optimizer, "", schedule=constant())
    parameters.check_parameters(config, made, optimizer, make_mesh(jax.devices()[:model], model=model))


@pytest.mark.core
def test_what_cannot_fit_is_refused_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """H1 on a million variants: 2,048,006,144 parameters, four times 4 bytes each."""
    monkeypatch.setattr(parameters, "memory_of_device", lambda mesh: 24 * 2**30)
    abstract(7_854)
    with pytest.raises(UserError) as error:
        abstract(10**6)
    sentence = str(error.value)
    assert sentence.startswith("config.encoders.snp: 2,048,006,144 of the model's 2,0")
    assert (
        "need at least 31.0 GiB per device, and a device has 24.0 GiB; choose a smaller config.encoders.snp.hidden, "
        in sentence
    )
    assert "fewer features of the input when the store is prepared" in sentence
    assert "config.mesh.model" in sentence
    abstract(10**6, model=2)  # divided over two devices
    with pytest.raises(UserError, match=r"config.projectors.snp: 2,048,2.* choose a smaller config.projectors.snp.hid"):
        abstract(10**6, layers=0)
    monkeypatch.setattr(parameters, "memory_of_device", lambda mesh: None)
    abstract(10**6)  # a device that is only described
