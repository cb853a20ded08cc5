"""The matching term: a fusion tells whether two modalities are of one sample."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmcl_jax.arrays import ArrayError
from mmcl_jax.encoders.fusions import Part
from mmcl_jax.objectives.base import TERMS, Term, check_term
from mmcl_jax.objectives.pairs import draw_partners
from mmcl_jax.objectives.reads import Read
from mmcl_jax.objectives.stages import Each, EachPair, Loss, Whole, linear_layer
from mmcl_jax.objectives.terms.labels import pairing


@TERMS.register("matching")
def matching(
    *,
    between: tuple[str, str, str] = ("image", "table", "fused:none"),
    temperature: float = 0.1,
    floor: float = 1e-4,
    weight: float = 1.0,
) -> Term:
    r"""Return the matching of ALBEF (Li et al., NeurIPS 2021; image-text) and TIP (Du et al., ECCV 2024; image-table).

    A linear layer of two outputs, on the pooled features of a fused view, tells pairs of one sample from pairs of two:
    cross-entropy, the mean over all pairs. For every sample there are three: its own parts; its first view with a
    partner's second view; and its second view with another partner's first. Partners are hard negatives, drawn by the
    similarity of the embeddings behind the projectors (see `pairs.draw_partners`), which get no gradient of this term.

    Args:
      between: the embeddings of two views, by which partners are drawn, and a fused view with parts of both.
      temperature: tau of the draw; that of the contrastive term in TIP.
      floor: added to every probability of the draw; 1e-4 in TIP.
      weight: of this term in the objective.

    Raises:
      ValueError: a number is out of range, the first two views are one, or the third text has a head.

    Example:
      >>> logits = jnp.zeros((4, 2))  # of own pairs; and of two others each, where the second has no partner
      >>> pairs = {"logits": jnp.zeros((4, 2, 2)), "there": jnp.array([[True, False]] * 4)}
      >>> round(float(matching()(each={"own": logits}, pairs=pairs)), 4)
      0.6931
    """
    check_term(temperature=temperature, weight=weight)
    if floor < 0:
        raise ValueError(f"floor must not be negative, as {floor} is")
    first, second, fused = map(Read.parse, between)
    if first.view == second.view:
        raise ValueError(f"between must name two views, not {first.view!r} twice")
    if fused.projected or fused.local:
        raise ValueError(f"between: the fusion's own pooled features are matched; write '{fused.view}:none'")

    def each(given: Each) -> dict[str, Array | Mapping[str, Part]]:
        if not given.parts:
            raise ArrayError("matching fuses features by a model; give each and pairs, the logits, in their place.")
        views = {Read.parse(text).view for text in given.parts[2]}
        if not {first.view, second.view} <= views:
            raise ValueError(
                f"the term 'matching' needs parts of {first.view!r} and {second.view!r} in the view {fused.view!r}, "
                f"which has {', '.join(given.parts[2]) or 'none'}"
            )
        return {
            "first": given.embeddings[0],
            "second": given.embeddings[1],
            "own": given.layers["match"](given.features[2].pooled).astype(jnp.float32),
            "parts": given.parts[2],
        }

    def choose(given: Whole) -> Int[Array, "B 2"]:
        assert given.key is not None  # `each_pair` has a model, and so a step
        rule, metadata = pairing(given)
        drawn = draw_partners(
            given.each["first"],
            given.each["second"],
            rule=rule,
            x_metadata=metadata,
            y_metadata=metadata,
            scale=1 / temperature,
            key=given.key,
            floor=floor,
            execution=given.execution,
        )
        return jnp.stack([drawn.forward.index, drawn.backward.index], axis=1)

    def each_pair(given: EachPair) -> dict[str, Array]:
        parts = {}
        for text, own in given.own["parts"].items():
            theirs, view = given.partners["parts"][text], Read.parse(text).view
            # The first partner gives the second view, the second partner the first.
            place = {second.view: 0, first.view: 1}.get(view)
            parts[text] = jax.tree.map(lambda a, b, place=place: _with(a, b, place), own, theirs)
        logits = given.layers["match"](given.fuse(fused.view, parts)).astype(jnp.float32)
        return {"logits": logits, "there": given.paired}

    def loss(given: Whole) -> Loss:
        own = jnp.ones(len(given.ids), bool) if given.present is None else given.present
        there = jnp.concatenate([own[:, None], given.pairs["there"]], axis=1).astype(jnp.float32)
        logits = jnp.concatenate([given.each["own"][:, None], given.pairs["logits"]], axis=1)
        matched = jnp.array([1, 0, 0])
        losses = -jax.nn.log_softmax(logits)[:, jnp.arange(3), matched]
        hits = (jnp.argmax(logits, axis=2) == matched[None]).astype(jnp.float32)
        count = jnp.maximum(there.sum(), 1)
        return Loss(value=(there * losses).sum() / count, metrics={"accuracy": (there * hits).sum() / count})

    return Term(
        name="matching",
        between=between,
        weight=weight,
        each=each,
        choose=choose,
        each_pair=each_pair,
        loss=loss,
        layers={"match": linear_layer(2, 2)},
    )


def _with(own: Float[Array, "B ..."], theirs: Float[Array, "B 2 ..."], place: int | None) -> Float[Array, "B 2 ..."]:
    """Return own values for both pairs, and the partner's in the pair at this place."""
    both = jnp.stack([own, own], axis=1)
    return both if place is None else both.at[:, place].set(theirs[:, place])
