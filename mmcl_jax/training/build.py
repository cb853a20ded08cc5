"""Build the parts of an experiment from a config and data, and check all of them before a step runs."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mmcl_jax.data.cohort import cohort_rows
from mmcl_jax.data.input import Batches, is_streamed
from mmcl_jax.data.inputs import Inputs, InputSpec, input_arrays, shared, specs_of
from mmcl_jax.data.padded import PaddedBatches
from mmcl_jax.data.population import population_of
from mmcl_jax.data.samplers import SAMPLERS, Sampler, Targets
from mmcl_jax.data.samplers.base import Repeated
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import asked_of_tables
from mmcl_jax.encoders.fusions import needed_of_views, parts_of_views
from mmcl_jax.errors import check
from mmcl_jax.objectives import Execution, Objective, build_objective
from mmcl_jax.training.hidden import check_hidden
from mmcl_jax.training.memory import check_memory
from mmcl_jax.training.mesh import by_example, by_size, make_mesh, placed, replicated
from mmcl_jax.training.optim.optimizer import OPTIMIZERS
from mmcl_jax.training.optim.schedules import SCHEDULES, Schedule
from mmcl_jax.training.parameters import check_parameters
from mmcl_jax.training.state.control import first_control
from mmcl_jax.training.state.groups import check_groups, frozen_patterns
from mmcl_jax.training.state.model import cautions, length_cautions, sentence_cautions, trained_model
from mmcl_jax.training.state.train_state import Arrays, TrainState, initial_state, split_model
from mmcl_jax.training.validate import check_config, check_control, check_split
from mmcl_jax.views import VIEWS, View, asked_of_volumes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The parts of an experiment.

    `views` are the views of inputs; fused views are in `objective.parts`. `graphdef` is the structure of the model,
    whose arrays are in the train state. `fitted` are the arrays of training rows that views use, by modality (see
    `views.base.Fitted`). `fitted_inputs` turn rows of a store into batches; None for batches of another source.
    `cautions` are what terms say about the size of the batch, and what encoders do not see of texts.
    """

    config: ConfigDict
    schema: Schema
    mesh: Mesh
    batches: Batches
    inputs: Mapping[str, InputSpec]
    views: dict[str, View]
    fitted: Mapping[str, Mapping[str, np.ndarray]]
    graphdef: nnx.GraphDef
    objective: Objective
    schedule: Schedule
    optimizer: optax.GradientTransformation
    validation: PaddedBatches | None = None
    fitted_inputs: Inputs | None = None
    cautions: tuple[str, ...] = ()

    def init(self, seed: jax.Array, loaded: tuple[Arrays, Arrays] = ({}, {})) -> TrainState:
        """Return the initial state. Under `jax.jit` with `out_shardings`, its arrays are created in place.

        `loaded` are parameters and normalisation statistics in place of random ones; see `initial_weights`.
        """
        key = jax.random.key(seed)
        model = trained_model(self.config, self.schema, self.inputs, rngs=nnx.Rngs(key))
        queued = (self.objective.terms[key].between[0] for key in self.objective.queues)
        sizes = {text: model.projectors[self.objective.key(text)].out_features for text in queued}
        queues = self.objective.initial_queues(sizes, jax.random.fold_in(key, 1))
        return initial_state(
            model,
            self.optimizer,
            has_target=bool(self.objective.reads["teacher"]),
            queues=queues,
            frozen=frozen_patterns(self.config.frozen, model),
            has_average=self.config.average.kind is not None,
            control=first_control(self.schedule.plateau) if self.config.validation.epochs else None,
            loaded=loaded,
        )

    def averaging(self) -> dict[str, Any]:
        """Return the options of `average.averaged`, which averages the weights."""
        average = self.config.average
        return {"kind": average.kind, "decay": average.decay, "start": average.start * self.batches.steps_per_epoch}

    def constants(self) -> dict[str, Any]:
        """Return the arrays that no step changes (see `make_step`), on the host."""
        return {"seed": np.uint32(self.config.seed), "fitted": self.fitted}

    def shardings(self, arrays: Any) -> Any:
        """Return the shardings of the train state, or of a part of it."""
        return by_size(self.mesh, arrays, above=self.config.mesh.shard_above)

    def shapes(self) -> tuple[Any, Any, Any]:
        """Return the step's arguments as shapes, dtypes and shardings: state, batch (of all processes), constants."""
        state = jax.eval_shape(self.init, np.uint32(0))
        batch = {
            name: jax.ShapeDtypeStruct((self.batches.batch_size, *rows.shape[1:]), rows.dtype)
            for name, rows in self.batches.row().items()
        }
        return (
            placed(state, self.shardings(state)),
            placed(batch, by_example(self.mesh)),
            placed(self.constants(), replicated(self.mesh)),
        )


