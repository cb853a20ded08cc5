"""The function that an exported program computes: raw arrays in, features and what is made of them out."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool

from mmcl_jax.data.inputs import Inputs, InputSpec
from mmcl_jax.data.kinds.vector import is_missing
from mmcl_jax.encoders import Features, parse_key
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import (
    IDS,
    ViewSpec,
    ViewValues,
    beside,
    built,
    encoded,
    features_of,
    image_axes,
    is_drawn,
    plain_spec,
    plain_values,
    trained_spec,
    views_of_inputs,
)
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.export.programs.cells import encoded_cells
from mmcl_jax.export.release import Release

# Products of matrices and convolutions in full float32 on every platform. By default a TPU would round their operands
# to bfloat16 and a GPU to TF32, and the same file would give other features on each.
PRECISION = "highest"

Rows = Mapping[str, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramInput:
    """An input of a program: an array `[B, *shape]`.

    Attributes:
      kind: such as "image" or "table"; "id" for the ids of rows.
      shape: of one row.
      dtype: "float64" for a table, else as stored.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A pure function with the weights inside, from raw rows to features.

    Attributes:
      name: the modalities whose features it gives, such as "image" or "image+table".
      inputs: by name. If the draws of a view are part of the data (see `views.drawn`), the ids of the rows, by which it
        draws, are an input `id`.
      outputs: names and shapes of one row's outputs: `features`; `projection`, if one modality is encoded, by its first
        projector, and `projection_HEAD` by a projector of that name; `prediction`, if there is a head: logits, or
        numbers in units of the label.
      function: the rows by input -> the outputs by name, float32. It is traced with `jax.enable_x64`, if `wide`.
      wide: whether it takes or computes float64.

    A row that `mmcl embed` refuses (a missing value under the policy "refuse", a number too far from the training
    values) has outputs NaN.
    """

    name: str
    inputs: Mapping[str, ProgramInput]
    outputs: Mapping[str, tuple[int, ...]]
    function: Callable[[Rows], dict[str, Array]]
    wide: bool

    @property
    def result(self) -> str:
        """The name of the output that most people want: the prediction of the head, or else the features."""
        return "prediction" if "prediction" in self.outputs else "features"

    def arguments(self, rows: Any) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes and types of the arguments for a number of rows."""
        with jax.enable_x64(self.wide):
            return {
                name: jax.ShapeDtypeStruct((rows, *one.shape), np.dtype(one.dtype)) for name, one in self.inputs.items()
            }

    def __call__(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs for rows, computed on this machine."""
        with jax.enable_x64(self.wide):
            return {name: np.asarray(array) for name, array in jax.jit(self.function)(dict(rows)).items()}


def programs_of(release: Release) -> list[Program]:
    """Return the programs of a release, one for each of its `inputs`."""
    return [_program(release, modalities_of(one)) for one in release.inputs]


def _program(release: Release, modalities: tuple[str, ...]) -> Program:
    config, inputs, head = release.run.config, release.run.inputs, release.head
    names = tuple(dict.fromkeys(name for modality in modalities for name in inputs_of(config.views, modality)))
    graphdef, arrays = nnx.split(release.model)
    fitted = {name: dict(inputs.fitted.get(name, {})) for name in names}
    arrays, fitted = jax.tree.map(jnp.asarray, (arrays, fitted))
    # A head without standardised features was trained, and is scored, on the plain form of the augmented view.
    own = head is not None and head.standard is None and head.trained.head.reads == "pooled"
    specs = [
        trained_spec(config, modality, probability=0.8) if own else plain_spec(config, modality)
        for modality in modalities
    ]
    keys = _projectors(release, modalities)

    def encode(prepared: Rows) -> dict[str, Array]:
        """Return the outputs before any NaN, with the features as a head reads them."""
        model = nnx.merge(graphdef, arrays)
        features, images = _input_features(model.encoders, specs, prepared, fitted)
        outputs: dict[str, list[Array]] = {"features": [], "maps": []}
        for modality, spec in zip(modalities, specs, strict=True):
            row = encoded(model.encoders, modality, spec, features, train=False, images=images)
            count = max(images.get(one, 1) for one in views_of_inputs((spec,)))
            outputs["features"].append(_mean(row.pooled, count))
            if head is not None and head.trained.head.reads == "maps":
                outputs["maps"].append(_mean(_map(row), count))
            for name, key in keys.items():
                outputs[name] = [_mean(model.project(key, row, train=False), count)]
        return {name: jnp.concatenate(parts, axis=-1) for name, parts in outputs.items() if parts}

    def function(rows: Rows) -> dict[str, Array]:
        with jax.default_matmul_precision(PRECISION):
            prepared, refused = _prepared(inputs, {name: rows[name] for name in names})
            with jax.enable_x64(False):
                outputs = encode({**prepared, **beside(rows, ())})
            maps = outputs.pop("maps", None)
            if head is not None:
                outputs["prediction"] = _prediction(head, outputs["features"] if maps is None else maps)
        return {
            name: jnp.where(refused.reshape(-1, *[1] * (array.ndim - 1)), jnp.float32(jnp.nan), array)
            for name, array in outputs.items()
        }

    wide = any(inputs.specs[name].kind == "table" for name in names) or (head is not None and head.standard is not None)
    taken = {name: _input(inputs.specs[name]) for name in names}
    if is_drawn(specs):
        check(
            IDS not in taken, f"--format: the input {IDS!r} of the run has the name of the ids; export weights instead."
        )
        taken[IDS] = ProgramInput(kind=IDS, shape=(), dtype="uint32")
    program = Program(name="+".join(modalities), inputs=taken, outputs={}, function=function, wide=wide)
    with jax.enable_x64(wide):
        shapes = jax.eval_shape(function, program.arguments(1))
    for name in shapes:
        check(
            name not in taken,
            f"--format: the input {name!r} of the run has the name of an output of programs; export weights instead.",
        )
    return dataclasses.replace(program, outputs={name: array.shape[1:] for name, array in shapes.items()})


def _input(spec: InputSpec) -> ProgramInput:
    return ProgramInput(kind=spec.kind, shape=spec.shape, dtype="float64" if spec.kind == "table" else spec.dtype)


def _projectors(release: Release, modalities: tuple[str, ...]) -> dict[str, str]:
    """Return the keys of the projectors of pooled features, by the name of their output."""
    if len(modalities) > 1:
        return {}
    keys = [parse_key(key) for key in release.projectors]
    return {
        f"projection_{key.head}" if key.head else "projection": f"{key.modality}:{key.head}"
        if key.head
        else key.modality
        for key in keys
        if key.modality == modalities[0] and not key.local
    }


def _prepared(inputs: Inputs, rows: Rows) -> tuple[dict[str, Array], Bool[Array, "B"]]:
    """Return the rows as the views read them, and which rows a policy for missing values refuses."""
    prepared = dict(rows)
    refused = jnp.zeros(len_of(rows), bool)
    for name, values in rows.items():
        spec = inputs.specs[name]
        if spec.kind == "table":
            prepared[name], bad = encoded_cells(inputs.tables[name], values)
            refused |= bad
        elif spec.kind == "vector" and spec.missing == "refuse":
            refused |= is_missing(values).any(axis=1)
    return prepared, refused


def len_of(rows: Rows) -> int:
    """Return the number of rows, which may be symbolic."""
    return next(iter(rows.values())).shape[0]


def _input_features(
    encoders: Mapping[str, nnx.Module], specs: list[ViewSpec], rows: Rows, fitted: Mapping[str, Mapping[str, Array]]
) -> tuple[dict[ViewSpec, Features], dict[ViewSpec, int]]:
    """Return the features of the plain views of inputs, and how many images a row of each has, if several."""
    views, images = ViewValues(), dict[ViewSpec, int]()
    for spec in views_of_inputs(specs):
        name = built(spec).modality
        own = {name: rows[name], **beside(rows, ())}
        if image_axes(spec) and rows[name].ndim == image_axes(spec) + 1:
            images[spec] = rows[name].shape[1]
            own[name] = rows[name].reshape(-1, *rows[name].shape[2:])
            if IDS in own:
                own[IDS] = jnp.repeat(own[IDS], images[spec])
        views |= plain_values((spec,), own, fitted)
    return features_of(encoders, views, train=False), images


def _mean(values: Array, images: int) -> Array:
    """Return the means over the images of each row, float32."""
    values = values.astype(jnp.float32)
    return values if images == 1 else values.reshape(-1, images, *values.shape[1:]).mean(axis=1)


def _map(features: Features) -> Array:
    assert features.local is not None  # a head was trained on the map
    assert features.grid is not None
    return features.local.reshape(features.local.shape[0], *features.grid, -1)


def _prediction(head: KeptHead, features: Array) -> Array:
    """Return the outputs of a head on the features that it reads; see `KeptHead.outputs`."""
    if head.standard is not None:
        mean, scale = (
            moment.reshape((1,) * (features.ndim - 1) + (-1,)) for moment in (head.standard.mean, head.standard.scale)
        )
        features = ((features.astype(jnp.float64) - mean) / scale).astype(jnp.float32)
    with jax.enable_x64(False):
        outputs = head.trained.head(head.trained.params, features)
        units = head.trained.units
        scale, shift = (
            np.asarray(one, np.float32).reshape((1,) * (outputs.ndim - 1) + (-1,)) for one in (units.scale, units.shift)
        )
        return outputs * scale + shift
