"""The compiled programs of supervised training: a step, features of unaugmented rows, outputs of heads."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, UInt32
from ml_collections import ConfigDict

from mmcl_jax.backend import compiler_options
from mmcl_jax.evaluation.heads.linear import Heads, apply_heads, head_losses, per_head
from mmcl_jax.evaluation.heads.recipe import Recipe
from mmcl_jax.training.mesh import by_example, replicated
from mmcl_jax.training.state import Arrays, split_model
from mmcl_jax.views import VIEWS, View
from mmcl_jax.views.randomness import example_keys

_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """Arrays of the encoders: what gradients train, and the running statistics of normalisation."""

    params: Arrays
    statistics: Arrays


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """What training changes; `encoder` is None where it is frozen."""

    heads: Heads
    encoder: Encoder | None

    @property
    def trained(self) -> tuple[Heads, Arrays]:
        """The part that has gradients."""
        return self.heads, self.encoder.params if self.encoder else {}


class Programs:
    """Compiled once per recipe and shapes; seeds and learning rates are arguments."""

    def __init__(self, recipe: Recipe) -> None:
        self._graphdef, self._modalities = recipe.graphdef, recipe.modalities
        self._augment: View | None = None
        if recipe.augmentation is not None:
            spec = ConfigDict(dict(recipe.augmentation), convert_dict=False)
            self._augment = VIEWS.build(spec, "augmentation")
        options = compiler_options(jax.local_devices()[0], recipe.dtype)
        self.everywhere, self.divided = replicated(recipe.mesh), by_example(recipe.mesh)
        self.step = jax.jit(self._step, donate_argnums=(0, 1), out_shardings=self.everywhere, compiler_options=options)
        self.features = jax.jit(self._features, compiler_options=options)
        self.outputs = jax.jit(apply_heads)
        self.keep = jax.jit(_keep)

    def first_moments(self, weights: Weights) -> optax.OptState:
        """Adam's state before the first step."""
        return _ADAM.init(weights.trained)

    def _step(
        self,
        weights: Weights,
        moments: optax.OptState,
        frozen: Encoder | None,
        batch: dict[str, Array],
        rates: Float[Array, "R"],
        seed: UInt32[Array, ""],
        number: Int[Array, ""],
    ) -> tuple[Weights, optax.OptState, Float[Array, "R"]]:
        """One step of Adam for every head at its rate and, where an encoder is trained (R = 1), for it at the same.

        A frozen encoder sees the augmented batch once for all heads, and normalises by its running statistics.
        """
        keys = example_keys(seed, number, "finetune", batch["id"])
        seen = {modality: batch[modality] for modality in self._modalities}
        if self._augment is not None:
            seen["image"] = self._augment.apply(seen["image"], keys, {}).values
        fixed = None if frozen is None else self._pooled(frozen, seen, train=False)[0]

        def loss(trained: tuple[Heads, Arrays]) -> tuple[Array, tuple[Array, Arrays]]:
            heads, params = trained
            if fixed is not None:
                pooled, statistics = fixed, Arrays()
            else:
                assert weights.encoder is not None
                encoder = Encoder(params=params, statistics=weights.encoder.statistics)
                pooled, statistics = self._pooled(encoder, seen, train=True)
            losses = head_losses(apply_heads(heads, pooled), batch["target"], batch["weight"])
            return losses.sum(), (losses, statistics)

        gradients, (losses, statistics) = jax.grad(loss, has_aux=True)(weights.trained)
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            (by_heads, by_params), moments = _ADAM.update(gradients, moments)
        heads = jax.tree.map(lambda old, by: old - per_head(rates, by) * by, weights.heads, by_heads)
        if weights.encoder is None:
            return Weights(heads=heads, encoder=None), moments, losses
        params = jax.tree.map(lambda old, by: old - rates[0] * by, weights.encoder.params, by_params)
        return Weights(heads=heads, encoder=Encoder(params=params, statistics=statistics)), moments, losses

    def _features(self, encoder: Encoder, inputs: dict[str, Array]) -> Float[Array, "B D"]:
        """Features of rows as they are; of several pictures their mean.

        A linear head on that mean gives the mean of its outputs on the pictures.
        """
        seen, pictures = dict(inputs), 1
        if self._augment is not None:
            images = inputs["image"]
            pictures = 1 if images.ndim == 4 else images.shape[1]
            images = images.reshape(-1, *images.shape[-3:])
            seen["image"] = self._augment.plain(images, jax.random.split(jax.random.key(0), len(images)), {}).values
        return self._pooled(encoder, seen, train=False, pictures=pictures)[0]

    def _pooled(
        self, encoder: Encoder, seen: dict[str, Array], *, train: bool, pictures: int = 1
    ) -> tuple[Float[Array, "B D"], Arrays]:
        """The concatenated pooled features of all modalities, and the running statistics after it."""
        module = nnx.merge(self._graphdef, encoder.params, encoder.statistics)
        parts = []
        for modality in self._modalities:
            pooled = module[modality](seen[modality], train=train).pooled.astype(jnp.float32)
            of_row = pictures if modality == "image" else 1
            parts.append(pooled.reshape(-1, of_row, pooled.shape[-1]).mean(axis=1))
        return jnp.concatenate(parts, axis=1), split_model(module)[1]


def _keep(best: Weights, new: Weights, improved: Array) -> Weights:
    """For every head the new weights where it has improved, else the best; an encoder goes with its only head."""
    heads = jax.tree.map(lambda b, n: jnp.where(per_head(improved, n), n, b), best.heads, new.heads)
    encoder = jax.tree.map(lambda b, n: jnp.where(improved[0], n, b), best.encoder, new.encoder)
    return Weights(heads=heads, encoder=encoder)


@functools.lru_cache(maxsize=16)
def programs_of(recipe: Recipe) -> Programs:
    """The programs of a recipe, made once: calls for other seeds, rates and label budgets of a size share them."""
    return Programs(recipe)
