"""The compiled programs of head training: steps, plain features, and validation with early stopping."""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, UInt32

from mmcl_jax.backend import compiler_options
from mmcl_jax.evaluation.heads.adam import Optimizer, SecondMoment, adam
from mmcl_jax.evaluation.heads.encoded import Encoders, FeatureEncoder, ViewValues, presence
from mmcl_jax.evaluation.heads.linear import LinearHead, Params, every_output, per_head
from mmcl_jax.tasks import Task
from mmcl_jax.training.mesh import by_example, replicated
from mmcl_jax.training.state.train_state import Arrays
from mmcl_jax.views.randomness import example_keys

Select = Literal["metric", "loss"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadRecipe:
    """The settings that the compiled programs depend on, besides shapes.

    Attributes:
      head: the kind of head.
      task: for its loss and its primary metric.
      encoders: that compute the features in every step; None if the features were computed before.
      second_moment: of Adam, one per weight or one per head.
      optimizer: "adam", or "radam", which has a second moment per weight.
      adapts: whether encoders that are held while a head is trained normalise by the batch, and keep adapting their
        running statistics.
      patience: number of rounds in a row without improvement after which a head stops.
      min_delta: smallest improvement of the primary metric (of standardised targets).
      since: the metric to improve on: the "best" so far, or that of the last round that was an "improvement".
      select: what a head is judged by on validation: the primary "metric", or the "loss".
      weight_decay: L2, whose gradient is added to that of the loss, for all trained arrays, as in PyTorch's Adam.
      accumulate: number of slices of a batch, whose gradients are added; each is normalised by itself.
      dtype: of the computation.
      mesh: that batches are divided over; every device holds all arrays of the model.
    """

    head: LinearHead
    task: Task
    encoders: Encoders | None = None
    second_moment: SecondMoment = "weight"
    optimizer: Optimizer = "adam"
    adapts: bool = False
    patience: int
    min_delta: float
    since: Literal["best", "improvement"] = "improvement"
    select: Select = "metric"
    weight_decay: float = 0.0
    accumulate: int = 1
    dtype: str = "float32"
    mesh: Mesh


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of heads `[G, L, ...]` and of the encoder; None for a frozen encoder."""

    heads: Params
    encoder: FeatureEncoder | None

    @property
    def trained(self) -> tuple[Params, Arrays]:
        """The arrays that have gradients."""
        return self.heads, self.encoder.params if self.encoder else {}


_Carry = tuple[Weights, optax.OptState]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed:
    """The arrays that no step changes: a frozen encoder; or features `[N, ...]` and group targets `[G, N, ...]`."""

    encoder: FeatureEncoder | None = None
    features: Array | None = None
    targets: Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of every head `[G, L]` on validation.

    Attributes:
      metric: the best score so far, higher is better; -inf before the first round.
      loss: in the best round.
      round: the first round with the best score, from 1.
      reference: the score that the next improvement must exceed.
      waited: number of rounds since the last improvement.
      stopped: whether the training of the head has ended.
    """

    metric: Float[Array, "G L"]
    loss: Float[Array, "G L"]
    round: Int[Array, "G L"]
    reference: Float[Array, "G L"]
    waited: Int[Array, "G L"]
    stopped: Bool[Array, "G L"]

    @classmethod
    def start(cls, groups: int, heads: int) -> "Progress":
        """Return the progress before the first round."""
        shape = groups, heads
        worst, none = jnp.full(shape, -jnp.inf), jnp.zeros(shape, jnp.int32)
        return cls(
            metric=worst, loss=-worst, round=none, reference=worst, waited=none, stopped=jnp.zeros(shape, jnp.bool_)
        )

    def again(self) -> "Progress":
        """Return this progress with a new patience: the best so far stays, and no head has stopped."""
        none = jnp.zeros_like(self.waited)
        return dataclasses.replace(self, waited=none, stopped=jnp.zeros_like(self.stopped))


class Programs:
    """The compiled programs of a recipe; seeds, rates, labels and weights are their arguments."""

    def __init__(self, recipe: HeadRecipe) -> None:
        self.recipe = recipe
        options = compiler_options(jax.local_devices()[0], recipe.dtype)
        self.everywhere, self.divided = replicated(recipe.mesh), by_example(recipe.mesh)
        self._rectified = recipe.optimizer == "radam"
        self._adam = adam(recipe.second_moment, rectified=self._rectified)
        compiled = functools.partial(jax.jit, out_shardings=self.everywhere, compiler_options=options)
        self.step = compiled(self._step, donate_argnums=(0, 1))
        self.held_step = compiled(functools.partial(self._step, hold=True), donate_argnums=(0, 1))
        self.steps = compiled(self._steps, donate_argnums=(0, 1))
        self.measure = compiled(self._measure)
        self.follow = compiled(self._follow)
        if recipe.encoders is not None:
            self.features = jax.jit(recipe.encoders.plain, compiler_options=options)
            self.outputs = jax.jit(self._outputs, compiler_options=options)

    def first_moments(self, weights: Weights) -> optax.OptState:
        """Return Adam's state before the first step."""
        return self._adam.init(weights.trained)

    def _steps(
        self,
        weights: Weights,
        moments: optax.OptState,
        fixed: Fixed,
        batches: dict[str, Array],
        rates: Float[Array, "G L"],
        seed: UInt32[Array, ""],
        number: Int[Array, ""],
    ) -> tuple[Weights, optax.OptState, Float[Array, "K G L"]]:
        """Take one step per batch `[K, ...]`."""

        def body(carry: _Carry, batch: dict[str, Array]) -> tuple[_Carry, Array]:
            weights, moments, losses = self._step(*carry, fixed, batch, rates, seed, number)
            return (weights, moments), losses

        carry, losses = jax.lax.scan(body, (weights, moments), batches)
        return *carry, losses

    def _step(
        self,
        weights: Weights,
        moments: optax.OptState,
        fixed: Fixed,
        batch: dict[str, Array],
        rates: Float[Array, "G L"],
        seed: UInt32[Array, ""],
        number: Int[Array, ""],
        *,
        hold: bool = False,
    ) -> tuple[Weights, optax.OptState, Float[Array, "G L"]]:
        """Take a step of Adam for every head at its rate, and for an encoder trained with it (G = L = 1).

        The L heads of a group see the same batch. The gradient of the sum of their losses is the gradient of each, so
        every head is trained as if it were alone. A frozen encoder encodes the augmented batch once for all heads, and
        normalises by its running statistics. A batch may have the `share` of the rates that its step takes, and the
        decay `b1` of the first moment (see `OneCycle.paces`). With `hold`, an encoder that is trained with the head
        stays as it is in this step, apart from a decoder (see `Encoders.is_held`).
        """
        gradients, losses, statistics = self._gradients(weights, fixed, batch, seed, number, hold=hold)
        if self.recipe.weight_decay:
            gradients = jax.tree.map(lambda by, old: by + self.recipe.weight_decay * old, gradients, weights.trained)
        if hold and weights.encoder is not None:
            encoders = self.recipe.encoders
            assert encoders is not None
            heads_by, params_by = gradients
            gradients = (
                heads_by,
                jax.tree_util.tree_map_with_path(
                    lambda path, by: jnp.zeros_like(by) if encoders.is_held(path) else by, params_by
                ),
            )
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            decay = batch.get("b1")
            optimizer = self._adam
            if decay is not None:
                optimizer = adam(self.recipe.second_moment, decay, rectified=self._rectified)
            (by_heads, by_params), moments = optimizer.update(gradients, moments)
        rates = rates * batch["share"] if "share" in batch else rates
        heads = jax.tree.map(lambda old, by: old - per_head(rates, by) * by, weights.heads, by_heads)
        if weights.encoder is None:
            return Weights(heads=heads, encoder=None), moments, losses
        params = jax.tree.map(lambda old, by: old - rates[0, 0] * by, weights.encoder.params, by_params)
        encoder = dataclasses.replace(weights.encoder, params=params, statistics=statistics)
        return Weights(heads=heads, encoder=encoder), moments, losses

    def _gradients(
        self,
        weights: Weights,
        fixed: Fixed,
        batch: dict[str, Array],
        seed: UInt32[Array, ""],
        number: Int[Array, ""],
        *,
        hold: bool,
    ) -> tuple[tuple[Params, Arrays], Float[Array, "G L"], Arrays]:
        """Return the gradients of the sum of all losses, the losses, and the statistics of a trained encoder."""
        if weights.encoder is None or self.recipe.accumulate == 1:
            return self._of_slice(weights, fixed, batch, seed, number, hold=hold)
        encoder, count = weights.encoder, self.recipe.accumulate
        total = batch["weight"].sum()

        def add(carry: Any, part: dict[str, Array]) -> tuple[Any, None]:
            gradients, losses, statistics = carry
            now = dataclasses.replace(weights, encoder=dataclasses.replace(encoder, statistics=statistics))
            mine = part["weight"].sum()
            # A slice of copies alone, which have no weight, has a loss of 0 and not 0 / 0.
            whole = {**part, "weight": jnp.where(mine > 0, part["weight"], 1)}
            by, loss, statistics = self._of_slice(now, fixed, whole, seed, number, hold=hold)
            share = mine / total
            gradients = jax.tree.map(lambda sum, new: sum + share * new, gradients, by)
            return (gradients, losses + share * loss, statistics), None

        zeros = jax.tree.map(jnp.zeros_like, weights.trained)
        start = (zeros, jnp.zeros((1, 1)), encoder.statistics)
        (gradients, losses, statistics), _ = jax.lax.scan(add, start, _slices(batch, count))
        return gradients, losses, statistics

    def _of_slice(
        self,
        weights: Weights,
        fixed: Fixed,
        batch: dict[str, Array],
        seed: UInt32[Array, ""],
        number: Int[Array, ""],
        *,
        hold: bool,
    ) -> tuple[tuple[Params, Arrays], Float[Array, "G L"], Arrays]:
        """Return `_gradients` of a batch, or of a slice of it, at once."""
        encoders, task = self.recipe.encoders, self.recipe.task
        targets, views = batch.get("target"), ViewValues()
        features = None
        if encoders is None:
            assert fixed.features is not None
            assert fixed.targets is not None
            features = fixed.features[batch["row"]]
            targets = jax.vmap(lambda group, rows: group[rows])(fixed.targets, batch["row"])
        else:
            keys, encoder = example_keys(seed, number, "finetune", batch["id"]), fixed.encoder or weights.encoder
            assert encoder is not None
            views = encoders.augmented(encoder, batch, keys)
            if fixed.encoder is not None:
                features = encoders.pooled(fixed.encoder, views, train=False, present=presence(batch))[0][None]
        assert targets is not None

        def loss(trained: tuple[Params, Arrays]) -> tuple[Array, tuple[Array, Arrays]]:
            heads, params = trained
            inputs, statistics = features, Arrays()
            if inputs is None:
                assert encoders is not None
                assert weights.encoder is not None
                if hold:
                    params = jax.tree_util.tree_map_with_path(
                        lambda path, x: jax.lax.stop_gradient(x) if encoders.is_held(path) else x, params
                    )
                encoder = dataclasses.replace(weights.encoder, params=params)
                still = hold and not self.recipe.adapts
                pooled, statistics = encoders.pooled(encoder, views, train=True, hold=still, present=presence(batch))
                inputs = pooled[None]
            outputs = every_output(self.recipe.head, heads, inputs)
            losses = task.mean_loss(outputs, targets[:, None], batch["weight"][:, None])
            return losses.sum(), (losses, statistics)

        gradients, (losses, statistics) = jax.grad(loss, has_aux=True)(weights.trained)
        return gradients, losses, statistics

    def _outputs(self, weights: Weights, rows: dict[str, Array]) -> Float[Array, "B ..."]:
        """Return the outputs of the only head (G = L = 1) of plain rows, by the encoder that is trained with it."""
        assert self.recipe.encoders is not None
        assert weights.encoder is not None
        head = jax.tree.map(lambda x: x[0, 0], weights.heads)
        return self.recipe.head(head, self.recipe.encoders.plain(weights.encoder, rows))

    def _measure(
        self, heads: Params, features: Float[Array, "M ..."], targets: Array
    ) -> tuple[Float[Array, "G L"], Float[Array, "G L"]]:
        """Return the score and the loss of every head on validation, whose targets are `[G, M, ...]`.

        The score of a head that is selected by its loss is minus the loss. With dense encoders, whose features would
        fill the memory, `features` are the outputs of the only head. Heads are measured one after the other, since the
        outputs of all may exceed the memory.
        """

        def measured(head: Params, targets: Array) -> tuple[Array, Array]:
            task, encoders = self.recipe.task, self.recipe.encoders
            outputs = features if encoders is not None and encoders.dense else self.recipe.head(head, features)
            score, loss = task.score(outputs, targets), task.mean_loss(outputs, targets)
            if self.recipe.select == "loss":
                score = jnp.where(jnp.isfinite(outputs).all(), -loss, jnp.nan)
            return score, loss

        def of_group(group: tuple[Params, Array]) -> tuple[Array, Array]:
            return jax.lax.map(lambda head: measured(head, group[1]), group[0])

        return jax.lax.map(of_group, (heads, targets))

    def _follow(
        self,
        progress: Progress,
        best: Weights,
        weights: Weights,
        metric: Float[Array, "G L"],
        loss: Float[Array, "G L"],
        number: Int[Array, ""],
    ) -> tuple[Progress, Weights]:
        """Return the progress after a round, and the best weights so far of every head and of a trained encoder.

        A head stops after `patience` rounds in a row that did not improve its metric by more than `min_delta`, or as
        soon as its metric is not finite.
        """
        progress, better = judged(progress, metric, loss, number, self.recipe)
        heads = jax.tree.map(lambda b, n: jnp.where(per_head(better, n), n, b), best.heads, weights.heads)
        encoder = jax.tree.map(lambda b, n: jnp.where(better[0, 0], n, b), best.encoder, weights.encoder)
        return progress, Weights(heads=heads, encoder=encoder)


def judged(
    progress: Progress,
    metric: Float[Array, "G L"],
    loss: Float[Array, "G L"],
    number: Int[Array, ""],
    recipe: HeadRecipe,
) -> tuple[Progress, Bool[Array, "G L"]]:
    """Return the progress after a round, and a mask of the heads with a new best; a stopped head has none."""
    finite = jnp.isfinite(metric)
    going_on = ~progress.stopped & finite
    better = going_on & (metric > progress.metric)
    clearly = going_on & (metric > progress.reference + recipe.min_delta)
    waited = jnp.where(clearly, 0, progress.waited + 1)
    renewed = better if recipe.since == "best" else clearly
    return Progress(
        metric=jnp.where(better, metric, progress.metric),
        loss=jnp.where(better, loss, progress.loss),
        round=jnp.where(better, number, progress.round),
        reference=jnp.where(renewed, metric, progress.reference),
        waited=waited,
        stopped=progress.stopped | ~finite | (waited >= recipe.patience),
    ), better


def _slices(batch: dict[str, Array], count: int) -> dict[str, Array]:
    """Return a batch `[B, ...]` as `[count, B / count, ...]`; `target` and `weight` are `[1, B, ...]`.

    A slice has every count-th row, so that copies at the end of an epoch spread, and rows stay on their devices.
    """

    def sliced(name: str, values: Array) -> Array:
        axis = 1 if name in ("target", "weight") else 0
        shape = (*values.shape[:axis], values.shape[axis] // count, count, *values.shape[axis + 1 :])
        return jnp.moveaxis(values.reshape(shape), axis + 1, 0)

    return {name: sliced(name, values) for name, values in batch.items() if name not in ("share", "b1")}


@functools.lru_cache(maxsize=16)
def programs_of(recipe: HeadRecipe) -> Programs:
    """Return the programs of a recipe, which is cached: other seeds, rates and labels share the compilation."""
    return Programs(recipe)
