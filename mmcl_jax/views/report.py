"""The report view: sentences in random order, cut to whole sentences, between special tokens."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from mmcl_jax.data.kinds.text import FIRST, LAST
from mmcl_jax.views.base import VIEWS, Fitted, View, Viewed
from mmcl_jax.views.text import Texts, dropped, without_unknown

_LEAST_UNIFORM = 2.0**-23  # the least number in (0, 1] that is drawn, which bounds the number of swaps


@VIEWS.register("report")
def report(
    *,
    modality: str = "report",
    max_tokens: int = 512,
    swaps: float = 0.6,
    sentences: Literal["all", "one"] = "all",
    drop: float = 0.0,
    special_tokens: bool = True,
) -> View:
    """Return the tokens of a report, sentence by sentence, between the tokens `[CLS]` and `[SEP]`.

    Values are int32 `[B, T, 2]`, token and sentence, with T = `max_tokens`, or less where no stored text is so long.
    Sentences are numbered from 0 in the order of the view. The special tokens have the sentence -1, and both numbers
    are -1 after the end. A text without tokens has no special tokens, either.

    In training, the order of the sentences is changed by swaps. Each swap exchanges two sentences that are drawn
    independently, and may be the same. The number of swaps is geometric, n with the probability
    `swaps`^n (1 - `swaps`): 1.5 swaps on average at 0.6. Then the text is cut: sentences are kept in the new order, as
    long as they fit whole. All sentences after the first that does not fit are left out, as in LoVT; a first sentence
    that is too long is itself cut. The plain form is cut as well, and has the order of the store.

    Args:
      modality: the input, an entry of the kind text.
      max_tokens: the largest number of tokens, with the special tokens.
      swaps: the probability to go on swapping; 0 for the order of the store.
      sentences: "all"; or "one" for one random sentence in training, and all sentences in the plain form, as ConVIRT.
      drop: probability to drop a token in training; see `tokens`.
      special_tokens: whether `[CLS]` and `[SEP]` are added.

    Raises:
      ValueError: `swaps` or `drop` is outside [0, 1), or `max_tokens` leaves no token between the special tokens; and
        when the view is applied: the vocabulary has no `[CLS]` or no `[SEP]`.

    Example:
      >>> text = jnp.array([[[5, 0], [6, 0], [7, 1], [-1, -1]]])  # [B, T, 2], two sentences
      >>> training = {"tokens": jnp.ones(9, bool), "unknown": jnp.int32(1), "special_tokens": jnp.array([2, 3])}
      >>> report()(text, train=False, **training).values.tolist()
      [[[2, -1], [5, 0], [6, 0], [7, 1], [3, -1], [-1, -1]]]
      >>> report(max_tokens=4)(text, train=False, **training).values.tolist()  # the second sentence does not fit
      [[[2, -1], [5, 0], [6, 0], [3, -1]]]
    """
    for name, value in (("swaps", swaps), ("drop", drop)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), not {value}")
    if max_tokens <= 2 * special_tokens:
        raise ValueError(f"max_tokens must be more than {2 * special_tokens}, not {max_tokens}")

    def finished(texts: Texts, fitted: Fitted) -> Viewed:
        special = None
        if special_tokens:
            special = fitted["special_tokens"]
            if special.shape != (2,):
                raise ValueError(
                    f"the vocabulary of {modality!r} has no {FIRST} or no {LAST}; make the store with a vocabulary "
                    "that has both, or set special_tokens to False"
                )
        room = min(max_tokens - 2 * special_tokens, texts.shape[1])
        return Viewed(jax.vmap(lambda text: _framed(text, room, special))(texts))

    def view(texts: Texts, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        def drawn(text: Int[Array, "T 2"], key: Key[Array, ""]) -> Int[Array, "T 2"]:
            # A stream each, so that an option changes no other option's draws.
            for_drop, for_order = jax.random.split(key)
            text = dropped(text, for_drop, drop) if drop else text
            if sentences == "one":
                return _one(text, for_order)
            return _shuffled(text, for_order, swaps) if swaps else text

        return finished(jax.vmap(drawn)(without_unknown(texts, fitted), keys), fitted)

    def plain(texts: Texts, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        del keys
        return finished(without_unknown(texts, fitted), fitted)

    return View(modality=modality, takes="text", apply=view, plain=plain)


def _numbered(text: Int[Array, "T 2"]) -> tuple[Int[Array, " T"], Bool[Array, " T"], Int[Array, ""]]:
    """Return the number of each token's sentence, from 0 without gaps; the mask of tokens; the number of sentences."""
    mask, stored = text[:, 0] >= 0, text[:, 1]
    first = mask & (stored != jnp.concatenate([jnp.full(1, -1, stored.dtype), stored[:-1]]))
    return jnp.cumsum(first) - 1, mask, first.sum()


