"""From a config and data to the parts of an experiment, with everything checked before anything runs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mmcl_jax.data.encoding import Encoding
from mmcl_jax.data.input import Batches, fitted_inputs, is_streamed, training_arrays
from mmcl_jax.data.label_feature import append_label, raw_table
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.selection import select_columns
from mmcl_jax.data.statistics import Statistics
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.objectives import Execution, Objective, build_objective
from mmcl_jax.training.forward import check_parts
from mmcl_jax.training.mesh import by_example, by_size, make_mesh, placed, replicated
from mmcl_jax.training.model import trained_model
from mmcl_jax.training.optimizer import OPTIMIZERS, SCHEDULES
from mmcl_jax.training.state import TrainState, first_state
from mmcl_jax.training.validate import check_config, check_split
from mmcl_jax.views import VIEWS, View


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The parts of an experiment. `graphdef` is the structure of its model; its arrays are in the train state."""

    config: ConfigDict
    schema: Schema
    mesh: Mesh
    batches: Batches
    views: dict[str, View]
    graphdef: nnx.GraphDef
    objective: Objective
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation

    def init(self, seed: jax.Array) -> TrainState:
        """The first state. Run it under `jax.jit` with `out_shardings`, so that every array is made where it stays."""
        key = jax.random.key(seed)
        model = trained_model(self.config, self.schema, rngs=nnx.Rngs(key))
        sizes = {
            name: model.projectors[view.modality].features
            for name, view in self.views.items()
            if view.modality in model.projectors
        }
        memory = self.objective.first_memory(sizes, jax.random.fold_in(key, 1))
        return first_state(model, self.optimizer, has_target="target" in self.objective.reads, memory=memory)

    def constants(self) -> dict[str, Any]:
        """What no step changes, on the host; see `make_step`."""
        return {"seed": np.uint32(self.config.seed), "fitted": fitted_inputs(self.batches)}

    def shardings(self, arrays: Any) -> Any:
        """Where the arrays of the train state, or of a part of it, lie."""
        return by_size(self.mesh, arrays, above=self.config.mesh.shard_above)

    def shapes(self) -> tuple[Any, Any, Any]:
        """The shapes, dtypes and shardings of the step's arguments: state, batch (of all processes), constants."""
        state = jax.eval_shape(self.init, np.uint32(0))
        batch = {
            name: jax.ShapeDtypeStruct((self.batches.batch_size, *rows.shape[1:]), rows.dtype)
            for name, rows in self.batches[0].items()
        }
        return (
            placed(state, self.shardings(state)),
            placed(batch, by_example(self.mesh)),
            placed(self.constants(), replicated(self.mesh)),
        )


def fit_encoding(config: ConfigDict, store: Store) -> Encoding:
    """How the table's rows are encoded, fitted on the training split.

    Raises:
      UserError: the label is to be a feature, and the store has none; or no column has the tag of `config.columns`.
    """
    schema = select_columns(store.schema, config.columns)
    if config.label_as_feature:
        schema = append_label(schema, store)
    table = raw_table(store.rows("train"), store.schema, schema)
    statistics = store.statistics if schema == store.schema else Statistics.fit(table, schema)
    return Encoding.fit(table, schema, statistics, missing=config.missing, outside=config.outside)


def build_experiment(
    config: ConfigDict, store: Store, devices: Sequence[jax.Device] | None = None, *, encoding: Encoding | None = None
) -> Experiment:
    """The experiment on the training split of a store and on these devices (all by default).

    `encoding` is that of a run which is continued; by default it is fitted.

    Raises:
      UserError: naming the config key, file or column that is wrong.
    """
    check_config(config)
    encoding = encoding or fit_encoding(config, store)
    batches = Batches(
        training_arrays(
            store,
            "train",
            config.encoders.keys(),
            encoding,
            streamed=is_streamed(config.input.images, store),
        ),
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=config.seed,
        process=jax.process_index(),
        processes=jax.process_count(),
    )
    return assemble(config, encoding.schema, batches, devices)


def assemble(
    config: ConfigDict, schema: Schema, batches: Batches, devices: Sequence[jax.Device] | None = None
) -> Experiment:
    """The experiment on any batches that the schema describes. Builds and checks every part; allocates no parameters.

    Raises:
      UserError: naming the config key that is wrong.
    """
    check_config(config)
    mesh = make_mesh(devices, model=config.mesh.model)
    check_split(config, mesh.size)
    views = {name: VIEWS.build(spec, f"config.views.{name}") for name, spec in sorted(config.views.items())}
    for name, view in views.items():
        kind = config.views[name].name
        check(
            view.takes == view.modality,
            f"config.views.{name}: {kind!r} is a view of the {view.takes}, not of {view.modality!r}.",
        )
    execution = Execution(name=config.pairs.execution, tile=config.pairs.tile, mesh=mesh)
    objective = build_objective(config.objective, list(views), execution=execution, schema=schema)
    for place, term in enumerate(objective.terms.values()):
        for entry in term.needs:
            check(
                entry in batches.arrays,
                f"config.objective.{place}: this term needs the {entry} of every row"
                + (
                    "; prepare the store with --label."
                    if entry == "label"
                    else ", which is no modality of this config."
                ),
            )
    missing = check_parts(objective, views, {part: list(config[part]) for part in ("projectors", "predictors")})
    if missing is not None:
        raise UserError(missing)
    model = nnx.eval_shape(lambda: trained_model(config, schema, rngs=nnx.Rngs(0)))
    schedule = SCHEDULES.build(
        config.schedule, "config.schedule", epochs=config.epochs, steps_per_epoch=batches.steps_per_epoch
    )
    return Experiment(
        config=config,
        schema=schema,
        mesh=mesh,
        batches=batches,
        views=views,
        graphdef=nnx.graphdef(model),
        objective=objective,
        schedule=schedule,
        optimizer=OPTIMIZERS.build(config.optimizer, "config.optimizer", schedule=schedule),
    )
