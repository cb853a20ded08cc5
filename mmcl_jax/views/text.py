"""The text view: `tokens`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from mmcl_jax.views.base import VIEWS, Fitted, View, Viewed

Texts = Int[Array, "B T 2"]


@VIEWS.register("tokens")
def tokens(*, modality: str = "text", drop: float = 0.0) -> View:
    """Return the tokens of a text, each with its sentence; tokens that no training row has become the unknown token.

    With `drop`, every token is left out with this probability and those behind it move up, but a text of which none
    would be left stays whole. The plain form leaves out none.

    Raises:
      ValueError: `drop` is outside [0, 1).

    Example:
      >>> texts = jnp.array([[[2, 0], [1, 0], [-1, -1]]])  # [B, T, 2]; the training rows have no token 1
      >>> seen = tokens()(texts, train=False, tokens=jnp.array([False, False, True]), unknown=jnp.int32(0))
      >>> seen.values.tolist()
      [[[2, 0], [0, 0], [-1, -1]]]
    """
    if not 0 <= drop < 1:
        raise ValueError(f"drop must lie in [0, 1), not {drop}")

    def view(texts: Texts, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        known = _known(texts, keys, fitted)
        return known if drop == 0 else Viewed(jax.vmap(lambda text, key: _dropped(text, key, drop))(known.values, keys))

    return View(modality=modality, takes="text", apply=view, plain=_known)


def _known(texts: Texts, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
    del keys
    token = texts[..., 0]
    seen = (token < 0) | fitted["tokens"][jnp.maximum(token, 0)]
    return Viewed(texts.at[..., 0].set(jnp.where(seen, token, fitted["unknown"])))


def _dropped(text: Int[Array, "T 2"], key: Key[Array, ""], drop: float) -> Int[Array, "T 2"]:
    there = text[:, 0] >= 0
    kept = there & (jax.random.uniform(key, there.shape) >= drop)
    kept = jnp.where(kept.any(), kept, there)
    order = jnp.argsort(~kept, stable=True)  # the kept ones first, in their order
    return jnp.where(kept[order][:, None], text[order], -1)