def participating_rows(config: ConfigDict, store: Store, split: str) -> np.ndarray | None:
    """Return the indices of the rows of a split that are in the experiment's cohort; None if all are.

    Raises:
      UserError: no row is in the cohort, the store does not have the fold, or an input has no entry.
    """
    entries = {name: spec.of for name, spec in specs_of(config.inputs, store.schema).items()}
    streamed = is_streamed(config.loader.images, store)
    return cohort_rows(entries, store, split, cohort=config.cohort, fold=config.fold, streamed=streamed)


def fit_inputs(config: ConfigDict, store: Store) -> Inputs:
    """Fit the inputs, which turn rows into batches, on the training rows of the cohort.

    Raises:
      UserError: naming the key, see `Inputs.fit`.
    """
    return _fit(config, store, participating_rows(config, store, "train"))


def _fit(config: ConfigDict, store: Store, take: np.ndarray | None) -> Inputs:
    return Inputs.fit(
        config.inputs,
        store,
        take,
        fold=config.fold,
        encoders=asked_of_tables(config),
        views=asked_of_volumes(dict(config.views)),
    )


def build_sampler(config: ConfigDict, store: Store, take: np.ndarray | None) -> Sampler:
    """Return the sampler, whose rows are indices into `take`, the training rows of the cohort (None: all).

    Raises:
      UserError: the store lacks the labels that the sampler reads.
    """
    return SAMPLERS.build(
        config.sampler,
        "config.sampler",
        rows=len(store.rows_of("train", config.fold)) if take is None else len(take),
        batch_size=config.batch_size,
        targets=Targets.of(store, "train", take, fold=config.fold),
    )


def build_experiment(
    config: ConfigDict,
    store: Store,
    devices: Sequence[jax.Device] | None = None,
    *,
    inputs: Inputs | None = None,
    repeated: bool = False,
) -> Experiment:
    """Build the experiment on the training split of a store, for these devices (all by default).

    `inputs` are those of a run to continue; by default they are fitted on the rows of the cohort. With `repeated`, a
    store that is smaller than a batch stands for a larger one, for a program that is compiled and not run.

    Raises:
      UserError: naming the config key, file or column that is wrong.
    """
    check_config(config)
    check_hidden(config, specs_of(config.inputs, store.schema))
    take = participating_rows(config, store, "train")
    inputs = inputs or _fit(config, store, take)
    modalities, parts = _modalities(config), parts_of_views(config.views)
    objective = build_objective(config.objective, modalities, parts=parts, schema=inputs.schema, inputs=inputs.specs)
    targets = objective.targets
    division = {"batch_size": config.batch_size, "process": jax.process_index(), "processes": jax.process_count()}
    streamed = is_streamed(config.loader.images, store)

    def read(split: str) -> dict[str, Any]:
        arrays, first = input_arrays(store, split, inputs, targets=targets, streamed=streamed), shared(inputs.specs)
        return {name: array for name, array in arrays.items() if first.get(name, name) == name}

    sampler = build_sampler(config, store, take)
    batches = Batches(
        read("train"),
        epochs=config.epochs,
        seed=config.seed,
        take=take,
        sampler=Repeated(sampler, least=config.batch_size) if repeated else sampler,
        multiple=math.lcm(config.batch_norm.group_size or 1, make_mesh(devices, model=config.mesh.model).shape["data"]),
        **division,
    )
    experiment = assemble(config, inputs.schema, batches, devices, inputs=inputs)
    if config.validation.epochs is None:
        return experiment
    check(
        store.sizes.get("val", 0) > 0,
        f"config.validation.epochs: {store.directory} has no validation rows; set this key to None, or prepare "
        f"a store with --split.",
    )
    take = participating_rows(config, store, "val")
    return dataclasses.replace(experiment, validation=PaddedBatches(read("val"), take=take, **division))


def _modalities(config: ConfigDict) -> dict[str, str]:
    """Return the modality of every view."""
    return {name: spec.modality for name, spec in sorted(config.views.items())}


