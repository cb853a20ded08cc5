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
from mmcl_jax.data.padded import PaddedBatches
from mmcl_jax.data.samplers import SAMPLERS, Sampler, Targets
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.selection import select_columns
from mmcl_jax.data.statistics import Statistics
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.objectives import Execution, Objective, build_objective
from mmcl_jax.training.control import first_control
from mmcl_jax.training.groups import check_groups
from mmcl_jax.training.mesh import by_example, by_size, make_mesh, placed, replicated
from mmcl_jax.training.model import trained_model
from mmcl_jax.training.optimizer import OPTIMIZERS
from mmcl_jax.training.schedules import SCHEDULES, Schedule
from mmcl_jax.training.state import TrainState, first_state, split_model
from mmcl_jax.training.validate import check_config, check_control, check_split
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
    schedule: Schedule
    optimizer: optax.GradientTransformation
    validation: PaddedBatches | None = None

    def init(self, seed: jax.Array) -> TrainState:
        """The first state. Run it under `jax.jit` with `out_shardings`, so that every array is made where it stays."""
        key = jax.random.key(seed)
        model = trained_model(self.config, self.schema, rngs=nnx.Rngs(key))
        first = (self.objective.terms[key].between[0] for key in self.objective.queues)
        sizes = {text: model.projectors[self.objective.key(text)].features for text in first}
        memory = self.objective.first_memory(sizes, jax.random.fold_in(key, 1))
        return first_state(
            model,
            self.optimizer,
            has_target=bool(self.objective.reads["teacher"]),
            memory=memory,
            frozen=self.config.frozen,
            has_average=self.config.average.kind is not None,
            control=first_control(self.schedule.plateau) if self.config.validation.epochs else None,
        )

    def averaging(self) -> dict[str, Any]:
        """Return how weights are averaged, for `average.averaged`."""
        average = self.config.average
        return {"kind": average.kind, "decay": average.decay, "start": average.start * self.batches.steps_per_epoch}

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


def build_sampler(config: ConfigDict, store: Store) -> Sampler:
    """Return what gives the training rows of every epoch.

    Raises:
      UserError: the store lacks what it chooses by.
    """
    return SAMPLERS.build(
        config.sampler,
        "config.sampler",
        rows=store.sizes["train"],
        batch_size=config.batch_size,
        targets=Targets.of(store, "train"),
    )


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
    streamed = is_streamed(config.input.images, store)
    share = {"batch_size": config.batch_size, "process": jax.process_index(), "processes": jax.process_count()}

    def read(split: str) -> dict[str, Any]:
        return training_arrays(store, split, config.encoders.keys(), encoding, streamed=streamed)

    batches = Batches(
        read("train"), epochs=config.epochs, seed=config.seed, sampler=build_sampler(config, store), **share
    )
    experiment = assemble(config, encoding.schema, batches, devices)
    if config.validation.epochs is None:
        return experiment
    check(
        store.sizes.get("val", 0) > 0,
        f"config.validation.epochs: {store.directory} has no validation rows; set it to None, or prepare a store with "
        f"--split.",
    )
    return dataclasses.replace(experiment, validation=PaddedBatches(read("val"), **share))


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
    objective = build_objective(
        config.objective, {name: view.modality for name, view in views.items()}, execution=execution, schema=schema
    )
    for index, term in enumerate(objective.terms.values()):
        for target in term.targets:
            check(
                f"target/{target}" in batches.arrays,
                f"config.objective.{index}: this term needs the label of every row; prepare the store with --label.",
            )
    model = nnx.eval_shape(lambda: trained_model(config, schema, rngs=nnx.Rngs(0)))
    check_groups(split_model(model)[0], config.frozen, dict(config.rates))
    schedule = SCHEDULES.build(
        config.schedule, "config.schedule", epochs=config.epochs, steps_per_epoch=batches.steps_per_epoch
    )
    check_control(config, schedule)
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
