"""The contract of a term, and the registry."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from mmcl_jax.objectives.reads import Read
from mmcl_jax.objectives.stages import Each, EachPair, Layer, Learned, Loss, Whole
from mmcl_jax.registry import Registry

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

    A term needs the last alone; then it gets the embeddings themselves. A term can be called on plain arrays.

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

    def __call__(
        self,
        *embeddings: Float[Array, "B ..."],
        ids: UInt32[Array, "B"] | None = None,
        present: Bool[Array, "B"] | None = None,
        learned: Learned | None = None,
        **fields: Any,
    ) -> Loss:
        """Return the loss of a whole batch, given as arrays; `fields` are further fields of `Whole`.

        By default all rows are present, ids are different, and scalars have their first values. Rows that are not
        present change nothing and get no gradient, whatever they hold; if none is, the loss is 0.
        """
        if ids is None:
            rows = len(jax.tree.leaves((embeddings, fields))[0])
            ids = jnp.arange(rows, dtype=jnp.uint32)
        if learned is None:
            learned = {name: jnp.float32(value) for name, value in self.learned.items()}
        given = Whole(ids=ids, embeddings=embeddings, present=present, learned=learned, **fields)
        return self.counted(given.masked())

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
