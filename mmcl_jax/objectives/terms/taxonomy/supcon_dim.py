"""The term SupCon-DIM: samples of one class attract, by the scores of the taxonomy's edges."""

import jax.numpy as jnp
from jaxtyping import Array

from mmcl_jax.arrays import zero_absent
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.pairs import contrast, exclude_self, mean_squared_product
from mmcl_jax.objectives.reads import Read
from mmcl_jax.objectives.stages import Each, Loss, Whole
from mmcl_jax.objectives.terms.labels import pairing, targets_of


@TERMS.register("supcon_dim")
def supcon_dim(
    *,
    between: tuple[str, ...] = ("image:none", "table:none"),
    clip: float | None = 20.0,
    penalty: float = 0.04,
    weight: float = 1.0,
    target: str | None = None,
    background: int | None = None,
) -> Term:
    r"""Return SupCon (Khosla et al., NeurIPS 2020, equation 2) on scores $c \tanh(\langle u, v \rangle / c \sqrt d)$.

    All views of all samples are anchors; the positives of an anchor are the other views of its class, those of its own
    sample among them, and the denominator has all other views. A penalty is added: $\lambda$ times the mean squared
    score before the clip, of all pairs of views, which the weight does not multiply. This is the released code of
    Fedorov et al. (2024), which reads the encoders' features; their paper does not have it.

    With two texts of which the second is local, the anchors are the first feature, and the positives are all places of
    all samples of the anchor's class in the second: the edge XX (or CR) with labels, which is not in the released code.

    Args:
      between: the views' pooled features, or one pooled and one local feature, of one width.
      clip: c, the bound of the scores; None for no clip.
      penalty: $\lambda$.
      weight: factor of the loss in the objective.
      target: name of the class label; None for the store's first.
      background: see `labels.classes`.

    Raises:
      ValueError: a number is out of range, or the texts are neither all pooled, nor a pooled and a local one.

    Example:
      >>> x, labels = 4 * jnp.eye(4), jnp.array([0, 0, 1, -1])  # the last has no label
      >>> term = supcon_dim().with_metrics(x, x, labels=labels)
      >>> {name: round(float(value), 4) for name, value in term.metrics.items()}
      {'contrast': 2.536, 'penalty': 0.64, 'top1': 1.0}
    """
    check_weights(weight=weight, penalty=penalty)
    if clip is not None and clip <= 0:
        raise ValueError(f"clip must be positive, or None for no clip, not {clip}")
    local = [Read.parse(text).local for text in between]
    if not between or (any(local) and local != [False, True]):
        raise ValueError(
            f"between must name pooled features, or a pooled and then a local one, not {', '.join(between)}"
        )

    def each(rows: Each) -> dict[str, Array | None]:
        if not any(local):
            views = jnp.stack(rows.embeddings, axis=1)
            return {"anchors": views, "others": views, "mask": None}
        anchors, places = rows.embeddings
        return {"anchors": anchors[:, None], "others": places, "mask": rows.features[1].mask}

    def loss(batch: Whole) -> Loss:
        rule, metadata = pairing(batch, "attract", target=target, background=background)
        sides, presence, there = [], [], []
        for name, mask in (("anchors", None), ("others", batch.each["mask"])):
            features = batch.each[name]
            rows, count, width = features.shape
            exist = jnp.ones((rows, count), bool) if mask is None else mask
            if batch.present is not None:
                exist &= batch.present[:, None]
            sides.append(zero_absent(features, exist).reshape(-1, width))
            presence.append(exist.reshape(-1))
            there.append({key: jnp.repeat(values, count) for key, values in metadata.items()})
            there[-1]["index"] = jnp.arange(rows * count)
        scale = sides[0].shape[1] ** -0.5
        losses = contrast(
            *sides,
            rule=rule if any(local) else exclude_self(rule),
            x_metadata=there[0],
            y_metadata=there[1],
            present=tuple(presence),
            scale=scale,
            normalise=False,
            clip=clip,
            execution=batch.execution,
        ).forward
        squares = mean_squared_product(*sides, scale=scale, x_present=presence[0], y_present=presence[1])
        return Loss(
            value=weight * losses.mean() + penalty * squares,
            metrics={"contrast": losses.mean(), "penalty": penalty * squares, "top1": losses.accuracy()},
            rows=None if batch.present is None else jnp.sum(batch.present, dtype=jnp.float32),
        )

    return Term(
        name="supcon_dim",
        between=between,
        weight=1.0,
        each=each,
        loss=loss,
        local=True,
        targets=targets_of("attract", target),
    )
