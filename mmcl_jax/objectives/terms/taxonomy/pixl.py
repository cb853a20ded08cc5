"""The term PIXL: two views agree, and each predicts the class."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Each, Loss, Whole, linear_layer
from mmcl_jax.objectives.terms.prediction.supervised import supervised
from mmcl_jax.objectives.terms.taxonomy.infomax import infomax


@TERMS.register("pixl")
def pixl(
    *,
    classes: int,
    between: tuple[str, str] = ("image", "table"),
    trade_off: float = 0.5,
    clip: float | None = 20.0,
    penalty: float = 0.04,
    weight: float = 1.0,
    target: str | None = None,
) -> Term:
    r"""Return PIXL (code of Fedorov et al., 2024): $t \sum_i \mathrm{CE}_i + (1 - t) \sum_{ij} \mathrm{RR}_{ij}$.

    The cross-entropy is that of a linear layer on the pooled features of each view, and RR are both edges `infomax`
    between the embeddings, with their penalty. It is in the released code, and not in the paper. Rows without a label
    enter the edges alone.

    Args:
      classes: number of classes.
      between: the two views' pooled features.
      trade_off: t, in [0, 1].
      clip: of the edges, as in `infomax`.
      penalty: of the edges, as in `infomax`.
      weight: factor of this term in the objective.
      target: name of the class label; None for the store's first.

    Raises:
      ValueError: a number is out of range, or the label is a number.

    Example:
      >>> from flax import nnx
      >>> term, x, labels = pixl(classes=3), jnp.eye(4), jnp.array([0, 1, 2, -1])
      >>> layers = term.init(nnx.Rngs(0), x, x)
      >>> sorted(term.with_metrics(x, x, layers=layers, labels=labels).metrics)
      ['agreement', 'cross_entropy', 'top1']
    """
    check_weights(weight=weight)
    if not 0 <= trade_off <= 1:
        raise ValueError(f"trade_off must lie in [0, 1], not {trade_off}")
    if classes < 1:
        raise ValueError("pixl needs a class label, and the label is a number; set target")
    edges = [infomax(between=pair, clip=clip, penalty=penalty) for pair in (between, between[::-1])]
    heads = [supervised(classes=classes, between=(text,), target=target) for text in between]

    def each(rows: Each) -> dict[str, list[Any]]:
        turned = dataclasses.replace(rows, features=rows.features[::-1], embeddings=rows.embeddings[::-1])
        alone = [dataclasses.replace(rows, features=(features,)) for features in rows.features]
        return {
            "edges": [edge.each(side) for edge, side in zip(edges, (rows, turned), strict=True) if edge.each],
            "heads": [head.each(view) for head, view in zip(heads, alone, strict=True) if head.each],
        }

    def loss(batch: Whole) -> Loss:
        agreed, told = (
            [term.loss(dataclasses.replace(batch, each=own)) for term, own in zip(terms, batch.each[kind], strict=True)]
            for kind, terms in (("edges", edges), ("heads", heads))
        )
        agreement, cross_entropy = (jnp.stack([one.value for one in losses]).sum() for losses in (agreed, told))
        return Loss(
            value=trade_off * cross_entropy + (1 - trade_off) * agreement,
            metrics={
                "agreement": agreement,
                "cross_entropy": cross_entropy,
                "top1": jnp.stack([one.metrics["top1"] for one in told]).mean(),
            },
        )

    return Term(
        name="pixl",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        layers={text: linear_layer(index, classes) for index, text in enumerate(between)},
        targets=(target or "label",),
    )
