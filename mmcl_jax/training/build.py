"""From a config and a store to the parts of an experiment, with everything checked before anything runs."""

import dataclasses

import jax
import optax
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.data.input import Batches, training_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import build_model
from mmcl_jax.errors import check
from mmcl_jax.objectives import Objective, build_objective
from mmcl_jax.training.optimizer import OPTIMIZERS, SCHEDULES
from mmcl_jax.training.validate import check_config
from mmcl_jax.views import VIEWS, View


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The parts of an experiment. `graphdef` is the structure of its model; its arrays are in the train state."""

    config: ConfigDict
    store: Store
    batches: Batches
    views: dict[str, View]
    graphdef: nnx.GraphDef
    objective: Objective
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation


def build_experiment(config: ConfigDict) -> Experiment:
    """Builds and checks every part; allocates no parameters.

    Raises:
      UserError: naming the config key, file or column that is wrong.
    """
    check_config(config)
    store = Store.open(config.data)
    views = {name: VIEWS.build(spec, f"config.views.{name}") for name, spec in sorted(config.views.items())}
    for name, view in views.items():
        kind = config.views[name].name
        check(
            view.takes == view.modality,
            f"config.views.{name}: {kind!r} is a view of the {view.takes}, not of {view.modality!r}.",
        )
    objective = build_objective(config.objective, list(views))
    model = nnx.eval_shape(lambda: build_model(config, store.schema, rngs=nnx.Rngs(0)))
    batches = Batches(
        training_arrays(store, "train", config.encoders.keys(), missing=config.missing),
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=config.seed,
        process=jax.process_index(),
        processes=jax.process_count(),
    )
    schedule = SCHEDULES.build(
        config.schedule, "config.schedule", epochs=config.epochs, steps_per_epoch=batches.steps_per_epoch
    )
    return Experiment(
        config=config,
        store=store,
        batches=batches,
        views=views,
        graphdef=nnx.graphdef(model),
        objective=objective,
        schedule=schedule,
        optimizer=OPTIMIZERS.build(config.optimizer, "config.optimizer", schedule=schedule),
    )
