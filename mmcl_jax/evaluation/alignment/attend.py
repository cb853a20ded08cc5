"""What the alignment of a local term reads for each region and each sentence, and with which weights."""

from typing import Any, NamedTuple

import jax
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
        read = align(x, y, x_mask, y_mask, train=False), align(y, x, y_mask, x_mask, train=False)
        return *read, align.attention(x, y, y_mask), align.attention(y, x, x_mask)

    parts = []
    with jax.default_matmul_precision("highest"):
        for start in range(0, len(image.pooled), BLOCK):
            arguments = [image.regions, report.regions, image.mask, report.mask]
            batch = [padded(one[start : start + BLOCK], BLOCK) for one in arguments]  # type: ignore[index]
            parts.append(jax.device_get(both(arrays, *batch)))
    return Attended(*(np.concatenate(of)[: len(image.pooled)] for of in zip(*parts, strict=True)))
