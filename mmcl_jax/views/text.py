"""The text view: `tokens`; that of reports is `report`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, UInt32

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


def text_hash(texts: Texts) -> Int[Array, "B"]:
    """Return a number for every text, int32 `[B]`, equal for equal texts: for pair rules, as `group` is.

    Texts are equal if they have the same tokens in the same order; sentences and padding do not count. Give it the
    stored texts of a batch: views reorder and cut them. Texts without tokens agree, and are absent. Two of 4,096
    different texts have one number by chance in one batch of 500.

    Example:
      >>> first, second, third = text_hash(jnp.array([[[5, 0], [6, 1]], [[5, 0], [6, 0]], [[6, 0], [5, 0]]])).tolist()
      >>> first == second, first == third
      (True, False)
    """
    tokens = texts[..., 0]
    # A sum modulo 2^32 of mixed (token, index) pairs; additions have no order, so that all devices agree.
    index = jnp.arange(tokens.shape[1], dtype=jnp.uint32) * jnp.uint32(0x9E3779B9)
    mixed = _mixed(_mixed(tokens.astype(jnp.uint32)) + index[None])
    total = jnp.where(tokens >= 0, mixed, jnp.uint32(0)).sum(axis=1, dtype=jnp.uint32)
    return jax.lax.bitcast_convert_type(_mixed(total), jnp.int32)


def _mixed(bits: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Return 32 bits that each depend on all bits: the finalizer of MurmurHash3 (A. Appleby, public domain)."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


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
