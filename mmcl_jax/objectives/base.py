"""What a term is, and the registry of terms."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
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

TERMS = Registry("term", arguments=("units", "counts"))

Output = Literal["embedding", "prediction", "teacher"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """A loss between features of views (or of one view), its weight in the objective, and its name in the logs.

    A term has up to four stages, each a function of one object with named fields:

    1. `each` takes the rows of one slice (all rows, where gradient caching is off): the encoders' inputs and features.
       It applies the term's own layers and returns arrays `[B, ...]`; later stages see nothing else of the model.
    2. `choose` takes the whole batch, without gradient, and returns indices `[B, K]` of each row's partners.
    3. `each_pair` takes the rows of one slice and their partners, and applies the term's own layers.
    4. `loss` takes the whole batch and returns the loss.

    Only `loss` is needed; a term without `each` gets the embeddings themselves. A term can be called on plain arrays:
    `clip(temperature=0.1)(images, tables)` returns the loss, and `with_metrics` returns its metrics, too.

    Attributes:
      name: the term's name in the logs, before the texts of `between`.
      between: the features that are compared, as texts `VIEW[.local][:HEAD]`; see `reads`.
      weight: the factor of the term in the objective.
      loss, each, choose, each_pair: the stages.
      outputs: what the model computes for each text of `between`: "embedding" (the projector's output), "prediction"
        (the predictor's output), "teacher" (the embedding by the target network, an EMA of the model, without
        gradient).
      local: whether the term takes local features.
      learned: initial values of the scalars that are trained with the model, by name.
      bounds: the values from which on such scalars get no gradient, by name.
      layers: the term's own layers, by the names that its stages use. Layers with model state, such as batch
        normalisation, run in `each` alone.
      targets: names of the targets that the term reads.
      groups: whether the term reads the person of each row, which a store without groups lacks.
      queue: number of earlier embeddings of the first view that `loss` gets, `[queue, d]` of unit length.
      stream: name of the random stream; terms with the same stream draw the same numbers. By default each term has its
        own stream.
      unexplained: what the loss reads that neither a model nor plain views have, such as masked cells; "" for nothing.
      caution: returns a sentence for the log about a batch of so many rows, for embeddings of these widths, "" for
        none; raises `ValueError` if the loss has no meaning in such a batch. None for a loss that any batch suits.
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
    bounds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    layers: Mapping[str, Layer] = dataclasses.field(default_factory=dict)
    targets: tuple[str, ...] = ()
    groups: bool = False
    queue: int = 0
    stream: str = ""
    unexplained: str = ""
    caution: Callable[[int, Sequence[int]], str] | None = None

    def __post_init__(self) -> None:
        if (self.choose is None) != (self.each_pair is None):
            raise ValueError(f"the term {self.name!r} needs both of the stages choose and each_pair, or neither")

    @property
    def reads(self) -> tuple[Read, ...]:
        """The features that the texts of `between` name."""
        return tuple(map(Read.parse, self.between))

    def __call__(self, *arrays: Any, **fields: Any) -> Float[Array, ""]:
        """Return the loss of a batch of plain arrays; the arguments are those of `with_metrics`.

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
        """Return the loss of a whole batch, its metrics and the number of its rows; the weight is not applied.

        Arrays may be of JAX, of NumPy, or of any library that speaks DLPack. The call can be compiled, and
        differentiated with respect to JAX arrays.

        Args:
          arrays: in the order of `between`: embeddings `[B, d]`. A term with layers of its own takes features `[B, D]`,
            local features `[B, L, C]`, or the `Features` that an encoder returned.
          labels: classes `[B]`, integers, -1 for missing, for a term that reads one target.
          present: bool `[B]`, True where a row has everything that the term reads; None for all rows. Absent rows
            change nothing and get no gradient, whatever they hold; if no row is present, the loss is 0.
          predictions: outputs of the predictor, `[B, d]` each.
          teacher: embeddings by the target network, `[B, d]` each.
          queue: embeddings of earlier steps, `[Q, d]`.
          each: the result of the term's stage `each`, arrays `[B, ...]`, in place of features and layers.
          layers: the term's own layers, as `init` returns them.
          views: the encoders' inputs, for a term that compares them with the features.
          inputs: the rows that the views were made from.
          pairs: the result of the stage `each_pair`, arrays `[B, ...]`; by default the stage is run.
          ids: ids of the rows, uint32 `[B]`; by default all rows differ.
          targets: arrays `[B]` by name, for a term that reads several targets.
          groups: person of each row, int `[B]`.
          learned: values of the scalars that the term learns; by default their initial values.
          execution: how pairs are computed, an `Execution` or its name.
          mesh: the devices that share the rows, as in `pairs.contrast`.
          key: random key, for a term that chooses partners at random.
          train: whether the term's layers normalise by the batch.

        Raises:
          ArrayError: (a `UserError`) an argument that the term reads is missing, an argument is one that the term does
            not read, or a shape or type is wrong.
        """
        outputs = {"arrays": arrays, "predictions": predictions, "teacher": teacher}
        extras = {"each": each, "pairs": pairs, "groups": groups, "ids": ids, "views": views, "inputs": inputs}
        own_targets, present_rows = read_targets(self.name, self.targets, labels, targets), read_present(present)
        read, rows = read_rows(**outputs, **extras, present=present_rows, labels=own_targets)
        batch = Whole(
            ids=jnp.arange(rows, dtype=jnp.uint32) if read["ids"] is None else read["ids"].astype(jnp.uint32),
            targets=own_targets,
            groups=read["groups"],
            present=present_rows,
            learned=self._learned(learned),
            queue=self._queue(queue),
            execution=read_execution(execution, mesh, ()) if execution is not None or mesh is not None else None,
            key=key,
        )
        unread = {} if self.each_pair else {"pairs": pairs, "layers": layers}
        if self.each is None:
            self._refuse(each=each, views=views, inputs=inputs, **unread)
            batch = dataclasses.replace(batch, **self._embeddings(read))
        elif each is not None:
            self._refuse(**outputs, views=views, inputs=inputs, **unread)
            batch = dataclasses.replace(batch, each=read["each"])
        else:
            batch = dataclasses.replace(batch, each=self._each(batch, read, layers, train=train))
        batch = batch.masked()
        if self.each_pair is not None:
            from mmcl_jax.objectives.partners import with_partners  # that module imports Term

            paired = with_partners(self, batch, layers or {}) if pairs is None else read["pairs"]
            batch = dataclasses.replace(batch, pairs=paired).masked()
        return self.loss_of(batch)

    def init(self, rngs: nnx.Rngs, *arrays: ArrayLike | Features, views: Any = ()) -> dict[str, nnx.Module]:
        """Return the term's own layers, with random parameters, for features of the shapes of `arrays`.

        `views` are the encoders' inputs, for a term whose layers depend on their shape.

        Example:
          >>> from mmcl_jax.objectives import supervised
          >>> term, features = supervised(classes=3), jnp.ones((4, 16))
          >>> layers = term.init(nnx.Rngs(0), features)
          >>> term(features, layers=layers, labels=jnp.array([0, 1, 2, -1])).shape
          ()
        """
        features = read_features(self.name, arrays, self.between)
        context = LayerInput(sizes=sizes_of(features, views), norm=batch_norm, rngs=rngs, dtype=jnp.float32)
        return {name: layer.build(context) for name, layer in self.layers.items()}

    def _embeddings(self, read: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs that the term reads, by field of `Whole`."""
        arguments = {"embedding": "arrays", "prediction": "predictions", "teacher": "teacher"}
        fields = {"embedding": "embeddings", "prediction": "predictions", "teacher": "teacher"}
        self._refuse(**{name: read[name] for kind, name in arguments.items() if kind not in self.outputs})
        return {
            fields[kind]: read_embeddings(self.name, fields[kind], read[arguments[kind]], self.between)
            for kind in self.outputs
        }

    def _each(self, batch: Whole, read: Mapping[str, Any], layers: Layers | None, *, train: bool) -> Any:
        """Return the result of the stage `each` on all rows."""
        assert self.each is not None
        if self.layers and layers is None:
            raise ArrayError(
                f"{self.name} has layers of its own; give layers=, as its method init returns them, or each=, the "
                f"result of its stage each."
            )
        features = read_features(self.name, read["arrays"], self.between)
        if "embedding" in self.outputs:
            for text, own, array in zip(self.between, self.reads, read["arrays"], strict=True):
                if not own.local and not isinstance(array, Features) and array.ndim == 3:
                    raise ArrayError(f"{self.name} reads the pooled feature {text!r}; give [rows, width], no places.")
        if batch.present is not None:
            features = zeroed(features, batch.present)
        compared = tuple(
            view.pooled if view.local is None or not read.local else view.local
            for view, read in zip(features, self.reads, strict=True)
        )
        inputs = read["inputs"] if isinstance(read["inputs"], tuple) else (read["inputs"],)
        stage = Each(
            ids=batch.ids,
            features=features,
            embeddings=compared if "embedding" in self.outputs else (),
            predictions=read["predictions"],
            teacher=read["teacher"],
            views=viewed(read["views"]),
            inputs=inputs,
            targets=batch.targets,
            layers=layers or {},
            learned=batch.learned,
            keys=None if batch.key is None else jax.vmap(jax.random.fold_in, (None, 0))(batch.key, batch.ids),
            present=batch.present,
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
        embeddings = as_floats(queue, "queue")
        if embeddings.ndim != 2:
            raise ArrayError(f"queue has the shape {embeddings.shape}; give embeddings of earlier steps [rows, width].")
        return unit(embeddings, dtype=jnp.float32)

    def _refuse(self, **unread: Any) -> None:
        """Raise `ArrayError` if any of these arguments, which the term does not read, has a value."""
        for name, value in unread.items():
            if value is not None and not (isinstance(value, tuple) and not value):
                raise ArrayError(f"{self.name} does not read {name}; leave it out.")

    def loss_of(self, batch: Whole) -> Loss:
        """Return the loss of a batch and, where rows may be absent, the number of its rows; 0 if there are none."""
        loss = self.loss(batch)
        if batch.present is None:
            return loss
        rows = jnp.sum(batch.present, dtype=jnp.float32) if loss.rows is None else loss.rows
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


LARGEST_LOG_SCALE = math.log(100)  # of a learned scale, as in CLIP


def learned_scale(temperature: float) -> dict[str, float]:
    """Return the scalar that a term learns in place of a fixed temperature: the logarithm of the inverse."""
    return {"log_scale": -math.log(temperature)}


def scale_of(learned: Learned, temperature: float) -> float | Float[Array, ""]:
    """Return 1 / temperature, or its learned value, which is at most 100, as in CLIP."""
    if "log_scale" not in learned:
        return 1 / temperature
    return jnp.exp(jnp.minimum(learned["log_scale"], LARGEST_LOG_SCALE))