def _ordered(text: Int[Array, "T 2"], rank: Int[Array, " T"]) -> Int[Array, "T 2"]:
    """Return the tokens in the order of their sentences' `rank`, with the rank as sentence."""
    order = jnp.argsort(rank, stable=True)
    mask = text[order, 0] >= 0
    return jnp.where(mask[:, None], jnp.stack([text[order, 0], rank[order]], axis=1), -1)


def _shuffled(text: Int[Array, "T 2"], key: Key[Array, ""], swaps: float) -> Int[Array, "T 2"]:
    """Return the text with a geometric number of swaps of sentences."""
    number, mask, count = _numbered(text)
    for_number, for_pairs = jax.random.split(key)
    # The inverse of the distribution, at a uniform number in (0, 1]: P(n >= k) = P(uniform <= swaps^k) = swaps^k.
    uniform = 1 - jax.random.uniform(for_number)
    most = math.ceil(math.log(_LEAST_UNIFORM) / math.log(swaps))
    wanted = jnp.floor(jnp.log(uniform) / math.log(swaps)).astype(jnp.int32)
    pairs = jax.random.randint(for_pairs, (most, 2), 0, jnp.maximum(count, 1))

    def swap(rank: Int[Array, " T"], step: tuple[Array, Array]) -> tuple[Int[Array, " T"], None]:
        index, (first, second) = step
        swapped = jnp.where(rank == first, second, jnp.where(rank == second, first, rank))
        return jnp.where(index < wanted, swapped, rank), None

    rank, _ = jax.lax.scan(swap, number, (jnp.arange(most), pairs))
    return _ordered(text, jnp.where(mask, rank, len(text)))


def _one(text: Int[Array, "T 2"], key: Key[Array, ""]) -> Int[Array, "T 2"]:
    """Return one random sentence of the text."""
    number, mask, count = _numbered(text)
    chosen = mask & (number == jax.random.randint(key, (), 0, jnp.maximum(count, 1)))
    return _ordered(jnp.where(chosen[:, None], text, -1), jnp.where(chosen, 0, len(text)))


def _framed(text: Int[Array, "T 2"], room: int, special: Int[Array, "2"] | None) -> Int[Array, "S 2"]:
    """Return the whole sentences that fit into `room` tokens, renumbered, between the special tokens, if any."""
    number, mask, _ = _numbered(text)
    kept = mask & (jnp.arange(len(text)) < room)
    if room < len(text):
        # The sentence of the first token that has no room is left out, unless it is the first sentence.
        kept &= (number < number[room]) | (number == 0) | ~mask[room]
    count = kept.sum()
    body = jnp.where(kept[:, None], jnp.stack([text[:, 0], number], axis=1), -1)[:room]
    if special is None:
        return body
    body = jnp.concatenate([jnp.stack([special[:1], jnp.full(1, -1)], axis=1), body, jnp.full((1, 2), -1)])
    body = body.at[count + 1, 0].set(special[1])
    return jnp.where(count > 0, body, -1)
