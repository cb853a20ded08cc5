"""Every method's own parts in the one step: target network, predictor, queue, heads; and choices of columns."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import optax
import polars as pl
import pytest
from flax import nnx

from mmcl_jax.config import experiments, load
from mmcl_jax.data.inputs import OPTIONS, Inputs, input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.data.table.selection import select_columns
from mmcl_jax.encoders import Model
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.build import build_experiment, fit_inputs
from mmcl_jax.training.faults import read_faults
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.target import ema_update
from mmcl_jax.training.step.train_step import make_step
from mmcl_jax.views import apply_views
from tests.training.test_loop import bits, losses, quiet, stop_at
from tests.training.test_scale import assert_same, experiment_of, one_step

DIGITS = [name for name in experiments() if name.startswith("mmcl/") and name.endswith(":digits")]
SMALL = {
    "batch_size": 64, "epochs": 1, "batch_norm.group_size": 8, "log_every": 1, "checkpoint_every": 1000,
}  # fmt: skip


@pytest.fixture
def small(digits_store: Store):
    """Makes a method's config for the digits small: `small(method, *overrides)`."""

    def make(method: str, *overrides: str):
        config = load(f"mmcl/{method}:digits", [f"data={digits_store.directory}"])
        sizes = [f"{key}={value}" for key, value in SMALL.items()]
        sizes += ["encoders.image.channels=(4, 8)"] if "image" in config.encoders else []
        sizes += ["encoders.table.hidden=16", "encoders.table.features=8"] if "table" in config.encoders else []
        sizes += ["schedule.warmup_epochs=0"] if "warmup_epochs" in config.schedule else []
        return load(f"mmcl/{method}:digits", [f"data={digits_store.directory}", *sizes, *overrides])

    return make


@pytest.mark.parametrize("name", DIGITS)
def test_every_experiment_fits_together(name: str, digits_store: Store) -> None:
    """Builds and traces the step at its full size, without compiling it."""
    experiment = build_experiment(load(name, [f"data={digits_store.directory}"]), digits_store, jax.devices()[:1])
    state, metrics = jax.eval_shape(make_step(experiment), *experiment.shapes())
    assert "loss" in metrics
    assert any(key.startswith("rank/") for key in metrics)
    assert bool(state.target) == ("byol" in name)
    assert bool(state.queues) == ("nnclr" in name)


@pytest.mark.parametrize("method", ["byol", "nnclr", "vime", "supervised_both"])
def test_slices_and_devices_change_nothing(method: str, small) -> None:
    """One step: on one device at once, and on two in slices."""
    expected, expected_metrics = one_step(experiment_of(small(method), 1))
    state, metrics = one_step(experiment_of(small(method, "micro_batch=32"), 2))
    assert_same(metrics, expected_metrics, rtol=2e-5)
    moments, expected_moments = (
        jax.tree.leaves(optax.tree_utils.tree_get(s.optimizer_state, "mu")) for s in (state, expected)
    )
    largest = max(np.abs(moment).max() for moment in expected_moments)
    for mine, theirs in zip(moments, expected_moments, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6 * largest)
    assert_same(state.queues, expected.queues, rtol=1e-5, atol=1e-6)


