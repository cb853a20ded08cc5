"""The edges of the taxonomy: a feature of one view finds the places of its own sample in another view."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmcl_jax.arrays import ArrayError, zero_absent
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.pairs import Measure, fenchel_contrast, local_contrast, mean_squared_product, same
from mmcl_jax.objectives.reads import Read
from mmcl_jax.objectives.stages import Each, Loss, Whole
from mmcl_jax.objectives.unit import unit

Critic = Literal["scaled", "dot", "cosine"]


@TERMS.register("infomax")
def infomax(
    *,
    between: tuple[str, str] = ("image", "image.local"),
    critic: Critic = "scaled",
    temperature: float = 1.0,
    estimator: Literal["infonce"] | Measure = "infonce",
    clip: float | None = 20.0,
    penalty: float = 0.04,
    weight: float = 1.0,
) -> Term:
    r"""Return one edge of the taxonomy (Fedorov et al.): an anchor of the first view against all places of the second.

    With anchors $u_a$, places $v_{bl}$ of all samples and $r_{abl} = \langle u_a, v_{bl} \rangle / \sqrt d$, the loss
    is $w \, \ell + \lambda \, \overline{r^2}$: the estimate of `pairs.local_contrast` on the scores $c \tanh(r / c)$,
    and a penalty on the scores before the clip, of all pairs, which the weight does not multiply (released code). Every
    place of a sample is a positive of its anchor; all places of other samples are its negatives.

    | edge | `between` | relative |
    |---|---|---|
    | CR | `("a", "a.local")` | local Deep InfoMax |
    | XX | `("a", "b.local")` | AMDIM, ST-DIM |
    | CC | `("a.local", "b.local")` | the same family |
    | RR | `("a", "b")` | SimCLR, CMC |

    A local first feature gives one anchor a sample, at a place that is drawn for every step: a function of the seed,
    the step, the sample and the view, so that all edges from that view have the same anchors. All validation passes
    draw the same places. A pooled second feature is a single place.

    Args:
      between: the feature of the anchors, and the feature of the places, of one width.
      critic: the raw score: the product by the root of the width ("scaled", the published), the product ("dot"), or the
        cosine over `temperature`.
      temperature: of the cosine.
      estimator: "infonce" (the published), or a divergence of `pairs.fenchel_contrast`.
      clip: c, the bound of the scores; None for no clip.
      penalty: $\lambda$; AMDIM has 0.05.
      weight: factor of the estimate in the objective. As the penalty has none, `config.normalise_terms` counts the term
        as one.

    Raises:
      ValueError: a number is out of range, or a temperature is given to another critic than the cosine.

    Example:
      >>> pooled, places = jnp.eye(4), jnp.eye(4)[:, None].repeat(2, axis=1)
      >>> edge = infomax(critic="cosine", temperature=0.5).with_metrics(pooled, places)
      >>> {name: round(float(value), 4) for name, value in edge.metrics.items()}
      {'estimate': 0.5974, 'penalty': 0.04, 'top1': 1.0}
      >>> round(float(edge.value - edge.metrics["estimate"] - edge.metrics["penalty"]), 6)
      0.0
      >>> drawn = infomax(between=("image.local", "report"))(places, pooled, key=jax.random.key(0))
      >>> drawn.shape
      ()
    """
    check_weights(weight=weight, penalty=penalty)
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    if critic != "cosine" and temperature != 1:
        raise ValueError(f"the critic {critic!r} has no temperature, and {temperature} was given; leave it at 1.0")
    if clip is not None and clip <= 0:
        raise ValueError(f"clip must be positive, or None for no clip, not {clip}")
    source = Read.parse(between[0])

    def each(rows: Each) -> dict[str, Any]:
        anchors, places = rows.embeddings
        stored = {"places": places, "mask": rows.features[1].mask if places.ndim == 3 else None}
        if anchors.ndim == 2:
            return {**stored, "anchors": anchors}
        if rows.keys is None:
            raise ArrayError(f"infomax draws a place of {between[0]!r} for each row; give key=, a random key.")
        mask = rows.features[0].mask
        return {**stored, "anchors": drawn_places(anchors, mask, rows.keys), "found": _any(mask)}

    def loss(batch: Whole) -> Loss:
        anchors, places, mask = (batch.each[name] for name in ("anchors", "places", "mask"))
        places = places if places.ndim == 3 else places[:, None]
        present, found = batch.present, batch.each.get("found")
        if found is not None:
            present = found if present is None else present & found
        scale = {"scaled": anchors.shape[1] ** -0.5, "dot": 1.0, "cosine": 1 / temperature}[critic]
        estimates: Any = local_contrast
        if estimator != "infonce":
            estimates = functools.partial(fenchel_contrast, measure=estimator)
        losses = estimates(
            anchors,
            places,
            rule=same("id"),
            metadata={"id": batch.ids},
            present=present,
            mask=mask,
            scale=scale,
            normalise=critic == "cosine",
            clip=clip,
            execution=batch.execution,
        ).forward
        estimate = losses.mean()
        squares = _mean_square(anchors, places, present, mask, scale=scale, normalise=critic == "cosine")
        return Loss(
            value=weight * estimate + penalty * squares,
            metrics={"estimate": estimate, "penalty": penalty * squares, "top1": losses.accuracy()},
            rows=None if present is None else jnp.sum(present, dtype=jnp.float32),
        )

    return Term(
        name="infomax",
        between=between,
        weight=1.0,
        each=each,
        loss=loss,
        local=True,
        stream=f"place/{source.view}" if source.local else "",
    )


def drawn_places(local: Float[Array, "B L d"], mask: Bool[Array, "B L"] | None, keys: Any) -> Float[Array, "B d"]:
    """Return one local feature of each row, of those in its mask with equal probability, by the row's key."""
    scores = jnp.zeros(local.shape[:2]) if mask is None else jnp.where(mask, 0.0, -jnp.inf)
    index = jax.vmap(jax.random.categorical)(keys, scores)
    return jnp.take_along_axis(local, index[:, None, None], axis=1)[:, 0]


def _any(mask: Bool[Array, "B L"] | None) -> Bool[Array, "B"] | None:
    return None if mask is None else mask.any(axis=1)


def _mean_square(
    anchors: Float[Array, "B d"],
    places: Float[Array, "B L d"],
    present: Bool[Array, "B"] | None,
    mask: Bool[Array, "B L"] | None,
    *,
    scale: float,
    normalise: bool,
) -> Float[Array, ""]:
    """Return the mean of the squared scores before the clip, over all pairs of an anchor and a place."""
    there = mask
    if present is not None:
        anchors, on = zero_absent(anchors, present), jnp.broadcast_to(present[:, None], places.shape[:2])
        there = on if mask is None else on & mask
    if there is not None:
        places = zero_absent(places, there)
    rows = places.reshape(-1, places.shape[2])
    if normalise:
        anchors, rows = unit(anchors, dtype=jnp.float32), unit(rows, dtype=jnp.float32)
    return mean_squared_product(
        anchors, rows, scale=scale, x_present=present, y_present=None if there is None else there.reshape(-1)
    )
