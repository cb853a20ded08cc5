"""A run keeps what leads from a row to a batch, whatever its inputs are, and goes on with it."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from mmcl_jax.config import view
from mmcl_jax.errors import UserError
from mmcl_jax.files import damage
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run
from tests.data.many import store_of
from tests.data.test_inputs import config_of
from tests.training.test_loop import bits, quiet, stop_at


def test_a_run_on_inputs_of_any_name_is_continued_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path / "store")
    config = config_of(store, "image", "scores")
    config.views.scores = view("vector_scarf", modality="scores", population=6)
    config.cohort, config.epochs, config.monitor.epochs = "inner", 3, None
    whole = pretrain(config, tmp_path / "whole", log=quiet, devices=jax.devices()[:1])
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        assert pretrain(config, tmp_path / "run", log=quiet, devices=jax.devices()[:1]).step == 4
    assert bits(pretrain(config, tmp_path / "run", log=quiet, devices=jax.devices()[:1]).state) == bits(whole.state)

    run = Run.open(tmp_path / "run")
    assert set(run.model().encoders) == {"image", "scores"}
    every = np.asarray(store.read("train", ["scores"])["scores"])
    np.testing.assert_allclose(
        run.inputs.fitted["scores"]["mean"], np.nanmean(every.astype(np.float64), axis=0), rtol=1e-5
    )
    assert "inputs/scores/fitted.npz" in json.loads((tmp_path / "run" / "checksums.json").read_text())
    assert damage(tmp_path / "run") is None

    other = config.copy_and_resolve_references()
    other.inputs.scores.missing = "mean"
    with pytest.raises(UserError, match=r"holds another experiment: config.inputs.scores.missing is 'refuse' there"):
        pretrain(other, tmp_path / "run", log=quiet, devices=jax.devices()[:1])