def test_the_target_network_follows(small) -> None:
    """After one step of K: tau target + (1 - tau) params, with tau the first decay."""
    experiment = experiment_of(small("byol", "target.decay=0.9"), 1)
    first = jax.device_get(jax.jit(experiment.init)(np.uint32(experiment.config.seed)))
    assert_same(first.target, {part: first.params[part] for part in first.target}, rtol=0)
    state, _ = one_step(experiment)
    for part in ("encoders", "projectors"):
        expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, first.params[part], state.params[part])
        assert_same(state.target[part], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.core
def test_the_targets_decay_rises_to_one_along_a_cosine() -> None:
    """Grill et al. (NeurIPS 2020), section 3.3: tau is 1 - (1 - tau_0) (cos(pi k / K) + 1) / 2 at step k of K."""
    old, new = {"w": np.float32([1.0, -2.0])}, {"w": np.float32([3.0, 5.0])}
    for step in (0, 1, 25, 50, 99, 100):
        tau = 1 - (1 - 0.9) * (np.cos(np.pi * step / 100) + 1) / 2
        found = ema_update(old, new, decay=0.9, at=np.int32(step), of=100)["w"]
        np.testing.assert_allclose(found, tau * old["w"] + (1 - tau) * new["w"], rtol=1e-6, err_msg=str(step))


def test_the_target_network_teaches(small) -> None:
    """With a target network that differs from the online one: BYOL's loss of one batch, written down again."""
    made = experiment_of(small("byol"), 1)
    initialise = jax.jit(made.init)
    state, other = (initialise(np.uint32(seed)) for seed in (1, 2))
    state = dataclasses.replace(state, target=other.target)
    batch, constants = jax.device_put((dict(made.batches[0]), made.constants()))
    _, metrics = jax.jit(make_step(made))(state, batch, constants)

    @jax.jit
    def expected(params, target, model_state):
        seen = apply_views(made.views, batch, step=state.step, **constants)
        online = nnx.merge(made.graphdef, params, model_state)
        teacher = nnx.merge(made.graphdef, {**params, **target}, model_state)
        z, p = {}, {}
        for name in ("image_1", "image_2"):
            embedding = online.project("image", online.encode("image", seen[name].values, train=True), train=True)
            p[name] = online.predict("image", embedding, train=True)
            z[name] = teacher.project("image", teacher.encode("image", seen[name].values, train=True), train=True)
        return p, z

    def cosines(x, y) -> np.ndarray:
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)

    def loss(p, z) -> float:
        return 4 - 2 * np.mean(cosines(p["image_1"], z["image_2"]) + cosines(p["image_2"], z["image_1"]))

    taught = loss(*expected(state.params, state.target, state.model_state))
    alone = loss(*expected(state.params, {part: state.params[part] for part in state.target}, state.model_state))
    np.testing.assert_allclose(metrics["loss"], taught, rtol=1e-4)
    assert abs(taught - alone) > 0.05


@pytest.mark.core
def test_rows_without_a_label_have_no_fellows(raw: Request, tmp_path: Path) -> None:
    """They have the code -1, which terms take for no class."""
    cells = pl.read_csv(raw.table)
    cells.with_columns(model=pl.when(pl.int_range(40) % 4 == 0).then(None).otherwise(pl.col("model"))).write_csv(
        raw.table
    )
    store = prepare(raw, tmp_path / "store")
    arrays = input_arrays(store, "train", Inputs.fit({"image": OPTIONS}, store))
    absent = np.asarray(arrays["id"]) % 4 == 0
    assert absent.sum() > 3
    np.testing.assert_array_equal(arrays["target/model"] == -1, absent)
    np.testing.assert_array_equal(arrays["target/model"] >= 0, ~absent)


