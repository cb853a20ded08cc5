"""The contracts of an encoder and of a projector, and the registries."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from mmcl_jax.arrays import ArrayError, ArrayLike, as_array
from mmcl_jax.encoders.features import Features
from mmcl_jax.registry import Registry

ENCODERS = Registry(
    "encoder",
    arguments=("kind", "shape", "widths", "missing", "bin_edges", "parts", "norm", "rngs", "dtype"),
    # The file of the initial weights, the JSON file of its names, the pixels that they expect, and what is done with
    # position embeddings of another grid and with weights for colours; see `weights.tower`. Then the pooling of local
    # features, its number of heads and the mean that is its query; see `pooling.attention_pooled`.
    extra={
        "weights": str,
        "weights_map": str,
        "weights_pixels": Literal["unit", "imagenet", "inception"],
        "weights_positions": Literal["same", "bicubic"],
        "weights_channels": Literal["same", "sum"],
        "pooling": Literal["attention", "none"],
        "pooling_heads": int,
        "pooling_mean": Literal["mask", "length"],
    },
)
PROJECTORS = Registry("projector", arguments=("features", "norm", "rngs", "dtype"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """The kind and the shape of one modality's views, from which its encoder is built.

    Attributes:
      kind: "image", "volume", "table", "vector" or "text", or "fusion" for the features of other encoders.
      shape: of one view, channels last.
      widths: one-hot widths of a table's columns; of a text, the size of its vocabulary alone.
      missing: the policy for missing values of a table; see `TableInput`.
      parts: numbers of channels of the features that a fusion combines.
      bin_edges: edges of the quantile bins of a table's columns, for encoders that ask for bins (`Encoder.asks`).
    """

    kind: str
    shape: tuple[int, ...]
    widths: tuple[int, ...] = ()
    missing: str = "refuse"
    parts: tuple[int, ...] = ()
    bin_edges: tuple[tuple[float, ...], ...] = ()


class Encoder(nnx.Module):
    """An encoder: `features(embed(view))`, so that explanations can differentiate by what `embed` returns.

    `features` are those of `body`, which a new encoder implements, behind the encoder's pooling, if it has one.

    It computes in its dtype; parameters and normalisation statistics are float32. Its factory has as keywords what it
    needs of `kind`, `shape`, `widths`, `missing`, `parts` and `bin_edges` (see `ViewSpec`), `norm` (makes a
    normalisation layer for a number of channels), `rngs` and `dtype`; their defaults are for calls without a config.
    The factory's return annotation is the class, whose `takes` is checked before an encoder is built.

    Attributes:
      takes: the kinds of entries that the encoder accepts.
      replaces_missing: whether it replaces missing cells of a table (NaN), whatever the policy of the input.
      out_features: D, the width of the pooled features.
      out_local_features: C, the width of the local features; 0 if there are none.
      attention_pool: the pooling of the local features; see `pooling.attention_pooled`.
    """

    takes: tuple[str, ...] = ()
    replaces_missing: bool = False
    out_features: int
    out_local_features: int = 0
    attention_pool: Callable[[Features], Features] | None = None

    @classmethod
    def asks(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """Return what an encoder with these options asks of the encoding of its table, `rare` or `bins`.

        The encoding is fitted on the training rows, and stored in the run; see `data.table.encoding.Encoding.fit`.
        """
        return {}

    def column_norms(self, gradients: Mapping[str, Any]) -> Float[Array, " F"] | None:
        """Return the norm of the gradient of the weights of each column of a table.

        It is None for an encoder whose columns share all weights, or whose weights are not trained.

        Args:
          gradients: of the encoder's parameters, a nested dict.
        """
        return None

    @property
    def frozen(self) -> tuple[str, ...]:
        """Path patterns, within the encoder, of parameters that training leaves as they are (see `config.frozen`)."""
        return ()

    def row_bytes(self, *, train: bool) -> int:
        """Return a lower bound of the memory, in bytes, that one row needs at a time; 0 if there is no estimate.

        In training, it is what is kept for the gradient. A step that cannot fit is refused before it is compiled.
        """
        del train
        return 0

    @property
    def embedded_columns(self) -> tuple[int, ...] | None:
        """The column of the view of each index of axis 1 of what `embed` returns; None where they are the same.

        Explanations sum the attributions of a column by it.
        """
        return None

    @property
    def local_columns(self) -> tuple[int, ...] | None:
        """The column of the view of each local feature, -1 for a class token; None where they stand for no columns."""
        return None

    def embed(self, view: Any) -> Any:
        """Return the view as arrays of floats, which have gradients, and masks where rows have any."""
        raise NotImplementedError

    def body(
        self,
        embedded: Any,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of what `embed` returned, before the pooling; see `__call__`."""
        raise NotImplementedError

    def features(
        self,
        embedded: Any,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of what `embed` returned; see `__call__`."""
        features = self.body(embedded, train=train, present=present, keys=keys)
        return features if self.attention_pool is None else self.attention_pool(features)

    def __call__(
        self,
        view: Any,
        *,
        train: bool,
        present: ArrayLike | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of views `[B, ...]`.

        Args:
          view: the views, as in `ViewSpec`, in any array that speaks DLPack; for a fusion, a tuple of `Part`.
          train: whether to normalise by the batch, and to draw what training draws.
          present: which rows exist, None for all. Absent rows do not influence the features of present rows.
          keys: a random key per row, for encoders that draw.

        Raises:
          ArrayError: (a `UserError`) the pixels are not floats.
        """
        view = jax.tree.map(lambda values: as_array(values, "view"), view)
        if {"image", "volume"} & set(self.takes) and not jnp.issubdtype(view.dtype, jnp.floating):
            raise ArrayError(f"pixels are {view.dtype}; give floats in [0, 1], such as a view of mmcl_jax.views.")
        mask = None if present is None else as_array(present, "present")
        return self.features(self.embed(view), train=train, present=mask, keys=keys)


class Projector(nnx.Module):
    """A projector of features, or a predictor, which takes the output of a projector.

    Its factory has as keywords what it needs of `features` (the width of its input), `norm`, `rngs` and `dtype`.

    Attributes:
      out_features: d, the width of the output.
    """

    out_features: int

    def __call__(self, x: Array, *, train: bool, present: Bool[Array, "B *L"] | None = None) -> Array:
        """Project features `[B, D]` or `[B, L, C]` into the space where a term compares them: `[B, d]` or `[B, L, d]`.

        `present` marks which of the B (or B x L) vectors exist, None for all; absent vectors do not influence the rest.
        """
        raise NotImplementedError
