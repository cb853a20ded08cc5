"""The arguments of a term's stages, each one object with named fields, and the result of its loss."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key, Shaped, UInt32

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders import Features
from mmcl_jax.encoders.fusions import Part
from mmcl_jax.encoders.layers import linear
from mmcl_jax.objectives.pairs import Execution
from mmcl_jax.views import Viewed

Metrics = dict[str, Array]
Learned = Mapping[str, Float[Array, ""]]
Layers = Mapping[str, nnx.Module]
Targets = Mapping[str, Shaped[Array, "B ..."]]
# (name of a fused view, its parts [B, L, C] by their texts, which rows are present) -> features
Fuse = Callable[[str, Mapping[str, Part], Bool[Array, "B"]], Features]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Each:
    """The rows of one slice, for the stage `each`. Tuples have an entry for each text of `Term.between`.

    Attributes:
      ids: ids of the rows.
      features: outputs of the encoders.
      embeddings: outputs of the projectors, `[B, d]` or `[B, L, d]`. They, the predictions and the teacher's embeddings
        are empty unless `Term.outputs` names them.
      predictions: outputs of the predictors.
      teacher: embeddings by the target network, an EMA of the model, without gradient.
      views: inputs of the encoders, with the source of their pixels (`geometry`) and the cells that were overwritten
        (`changed`); None for a fused view.
      inputs: rows of the batch that the views were made from; None for a fused view.
      parts: for a fused view, the features that it is made from, by the texts of its `of`; {} for other views.
      targets: the targets that the term reads: classes int32, -1 for missing; numbers float32, NaN for missing.
      layers: the term's own layers.
      learned: the term's own scalars.
      keys: random keys, one per row. Terms with the same `stream` draw the same numbers.
      present: True where a row has everything that the term reads; None for all rows. The view and the features of an
        absent input are zeros.
      train: whether layers with model state, such as normalisation, use the batch and adapt to it.
    """

    ids: UInt32[Array, "B"]
    features: tuple[Features, ...]
    embeddings: tuple[Float[Array, "B ..."], ...] = ()
    predictions: tuple[Float[Array, "B ..."], ...] = ()
    teacher: tuple[Float[Array, "B ..."], ...] = ()
    views: tuple[Viewed | None, ...] = ()
    inputs: tuple[Shaped[Array, "B ..."] | None, ...] = ()
    parts: tuple[Mapping[str, Part], ...] = ()
    targets: Targets = dataclasses.field(default_factory=dict)
    layers: Layers = dataclasses.field(default_factory=dict)
    learned: Learned = dataclasses.field(default_factory=dict)
    keys: Key[Array, "B"] | None = None
    present: Bool[Array, "B"] | None = None
    train: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whole:
    """The whole batch, for the stages `choose` and `loss`.

    Rows that are not present hold zeros.

    Attributes:
      ids: ids of the rows.
      embeddings, predictions, teacher: as in `Each`, for a term without the stage `each`.
      each: the result of the stage `each`, arrays `[B, ...]`.
      pairs: the result of the stage `each_pair`, arrays `[B, ...]`.
      targets: the targets that the term reads.
      groups: person of each row, if the store has groups.
      present: True where a row has everything that the term reads; None for all rows.
      learned: the term's own scalars.
      queue: embeddings of earlier steps, of unit length.
      execution: how pairs are computed; None on one device.
      key: random key, a function of the term's stream, the seed and the step, for a term that chooses partners.
    """

    ids: UInt32[Array, "B"]
    embeddings: tuple[Float[Array, "B ..."], ...] = ()
    predictions: tuple[Float[Array, "B ..."], ...] = ()
    teacher: tuple[Float[Array, "B ..."], ...] = ()
    each: Any = None
    pairs: Any = None
    targets: Targets = dataclasses.field(default_factory=dict)
    groups: Int[Array, "B"] | None = None
    present: Bool[Array, "B"] | None = None
    learned: Learned = dataclasses.field(default_factory=dict)
    queue: Float[Array, "Q d"] | None = None
    execution: Execution | None = None
    key: Key[Array, ""] | None = None

    def masked(self) -> "Whole":
        """Return the batch with zeros in the rows of the model's outputs that are not present."""
        present = self.present
        return self if present is None else self._map_outputs(lambda tree: zeroed(tree, present))

    def fixed(self) -> "Whole":
        """Return the batch without gradient."""
        return self._map_outputs(jax.lax.stop_gradient)

    def _map_outputs(self, function: Callable[[Any], Any]) -> "Whole":
        outputs = ("embeddings", "predictions", "teacher", "each", "pairs")
        return dataclasses.replace(self, **{name: function(getattr(self, name)) for name in outputs})

    def mean(self, values: Float[Array, "B"]) -> Float[Array, ""]:
        """Return the mean over the rows that are present, 0 if none is."""
        return masked_mean(values, self.present)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EachPair:
    """The rows of one slice and their K partners, for the stage `each_pair`.

    Attributes:
      own: the rows' result of the stage `each`, arrays `[B, ...]`; for a term without it, the tuple of embeddings.
      partners: the partners' result of the stage `each`, arrays `[B, K, ...]`.
      layers: the term's own layers, except those with model state, which run in `each` alone.
      learned: the term's own scalars.
      present: rows that are present; None for all.
      partners_present: True where a partner exists and is present.
      fuser: the function that `fuse` calls.
    """

    own: Any
    partners: Any
    partners_present: Bool[Array, "B K"]
    layers: Layers = dataclasses.field(default_factory=dict)
    learned: Learned = dataclasses.field(default_factory=dict)
    present: Bool[Array, "B"] | None = None
    fuser: Fuse | None = None

    @property
    def paired(self) -> Bool[Array, "B K"]:
        """The pairs in which both the row and its partner are present."""
        return self.partners_present if self.present is None else self.partners_present & self.present[:, None]

    def fuse(self, view: str, parts: Mapping[str, Part]) -> Float[Array, "B K D"]:
        """Return the pooled features of a fusion of rows with their partners; 0 where a pair is not present.

        Args:
          view: name of the fused view.
          parts: by the texts of its `of`, as in `Each.parts`: tokens `[B, L, C]` of the rows, which all K pairs share,
            or `[B, K, L, C]` of the partners.

        Raises:
          ValueError: the term is called on plain arrays, without a model, or the fusion has model state.
        """
        if self.fuser is None:
            raise ValueError(f"the view {view!r} is fused by a model; on plain arrays, give the term each= and pairs=")
        rows, count = self.partners_present.shape

        def per_pair(part: Part) -> Part:
            if part.tokens.ndim == 3:
                return jax.tree.map(lambda array: jnp.repeat(array, count, axis=0), part)
            return jax.tree.map(lambda array: array.reshape(rows * count, *array.shape[2:]), part)

        fused = self.fuser(view, {text: per_pair(part) for text, part in parts.items()}, self.paired.reshape(-1))
        return fused.pooled.reshape(rows, count, -1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss of a batch, with its metrics.

    Attributes:
      value: the loss.
      metrics: values for the log, by short name.
      rows: number of rows in the loss; None for all that are present.
    """

    value: Float[Array, ""]
    metrics: Metrics = dataclasses.field(default_factory=dict)
    rows: Float[Array, ""] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Widths of the features behind one text of `Term.between`; 0 where there are none.

    `view` is the shape of one view, channels last; () for a fused view.
    """

    pooled: int
    local: int = 0
    embedding: int = 0
    view: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerInput:
    """The arguments of `Layer.build`.

    Attributes:
      sizes: widths of the features that the term reads, in the order of `Term.between`.
      norm: function that makes a normalisation layer for a number of channels.
      rngs: random streams of the initial parameters.
      dtype: dtype of the computation.
    """

    sizes: tuple[Sizes, ...]
    norm: Callable[[int], nnx.Module]
    rngs: nnx.Rngs
    dtype: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer that belongs to a term.

    Attributes:
      build: function that makes the module.
      name: name of the layer in the model. Terms share a layer by giving theirs the same name; a layer without a name
        is used by its term alone.
    """

    build: Callable[[LayerInput], nnx.Module]
    name: str = ""


def linear_layer(index: int, outputs: int) -> Layer:
    """Return a fully connected layer on the pooled features of `Term.between[index]`."""

    def build(context: LayerInput) -> nnx.Module:
        return linear(context.sizes[index].pooled, outputs, rngs=context.rngs, dtype=context.dtype)

    return Layer(build=build)


def masked_mean(values: Float[Array, "B"], present: Bool[Array, "B"] | None) -> Float[Array, ""]:
    """Return the mean over the rows that are present, 0 if none is.

    Example:
      >>> float(masked_mean(jnp.array([1.0, jnp.nan, 3.0]), jnp.array([True, False, True])))
      2.0
    """
    if present is None:
        return values.mean()
    count = jnp.sum(present, dtype=values.dtype)
    return jnp.sum(jnp.where(present, values, 0)) / jnp.maximum(count, 1)


def zeroed(tree: Any, present: Bool[Array, "B"]) -> Any:
    """Return arrays `[B, ...]` with zeros in the rows that are not present.

    The gradient with respect to those rows is exactly 0, whatever they hold.
    """
    return jax.tree.map(lambda array: zero_absent(array, present), tree)
