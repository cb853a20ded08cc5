"""The method `loss`: integrated gradients of the loss of a row against a fixed reference batch."""

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.encoders import Features, Model
from mmcl_jax.encoders.fusions import parts_of_views
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain.attributed import explained_columns
from mmcl_jax.explain.base import COLUMN_KINDS, METHODS, ExplainOptions, Result, Subject
from mmcl_jax.explain.embedded import EmbeddedInput, Layout, padded
from mmcl_jax.objectives import Execution, Objective, Outputs, Read, build_objective
from mmcl_jax.training.mesh import by_example, replicated
from mmcl_jax.training.runs.plain import from_plain, to_plain
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.model import fuse_by, stateless_layers
from mmcl_jax.training.step.forward import ViewedBatch, forward
from mmcl_jax.views import VIEWS, apply_views

_CHUNK = 128  # rows that are encoded together


def inputs_of_loss(source: Source, input: str, head: KeptHead | None, options: ExplainOptions) -> tuple[str, ...]:
    """Return the inputs that the explained terms read, which a row must have.

    Raises:
      UserError: no term reads the input, or another option of the loss is wrong.
    """
    del head
    check(
        options.reference_split != options.split,
        f"--reference-split: the reference batch must be of another split than the explained rows, {options.split!r}.",
    )
    run = source.run
    names = set(objective_of(run, options).modalities.values()) & set(run.inputs.specs)
    check(
        input in names,
        f"--input {input}: no explained term reads it; the terms read {' and '.join(sorted(names))}.",
    )
    return tuple(sorted(names))


@METHODS.register("loss", takes=COLUMN_KINDS, head="refused", reads=inputs_of_loss)
def loss(subject: Subject, folder: FilePath) -> Result:
    """Explain the loss of each row by integrated gradients (Taleb et al., CVPR 2022, section 3.3).

    The explained number of a row x is the loss of the objective, or of one of its terms, on a fixed reference batch
    with x appended:

        E(x) = L(reference rows, x)

    All other inputs of x are fixed, and attributions to the explained input keep their sign: a negative value lowers
    the loss. Views are plain. The paper's reference batch has 1,000 people; its released code computes this loss at
    temperature 1 (`--temperature 1`), the paper at that of training.

    Raises:
      UserError: there is no such term, a term reads what neither the model nor a plain view has, such as a queue, or
        the reference batch is of the explained split.
    """
    return explained_columns(subject, LossOfRows(subject), folder, title="Integrated gradients")


class LossOfRows:
    """The loss on the reference batch with a row appended, as a function of the embedded row."""

    outputs = 1

    def __init__(self, subject: Subject) -> None:
        """Load the model, and compute its outputs for the reference batch.

        Raises:
          UserError: a term cannot be explained, or the reference split has no row with all inputs.
        """
        options, run = subject.options, subject.source.run
        self._subject = subject
        self._objective = objective_of(run, options)
        self._inputs = inputs_of_loss(subject.source, subject.input, None, options)
        model = subject.source.model
        self.embedded = EmbeddedInput(subject, model)
        self.of = f"the loss {options.term}" if options.term else "the loss"
        graphdef, state = nnx.split(model)
        self.function = LossOfRow(graphdef, self._objective, run, subject.input, self.embedded.layout)
        fitted = {name: dict(run.inputs.fitted.get(name, {})) for name in self._inputs}
        self.arrays: dict[str, Any] = {"model": state, "fitted": fitted}
        batch, indices = self._batch(options.reference_split)
        if options.reference < len(indices):
            indices = np.sort(np.random.default_rng(0).choice(indices, options.reference, replace=False))
        self.settings: Mapping[str, Any] = {
            "term": options.term,
            "temperature": options.temperature,
            "reference": len(indices),
            "reference_split": options.reference_split,
        }
        self.extra = 32 * (len(indices) + 1) ** 2  # matrices of all pairs, and their gradients
        parts = []
        for start in range(0, len(indices), _CHUNK):
            chosen = indices[start : start + _CHUNK]
            part = {name: np.asarray(values[padded(chosen, _CHUNK)]) for name, values in batch.items()}
            outputs = self.function.of_batch(self.arrays, part)
            parts.append(jax.tree.map(lambda array: np.asarray(array[: len(chosen)]), outputs))  # noqa: B023
        self.arrays["reference"] = {
            "outputs": jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts),
            "batch": self.function.read_by_loss({name: np.asarray(values[indices]) for name, values in batch.items()}),
        }
        self._rows = self._batch(options.split)[0]

    def _batch(self, split: str) -> tuple[dict[str, Any], np.ndarray]:
        """Return the arrays of a split that the terms read, and the indices of the rows that have all of them."""
        subject, run = self._subject, self._subject.source.run
        arrays = input_arrays(subject.store, split, run.inputs, self._inputs, targets=self._objective.targets)
        present = [arrays.pop(f"present/{name}") for name in self._inputs if f"present/{name}" in arrays]
        indices = np.flatnonzero(np.all([np.ones(len(arrays["id"]), bool), *present], axis=0))
        check(
            len(indices) > 0,
            f"--reference-split: no row of the split {split!r} has {' and '.join(self._inputs)}; choose another split.",
        )
        return arrays, indices

    def context(self, indices: np.ndarray, mesh: Mesh) -> Any:
        """Return the rows of a batch, and the features of the other inputs."""
        batch = {name: np.asarray(values[indices]) for name, values in self._rows.items()}
        self.arrays = jax.device_put(self.arrays, replicated(mesh))
        batch = jax.device_put(batch, by_example(mesh))
        return {"batch": batch, "features": self.function.other_features(self.arrays, batch)}


