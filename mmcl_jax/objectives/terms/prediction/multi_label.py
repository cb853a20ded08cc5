"""The term of several labels that are present or absent, such as findings: training by them, or a probe of them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Each, Loss, Whole, linear_layer


@TERMS.register("multi_label")
def multi_label(
    *,
    counts: Mapping[str, int] | None = None,
    between: tuple[str, ...] = ("image",),
    labels: tuple[str, ...] = (),
    detached: bool = False,
    dropout: float = 0.0,
    weight: float = 1.0,
) -> Term:
    """Return the mean binary cross-entropy of labels of two classes, each predicted by a linear layer on the features.

    With `detached`, the term is a probe beside the training, as LoVT's online classifiers of CheXpert's labels: the
    features get no gradient, and the term adds 0 to the loss, so that neither early stopping nor a plateau sees it. The
    monitor then measures the AUROC of the validation rows (`online/auroc/VIEW`). With several views, the layer takes
    their concatenated features. Labels that a row lacks are left out. Metrics: `cross_entropy` and `accuracy`.

    Args:
      counts: number of classes of each label of the store; None if they are not known.
      between: the features.
      labels: names of the labels, of which the second class is the positive one.
      detached: whether the layer alone is trained.
      dropout: share of the features that training sets to 0, before the layer; 0.2 in LoVT's probes.
      weight: factor of this term in the objective.

    Raises:
      ValueError: there is no view or no label, a label is unknown or has not two classes, or a number is out of range.

    Example:
      >>> from flax import nnx
      >>> term, features = multi_label(labels=("edema", "effusion")), jnp.ones((2, 16))
      >>> layers = term.init(nnx.Rngs(0), features)
      >>> targets = {"edema": jnp.array([0, 1]), "effusion": jnp.array([1, -1])}
      >>> round(float(term(each=jnp.zeros((2, 2)), targets=targets)), 4)  # of logits
      0.6931
      >>> float(multi_label(labels=("edema", "effusion"), detached=True)(each=jnp.zeros((2, 2)), targets=targets))
      0.0
    """
    check_weights(weight=weight)
    if not between:
        raise ValueError("between is empty; name at least one view, such as ('image',)")
    if not labels or len(set(labels)) != len(labels):
        raise ValueError(f"labels must name different labels, at least one, not {labels}")
    for name in labels if counts is not None else ():
        assert counts is not None
        if counts.get(name) != 2:
            known = ", ".join(label for label, count in counts.items() if count == 2) or "none"
            raise ValueError(f"labels: {name!r} is no label of two classes; those of the store are {known}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and less than 1, not {dropout}")

    def each(rows: Each) -> Float[Array, "B K"]:
        features = [read.pooled.astype(jnp.float32) for read in rows.features]
        if detached:
            features = [jax.lax.stop_gradient(part) for part in features]
        if dropout and rows.train and rows.keys is not None:
            features = [
                part * _kept(jax.vmap(jax.random.fold_in, (0, None))(rows.keys, index), part.shape[1], dropout)
                for index, part in enumerate(features)
            ]
        outputs = [rows.layers[text](part) for text, part in zip(between, features, strict=True)]
        return jnp.stack([output.astype(jnp.float32) for output in outputs]).sum(axis=0)

    def loss(batch: Whole) -> Loss:
        codes = jnp.stack([batch.targets[name] for name in labels], axis=1)
        known = codes >= 0
        if batch.present is not None:
            known &= batch.present[:, None]
        positive, count = (codes > 0).astype(jnp.float32), jnp.maximum(known.sum(dtype=jnp.float32), 1)
        # -log sigmoid(z) of a positive label, -log sigmoid(-z) of another one.
        entropies = jax.nn.softplus(batch.each) - positive * batch.each
        value = jnp.where(known, entropies, 0).sum() / count
        hits = ((batch.each > 0) == (codes > 0)) & known
        return Loss(
            value=value - jax.lax.stop_gradient(value) if detached else value,
            metrics={"cross_entropy": value, "accuracy": hits.sum(dtype=jnp.float32) / count},
            rows=known.any(axis=1).sum(dtype=jnp.float32),
        )

    return Term(
        name="multi_label",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        outputs=(),
        layers={text: linear_layer(index, len(labels)) for index, text in enumerate(between)},
        targets=labels,
    )


def _kept(keys: Array, width: int, dropout: float) -> Float[Array, "B D"]:
    """Return 0 with the probability `dropout`, else the factor that keeps the mean."""
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - dropout, (width,)))(keys)
    return kept.astype(jnp.float32) / (1 - dropout)
