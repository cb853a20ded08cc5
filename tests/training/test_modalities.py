"""Any modalities train alike on any number of devices, and in slices."""

from pathlib import Path

import jax
import numpy as np
import pytest

from examples.modalities import CASES, write_case
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.loop import pretrain
from tests.training.test_loop import losses as losses_of
from tests.training.test_loop import quiet, stop_at
from tests.training.walk import begin, compiled, walk

STEPS = 3
SMALL = ("batch_size=64", "batch_norm.group_size=8")
# Attention takes long to compile; its rows do not depend on one another (`tests/encoders/test_fusions.py`).
OF_CASE = {"fusion": ("encoders.fusion.name=concat_mlp", "encoders.fusion.hidden=16", "encoders.fusion.features=8")}


def losses(folder: Path, devices: int, *options: str) -> list[float]:
    """The losses of the first steps of a case."""
    config = load(str(folder / "config.py"), [f"data={folder / 'store'}", *SMALL, *options])
    experiment = build_experiment(config, Store.open(folder / "store"), jax.devices()[:devices])
    return walk(compiled(experiment), *begin(experiment, STEPS))


@pytest.mark.parametrize("case", [case for case in CASES if case != "fusion"])  # see `test_fusions`
def test_devices_and_slices_change_nothing(case: str, tmp_path: Path) -> None:
    folder = tmp_path / case
    write_case(case, folder, rows=120)
    prepare(Request.read(folder / "request.json", {}), folder / "store")
    own = OF_CASE.get(case, ())
    expected = losses(folder, 1, *own)
    assert np.isfinite(expected).all()
    assert len(set(expected)) == STEPS
    # Slices on several devices are the most that can differ; whole batches on 8 are for the case that compiles fastest.
    for devices, options in ((2, ("micro_batch=32",)), *([(8, ())] if case == "two_views" else [])):
        np.testing.assert_allclose(losses(folder, devices, *own, *options), expected, rtol=1e-5)


def test_a_run_of_several_inputs_moves_between_numbers_of_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image and three vectors, of which rows lack some: saved on 8 devices, then on 2, and ended on 1."""
    folder = tmp_path / "vectors"
    write_case("vectors", folder, rows=120)
    prepare(Request.read(folder / "request.json", {}), folder / "store")
    config = load(str(folder / "config.py"), [f"data={folder / 'store'}", *SMALL, "epochs=4", "log_every=1"])
    pretrain(config, tmp_path / "whole", devices=jax.devices()[:8], log=quiet)
    for devices, session in ((8, 2), (2, 1), (1, None)):
        with monkeypatch.context() as patch:
            if session is not None:
                stop_at(patch, session)
            pretrain(config, tmp_path / "moved", devices=jax.devices()[:devices], log=quiet)
    whole = losses_of(tmp_path / "whole")
    assert len(whole) == 4
    np.testing.assert_allclose(losses_of(tmp_path / "moved"), whole, rtol=1e-5)
