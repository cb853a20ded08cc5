"""The contracts of an encoder and of a projector, and the registries."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Key

from mmcl_jax.arrays import ArrayError, ArrayLike, as_array
from mmcl_jax.encoders.features import Features
from mmcl_jax.registry import Registry

ENCODERS = Registry("encoder", given=("kind", "shape", "widths", "missing", "parts", "norm", "rngs", "dtype"))
PROJECTORS = Registry("projector", given=("features", "norm", "rngs", "dtype"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """What an encoder gets to see of one modality.

    Attributes:
      kind: of the modality's entry: "image", "volume", "table", "vector" or "text"; "fusion" of none.
      shape: of one view, channels last.
      widths: one-hot widths of a table's columns; of a text, the size of its vocabulary alone.
      missing: the policy for missing values of a table, see `TableInput`.
      parts: channels of the features that a fusion is given.
    """

    kind: str
    shape: tuple[int, ...]
    widths: tuple[int, ...] = ()
    missing: str = "refuse"
    parts: tuple[int, ...] = ()


class Encoder(nnx.Module):
    """An encoder: `body(embed(view))`, so that explanations can differentiate by what `embed` returns.

    Compute is in the given dtype; parameters and normalisation statistics are float32. A factory asks for what it needs
    of `kind`, `shape`, `widths`, `missing` and `parts` (see `ViewSpec`), `norm` (makes a normalisation layer for a
    number of channels), `rngs` and `dtype`; defaults of these are for calls without a config. Its return annotation
    names the class, whose `takes` is checked before it is built.

    Attributes:
      takes: the kinds of entries that can be encoded.
      out_features: D, the width of the pooled features.
      out_local_features: C, the width of the local features; 0 if there are none.
    """

    takes: tuple[str, ...] = ()
    out_features: int
    out_local_features: int = 0

    def embed(self, view: Any) -> Any:
        """Return the view as arrays of floats (and masks, where there are any) in which a gradient has a meaning."""
        raise NotImplementedError

    def body(
        self,
        embedded: Any,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of what `embed` returned; see `__call__`."""
        raise NotImplementedError

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
          view: what the views are, as in `ViewSpec`, in any array that speaks DLPack; of a fusion a tuple of `Part`.
          train: normalise by the batch, and draw what is drawn in training.
          present: which rows exist, None for all. The others change nothing for these.
          keys: a random key per row, for encoders that draw.

        Raises:
          ArrayError: (a `UserError`) pixels are no floats.
        """
        view = jax.tree.map(lambda values: as_array(values, "view"), view)
        if {"image", "volume"} & set(self.takes) and not jnp.issubdtype(view.dtype, jnp.floating):
            raise ArrayError(f"pixels are {view.dtype}; give floats in [0, 1], as the views of mmcl_jax.views do.")
        where = None if present is None else as_array(present, "present")
        return self.body(self.embed(view), train=train, present=where, keys=keys)


class Projector(nnx.Module):
    """A projector, or a predictor, which is a projector behind a projector.

    A factory asks for what it needs of `features` (the width it gets), `norm`, `rngs` and `dtype`.

    Attributes:
      out_features: d, the width of the result.
    """

    out_features: int

    def __call__(self, x: Array, *, train: bool, present: Bool[Array, "B *L"] | None = None) -> Array:
        """Return features `[B, D]` or `[B, L, C]` in the space where a term compares them, `[B, d]` or `[B, L, d]`.

        `present` says which of the B (or B x L) vectors exist, None for all. The others change nothing for these.
        """
        raise NotImplementedError
