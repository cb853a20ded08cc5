"""The functions that are explained: the embedding of an input, and the outputs of a kept head."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from mmcl_jax.encoders import Features, Model
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.heads.encoded import (
    ViewSpec,
    built,
    encoded,
    features_of,
    plain_spec,
    plain_values,
    views_of_inputs,
)
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.protocols.made import encoders_of
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.explain.base import IMAGE_KINDS, Subject
from mmcl_jax.explain.embedded import EmbeddedInput, Layout, padded
from mmcl_jax.explain.integrate import Noise, Path, RowFunction, block_of, rows_of
from mmcl_jax.page.wording import counted
from mmcl_jax.tasks import Class
from mmcl_jax.training.mesh import by_example, local_mesh, replicated


class Explained(Protocol):
    """A function of the embedded rows of one input.

    Attributes:
      of: what it is, in words.
      embedded: the embedding of the rows of the input.
      function: of one row.
      arrays: the function's first argument.
      outputs: number K of its outputs.
      extra: bytes that the function takes for one row.
      settings: the options that chose it, for `explanation.json`.
      steps: of the quadrature; None if the error chooses them.
      noise: over whose draws the attributions to its only output are averaged; None for none.
    """

    of: str
    embedded: EmbeddedInput
    arrays: Any
    outputs: int
    extra: int
    settings: Mapping[str, Any]
    steps: int | None
    noise: Noise | None

    @property
    def function(self) -> RowFunction: ...

    def context(self, indices: np.ndarray, mesh: Mesh) -> Any:
        """Return what else the function reads of these rows of the split, a tree of arrays `[R, ...]`."""
        ...


@dataclasses.dataclass(frozen=True)
class OutputsOfRow:
    """The features of one row, or the outputs of a head on them, as a function that compiled programs depend on.

    Attributes:
      graphdef: of the model.
      layout: of the embedding.
      input: the explained input.
      reads: the modalities whose features are concatenated.
      specs: their plain views.
      head: None for the features themselves.
    """

    graphdef: nnx.GraphDef
    layout: Layout
    input: str
    reads: tuple[str, ...]
    specs: tuple[ViewSpec, ...]
    head: LinearHead | None = None

    def __call__(self, arrays: Any, row: Float[Array, "E"], context: Any) -> Float[Array, "K"]:
        """Return the outputs of one embedded row."""
        encoders = nnx.merge(self.graphdef, arrays["model"]).encoders
        given = dict(context["features"])
        given[self.input] = encoders[self.input].features(self.layout.join(row, context["rest"]), train=False)
        features = {
            spec: given[name] for spec in views_of_inputs(self.specs) if (name := built(spec).modality) in given
        }
        parts = []
        for modality, spec in zip(self.reads, self.specs, strict=True):
            if modality in context["pooled"]:
                parts.append(context["pooled"][modality][0])
            else:
                parts.append(encoded(encoders, modality, spec, features, train=False).pooled[0].astype(jnp.float32))
        outputs = jnp.concatenate(parts)
        if self.head is None:
            return outputs
        outputs = (outputs - arrays["mean"]) / arrays["scale"]
        return self.head(arrays["head"], outputs[None])[0] * arrays["unit"] + arrays["shift"]


@dataclasses.dataclass(frozen=True)
class OneOutput:
    """The output of a function that the context of each row names."""

    function: RowFunction

    def __call__(self, arrays: Any, row: Float[Array, "E"], context: Any) -> Float[Array, "1"]:
        """Return the output at the index `context["chosen"]`."""
        return self.function(arrays, row, context)[context["chosen"]]


@dataclasses.dataclass(frozen=True)
class SomeOutputs:
    """Some outputs of a function, by their indices."""

    function: RowFunction
    indices: tuple[int, ...]

    def __call__(self, arrays: Any, row: Float[Array, "E"], context: Any) -> Float[Array, "k"]:
        """Return these outputs."""
        return self.function(arrays, row, context)[jnp.array(self.indices)]


class OtherFeatures:
    """The features of rows that a head reads beside those of the explained input."""

    def __init__(self, subject: Subject, model: Model, *, batch_size: int) -> None:
        """Compile nothing yet; `batch_size` rows are encoded at a time."""
        self._subject, self._model, run = subject, model, subject.source.run
        self._depends = tuple(name for name in subject.reads if subject.input in subject.source.inputs_of([name]))
        self._encode = {
            name: frozen_encoder(
                model, config=run.config, modality=name, fitted=run.inputs.fitted, batch_size=batch_size
            )
            for name in subject.reads
            if name not in self._depends
        }

    def __call__(self, indices: np.ndarray, mesh: Mesh) -> dict[str, Any]:
        """Return the "features" of the parts of fusions, and the "pooled" features of other modalities."""
        subject, inputs_of = self._subject, self._subject.source.inputs_of
        pooled = {
            modality: encode(subject.taken(inputs_of([modality]), indices)) for modality, encode in self._encode.items()
        }
        features: dict[str, Features] = {}
        for name in sorted(set(inputs_of(self._depends)) - {subject.input}):
            features[name] = part_features(subject, self._model, name, indices, mesh)
        return {"features": features, "pooled": jax.device_put(pooled, by_example(mesh))}


class Outputs:
    """The embedding of an input, or the outputs of a kept head, as a function of the embedded rows of the input.

    Features that do not depend on the input are computed once for each row.
    """

    noise: Noise | None = None

    def __init__(self, subject: Subject) -> None:
        """Load the model.

        Raises:
          UserError: the head predicts masks, the run has no weights, an encoder cannot be explained, or the embedding
            has no such dimension.
        """
        head, run = subject.head, subject.source.run
        check(
            head is None or head.trained.head.reads == "pooled",
            "--head: this head predicts a mask from feature maps; explain a head on pooled features.",
        )
        self.settings: Mapping[str, Any] = {"output": subject.options.output}
        self.steps: int | None = subject.options.steps
        model = model_of(subject)
        self._subject = subject
        self.embedded = EmbeddedInput(subject, model)
        specs = tuple(plain_spec(run.config, modality) for modality in subject.reads)
        graphdef, state = nnx.split(model)
        self.function: RowFunction = OutputsOfRow(
            graphdef, self.embedded.layout, subject.input, subject.reads, specs, head.trained.head if head else None
        )
        width = sum(model.encoders[name].out_features for name in subject.reads)
        self.arrays = {"model": state, **({} if head is None else head_arrays(head, width))}
        self.outputs = width if head is None else head.trained.task.outputs
        self._chosen: np.ndarray | None = None
        self.of, self.names = f"the {counted(width, 'dimension')} of the embedding", _dimensions(range(width))
        if head is not None:
            self.of = f"the {counted(self.outputs, 'output')} for {head.trained.task.label}"
            self.names = _names(head)
        elif subject.options.dimensions:
            self._take(subject.options.dimensions)
        # What an encoder of images keeps of each row for its gradient, once for every output that is differentiated.
        pictured, inputs = subject.spec.kind in IMAGE_KINDS, len(self.embedded.columns)
        self.extra = self.embedded.bytes_of_row(model) * block_of(inputs, self.outputs) if pictured else 0
        self._others = OtherFeatures(subject, model, batch_size=rows_of(inputs, self.outputs, self.extra))
        if head is None:
            return
        if subject.options.output is not None:
            self._chosen, self.of = chosen_outputs(subject, head)
            self.function, self.outputs, self.names = OneOutput(self.function), 1, (self.of,)

    def _take(self, dimensions: tuple[int, ...]) -> None:
        """Explain these dimensions of the embedding alone."""
        last = self.outputs - 1
        for dimension in dimensions:
            check(
                0 <= dimension <= last, f"--dimension: the embedding has the dimensions 0 to {last}, not {dimension}."
            )
        dimensions = tuple(dict.fromkeys(dimensions))
        self.function, self.outputs = SomeOutputs(self.function, dimensions), len(dimensions)
        self.names = _dimensions(dimensions)
        self.of = f"the {' and '.join(self.names)} of the embedding"
        self.settings = {**self.settings, "dimensions": list(dimensions)}

    def context(self, indices: np.ndarray, mesh: Mesh) -> Any:
        """Return what `OtherFeatures` returns and, if an output was chosen, its index as "chosen"."""
        subject, context = self._subject, self._others(indices, mesh)
        if self._chosen is not None:
            chosen = self._chosen[np.searchsorted(subject.rows, indices)]
            context["chosen"] = jax.device_put(chosen, by_example(mesh))
        return context


def _dimensions(indices: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"dimension {index}" for index in indices)


def _names(head: KeptHead) -> tuple[str, ...]:
    """Return the names of the outputs of a head, or their numbers where they have none."""
    task = head.trained.task
    names = head.labels[task.label] if isinstance(task, Class) else tuple(head.labels)
    return tuple(names) if len(names) == task.outputs else tuple(f"output {index}" for index in range(task.outputs))


def chosen_outputs(subject: Subject, head: KeptHead) -> tuple[np.ndarray, str]:
    """Return the index of the explained output of every row, int32 `[N]`, and what it is in words.

    Raises:
      UserError: the head has no such output.
    """
    output, task = str(subject.options.output), head.trained.task
    names = head.labels[task.label] if isinstance(task, Class) else tuple(head.labels)
    check(
        len(names) == task.outputs,
        f"--output: the outputs of the head for {task.label!r} ({task.name}) have no names; leave the option out.",
    )
    if output == "predicted" and isinstance(task, Class):
        inputs = subject.taken(subject.source.inputs_of(subject.reads), subject.rows)
        return head.outputs(inputs).argmax(axis=1).astype(np.int32), f"the predicted class of {task.label}"
    choices = (*names, "predicted") if isinstance(task, Class) else names
    check_name(output, choices, "--output: the head has no output")
    return np.full(len(subject.rows), names.index(output), np.int32), f"the output {output} for {task.label}"


def model_of(subject: Subject) -> Model:
    """Return the model of the subject; with a head, its encoders are those that were trained with the head."""
    model, head = subject.source.model, subject.head
    if head is None or head.trained.encoder is None:
        return model
    encoders, _ = encoders_of(model, subject.source.run.config, head.trained.reads)
    tuned = nnx.merge(encoders.graphdef, head.trained.encoder.params, head.trained.encoder.statistics)
    model = nnx.clone(model)
    for name in tuned:
        model.encoders[name] = tuned[name]
    return model


def head_arrays(head: KeptHead, width: int) -> dict[str, Any]:
    """Return the weights of a head, the moments of its features `[width]`, and the units of its label."""
    standard, units = head.standard, head.trained.units
    return {
        "head": {name: jnp.asarray(values, jnp.float32) for name, values in head.trained.params.items()},
        "mean": jnp.zeros(width) if standard is None else jnp.asarray(standard.mean, jnp.float32),
        "scale": jnp.ones(width) if standard is None else jnp.asarray(standard.scale, jnp.float32),
        "unit": jnp.broadcast_to(jnp.asarray(units.scale, jnp.float32), (head.trained.task.outputs,)),
        "shift": jnp.broadcast_to(jnp.asarray(units.shift, jnp.float32), (head.trained.task.outputs,)),
    }


def part_features(subject: Subject, model: Model, name: str, indices: np.ndarray, mesh: Mesh) -> Features:
    """Return the features of rows of another input.

    Raises:
      UserError: its rows have several images, of which a fusion of one row takes one.
    """
    run, rows = subject.source.run, subject.taken([name], indices)
    spec = plain_spec(run.config, name)
    check(
        run.schema.entries[run.inputs.specs[name].of].pictures == 1,
        f"The rows of {name!r} have several images, and a fusion of them is not explained; explain a head on "
        f"{subject.input!r} alone.",
    )
    graphdef, state = nnx.split(model)
    arguments = jax.device_put((state, dict(run.inputs.fitted.get(name, {}))), replicated(mesh))
    return _features(graphdef, name, spec)(arguments[0], jax.device_put(rows, by_example(mesh)), arguments[1])


@functools.lru_cache(maxsize=16)
def _features(graphdef: nnx.GraphDef, name: str, spec: ViewSpec) -> Callable[..., Features]:
    def features(state: nnx.State, rows: dict[str, Array], fitted: Any) -> Features:
        views = plain_values((spec,), rows, {name: fitted})
        return features_of(nnx.merge(graphdef, state).encoders, views, train=False)[spec]

    return jax.jit(features)


def paths(subject: Subject, explained: Explained, baseline: str) -> Iterator[tuple[slice, Path]]:
    """Yield the explained rows in blocks, as slices of `subject.rows`, with the paths from the baseline to them.

    A block is padded with its last row to one compiled shape, and is divided over the devices of this process.
    """
    size = rows_of(len(explained.embedded.columns), explained.outputs, explained.extra)
    mesh = local_mesh(size)
    start = jax.device_put(explained.embedded.baseline(baseline, mesh, size=size), replicated(mesh))
    arrays = jax.device_put(explained.arrays, replicated(mesh))
    for first in range(0, len(subject.rows), size):
        block = slice(first, min(first + size, len(subject.rows)))
        indices = padded(subject.rows[block], size)
        flat, rest = explained.embedded(subject.taken([subject.input], indices), mesh)
        context = {**explained.context(indices, mesh), "rest": rest}
        yield block, Path(explained.function, arrays, flat, start, context, explained.extra)
