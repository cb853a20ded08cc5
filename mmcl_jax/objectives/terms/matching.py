"""The matching term: a classifier on fused features decides whether two modalities are of one sample."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

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

    A linear layer with two outputs, on the pooled features of a fused view, tells whether both parts are of one sample.
    The loss is the mean cross-entropy over three pairs per sample: its own parts; its first view with a partner's
    second view; and its second view with another partner's first view. Partners are hard negatives, drawn by the
    similarity of the projectors' embeddings (see `pairs.draw_partners`), which get no gradient from this term.

    Args:
      between: the embeddings of two views, by which partners are drawn, and a fused view with parts of both.
      temperature: tau of the draw; in TIP, that of the contrastive term.
      floor: added to every probability of the draw; 1e-4 in TIP.
      weight: factor of this term in the objective.

    Raises:
      ValueError: a number is out of range, the first two views are one, or the third text has a head.

    Example:
      >>> logits = jnp.zeros((4, 2))  # of own pairs; below, of two other pairs each, of which the second has no partner
      >>> pairs = {"logits": jnp.zeros((4, 2, 2)), "present": jnp.array([[True, False]] * 4)}
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
        raise ValueError(f"between: the third text must name a fused view's pooled features; write '{fused.view}:none'")

    def each(rows: Each) -> dict[str, Array | Mapping[str, Part]]:
        if not rows.parts:
            raise ArrayError(
                "matching needs a model to fuse features; on plain arrays, give the logits as each= and pairs=."
            )
        views = {Read.parse(text).view for text in rows.parts[2]}
        if not {first.view, second.view} <= views:
            raise ValueError(
                f"the term 'matching' needs parts of {first.view!r} and {second.view!r} in the view {fused.view!r}, "
                f"which has {', '.join(rows.parts[2]) or 'none'}"
            )
        return {
            "first": rows.embeddings[0],
            "second": rows.embeddings[1],
            "own": rows.layers["match"](rows.features[2].pooled).astype(jnp.float32),
            "parts": rows.parts[2],
        }

    def choose(batch: Whole) -> Int[Array, "B 2"]:
        assert batch.key is not None  # only a model's train step runs `each_pair`, and it sets the key
        rule, metadata = pairing(batch)
        drawn = draw_partners(
            batch.each["first"],
            batch.each["second"],
            rule=rule,
            x_metadata=metadata,
            y_metadata=metadata,
            scale=1 / temperature,
            key=batch.key,
            floor=floor,
            execution=batch.execution,
        )
        return jnp.stack([drawn.forward.index, drawn.backward.index], axis=1)

    def each_pair(pairs: EachPair) -> dict[str, Array]:
        parts = {}
        for text, own in pairs.own["parts"].items():
            partner, view = pairs.partners["parts"][text], Read.parse(text).view
            # The first partner gives the second view, the second partner the first.
            index = {second.view: 0, first.view: 1}.get(view)
            parts[text] = jax.tree.map(lambda a, b, index=index: _exchanged(a, b, index), own, partner)
        logits = pairs.layers["match"](pairs.fuse(fused.view, parts)).astype(jnp.float32)
        return {"logits": logits, "present": pairs.paired}

    def loss(batch: Whole) -> Loss:
        own = jnp.ones(len(batch.ids), bool) if batch.present is None else batch.present
        present = jnp.concatenate([own[:, None], batch.pairs["present"]], axis=1).astype(jnp.float32)
        logits = jnp.concatenate([batch.each["own"][:, None], batch.pairs["logits"]], axis=1)
        matched = jnp.array([1, 0, 0])
        losses = -jax.nn.log_softmax(logits)[:, jnp.arange(3), matched]
        hits = (jnp.argmax(logits, axis=2) == matched[None]).astype(jnp.float32)
        count = jnp.maximum(present.sum(), 1)
        return Loss(value=(present * losses).sum() / count, metrics={"accuracy": (present * hits).sum() / count})

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


def _exchanged(
    own: Shaped[Array, "B ..."], partner: Shaped[Array, "B 2 ..."], index: int | None
) -> Shaped[Array, "B 2 ..."]:
    """Return the row's own values for both pairs, with the partner's values in the pair of this index."""
    both = jnp.stack([own, own], axis=1)
    return both if index is None else both.at[:, index].set(partner[:, index])
