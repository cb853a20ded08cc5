"""What `embed` returns for rows of an input, as one array of floats per row by which encoders are differentiated."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.sharding import Mesh
from jaxtyping import Array, Float

from mmcl_jax.encoders import Encoder, Model
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import IDS, ViewSpec, plain_spec, plain_values
from mmcl_jax.explain.base import IMAGE_KINDS, Subject
from mmcl_jax.training.mesh import by_example, replicated


@dataclasses.dataclass(frozen=True)
class Layout:
    """The structure of what `embed` returns for one row: which arrays are floats, and their shapes without the rows."""

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    floats: tuple[bool, ...]

    @classmethod
    def of(cls, embedded: Any) -> "Layout":
        """Return the layout of arrays, or abstract arrays, `[B, ...]`."""
        leaves, treedef = jax.tree.flatten(embedded)
        floats = tuple(bool(jnp.issubdtype(leaf.dtype, jnp.floating)) for leaf in leaves)
        return cls(treedef, tuple(leaf.shape[1:] for leaf in leaves), floats)

    def split(self, embedded: Any) -> tuple[Float[Array, "B E"], list[Array]]:
        """Return the floats of each row side by side, float32, and the other arrays, such as masks."""
        leaves = jax.tree.leaves(embedded)
        flat = [leaf.reshape(len(leaf), -1) for leaf, is_float in zip(leaves, self.floats, strict=True) if is_float]
        rest = [leaf for leaf, is_float in zip(leaves, self.floats, strict=True) if not is_float]
        return jnp.concatenate([part.astype(jnp.float32) for part in flat], axis=1), rest

    def join(self, row: Float[Array, "E"], rest: list[Array]) -> Any:
        """Return what `embed` returned for one row, `[1, ...]`, from its floats and its other arrays `[1, ...]`."""
        leaves, others, start = [], iter(rest), 0
        for shape, is_float in zip(self.shapes, self.floats, strict=True):
            if is_float:
                end = start + int(np.prod(shape))
                leaves.append(row[start:end].reshape(1, *shape))
                start = end
            else:
                leaves.append(next(others))
        return jax.tree.unflatten(self.treedef, leaves)

    def positions(self, encoder: Encoder, input: str) -> tuple[int, ...]:
        """Return the shape of the pixels, `[H, W]` or `[D, H, W]`, of an encoder that embeds images as their channels.

        Raises:
          UserError: the encoder embeds images as something else.
        """
        (shape,) = self.shapes if len(self.shapes) == 1 else ((),)
        check(
            len(shape) in (3, 4),
            f"The encoder of {input!r} embeds images as {' and '.join(map(str, self.shapes))}, so that attributions "
            f"have no pixel; let embed of {type(encoder).__name__} return the view.",
        )
        return shape[:-1]

    def columns(self, encoder: Encoder, count: int, input: str) -> np.ndarray:
        """Return the column `[E]`, of `count`, that each float belongs to.

        Raises:
          UserError: the encoder does not say it.
        """
        own = encoder.embedded_columns
        first = np.arange(count) if own is None else np.array(own, int)
        parts = []
        for shape, is_float in zip(self.shapes, self.floats, strict=True):
            if not is_float:
                continue
            check(
                len(shape) > 0 and shape[0] == len(first),
                f"The encoder of {input!r} embeds {count} columns as {' x '.join(map(str, shape)) or 'a number'}, so "
                f"that attributions have no column; give {type(encoder).__name__} the property embedded_columns.",
            )
            parts.append(np.repeat(first, int(np.prod(shape[1:]))))
        return np.concatenate(parts)


class EmbeddedInput:
    """The embedding of rows of one input of a subject, in blocks of one compiled shape over a mesh.

    Attributes:
      spec: of the plain view of the input.
      layout: of the embedding.
      columns: the column `[E]` of each float, or the position of a token in a text, or the pixel of an image.
      width: the number of columns of the view, or of positions or pixels. A view may add columns of noise to a vector.
      space: the shape of the pixels, `[H, W]` or `[D, H, W]`; () for columns.
    """

    def __init__(self, subject: Subject, model: Model) -> None:
        """Trace `embed` for rows of the input.

        Raises:
          UserError: the encoder does not say which column a float belongs to.
        """
        run, name = subject.source.run, subject.input
        self._subject = subject
        self._graphdef, self._state = nnx.split(model)
        self._fitted = {name: dict(run.inputs.fitted.get(name, {}))}
        self.spec = plain_spec(run.config, name)
        row = jax.ShapeDtypeStruct((1, *subject.spec.shape), subject.spec.dtype)
        rows = {name: row, IDS: jax.ShapeDtypeStruct((1,), np.uint32)}
        embed = functools.partial(_embed, self._graphdef, name, self.spec)
        embedded = jax.eval_shape(embed, self._state, rows, self._fitted)
        self._mean: np.ndarray | None = None
        self.layout = Layout.of(embedded)
        self.space = self.layout.positions(model.encoders[name], name) if subject.spec.kind in IMAGE_KINDS else ()
        if self.space:
            self.width = int(np.prod(self.space))
            self.columns = np.repeat(np.arange(self.width), self.layout.shapes[0][-1])
        else:
            self.width = self._columns(rows)
            self.columns = self.layout.columns(model.encoders[name], self.width, name)

    def _columns(self, rows: dict[str, jax.ShapeDtypeStruct]) -> int:
        """Return the number of columns of the view of a vector, or of the rows of another kind."""
        if self._subject.spec.kind != "vector":
            return rows[self._subject.input].shape[1]
        view = functools.partial(_view, self.spec)
        return int(jax.eval_shape(view, rows, self._fitted).shape[1])

    def __call__(self, rows: Mapping[str, np.ndarray], mesh: Mesh) -> tuple[Array, list[Array]]:
        """Return the floats `[R, E]` of rows (see `Subject.taken`), and the other arrays, divided over the mesh."""
        self._state, self._fitted = jax.device_put((self._state, self._fitted), replicated(mesh))
        program = _program(self._graphdef, self._subject.input, self.spec, self.layout)
        return program(self._state, jax.device_put(dict(rows), by_example(mesh)), self._fitted)

    def bytes_of_row(self, model: Model) -> int:
        """Return the bytes of what the encoder of an image or a volume keeps of one row for its gradient."""
        like = jax.ShapeDtypeStruct((1, *self.layout.shapes[0]), jnp.float32)
        features = model.encoders[self._subject.input].features
        return bytes_of(jax.make_jaxpr(lambda view: features(view, train=False).pooled)(like))

    def baseline(self, name: str, mesh: Mesh, *, size: int) -> np.ndarray:
        """Return the baseline `[E]`: zeros, or the mean over the training rows that have the input.

        Raises:
          UserError: a mean of texts is asked for, whose positions have no meaning of their own.
        """
        if name == "zero":
            return np.zeros(len(self.columns), np.float32)
        if self._mean is not None:
            return self._mean
        subject = self._subject
        check(
            subject.spec.kind != "text",
            f"--baseline mean: the words of {subject.input!r} at one position have no mean; use --baseline zero.",
        )
        every, fold = subject.inputs(subject.input, "train"), subject.source.run.inputs.fold
        present = subject.store.read("train", [subject.spec.of], fold=fold)[subject.spec.of].present
        indices = np.arange(len(every)) if present is None else np.flatnonzero(present)
        total = np.zeros(len(self.columns))
        for start in range(0, len(indices), size):
            part = indices[start : start + size]
            flat, _ = self(subject.taken([subject.input], padded(part, size), "train"), mesh)
            total += np.asarray(flat[: len(part)], np.float64).sum(axis=0)
        self._mean = (total / len(indices)).astype(np.float32)
        return self._mean


def padded(indices: np.ndarray, size: int) -> np.ndarray:
    """Return the indices, of which there is at least one, padded with the last to `size`: one shape, one program."""
    return np.concatenate([indices, np.repeat(indices[-1:], size - len(indices))])


def _view(spec: ViewSpec, rows: dict[str, Array], fitted: Any) -> Array:
    return plain_values((spec,), rows, fitted)[spec]


def _embed(
    graphdef: nnx.GraphDef, input: str, spec: ViewSpec, state: nnx.State, rows: dict[str, Array], fitted: Any
) -> Any:
    return nnx.merge(graphdef, state).encoders[input].embed(_view(spec, rows, fitted))


@functools.lru_cache(maxsize=16)
def _program(graphdef: nnx.GraphDef, input: str, spec: ViewSpec, layout: Layout) -> Callable[..., Any]:
    return jax.jit(lambda *arguments: layout.split(_embed(graphdef, input, spec, *arguments)))


def bytes_of(traced: ClosedJaxpr | Jaxpr) -> int:
    """Return the bytes of all arrays that a traced function computes, of which its gradient keeps no more."""
    jaxpr = traced.jaxpr if isinstance(traced, ClosedJaxpr) else traced
    total = 0
    for equation in jaxpr.eqns:
        inner = [value for value in equation.params.values() if isinstance(value, ClosedJaxpr | Jaxpr)]
        arrays: list[Any] = [variable.aval for variable in equation.outvars]
        outputs = sum(array.size * array.dtype.itemsize for array in arrays)
        total += sum(map(bytes_of, inner)) if inner else outputs
    return total
