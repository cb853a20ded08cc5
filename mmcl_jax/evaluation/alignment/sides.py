"""The embeddings of the two sides of a run, such as images and reports: pooled and local, projected and not."""

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Features
from mmcl_jax.errors import check
from mmcl_jax.evaluation.alignment.pairing import Pairing
from mmcl_jax.evaluation.heads.encoded import IDS, ViewSpec, features_of, image_axes, plain_spec, plain_values
from mmcl_jax.evaluation.sources.blocks import padded
from mmcl_jax.evaluation.sources.source import Source

BLOCK = 32  # rows of a forward pass, whose local features are fetched
_AHEAD = 2  # blocks that are computed before the first is fetched


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """The embeddings of n rows by one encoder, float32, of the length that the encoder gives them.

    Attributes:
      modality: the encoder's.
      kind: of its input, such as "image" or "text".
      grid: shape of the map of the local features; () if they have none.
      pooled: `[n, D]`.
      local: `[n, L, C]`; None where the encoder has none.
      mask: `[n, L]`, which local features exist; None without local features.
      sentences: `[n, L]`, the sentence of each local feature of a text; None for images.
      weight: `[n, L]`, the weights of attention pooling, which sum to 1; None without it.
      projected: the pooled features behind their projector, `[n, d]`; None without a projector.
      regions: the local features behind the projector of local features, `[n, L, e]`; None without such a projector.
      through_pooled: the local features behind the projector of the pooled ones, `[n, L, d]`, by which a model without
        a local term points; None where there are `regions`, or the widths differ.
    """

    modality: str
    kind: str
    grid: tuple[int, ...] = ()
    pooled: np.ndarray
    local: np.ndarray | None = None
    mask: np.ndarray | None = None
    sentences: np.ndarray | None = None
    weight: np.ndarray | None = None
    projected: np.ndarray | None = None
    regions: np.ndarray | None = None
    through_pooled: np.ndarray | None = None

    @property
    def compared(self) -> np.ndarray | None:
        """The local features in the space that the other side's lie in, `[n, L, e]`; None without a projector."""
        return self.through_pooled if self.regions is None else self.regions


def encode_side(source: Source, pairing: Pairing, modality: str, rows: Mapping[str, Any]) -> Side:
    """Return the embeddings of plain views of rows.

    Args:
      source: with the model.
      pairing: which projectors are read.
      modality: of an encoder of one input.
      rows: `[n, ...]`, as `taken_rows` and `phrases.rows_of` return them.

    Raises:
      UserError: an embedding is not finite.
    """
    config, run = source.run.config, source.run
    spec, keys = plain_spec(config, modality), pairing.of(modality)
    graphdef, arrays = nnx.split(source.model)
    kind = source.spec(modality).kind
    program = _program(graphdef, modality, spec, keys.pooled, keys.local, kind == "text")
    fitted = {modality: dict(run.inputs.fitted.get(modality, {}))}
    grid, found = _in_blocks(lambda batch: program(arrays, fitted, batch), rows)
    check(
        all(np.isfinite(array).all() for array in found.values()),
        f"The embeddings that {run.directory} gives for the {modality} are not finite; name another --checkpoint.",
    )
    if "local" in found:
        found.setdefault("mask", np.ones(found["local"].shape[:2], bool))
    return Side(modality=modality, kind=kind, grid=grid, **found)


def taken_rows(
    source: Source, store: Store, split: str, modality: str, at: np.ndarray, pictures: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return rows `at` `[n]` of a split as an encoder reads them: of a row with several images, one of these.

    Args:
      source: with the run.
      store: with the rows.
      split: of the store.
      modality: of an encoder of one input.
      at: indices of rows in the split.
      pictures: index `[n]` of the image of each row; by default the first.
    """
    order, back = np.unique(at, return_inverse=True)  # mapped arrays are read in order
    every = source.rows(store, split, [modality])
    rows = {name: np.asarray(values[order])[back] for name, values in every.items() if name in (modality, IDS)}
    axes = image_axes(plain_spec(source.run.config, modality))
    if axes and rows[modality].ndim == axes + 1:
        chosen = np.zeros(len(at), int) if pictures is None else pictures
        rows[modality] = rows[modality][np.arange(len(at)), chosen]
    return rows


def _in_blocks(
    compute: Callable[[dict[str, np.ndarray]], tuple[Features, dict[str, jax.Array]]], rows: Mapping[str, Any]
) -> tuple[tuple[int, ...], dict[str, np.ndarray]]:
    """Return the grid of the local features, and the arrays `[N, ...]` of a program, run in blocks of one shape."""
    count = len(next(iter(rows.values())))
    parts: list[dict[str, np.ndarray]] = []
    running = deque[dict[str, jax.Array]]()
    with jax.default_matmul_precision("highest"):
        for start in range(0, count, BLOCK):
            features, projections = compute(
                {name: padded(values[start : start + BLOCK], BLOCK) for name, values in rows.items()}
            )
            own = {name: getattr(features, name) for name in ("pooled", "local", "mask", "weight")}
            running.append({name: values for name, values in {**own, **projections}.items() if values is not None})
            if len(running) > _AHEAD:
                parts.append(jax.device_get(running.popleft()))
        parts += map(jax.device_get, running)
    return features.grid or (), {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


@functools.lru_cache(maxsize=16)
def _program(graphdef: Any, modality: str, spec: ViewSpec, pooled_key: str, local_key: str, is_text: bool) -> Any:
    """Return the compiled encoder with its projections; models of the same structure share it."""

    @jax.jit
    def encode(arrays: Any, fitted: Any, batch: dict[str, jax.Array]) -> tuple[Features, dict[str, jax.Array]]:
        model = nnx.merge(graphdef, arrays)
        views = plain_values((spec,), batch, fitted)
        (view,) = views.values()
        (features,) = features_of(model.encoders, views, train=False).values()
        local, projections = features.local, {}
        if pooled_key:
            projections["projected"] = model.project(pooled_key, features, train=False)
        if local_key and local is not None:
            projections["regions"] = model.project(local_key, features, train=False)
        elif pooled_key and local is not None and local.shape[2] == features.pooled.shape[1]:
            each = Features(pooled=local.reshape(-1, local.shape[2]))
            through = model.project(pooled_key, each, train=False)
            projections["through_pooled"] = through.reshape(*local.shape[:2], -1)
        if is_text and local is not None:
            projections["sentences"] = _sentences(model.encoders[modality], view, local.shape[1])
        kept = Features(
            pooled=features.pooled, local=local, mask=features.mask, weight=features.weight, grid=features.grid
        )
        return jax.tree.map(_wide, (kept, projections))

    return encode


def _sentences(encoder: Any, view: jax.Array, count: int) -> jax.Array:
    """Return the sentence `[B, L]` of each local feature: its index in an encoder of sentences, or its token's."""
    if hasattr(encoder, "sentences"):
        return jnp.broadcast_to(jnp.arange(count), (len(view), count))
    if count == view.shape[1]:
        return view[..., 1]
    return jnp.full((len(view), count), -1)


def _wide(array: jax.Array) -> jax.Array:
    return array.astype(jnp.float32) if jnp.issubdtype(array.dtype, jnp.floating) else array
