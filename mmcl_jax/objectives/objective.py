"""An objective: the weighted sum of terms that a config lists."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import check
from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term
from mmcl_jax.objectives.collapse import spread
from mmcl_jax.objectives.pairs import Execution
from mmcl_jax.objectives.unit import unit

# {what is read: {view: array [B, ...]}}; of heads, which are a term's own, {"head": {"TERM/VIEW": array}}.
Outputs = Mapping[str, Mapping[str, Array]]
Memory = Mapping[str, Float[Array, "Q d"]]


class Objective:
    """`objective(outputs, batch, learned, memory)` gives the loss and, per term, its value and metrics for the log.

    `reads` says which outputs of which views the terms need, by kind. `learned` holds the current values of what
    `self.learned` says where to start, in the same nested dict; `memory` the queues, by term.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = {f"term_{index}": term for index, term in enumerate(terms)}
        self.learned = {key: dict(term.learned) for key, term in self.terms.items() if term.learned}
        self.heads = {key: dict.fromkeys(term.between, term.head) for key, term in self.terms.items() if term.head}
        self.reads: dict[str, list[str]] = {}
        for term in self.terms.values():
            for kind in term.reads:
                views = self.reads.setdefault(kind, [])
                views += [view for view in term.between if view not in views]

    def __call__(
        self,
        outputs: Outputs,
        batch: Mapping[str, Array],
        learned: Mapping[str, Learned],
        memory: Memory | None = None,
    ) -> tuple[Float[Array, ""], Metrics]:
        total = jnp.zeros(())
        metrics: Metrics = {}
        for key, term in self.terms.items():
            values = [
                outputs[kind][f"{key}/{view}" if kind == "head" else view]
                for kind in term.reads
                for view in term.between
            ]
            if term.queue and memory is not None:
                values.append(memory[key])
            scalars = learned.get(key, {})
            value, extra = term.loss(*values, batch, scalars)
            total = total + term.weight * value
            label = f"{term.name}/{'-'.join(term.between)}"
            metrics[label] = value
            metrics.update({f"{label}/{name}": metric for name, metric in {**extra, **scalars}.items()})
        for view, embeddings in {**outputs.get("pooled", {}), **outputs.get("embedding", {})}.items():
            metrics.update({f"{name}/{view}": value for name, value in spread(embeddings).items()})
        return total, {"loss": total, **metrics}

    def first_memory(self, sizes: Mapping[str, int], key: Key[Array, ""]) -> dict[str, Array]:
        """The queues before the first step, random; `sizes` are the embeddings' by view."""
        queues = {key: term for key, term in self.terms.items() if term.queue}
        keys = jax.random.split(key, max(len(queues), 1))
        return {
            name: unit(jax.random.normal(k, (term.queue, sizes[term.between[0]])))
            for k, (name, term) in zip(keys, queues.items(), strict=False)
        }

    def remember(self, memory: Memory, outputs: Outputs) -> dict[str, Array]:
        """The queues after a step: its embeddings at the front, the oldest gone."""
        embeddings = outputs.get("embedding", {})
        return {
            key: jnp.concatenate([unit(embeddings[self.terms[key].between[0]], dtype=jnp.float32), queue])[: len(queue)]
            for key, queue in memory.items()
        }


def build_objective(
    specs: Sequence[ConfigDict], views: Sequence[str], *, execution: Execution, schema: Schema | None = None
) -> Objective:
    """The objective that `config.objective` lists, its terms walking their pairs as `execution` says.

    `schema` tells terms with heads the number of classes and the widths of columns.

    Raises:
      UserError: there is no term, a term names a view that the config does not have, or an option is bad.
    """
    check(len(specs) > 0, "config.objective: it has no term.")
    classes = len(schema.label.categories) if schema and schema.label else 0
    widths = schema.widths if schema else ()
    terms = []
    for index, spec in enumerate(specs):
        term = TERMS.build(spec, f"config.objective.{index}", execution=execution, classes=classes, widths=widths)
        for view in term.between:
            check(
                view in views,
                f"config.objective.{index}.between: there is no view {view!r}; config.views has {', '.join(views)}.",
            )
        terms.append(term)
    return Objective(terms)
