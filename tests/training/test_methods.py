"""Every method's own parts in the one step: target network, predictor, queue, heads; and choices of columns."""

import contextlib
import dataclasses
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from mmcl_jax.config import experiments, load
from mmcl_jax.data.declaration import Declaration, Declared
from mmcl_jax.data.input import training_arrays
from mmcl_jax.data.prepare import prepare
from mmcl_jax.data.request import Request
from mmcl_jax.data.selection import select_columns
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import COLLAPSED
from mmcl_jax.training import loop
from mmcl_jax.training.build import build_experiment, fit_encoding
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.run import Run
from mmcl_jax.training.step import make_step
from tests.training.test_loop import bits, losses, quiet
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
    assert bool(state.memory) == ("nnclr" in name)


@pytest.mark.core
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
    assert_same(state.memory, expected.memory, rtol=1e-5, atol=1e-6)


@pytest.mark.core
def test_the_target_network_follows(small) -> None:
    """After one step of K: tau target + (1 - tau) params, with tau the first decay."""
    experiment = experiment_of(small("byol", "target.decay=0.9"), 1)
    first = jax.device_get(jax.jit(experiment.init)(np.uint32(experiment.config.seed)))
    assert_same(first.target, {part: first.params[part] for part in first.target}, rtol=0)
    state, _ = one_step(experiment)
    for part in ("encoders", "projectors"):
        expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, first.params[part], state.params[part])
        assert_same(state.target[part], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["byol", "nnclr"])
def test_a_stopped_run_keeps_target_and_queue(
    method: str, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(method)
    whole = pretrain(config, tmp_path / "whole", say=quiet)

    class Stopped:
        def at(self, step: int) -> bool:
            return step == 7

    with monkeypatch.context() as patch:
        patch.setattr(loop, "stop_on_signal", lambda: contextlib.nullcontext(Stopped()))
        assert pretrain(config, tmp_path / "stopped", say=quiet).step == 7
    again = pretrain(config, tmp_path / "stopped", say=quiet)
    assert bits(again.state) == bits(whole.state)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert jax.tree.leaves(again.state.target if method == "byol" else again.state.memory)


@pytest.mark.core
def test_collapse_is_reported(small, tmp_path: Path) -> None:
    """VICReg without what keeps embeddings apart: the last layer's bias is all that is left of them."""
    pull = ["objective.0.variance=0", "objective.0.covariance=0", "schedule.learning_rate=0.03", "epochs=9"]
    pull += ["projectors.image.name=mlp", "projectors.image.hidden=8", "projectors.image.out=8"]
    result = pretrain(small("vicreg", *pull), tmp_path / "run", say=quiet)
    log = read_metrics(tmp_path / "run")
    assert log[0]["deviation/image_1"] > 0.1
    low = tuple(view for view in ("image_1", "image_2") if log[-1][f"deviation/{view}"] < COLLAPSED)
    assert low, log[-1]
    assert result.collapsed == low
    assert f"the embeddings of {' and '.join(low)} have collapsed" in result.describe()
    healthy = pretrain(small("vicreg"), tmp_path / "healthy", say=quiet)
    assert healthy.collapsed == ()
    assert "collapsed" not in healthy.describe()


@pytest.mark.core
def test_a_monitor_looks_between_steps_and_changes_nothing(small, tmp_path: Path) -> None:
    seen = []

    def monitor(store: Store, config, encoding):
        def look(model: Model) -> dict[str, float]:
            seen.append(float(jax.tree.leaves(model.encoders["image"].convs[0].kernel[...])[0].sum()))
            return {"online/sum": seen[-1]}

        return look

    config = small("simclr", "epochs=3", "monitor.epochs=2", "mesh.model=2", "mesh.shard_above=32")
    watched = pretrain(config, tmp_path / "watched", monitor=monitor, devices=jax.devices()[:2], say=quiet)
    plain = pretrain(config, tmp_path / "plain", devices=jax.devices()[:2], say=quiet)
    assert bits(watched.state) == bits(plain.state)
    online = {line["step"]: line["online/sum"] for line in read_metrics(tmp_path / "watched") if "online/sum" in line}
    assert list(online) == [36, 54]
    assert list(online.values()) == seen
    never = small("simclr", "monitor.epochs=None")
    pretrain(never, tmp_path / "never", monitor=lambda *a: pytest.fail("it looked"), say=quiet)


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
    for columns, sentence in [("weight", "no column has the tag 'weight'; there are money"), ("not x", "the tag 'x'")]:
        with pytest.raises(UserError, match=sentence):
            select_columns(tagged.schema, columns)
    whole = fit_encoding(load("mmcl"), tagged)
    some = fit_encoding(load("mmcl", ["columns=not money", "label_as_feature=True"]), tagged)
    assert [column.name for column in some.schema.columns] == ["seats", "gearbox", "model (label)"]
    rows = tagged.rows("train")
    both = [training_arrays(tagged, "train", ["table"], encoding)["table"] for encoding in (whole, some)]
    np.testing.assert_array_equal(both[1][:, :2], both[0][:, 1:])
    np.testing.assert_array_equal(both[1][:, 2], rows["label"])


@pytest.mark.core
def test_parts_that_a_term_needs_are_asked_for(small, tmp_path: Path) -> None:
    config = small("byol")
    del config.predictors.image
    with pytest.raises(UserError, match=r"config.views.image_1.modality: there is no 'image' in config.predictors"):
        pretrain(config, tmp_path / "run")
    config = small("mmcl")
    del config.projectors.table
    with pytest.raises(UserError, match=r"config.views.table.modality: there is no 'table' in config.projectors"):
        pretrain(config, tmp_path / "run")
    assert not Run.exists(tmp_path / "run")
