"""An objective: the weighted sum of terms that a config lists."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mmcl_jax.encoders.features import Features
from mmcl_jax.errors import check
from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term
from mmcl_jax.objectives.pairs import Execution


class Objective:
    """`objective({view: Features}, batch, learned)` gives the loss and, per term, its value and metrics for the log.

    `learned` holds the current values of what `self.learned` says where to start, in the same nested dict.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = {f"term_{index}": term for index, term in enumerate(terms)}
        self.learned = {key: dict(term.learned) for key, term in self.terms.items() if term.learned}

    def __call__(
        self, embeddings: Mapping[str, Features], batch: Mapping[str, Array], learned: Mapping[str, Learned]
    ) -> tuple[Float[Array, ""], Metrics]:
        total = jnp.zeros(())
        metrics: Metrics = {}
        for key, term in self.terms.items():
            first, second = (embeddings[view].pooled for view in term.between)
            scalars = learned.get(key, {})
            value, extra = term.loss(first, second, batch, scalars)
            total = total + term.weight * value
            label = f"{term.name}/{'-'.join(term.between)}"
            metrics[label] = value
            metrics.update({f"{label}/{name}": metric for name, metric in {**extra, **scalars}.items()})
        return total, {"loss": total, **metrics}


def build_objective(specs: Sequence[ConfigDict], views: Sequence[str], *, execution: Execution) -> Objective:
    """The objective that `config.objective` lists, its terms walking their pairs as `execution` says.

    Raises:
      UserError: there is no term, a term names a view that the config does not have, or an option is bad.
    """
    check(len(specs) > 0, "config.objective: it has no term.")
    terms = []
    for index, spec in enumerate(specs):
        term = TERMS.build(spec, f"config.objective.{index}", execution=execution)
        for view in term.between:
            check(
                view in views,
                f"config.objective.{index}.between: there is no view {view!r}; config.views has {', '.join(views)}.",
            )
        terms.append(term)
    return Objective(terms)
