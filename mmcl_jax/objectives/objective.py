"""An objective: the weighted sum of terms that a config lists."""

import collections
import dataclasses
import inspect
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt32
from ml_collections import ConfigDict

from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.objectives.base import TERMS, Output, Term
from mmcl_jax.objectives.collapse import spread
from mmcl_jax.objectives.pairs import Execution
from mmcl_jax.objectives.partners import InSlices, at_once, with_partners
from mmcl_jax.objectives.presence import present_in
from mmcl_jax.objectives.reads import Read
from mmcl_jax.objectives.stages import Fuse, Layers, Learned, Metrics, Targets, Whole
from mmcl_jax.objectives.unit import unit

# The model's outputs for a batch, arrays [B, ...]: {"embedding", "prediction" or "teacher": {text: array}},
# {"each": {term: result of its stage}}, and for the log {"pooled": {view: features}} for views without a pooled
# embedding in any loss.
Outputs = Mapping[str, Mapping[str, Any]]
Queues = Mapping[str, Float[Array, "Q d"]]
Normalise = Literal["present"] | None
_FIELD = {"embedding": "embeddings", "prediction": "predictions", "teacher": "teacher"}


class Objective:
    """The weighted sum of terms: `objective(outputs, batch, ...)` returns the loss, and metrics for the log.

    Attributes:
      terms: the terms, by their keys in the train state: `term_0`, `term_1`, ...
      names: names of the terms in the log, `NAME/READ-READ`; a second term of that name is `NAME_2/READ-READ`.
      modalities: modality of each view.
      parts: for each fused view, the texts `VIEW[.local]` of the features that it is made from.
      needed: for each fused view, the parts that a row must have; the tokens of other parts are masked where a row
        lacks them.
      queues: sizes of the queues, by term.
      reads: texts that terms read, by kind of output.
      loss_reads: the texts whose outputs a term's loss reads, by kind of output; without those that only `each` reads.
      pooled: views without a pooled embedding in `loss_reads`; their features are logged instead.
      learned: initial values of the scalars that terms train, by term.
      bounds: the values from which on such scalars get no gradient, by their metrics.
    """

    def __init__(
        self,
        terms: Sequence[Term] | Mapping[str, Term],
        modalities: Mapping[str, str],
        *,
        parts: Mapping[str, tuple[str, ...]] | None = None,
        needed: Mapping[str, tuple[str, ...]] | None = None,
        execution: Execution | None = None,
        normalise: Normalise = None,
    ) -> None:
        """Take the terms, the views' modalities and parts, the execution of pairs, and the normalisation of the sum.

        By default, a row must have all parts of a fused view.

        Terms in a mapping keep their keys, by which the train state has their layers and learned scalars.
        With `normalise="present"` the loss is the weighted mean over the terms that have a complete row in the batch.
        """
        if not isinstance(terms, Mapping):
            terms = {f"term_{index}": term for index, term in enumerate(terms)}
        self.terms = dict(terms)
        self.modalities, self.parts, self.normalise = dict(modalities), dict(parts or {}), normalise
        self.needed = dict(self.parts if needed is None else needed)
        self.execution = execution or Execution()
        self.names: dict[str, str] = {}
        seen: collections.Counter[tuple[str, str]] = collections.Counter()
        for key, term in self.terms.items():
            between = "-".join(term.between)
            seen[term.name, between] += 1
            count = seen[term.name, between]
            self.names[key] = f"{term.name}{f'_{count}' if count > 1 else ''}/{between}"
        self.learned = {key: dict(term.learned) for key, term in self.terms.items() if term.learned}
        self.bounds = {
            f"{self.names[key]}/{name}": bound
            for key, term in self.terms.items()
            for name, bound in term.bounds.items()
        }
        self.queues = {key: term.queue for key, term in self.terms.items() if term.queue}
        self.reads = _texts(self.terms.values())
        self.loss_reads = _texts(term for term in self.terms.values() if term.each is None)
        embedded = {read.view for read in map(Read.parse, self.loss_reads["embedding"]) if not read.local}
        self.pooled = [view for view in modalities if view not in embedded]

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets that terms read."""
        return tuple(dict.fromkeys(name for term in self.terms.values() for name in term.targets))

    def key(self, text: str) -> str:
        """Return the config key of the projector of the feature that the text names."""
        read = Read.parse(text)
        return read.key(self.modalities[read.view])

    def present(self, key: str, batch: Mapping[str, Array]) -> Bool[Array, "B"] | None:
        """Return the mask of the rows that have everything that a term reads; None for all rows."""
        return self.present_with(batch, [read.view for read in self.terms[key].reads])

    def present_with(self, batch: Mapping[str, Array], views: Iterable[str]) -> Bool[Array, "B"] | None:
        """Return the mask of the rows that have these views, and needed parts of fused views; None for all rows."""
        input_views = [Read.parse(text).view for view in views for text in self.needed.get(view, (view,))]
        return present_in(batch, [self.modalities[view] for view in input_views])

    def targets_of(self, key: str, batch: Mapping[str, Array]) -> Targets:
        """Return the targets that a term reads."""
        return {
            name: batch[f"target/{name}" if f"target/{name}" in batch else "label"] for name in self.terms[key].targets
        }

    def __call__(
        self,
        outputs: Outputs,
        batch: Mapping[str, Array],
        learned: Mapping[str, Learned] | None = None,
        queues: Queues | None = None,
        *,
        layers: Mapping[str, Layers] | None = None,
        in_slices: InSlices = at_once,
        fuse: Fuse | None = None,
        seed: UInt32[Array, ""] | None = None,
        step: Int[Array, ""] | None = None,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return the loss of a whole batch, and every term's value, metrics and number of rows.

        Args:
          outputs: the model's outputs for the batch.
          batch: ids (`id`), targets, groups, and the masks of rows that are present; see `present_in`.
          learned: current values of `self.learned`.
          queues: the queues, by term.
          layers: layers of the terms that choose partners, by term and name.
          in_slices: function that calls another one on slices of rows.
          fuse: function that returns the features of fusions, see `EachPair.fuse`.
          seed: seed of the experiment.
          step: training step.
        """
        total, weights = jnp.zeros(()), jnp.zeros(())
        metrics: Metrics = {}
        for key, term in self.terms.items():
            scalars = (learned or {}).get(key, {})
            whole_batch = Whole(
                ids=batch["id"],
                **(self.outputs_of(key, outputs) if term.each is None else {"each": outputs["each"][key]}),
                targets=self.targets_of(key, batch),
                groups=batch.get("group"),
                present=self.present(key, batch),
                learned=scalars,
                queue=(queues or {}).get(key),
                execution=self.execution,
                key=None if seed is None or step is None else self._key(key, seed, step),
            ).masked()
            if term.each_pair:
                pairs = with_partners(term, whole_batch, (layers or {}).get(key, {}), in_slices, fuse)
                whole_batch = dataclasses.replace(whole_batch, pairs=pairs).masked()
            with jax.named_scope(self.scope(key)):
                loss = term.loss_of(whole_batch)
            total = total + term.weight * loss.value
            weights = weights + term.weight * (1.0 if loss.rows is None else jnp.sign(loss.rows))
            name = self.names[key]
            metrics[name] = loss.value
            metrics.update({f"{name}/{short}": metric for short, metric in {**loss.metrics, **scalars}.items()})
            if loss.rows is not None:
                metrics[f"{name}/rows"] = loss.rows
        if self.normalise == "present":
            total = total / jnp.where(weights > 0, weights, 1)
        for text, embeddings in {**outputs.get("pooled", {}), **outputs.get("embedding", {})}.items():
            if embeddings.ndim == 2:
                present = self.present_with(batch, [Read.parse(text).view])
                metrics.update({f"{short}/{text}": value for short, value in spread(embeddings, present).items()})
        return total, {"loss": total, **metrics}

    def stream(self, key: str) -> str:
        """Return the name of a term's random stream."""
        return self.terms[key].stream or self.names[key]

    def scope(self, key: str) -> str:
        """Return the named scope of a term in profiles, such as "term.clip.image-table"."""
        return f"term.{self.names[key].replace('/', '.')}"

    def _key(self, key: str, seed: UInt32[Array, ""], step: Int[Array, ""]) -> Key[Array, ""]:
        stream = jax.random.fold_in(jax.random.key(seed), zlib.crc32(self.stream(key).encode()))
        return jax.random.fold_in(stream, step)

    def outputs_of(self, key: str, outputs: Outputs) -> dict[str, tuple[Array, ...]]:
        """Return the embeddings, predictions and target network's embeddings that a term reads."""
        term = self.terms[key]
        return {_FIELD[kind]: tuple(outputs[kind][text] for text in term.between) for kind in term.outputs}

    def initial_queues(self, sizes: Mapping[str, int], key: Key[Array, ""]) -> dict[str, Array]:
        """Return random queues for the first step; `sizes` has the width of the embeddings, by text."""
        keys = jax.random.split(key, max(len(self.queues), 1))
        return {
            name: unit(jax.random.normal(k, (size, sizes[self.terms[name].between[0]])))
            for k, (name, size) in zip(keys, self.queues.items(), strict=False)
        }

    def enqueue(self, queues: Queues, outputs: Outputs, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Return the queues after a step: the new embeddings of present rows in front, the oldest ones dropped."""
        return {
            key: _push(queue, outputs["embedding"][self.terms[key].between[0]], self.present(key, batch))
            for key, queue in queues.items()
        }


def _texts(terms: Iterable[Term]) -> dict[str, list[str]]:
    """Return the texts that terms read, by kind of output; a prediction needs its embedding."""
    texts: dict[str, dict[str, None]] = {kind: {} for kind in get_args(Output)}
    for term in terms:
        for kind in term.outputs:
            texts[kind].update(dict.fromkeys(term.between))
    texts["embedding"].update(texts["prediction"])
    return {kind: list(unique) for kind, unique in texts.items()}


def _push(queue: Array, embeddings: Array, present: Array | None) -> Array:
    rows = jnp.concatenate([unit(embeddings, dtype=jnp.float32), queue])
    if present is not None:
        absent = jnp.concatenate([~present, jnp.zeros(len(queue), bool)])
        rows = rows[jnp.argsort(absent, stable=True)]
    return rows[: len(queue)]


def build_objective(
    specs: Sequence[ConfigDict],
    modalities: Mapping[str, str],
    *,
    parts: Mapping[str, tuple[str, ...]] | None = None,
    needed: Mapping[str, tuple[str, ...]] | None = None,
    execution: Execution | None = None,
    schema: Schema | None = None,
    inputs: Mapping[str, InputSpec] | None = None,
    units: Mapping[str, tuple[float, float]] | None = None,
    normalise: Normalise = None,
) -> Objective:
    """Return the objective that `config.objective` describes.

    Args:
      specs: config entries of the terms.
      modalities: modality of each view.
      parts: parts of the fused views; see `Objective`.
      needed: parts of the fused views that a row must have; all by default.
      execution: how terms compute their pairs.
      schema: schema of the store, for its labels.
      inputs: specs of the inputs, by modality, for the widths of the columns of the last view that a term names; by
        default those of the schema's first table.
      units: mean and standard deviation of the labels that are numbers over the training rows, by name; by default 0
        and 1.
      normalise: see `Objective`.

    Raises:
      UserError: there is no term, a term reads something that does not exist, or an option is bad; names the key.
    """
    check(len(specs) > 0, "config.objective: there is no term; give at least one, such as (term('clip'),).")
    classes = {column.name: len(column.categories) for column in schema.labels if column.coded} if schema else {}
    numbers = {column.name: 0 for column in schema.labels if not column.coded} if schema else {}

    def widths(spec: ConfigDict) -> tuple[int, ...]:
        if inputs is None:
            return schema.widths if schema else ()
        view = str(spec.between[-1]).partition(":")[0].removesuffix(".local") if spec.between else ""
        read = inputs[modalities[view]] if view in modalities and view not in (parts or {}) else None
        return read.widths if read and read.kind == "table" else ()

    terms = []
    for index, spec in enumerate(specs):
        path = f"config.objective.{index}"
        target, takes = spec.get("target"), inspect.signature(TERMS.factory(spec.name, f"{path}.name")).parameters
        labels = {**classes, **numbers} if "units" in takes else classes
        if target is not None:
            what = "label" if "units" in takes else "class label"
            check_name(target, labels.keys(), f"{path}.target: there is no {what}", "the store has")
        chosen = target or next(iter(labels), None)
        options = ConfigDict({**spec, "target": chosen} if "target" in takes else spec, convert_dict=False)
        label = chosen or ""
        arguments: dict[str, Any] = {"counts": None if schema is None else classes}
        arguments |= {"classes": labels.get(label, 0), "units": (units or {}).get(label, (0.0, 1.0))}
        term: Term = TERMS.build(options, path, **arguments, widths=widths(spec))
        check(
            target is None or target in term.targets,
            f"{path}.target: {spec.name!r} reads no label; give it labels='eliminate' or 'attract', or no target.",
        )
        check_reads(term, f"{path}.between", modalities)
        terms.append(term)
    return Objective(terms, modalities, parts=parts, needed=needed, execution=execution, normalise=normalise)


def check_reads(term: Term, path: str, views: Iterable[str]) -> None:
    """Check that these views have the features that a term reads.

    Raises:
      UserError: naming the key.
    """
    for text in term.between:
        try:
            read = Read.parse(text)
        except ValueError as error:
            raise UserError(f"{path}: {error}.") from error
        check_name(read.view, list(views), f"{path}: there is no view", "config.views has")
        check(
            term.local or not read.local,
            f"{path}: {text!r} is local, and the term {term.name!r} compares pooled features; write {read.view!r}, or "
            f"choose a term of local features: {', '.join(_of_local_features())}.",
        )
        check(
            bool(term.outputs) or read.head in ("", "none"),
            f"{path}: the term {term.name!r} reads features before any head; write {text.split(':')[0]!r}, not "
            f"{text!r}.",
        )
        check(
            read.projected or "prediction" not in term.outputs,
            f"{path}: {text!r} has no head, and the term {term.name!r} compares predictions; "
            f"write {text.split(':')[0]!r}.",
        )


def _of_local_features() -> list[str]:
    """Return the names of the terms that take local features, which they compare by default."""
    defaults = {name: TERMS.options(name).get("between") for name in TERMS.names()}
    return [name for name, texts in defaults.items() if texts and any(".local" in text for text in texts.default)]
