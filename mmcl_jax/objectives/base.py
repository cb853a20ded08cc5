"""The contract of a term, and the registry."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Float, Int, Key

from mmcl_jax.arrays import ArrayError, ArrayLike, as_floats
from mmcl_jax.encoders import Features
from mmcl_jax.encoders.layers import batch_norm
from mmcl_jax.objectives.pairs.arguments import ExecutionLike, read_execution
from mmcl_jax.objectives.plain import (
    read_embeddings,
    read_features,
    read_present,
    read_rows,
    read_targets,
    sizes_of,
    viewed,
)
from mmcl_jax.objectives.reads import Read
from mmcl_jax.objectives.stages import Each, EachPair, Layer, LayerInput, Layers, Learned, Loss, Whole, zeroed
from mmcl_jax.objectives.unit import unit
from mmcl_jax.registry import Registry
from mmcl_jax.text import listed

TERMS = Registry("term")

Output = Literal["embedding", "prediction", "teacher"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """A loss between features of views (or of one view), its weight in the objective, and its name in the logs.

    A term has up to four stages, each a function of one object with named fields:

    1. `each` sees the rows of one slice (of gradient caching; without it, all): what the encoders saw and gave, through
       the term's own layers. It returns arrays `[B, ...]`, which are all that later stages see of the model.
    2. `choose` sees the whole batch, without gradient, and returns indices `[B, K]` of each row's partners.
    3. `each_pair` sees the rows of one slice and their partners, through the term's own layers.
    4. `loss` sees the whole batch and returns the loss.

    A term needs the last alone; then it gets the embeddings themselves. A term can be called on plain arrays, as
    `clip(temperature=0.1)(images, tables)`: that gives the loss, and `with_metrics` gives what is logged, too.

    Attributes:
      name: in the logs, before the texts of `between`.
      between: what is compared, as texts `VIEW[.local][:HEAD]`; see `reads`.
      weight: in the objective.
      loss, each, choose, each_pair: the stages.
      outputs: what is made of each text of `between`: "embedding" (features behind the projector), "prediction" (that
        behind the predictor), "teacher" (the embedding by the target network, a moving average, without gradient).
      local: whether the term takes local features.
      learned: scalars that are trained with the model, and where they start.
      layers: of the term's own, by the name under which its stages find them. Layers with model state, such as batch
        normalisation, run in `each` alone.
      targets: names of the targets that it reads.
      queue: how many embeddings of its first view, of earlier steps, `loss` is given, `[queue, d]` of unit length.
      stream: of random draws; terms of one stream draw alike. By default the term's own.
    """

    name: str
    between: tuple[str, ...]
    weight: float
    loss: Callable[[Whole], Loss]
    each: Callable[[Each], Any] | None = None
    choose: Callable[[Whole], Int[Array, "B K"]] | None = None
    each_pair: Callable[[EachPair], Any] | None = None
    outputs: tuple[Output, ...] = ("embedding",)
    local: bool = False
    learned: Mapping[str, float] = dataclasses.field(default_factory=dict)
    layers: Mapping[str, Layer] = dataclasses.field(default_factory=dict)
    targets: tuple[str, ...] = ()
    queue: int = 0
    stream: str = ""

    def __post_init__(self) -> None:
        if (self.choose is None) != (self.each_pair is None):
            raise ValueError(f"the term {self.name!r} has one of the stages choose and each_pair without the other")

    @property
    def reads(self) -> tuple[Read, ...]:
        """What the texts of `between` name."""
        return tuple(map(Read.parse, self.between))

    def __call__(self, *arrays: Any, **fields: Any) -> Float[Array, ""]:
        """Return the loss of a batch that is given as arrays; the arguments are those of `with_metrics`.

        Example:
          >>> from mmcl_jax.objectives import clip
          >>> round(float(clip(temperature=0.5)(jnp.eye(4), jnp.eye(4))), 4)
          0.3408
        """
        return self.with_metrics(*arrays, **fields).value

    def with_metrics(
        self,
        *arrays: ArrayLike | Features,
        labels: ArrayLike | None = None,
        present: ArrayLike | None = None,
        predictions: tuple[ArrayLike, ...] = (),
        teacher: tuple[ArrayLike, ...] = (),
        queue: ArrayLike | None = None,
        each: Any = None,
        layers: Layers | None = None,
        views: Any = (),
        inputs: Any = (),
        pairs: Any = None,
        ids: ArrayLike | None = None,
        targets: Mapping[str, ArrayLike] | None = None,
        groups: ArrayLike | None = None,
        learned: Mapping[str, Any] | None = None,
        execution: ExecutionLike = None,
        mesh: Mesh | AbstractMesh | None = None,
        key: Key[Array, ""] | None = None,
        train: bool = True,
    ) -> Loss:
        """Return the loss of a whole batch with its metrics and the rows that counted; the weight does not enter.

        Arrays are those of JAX, of NumPy, or of any library that speaks DLPack. The call can be compiled, and
        differentiated by arrays of JAX.

        Args:
          arrays: in the order of `between`: embeddings `[B, d]`; of a term with layers of its own features `[B, D]`,
            local features `[B, L, C]`, or the `Features` that an encoder returned.
          labels: classes `[B]`, integers, -1 for missing, for a term that reads one target.
          present: bool `[B]`, which rows have all that the term reads; None for all. The others change nothing and get
            no gradient, whatever they hold; if none is present, the loss is 0.
          predictions: embeddings behind the predictor, `[B, d]` each.
          teacher: embeddings by the target network, `[B, d]` each.
          queue: embeddings of earlier steps, `[Q, d]`.
          each: what the term's stage `each` returns, arrays `[B, ...]`, in place of features and layers.
          layers: the term's own, as `init` makes them.
          views: what the encoders saw, for a term that compares it with the features.
          inputs: what the views were made of.
          pairs: what the stage `each_pair` returns, arrays `[B, ...]`; by default it is run.
          ids: of the rows, uint32 `[B]`; different by default.
          targets: arrays `[B]` by name, for a term that reads several.
          groups: person of each row, int `[B]`.
          learned: values of the scalars that the term learns; by default those with which it starts.
          execution: how pairs are walked, an `Execution` or its name.
          mesh: the devices among which rows are divided, as in `pairs.contrast`.
          key: random key of a term that chooses partners at random.
          train: whether the term's layers normalise by the batch.

        Raises:
          ArrayError: (a `UserError`) something is not given that the term reads, something is given that it does not
            read, or a shape or type is wrong.
        """
        made = {"arrays": arrays, "predictions": predictions, "teacher": teacher}
        others = {"each": each, "pairs": pairs, "groups": groups, "ids": ids, "views": views, "inputs": inputs}
        own_targets, there = read_targets(self.name, self.targets, labels, targets), read_present(present)
        read, rows = read_rows(**made, **others, present=there, labels=own_targets)
        given = Whole(
            ids=jnp.arange(rows, dtype=jnp.uint32) if read["ids"] is None else read["ids"].astype(jnp.uint32),
            targets=own_targets,
            groups=read["groups"],
            present=there,
            learned=self._learned(learned),
            queue=self._queue(queue),
            execution=read_execution(execution, mesh, ()) if execution is not None or mesh is not None else None,
            key=key,
        )
        of_pairs = {"pairs": pairs, "layers": layers}  # which `each_pair` reads, too
        if self.each is None:
            self._refuse(each=each, views=views, inputs=inputs, **({} if self.each_pair else of_pairs))
            given = dataclasses.replace(given, **self._embeddings(read))
        elif each is not None:
            self._refuse(**made, views=views, inputs=inputs, **({} if self.each_pair else of_pairs))
            given = dataclasses.replace(given, each=read["each"])
        else:
            given = dataclasses.replace(given, each=self._each(given, read, layers, train=train))
        given = given.masked()
        if self.each_pair is not None:
            from mmcl_jax.objectives.partners import with_partners  # which knows terms

            chosen = with_partners(self, given, layers or {}) if pairs is None else read["pairs"]
            given = dataclasses.replace(given, pairs=chosen).masked()
        return self.counted(given)

    def init(self, rngs: nnx.Rngs, *arrays: ArrayLike | Features) -> dict[str, nnx.Module]:
        """Return the term's own layers, with random parameters, for features such as these.

        Example:
          >>> from mmcl_jax.objectives import supervised
          >>> term, features = supervised(classes=3), jnp.ones((4, 16))
          >>> layers = term.init(nnx.Rngs(0), features)
          >>> term(features, layers=layers, labels=jnp.array([0, 1, 2, -1])).shape
          ()
        """
        features = read_features(self.name, arrays, self.between)
        given = LayerInput(sizes=sizes_of(features), norm=batch_norm, rngs=rngs, dtype=jnp.float32)
        return {name: layer.build(given) for name, layer in self.layers.items()}

    def _embeddings(self, read: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of `Whole` or `Each` the term asks for, by field."""
        given = {"embedding": "arrays", "prediction": "predictions", "teacher": "teacher"}
        fields = {"embedding": "embeddings", "prediction": "predictions", "teacher": "teacher"}
        self._refuse(**{name: read[name] for kind, name in given.items() if kind not in self.outputs})
        return {
            fields[kind]: read_embeddings(self.name, fields[kind], read[given[kind]], self.between)
            for kind in self.outputs
        }

    def _each(self, given: Whole, read: Mapping[str, Any], layers: Layers | None, *, train: bool) -> Any:
        """Return what the stage `each` gives of all rows."""
        assert self.each is not None
        if self.layers and layers is None:
            raise ArrayError(
                f"{self.name} has layers of its own; give layers, which the method init makes, or each, their outputs."
            )
        features = read_features(self.name, read["arrays"], self.between)
        if given.present is not None:
            features = zeroed(features, given.present)
        compared = tuple(one.pooled if one.local is None else one.local for one in features)
        inputs = read["inputs"] if isinstance(read["inputs"], tuple) else (read["inputs"],)
        stage = Each(
            ids=given.ids,
            features=features,
            embeddings=compared if "embedding" in self.outputs else (),
            predictions=read["predictions"],
            teacher=read["teacher"],
            views=viewed(read["views"]),
            inputs=inputs,
            targets=given.targets,
            layers=layers or {},
            learned=given.learned,
            keys=None if given.key is None else jax.vmap(jax.random.fold_in, (None, 0))(given.key, given.ids),
            present=given.present,
            train=train,
        )
        return self.each(stage)

    def _learned(self, learned: Mapping[str, Any] | None) -> Learned:
        if learned is not None and learned.keys() != self.learned.keys():
            raise ArrayError(f"{self.name} learns {listed(self.learned) or 'nothing'}, not {listed(learned)}.")
        return {name: jnp.asarray(value, jnp.float32) for name, value in (learned or self.learned).items()}

    def _queue(self, queue: ArrayLike | None) -> Float[Array, "Q d"] | None:
        if not self.queue:
            self._refuse(queue=queue)
            return None
        if queue is None:
            raise ArrayError(f"{self.name} reads a queue; give queue=, embeddings of earlier steps [rows, width].")
        found = as_floats(queue, "queue")
        if found.ndim != 2:
            raise ArrayError(f"queue has the shape {found.shape}; give embeddings of earlier steps [rows, width].")
        return unit(found, dtype=jnp.float32)

    def _refuse(self, **given: Any) -> None:
        """Raise `ArrayError` for what is given and not read."""
        for name, value in given.items():
            if value is not None and not (isinstance(value, tuple) and not value):
                raise ArrayError(f"{self.name} does not read {name}; leave it out.")

    def counted(self, given: Whole) -> Loss:
        """Return the loss of a batch and, where rows may be absent, how many counted; without any, the loss is 0."""
        loss = self.loss(given)
        if given.present is None:
            return loss
        rows = jnp.sum(given.present, dtype=jnp.float32) if loss.rows is None else loss.rows
        return Loss(value=jnp.where(rows > 0, loss.value, 0), metrics=loss.metrics, rows=rows)


def check_term(*, temperature: float, weight: float) -> None:
    """Raise `ValueError` unless the temperature is positive and the weight not negative."""
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    check_weights(weight=weight)


def check_weights(**weights: float) -> None:
    """Raise `ValueError` naming the first weight that is negative."""
    for name, value in weights.items():
        if value < 0:
            raise ValueError(f"{name} must not be negative, as {value} is")


def learned_scale(temperature: float) -> dict[str, float]:
    """Return the scalar that a term learns in place of a fixed temperature: the logarithm of its inverse."""
    return {"log_scale": -math.log(temperature)}


def scale_of(learned: Learned, temperature: float) -> float | Float[Array, ""]:
    """Return 1 / temperature, as learned if it is; then at most 100, as in CLIP."""
    if "log_scale" not in learned:
        return 1 / temperature
    return jnp.exp(jnp.minimum(learned["log_scale"], math.log(100)))