class LossOfRow:
    """The loss on the reference batch with one row appended; compiled programs know it by its identity."""

    def __init__(self, graphdef: nnx.GraphDef, objective: Objective, run: Run, input: str, layout: Layout) -> None:
        """Build the views that the terms read."""
        config = run.config
        self._graphdef, self._objective, self._input, self._layout = graphdef, objective, input, layout
        self._views = {
            name: VIEWS.build(config.views[name], f"config.views.{name}")
            for name in objective.modalities
            if name not in objective.parts
        }
        self._draws = {"seed": np.uint32(config.seed), "step": np.int32(0)}
        self.of_batch = jax.jit(self._of_batch)
        self.other_features = jax.jit(self._other_features)

    def __call__(self, arrays: Any, row: Float[Array, "E"], context: Any) -> Float[Array, "1"]:
        """Return the loss `[1]` for one embedded row."""
        model = nnx.merge(self._graphdef, arrays["model"])
        batch, features = context["batch"], dict(context["features"])
        embedded = self._layout.join(row, context["rest"])
        own = model.encoders[self._input].body(embedded, train=False)
        features |= {name: own for name, view in self._views.items() if view.modality == self._input}
        outputs = self._forward(model, arrays, batch, features)
        reference = arrays["reference"]
        joined, read = jax.tree.map(
            lambda many, one: jnp.concatenate([many, one.astype(many.dtype)]),
            (reference["outputs"], reference["batch"]),
            (outputs, self.read_by_loss(batch)),
        )
        learned = {
            key: {name: model.learned[key][name][...] for name in names}
            for key, names in self._objective.learned.items()
        }
        value, _ = self._objective(
            joined,
            read,
            learned,
            layers=stateless_layers(model, self._objective),
            fuse=fuse_by(model, self._objective, train=False),
            seed=jnp.asarray(self._draws["seed"]),
            step=jnp.asarray(self._draws["step"]),
        )
        return value[None]

    def read_by_loss(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of a batch that the loss itself reads: ids, groups and targets."""
        return {name: rows for name, rows in batch.items() if name in ("id", "group") or name.startswith("target/")}

    def _of_batch(self, arrays: Any, batch: Mapping[str, Array]) -> Outputs:
        return self._forward(nnx.merge(self._graphdef, arrays["model"]), arrays, batch, {})

    def _other_features(self, arrays: Any, batch: Mapping[str, Array]) -> dict[str, Features]:
        encoders = nnx.merge(self._graphdef, arrays["model"]).encoders
        others = {name: view for name, view in self._views.items() if view.modality != self._input}
        viewed = apply_views(others, batch, **self._draws_in(), fitted=arrays["fitted"], plain=True)
        return {name: encoders[others[name].modality](view.values, train=False) for name, view in viewed.items()}

    def _forward(self, model: Model, arrays: Any, batch: Mapping[str, Array], known: Mapping[str, Features]) -> Outputs:
        draws = self._draws_in()
        viewed = apply_views(self._views, batch, **draws, fitted=arrays["fitted"], plain=True)
        rows = ViewedBatch(rows=batch, views=viewed, **draws)
        return forward(model, None, self._objective, rows, train=False, known=known)

    def _draws_in(self) -> dict[str, Any]:
        return {name: jnp.asarray(value) for name, value in self._draws.items()}


def objective_of(run: Run, options: ExplainOptions) -> Objective:
    """Return the objective that is explained: that of the run, or one of its terms, at the chosen temperature.

    Raises:
      UserError: there is no such term, a term has no fixed temperature, or it reads what neither the model nor a plain
        view has.
    """
    config = run.config
    specs = tuple(from_plain(to_plain(spec)) for spec in config.objective)
    for spec in specs:
        if options.temperature is not None and "temperature" in spec:
            spec.temperature = options.temperature
            if "learn_temperature" in spec:
                spec.learn_temperature = False
    modalities = {name: view.modality for name, view in sorted(config.views.items())}
    parts, execution = parts_of_views(config.views), Execution(name="dense")
    whole = build_objective(specs, modalities, parts=parts, schema=run.schema, inputs=run.inputs.specs)
    names = {name: key for key, name in whole.names.items()}
    if options.term is not None:
        check_name(options.term, names, "--term: the objective has no term")
    terms = whole.terms if options.term is None else {names[options.term]: whole.terms[names[options.term]]}
    for key, term in terms.items():
        read = "a target network" if "teacher" in term.outputs else "a queue" if term.queue else term.unexplained
        check(
            not read,
            f"--method loss: the term {whole.names[key]!r} reads {read}, which neither the model nor a plain view has; "
            "name another term with --term.",
        )
        spec = specs[int(key.removeprefix("term_"))]
        check(
            options.temperature is None or ("temperature" in spec and "log_scale" not in term.learned),
            f"--temperature: the term {whole.names[key]!r} has no fixed temperature; leave the option out, or name "
            "another term with --term.",
        )
    views = {read.view for term in terms.values() for read in term.reads}
    views |= {Read.parse(part).view for view in views for part in parts.get(view, ())}
    return Objective(
        terms,
        {name: modality for name, modality in modalities.items() if name in views},
        parts={name: texts for name, texts in parts.items() if name in views},
        execution=execution,
        normalise=config.normalise_terms,
    )