def _fitted(
    config: ConfigDict,
    views: Mapping[str, View],
    batches: Batches,
    specs: Mapping[str, InputSpec],
    inputs: Inputs | None,
) -> dict[str, dict[str, np.ndarray]]:
    """Return the constant arrays of the views, by modality: fitted arrays, and the population of views that draw."""
    arrays: Mapping[str, Mapping[str, np.ndarray]] = inputs.fitted if inputs else {}
    fitted = {view.modality: dict(arrays.get(view.modality, {})) for view in views.values()}
    sizes: dict[str, tuple[str, int | None]] = {}
    for name, view in views.items():
        if not view.draws:
            continue
        key = f"config.views.{name}.population"
        first, size = sizes.setdefault(view.modality, (name, view.population))
        check(
            size == view.population,
            f"{key}: this is {view.population}, and the view {first!r} of the same input has {size}; give both views "
            "the same population.",
        )
        if first == name:
            take = np.arange(len(batches.arrays["id"])) if batches.take is None else batches.take
            present = batches.arrays.get(f"present/{view.modality}")
            take = take if present is None else take[present[take]]
            rows = batches.arrays[shared(specs)[view.modality]]
            population = population_of(rows, take, size=size, seed=config.seed, key=key)
            fitted[view.modality]["population"] = population
    return fitted


def _units(batches: Batches, schema: Schema) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of the training rows' numbers, by label; a constant number has the scale 1."""
    units = {}
    for column in schema.labels:
        values = batches.arrays.get(f"target/{column.name}")
        if column.coded or values is None:
            continue
        taken = np.asarray(values if batches.take is None else values[batches.take], np.float64)
        known = taken[~np.isnan(taken)]
        units[column.name] = (float(known.mean()), float(known.std()) or 1.0) if len(known) else (0.0, 1.0)
    return units


def _check_read(objective: Objective, schema: Schema, batches: Batches) -> None:
    """Check that the batches have the targets and the groups that terms read.

    Raises:
      UserError: naming the key of the term.
    """
    for index, term in enumerate(objective.terms.values()):
        for target in term.targets:
            check(
                f"target/{target}" in batches.arrays,
                f"config.objective.{index}: this term needs labels; prepare the store with --label."
                if not schema.labels
                else f"config.objective.{index}: this term needs a class label, and the store's labels are numbers; "
                f"prepare the store with --label, or choose another config.",
            )
        check(
            not term.groups or "group" in batches.arrays,
            f"config.objective.{index}.group: the store does not say which samples are of one person; prepare it with "
            f"--group-column, or set this key to repel.",
        )


def assemble(
    config: ConfigDict,
    schema: Schema,
    batches: Batches,
    devices: Sequence[jax.Device] | None = None,
    *,
    inputs: Inputs | None = None,
) -> Experiment:
    """Build and check every part of the experiment on batches that the schema describes; allocate no parameters.

    `inputs` are the fitted inputs, which vectors need; without them, `schema` alone describes the inputs.

    Raises:
      UserError: naming the config key that is wrong.
    """
    check_config(config)
    mesh = make_mesh(devices, model=config.mesh.model)
    check_split(config, mesh.size)
    specs = inputs.specs if inputs else specs_of(config.inputs, schema)
    check_hidden(config, specs)
    parts = parts_of_views(config.views)
    views = {
        name: VIEWS.build(spec, f"config.views.{name}")
        for name, spec in sorted(config.views.items())
        if name not in parts
    }
    execution = Execution(name=config.pairs.execution, tile=config.pairs.tile, mesh=mesh)
    objective = build_objective(
        config.objective,
        _modalities(config),
        parts=parts,
        needed=needed_of_views(config.views),
        execution=execution,
        schema=schema,
        inputs=specs,
        units=_units(batches, schema),
        normalise=config.normalise_terms,
    )
    _check_read(objective, schema, batches)
    model = nnx.eval_shape(lambda: trained_model(config, schema, specs, rngs=nnx.Rngs(0)))
    said = cautions(objective, model, config.batch_size)
    fitted = inputs.fitted if inputs else {}
    said += (*sentence_cautions(model, fitted), *length_cautions(config.views, fitted))
    check_groups(split_model(model)[0], frozen_patterns(config.frozen, model), dict(config.rates))
    check_memory(config, model, mesh)
    schedule = SCHEDULES.build(
        config.schedule, "config.schedule", epochs=config.epochs, steps_per_epoch=batches.steps_per_epoch
    )
    check_control(config, schedule)
    optimizer = OPTIMIZERS.build(config.optimizer, "config.optimizer", schedule=schedule)
    check_parameters(config, model, optimizer, mesh)
    return Experiment(
        config=config,
        schema=schema,
        mesh=mesh,
        batches=batches,
        inputs=specs,
        views=views,
        fitted=_fitted(config, views, batches, specs, inputs),
        graphdef=nnx.graphdef(model),
        objective=objective,
        schedule=schedule,
        optimizer=optimizer,
        fitted_inputs=inputs,
        cautions=said,
    )
