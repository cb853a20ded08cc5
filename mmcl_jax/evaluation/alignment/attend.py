"""What the alignment of a local term reads for each region and each sentence, and with which weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mmcl_jax.evaluation.alignment.pairing import Pairing
from mmcl_jax.evaluation.alignment.sides import BLOCK, Side
from mmcl_jax.evaluation.sources.blocks import padded
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.training.state.model import layers_of


class Attended(NamedTuple):
    """The alignment of n images and reports, float32.

    Attributes:
      image: what each region reads from the sentences, `[n, L, e]`.
      report: what each sentence reads from the regions, `[n, M, e]`.
      over_sentences: the weights of the sentences for each region, `[n, L, M]`.
      over_regions: the weights of the regions for each sentence, `[n, M, L]`; those of sentences that do not exist
        mean nothing.
    """

    image: np.ndarray
    report: np.ndarray
    over_sentences: np.ndarray
    over_regions: np.ndarray


def attend(source: Source, pairing: Pairing, image: Side, report: Side) -> Attended | None:
    """Return the alignment of the same rows of both sides; None for a run without a term that aligns them."""
    if not pairing.term or image.regions is None or report.regions is None:
        return None
    align = layers_of(source.model, pairing.objective, pairing.term)["align"]
    graphdef, arrays = nnx.split(align)

    @jax.jit
    def both(arrays: Any, x: jax.Array, y: jax.Array, x_mask: jax.Array, y_mask: jax.Array) -> tuple[jax.Array, ...]:
        align = nnx.merge(graphdef, arrays)
        x_keys, y_keys = align.key(x), align.key(y)
        scores = jnp.einsum("bkd,bmd->bkm", x_keys, y_keys) / jnp.sqrt(jnp.float32(x_keys.shape[2]))
        weights = _weights(scores, y_mask), _weights(scores.swapaxes(1, 2), x_mask)
        return align(x, y, y_mask), align(y, x, x_mask), *weights

    parts = []
    with jax.default_matmul_precision("highest"):
        for start in range(0, len(image.pooled), BLOCK):
            arguments = [image.regions, report.regions, image.mask, report.mask]
            batch = [padded(one[start : start + BLOCK], BLOCK) for one in arguments]  # type: ignore[index]
            parts.append(jax.device_get(both(arrays, *batch)))
    return Attended(*(np.concatenate(of)[: len(image.pooled)] for of in zip(*parts, strict=True)))


def _weights(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the softmax over the last axis inside the mask; 0 for a row with an empty mask."""
    nonempty = mask.any(axis=1)[:, None, None]
    return jnp.where(nonempty, jax.nn.softmax(scores, axis=2, where=mask[:, None] | ~nonempty), 0)
