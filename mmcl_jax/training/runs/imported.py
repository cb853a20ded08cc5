"""A run whose weights come from elsewhere: a run at step 0."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import jax
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.data.input import iterate
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.errors import check
from mmcl_jax.files import writing
from mmcl_jax.lock import locked
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.mesh import put_whole, replicated, shardings_of
from mmcl_jax.training.runs.checkpoint import Checkpoints
from mmcl_jax.training.runs.logged import steps_of
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.runs.skips import Skipped
from mmcl_jax.training.state.initial_weights import InitialWeights


def import_run(
    config: ConfigDict, workdir: Path, read: Callable[[Model], InitialWeights]
) -> tuple[Run, InitialWeights]:
    """Write a run at step 0 with the weights that `read` returns for the model of the experiment, or for its shapes.

    Everything is checked before the first file is written. A call that was killed is completed by the same call.

    Raises:
      UserError: the config or the store is wrong, the folder holds something else, or what `read` raises.
    """
    store = Store.open(config.data)
    check(not steps_of(workdir / "checkpoints"), f"{workdir} holds a run with checkpoints; choose another --out.")
    experiment = build_experiment(config, store)
    assert experiment.fitted_inputs is not None
    shapes = experiment.shapes()[0]
    weights = read(nnx.merge(experiment.graphdef, *shapes.weights()))
    with writing(workdir), contextlib.ExitStack() as resources:
        run = Run.begin(workdir, config, store, experiment.fitted_inputs, weights=weights.records)
        resources.enter_context(locked(workdir / "lock.json", what=f"trains in {workdir}"))
        data = iterate(experiment.batches, workers=0)
        resources.callback(data.close)
        seed, loaded = put_whole((experiment.constants()["seed"], weights.arrays), replicated(experiment.mesh))
        state = jax.jit(experiment.init, out_shardings=shardings_of(shapes))(seed, loaded)
        with contextlib.closing(Checkpoints(run.checkpoints, keep=config.keep_checkpoints)) as checkpoints:
            checkpoints.save(0, state, data=data.get_state(), seconds=0.0, skipped=Skipped())
    return run, weights
