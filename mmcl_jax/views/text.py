"""The text view: `tokens`; that of reports is `report`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from mmcl_jax.views.base import VIEWS, Fitted, View, Viewed

Texts = Int[Array, "B T 2"]


@VIEWS.register("tokens")
def tokens(*, modality: str = "text", drop: float = 0.0) -> View:
    """Return the tokens of a text with their sentences; a token of no training row becomes the unknown token.

    Every token is dropped with the probability `drop`, and later tokens move up; a text that would lose all its tokens
    keeps them. The plain form drops none.

    Raises:
      ValueError: `drop` is outside [0, 1).

    Example:
      >>> texts = jnp.array([[[2, 0], [1, 0], [-1, -1]]])  # [B, T, 2]; the training rows have no token 1
      >>> view = tokens()(texts, train=False, tokens=jnp.array([False, False, True]), unknown=jnp.int32(0))
      >>> view.values.tolist()
      [[[2, 0], [0, 0], [-1, -1]]]
    """
    if not 0 <= drop < 1:
        raise ValueError(f"drop must lie in [0, 1), not {drop}")

    def view(texts: Texts, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        known = without_unknown(texts, fitted)
        return Viewed(known if drop == 0 else jax.vmap(lambda text, key: dropped(text, key, drop))(known, keys))

    def plain(texts: Texts, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        del keys
        return Viewed(without_unknown(texts, fitted))

    return View(modality=modality, takes="text", apply=view, plain=plain)


def without_unknown(texts: Texts, fitted: Fitted) -> Texts:
    """Return texts with the unknown token in place of every token of no training row."""
    token = texts[..., 0]
    in_training = (token < 0) | fitted["tokens"][jnp.maximum(token, 0)]
    token = jnp.where(in_training, token, fitted["unknown"])
    return jnp.concatenate([token[..., None], texts[..., 1:]], axis=-1)


def dropped(text: Int[Array, "T 2"], key: Key[Array, ""], drop: float) -> Int[Array, "T 2"]:
    """Return a text whose tokens were dropped with the probability `drop`, unless that leaves no token."""
    mask = text[:, 0] >= 0
    remaining = mask & (jax.random.uniform(key, mask.shape) >= drop)
    remaining = jnp.where(remaining.any(), remaining, mask)
    order = jnp.argsort(~remaining, stable=True)  # remaining tokens first, in their order
    return jnp.where(remaining[order][:, None], text[order], -1)