@pytest.mark.parametrize("method", ["byol", "nnclr"])
def test_a_stopped_run_keeps_target_and_queue(
    method: str, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, one = small(method), jax.devices()[:1]
    whole = pretrain(config, tmp_path / "whole", devices=one, log=quiet)

    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        assert pretrain(config, tmp_path / "stopped", devices=one, log=quiet).step == 7
    again = pretrain(config, tmp_path / "stopped", devices=one, log=quiet)
    assert bits(again.state) == bits(whole.state)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert jax.tree.leaves(again.state.target if method == "byol" else again.state.queues)


def test_a_learning_rate_that_explodes_and_a_temperature_at_its_bound_are_reported(small, tmp_path: Path) -> None:
    """From the first step on, in one real training: both are in the record, and each is told once."""
    wrong = ["schedule.learning_rate=1e4", "objective.0.temperature=0.01", "objective.0.learn_temperature=True"]
    lines: list[str] = []
    pretrain(small("mmcl", *wrong, "batch_size=256"), tmp_path / "run", log=lines.append)
    began = {fault.kind: fault for fault in reversed(read_faults(tmp_path / "run")) if not fault.ended}
    assert began["norm"].name == "parameter_norm"
    assert began["norm"].value > 1000
    assert began["temperature"].name == "clip/image-table"
    assert (began["norm"].step, began["temperature"].step) == (1, 1)
    assert sum(" exploded to " in line for line in lines) == 1
    assert sum("no longer trained" in line for line in lines) == 1


def test_collapse_is_reported(small, tmp_path: Path) -> None:
    """VICReg without what keeps embeddings apart: the last layer's bias is all that is left of them."""
    pull = ["objective.0.variance=0", "objective.0.covariance=0", "schedule.learning_rate=0.03", "epochs=9"]
    pull += ["projectors.image.name=mlp", "projectors.image.hidden=8", "projectors.image.out=8"]
    lines: list[str] = []
    result = pretrain(small("vicreg", *pull), tmp_path / "run", log=lines.append)
    log = read_metrics(tmp_path / "run")
    assert log[0]["deviation/image_1"] > 0.1
    low = tuple(view for view in ("image_1", "image_2") if log[-1][f"deviation/{view}"] < 0.05)
    assert low, log[-1]
    assert result.collapsed == low
    assert f"the embeddings of {' and '.join(low)} have collapsed" in result.describe()
    first = next(line for line in log if line["deviation/image_1"] < 0.05)
    began = next(fault for fault in read_faults(tmp_path / "run") if fault.name == "image_1")
    assert (began.step, began.kind, began.value) == (first["step"], "collapse", first["deviation/image_1"])
    assert any(line.startswith(f"step {began.step}: WARNING: the embeddings of ") for line in lines)
    assert all(0 < line["parameter_norm"] < 100 for line in log)
    with pytest.raises(UserError, match=r"Step \d+: the embeddings .* config.stop.on has 'collapse'"):
        pretrain(small("vicreg", *pull, "stop.on=('collapse',)"), tmp_path / "stopped", log=quiet)
    assert read_metrics(tmp_path / "stopped")[-1]["step"] == read_faults(tmp_path / "stopped")[0].step
    healthy = pretrain(small("vicreg"), tmp_path / "healthy", log=quiet)
    assert healthy.collapsed == ()
    assert "collapsed" not in healthy.describe()


def test_a_monitor_looks_between_steps_and_changes_nothing(small, tmp_path: Path) -> None:
    seen = []

    def monitor(store: Store, config, inputs):
        def look(model: Model) -> dict[str, float]:
            seen.append(float(jax.tree.leaves(model.encoders["image"].convs[0].kernel[...])[0].sum()))
            return {"online/sum": seen[-1]}

        return look

    config = small("simclr", "epochs=3", "monitor.epochs=2", "mesh.model=2", "mesh.shard_above=32")
    watched = pretrain(config, tmp_path / "watched", monitor=monitor, devices=jax.devices()[:2], log=quiet)
    plain = pretrain(config, tmp_path / "plain", devices=jax.devices()[:2], log=quiet)
    assert bits(watched.state) == bits(plain.state)
    online = {line["step"]: line["online/sum"] for line in read_metrics(tmp_path / "watched") if "online/sum" in line}
    assert list(online) == [36, 54]
    assert list(online.values()) == seen
    config.monitor.epochs = None

    def fail(*_: object) -> None:
        pytest.fail("it looked")

    pretrain(config, tmp_path / "never", monitor=fail, devices=jax.devices()[:2], log=quiet)


@pytest.fixture
def tagged(raw: Request, tmp_path: Path) -> Store:
    """A store of cars with a tag on one column."""
    declaration = Declaration(columns={"price": Declared(tags=("money",))})
    return prepare(dataclasses.replace(raw, schema=declaration), tmp_path / "store")


@pytest.mark.core
def test_columns_are_chosen_by_tag(tagged: Store, tmp_path: Path) -> None:
    names = {
        columns: [column.name for column in select_columns(tagged.schema, columns).columns]
        for columns in ("all", "money", "not money")
    }
    assert names == {
        "all": ["price", "seats", "gearbox"], "money": ["price"], "not money": ["seats", "gearbox"],
    }  # fmt: skip
    for columns, sentence in [
        ("weight", "no column has the tag 'weight'; the tags are money"),
        ("not x", "the tag 'x'"),
    ]:
        with pytest.raises(UserError, match=sentence):
            select_columns(tagged.schema, columns)
    whole = fit_inputs(load("mmcl"), tagged)
    some = fit_inputs(load("mmcl", ["inputs.table.columns=not money", "inputs.table.label_as_feature=True"]), tagged)
    assert [column.name for column in some.schema.columns] == ["seats", "gearbox", "model (label)"]
    rows = tagged.rows("train")
    both = [input_arrays(tagged, "train", inputs)["table"] for inputs in (whole, some)]
    np.testing.assert_array_equal(both[1][:, :2], both[0][:, 1:])
    np.testing.assert_array_equal(both[1][:, 2], rows["label"])


@pytest.mark.core
def test_parts_that_a_term_needs_are_asked_for(small, tmp_path: Path) -> None:
    config = small("byol")
    del config.predictors.image
    with pytest.raises(UserError, match=r"0.between: 'image_1' needs 'image' in config.predictors, which has no keys"):
        pretrain(config, tmp_path / "run")
    config = small("mmcl")
    del config.projectors.table
    with pytest.raises(UserError, match=r"0.between: 'table' needs 'table' in config.projectors, which has image; add"):
        pretrain(config, tmp_path / "run")
    assert not Run.exists(tmp_path / "run")
