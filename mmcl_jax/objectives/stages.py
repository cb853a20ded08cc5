"""What the stages of a term are given, each one object with named fields, and what its loss returns."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key, Shaped, UInt32

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
      ids: of the rows.
      features: of the encoders.
      embeddings: features behind the projector, `[B, d]` or `[B, L, d]`, if the term asks for them; so are the next.
      predictions: embeddings behind the predictor.
      teacher: embeddings by the target network, a moving average, without gradient.
      views: what the encoders saw, with where its pixels come from (`geometry`) and the cells that were overwritten
        (`changed`); None of a fused view.
      inputs: rows of the batch that the views were made of; None of a fused view.
      parts: of a fused view, the features that it is made of by the texts of its `of`; {} of other views.
      targets: that the term reads; a class is int32, -1 for missing, a number float32, NaN for missing.
      layers: the term's own.
      learned: the term's own scalars.
      keys: random keys, one per row. Terms of one `stream` draw alike.
      present: rows that have all that the term reads; None for all. Rows without an input have zeros in its view and
        features.
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

    Rows that are not present hold zeros, whatever was given.

    Attributes:
      ids: of the rows.
      embeddings, predictions, teacher: as in `Each`, of a term without the stage `each`.
      each: what the stage `each` returned, its arrays `[B, ...]`.
      pairs: what the stage `each_pair` returned, its arrays `[B, ...]`.
      targets: that the term reads.
      groups: person of each row, where the store knows.
      present: rows that have all that the term reads; None for all.
      learned: the term's own scalars.
      queue: embeddings of earlier steps, of unit length.
      execution: how pairs are walked; None on one device.
      key: of the term's stream, the seed and the step, for a term that chooses partners.
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
        """Return the batch with zeros in rows that are not present, wherever the model made them."""
        present = self.present
        return self if present is None else self._changed(lambda tree: zeroed(tree, present))

    def fixed(self) -> "Whole":
        """Return the batch without gradient."""
        return self._changed(jax.lax.stop_gradient)

    def _changed(self, change: Callable[[Any], Any]) -> "Whole":
        made = ("embeddings", "predictions", "teacher", "each", "pairs")
        return dataclasses.replace(self, **{name: change(getattr(self, name)) for name in made})

    def mean(self, values: Float[Array, "B"]) -> Float[Array, ""]:
        """Return the mean over the rows that are present, 0 if there is none."""
        return masked_mean(values, self.present)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EachPair:
    """The rows of one slice and their K partners, for the stage `each_pair`.

    Attributes:
      own: what the stage `each` returned (without it, the tuple of embeddings), arrays `[B, ...]`.
      partners: the same of the chosen rows, arrays `[B, K, ...]`.
      layers: the term's own, without those that have model state: these run in `each` alone.
      learned: the term's own scalars.
      present: rows that are present; None for all.
      partners_present: which partners there are, and are present.
      fuser: what `fuse` asks.
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
        """Which pairs of a row and a partner there are, both present."""
        return self.partners_present if self.present is None else self.partners_present & self.present[:, None]

    def fuse(self, view: str, parts: Mapping[str, Part]) -> Float[Array, "B K D"]:
        """Return the pooled features of a fusion whose parts are of own rows and of partners; 0 where there is no pair.

        Args:
          view: name of the fused view.
          parts: by the texts of its `of`, as in `Each.parts`: tokens `[B, L, C]` of own rows, which all K pairs share,
            or `[B, K, L, C]` of partners.

        Raises:
          ValueError: the term is called on plain arrays, where there is no model, or the fusion has model state.
        """
        if self.fuser is None:
            raise ValueError("parts are fused by a model, of which there is none")
        rows, count = self.partners_present.shape

        def of_pairs(part: Part) -> Part:
            if part.tokens.ndim == 3:
                return jax.tree.map(lambda array: jnp.repeat(array, count, axis=0), part)
            return jax.tree.map(lambda array: array.reshape(rows * count, *array.shape[2:]), part)

        found = self.fuser(view, {text: of_pairs(part) for text, part in parts.items()}, self.paired.reshape(-1))
        return found.pooled.reshape(rows, count, -1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """What a term's loss returns.

    Attributes:
      value: the loss.
      metrics: for the log, by short name.
      rows: how many rows counted; None for all that are present.
    """

    value: Float[Array, ""]
    metrics: Metrics = dataclasses.field(default_factory=dict)
    rows: Float[Array, ""] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Widths of what a term reads at one place of `Term.between`; 0 for what is not there."""

    pooled: int
    local: int = 0
    embedding: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerInput:
    """What a layer of a term is built from.

    Attributes:
      sizes: widths of what the term reads, in the order of `Term.between`.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams of the initial parameters.
      dtype: of the computation.
    """

    sizes: tuple[Sizes, ...]
    norm: Callable[[int], nnx.Module]
    rngs: nnx.Rngs
    dtype: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of a term's own.

    Attributes:
      build: makes the module.
      name: in the model. Terms whose layers have one name share the layer. Without a name it is the term's alone.
    """

    build: Callable[[LayerInput], nnx.Module]
    name: str = ""


def linear_layer(index: int, outputs: int) -> Layer:
    """Return a fully connected layer on the pooled features at this place of `Term.between`."""

    def build(given: LayerInput) -> nnx.Module:
        return linear(given.sizes[index].pooled, outputs, rngs=given.rngs, dtype=given.dtype)

    return Layer(build=build)


def masked_mean(values: Float[Array, "B"], present: Bool[Array, "B"] | None) -> Float[Array, ""]:
    """Return the mean over the rows that are present, 0 if there is none.

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

    The gradient by those rows is exactly 0, whatever they hold.
    """

    def kept(array: Array) -> Array:
        return jnp.where(present.reshape(-1, *[1] * (array.ndim - 1)), array, jnp.zeros_like(array))

    return jax.tree.map(kept, tree)
