"""A term with all four stages, on local features and with rows that lack a modality: the same in slices and shares."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jaxtyping import Array, Float, Int

from benchmarks.step import prepared
from mmcl_jax.config import projector, term
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import TERMS, Each, EachPair, Layer, LayerInput, Loss, Term, Whole
from mmcl_jax.training.build import Experiment, build_experiment
from mmcl_jax.training.mesh import by_example, put
from mmcl_jax.training.step.train_step import check_step, make_step
from tests.training.test_scale import assert_same

B = 64


class Matcher(nnx.Module):
    """A score of two vectors side by side."""

    def __init__(self, given: LayerInput) -> None:
        width = given.sizes[0].embedding + given.sizes[1].embedding
        self.layer = nnx.Linear(width, 1, rngs=given.rngs)

    def __call__(self, x: Float[Array, "... d"], y: Float[Array, "... d"]) -> Float[Array, "..."]:
        return self.layer(jnp.concatenate([x, y], axis=-1))[..., 0]


class Scaled(nnx.Module):
    """A normalisation, which has model state."""

    def __init__(self, given: LayerInput) -> None:
        self.norm = given.norm(given.sizes[1].pooled)

    def __call__(self, x: Float[Array, "B d"], given: Each) -> Float[Array, "B d"]:
        return self.norm(x, train=given.train, present=given.present)


@TERMS.register("test_local_matching")
def local_matching(
    *, between: tuple[str, str] = ("image.local", "table"), weight: float = 1.0, peek: bool = False
) -> Term:
    """Places of one image agree with one another as much as with the table; images match tables, not neighbours'."""

    def each(given: Each) -> dict[str, Array]:
        local, pooled = (embedding.astype(jnp.float32) for embedding in given.embeddings)
        noise = jax.vmap(lambda key: jax.random.normal(key, local.shape[2:]))(given.keys)
        places = jnp.einsum("bld,bmd->blm", local, local)
        scaled = given.layers["scaled"](given.features[1].pooled, given).mean(axis=1)
        loss = jax.nn.logsumexp(places, axis=2).mean(axis=1) + jnp.sum(noise * pooled, axis=1) + jnp.square(scaled)
        loss = loss * given.learned["factor"]
        return {"loss": loss, "image": local.mean(axis=1), "table": pooled}

    def choose(given: Whole) -> Int[Array, "B 2"]:
        """The row before, and one at the same random distance from every row, whether present or not."""
        index = jnp.arange(len(given.ids))
        shift = jax.random.randint(given.key, (), 2, len(given.ids))
        chosen = jnp.stack([index - 1, index + shift], axis=1) % len(given.ids)
        return jnp.where(given.ids[:, None] % 5 == 0, -1, chosen)  # some have no partner

    def each_pair(given: EachPair) -> Float[Array, "B"]:
        match = given.layers["scaled" if peek else "match"]
        own = match(given.own["image"], given.own["table"])
        other = match(given.own["image"][:, None].repeat(2, axis=1), given.partners["table"])
        other = jnp.where(given.partners_present, other, 0)
        return jax.nn.softplus(other.sum(axis=1) - own)

    def loss(given: Whole) -> Loss:
        local, matching = given.mean(given.each["loss"]), given.mean(given.pairs)
        return Loss(value=local + matching, metrics={"local": local, "matching": matching})

    return Term(
        name="test_local_matching",
        between=between,
        weight=weight,
        each=each,
        choose=choose,
        each_pair=each_pair,
        loss=loss,
        local=True,
        learned={"factor": 0.5},
        layers={"match": Layer(build=Matcher, name="matcher"), "scaled": Layer(build=Scaled)},
    )


@pytest.fixture
def experiment(tiny_config, digits_store: Store):
    """Makes the experiment: `experiment(devices, *overrides)`; a third of the rows has no table."""

    def make(devices: int, *overrides: str, change: Callable[[Any], None] = lambda config: None) -> Experiment:
        config = tiny_config("digits_mmcl", *overrides)
        config.projectors["image.local"] = projector("mlp_norm", hidden=(8,), out=6)
        config.projectors["table"] = projector("mlp", hidden=8, out=6)
        config.projectors["image"] = projector("mlp", hidden=8, out=6)
        config.objective = (term("test_local_matching"), term("clip"))
        change(config)
        made = build_experiment(config, digits_store, jax.devices()[:devices])
        made.batches.arrays["present/table"] = made.batches.arrays["id"] % 3 > 0
        return made

    return make


def one_step(made: Experiment, compiled: Any, state: Any, constants: Any, junk: float | None = None) -> Any:
    batch = made.batches[0]
    if junk is not None:
        batch["table"] = np.where(batch["present/table"][:, None], batch["table"], np.float32(junk))
    return compiled(state, put(batch, by_example(made.mesh)), constants)


def test_a_term_of_four_stages_is_the_same_in_slices_and_shares(experiment) -> None:
    results = []
    for devices, overrides in ((1, []), (2, ["micro_batch=32"]), (8, ["mesh.model=2", "mesh.shard_above=32"])):
        made = experiment(devices, *overrides)
        compiled, state, constants = prepared(made)
        assert {"matcher", "term_0"} <= state.params["heads"].keys()
        copies = [jax.tree.map(jnp.copy, state) for _ in range(2)]  # a step takes its state's memory
        results.append(jax.device_get(one_step(made, compiled, state, constants)))
        if devices == 1:  # what absent rows hold changes no bit
            for junk, state in zip((np.nan, 1e30), copies, strict=True):
                assert_same(jax.device_get(one_step(made, compiled, state, constants, junk)), results[-1], rtol=0)
    expected_state, expected = results[0]
    assert expected["test_local_matching/image.local-table/rows"] == (made.batches[0]["id"] % 3 > 0).sum()
    for state, metrics in results[1:]:
        # The gradients of columns are not measured where the weights of the encoder are divided.
        assert_same(metrics, {name: expected[name] for name in metrics}, rtol=2e-5)
        assert expected.keys() - metrics.keys() <= {"columns/table"}
        moments, expected_moments = (
            jax.tree.leaves(optax.tree_utils.tree_get(s.optimizer_state, "mu")) for s in (state, expected_state)
        )
        largest = max(np.abs(moment).max() for moment in expected_moments)
        for mine, theirs in zip(moments, expected_moments, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-6 * largest)
        assert_same(state.model_state, expected_state.model_state, rtol=1e-5, atol=1e-6)
    matcher = optax.tree_utils.tree_get(expected_state.optimizer_state, "mu")["heads"]["matcher"]["layer"]["kernel"]
    assert np.abs(matcher).max() > 0
    assert optax.tree_utils.tree_get(expected_state.optimizer_state, "mu")["learned"]["term_0"]["factor"] != 0


def no_local(config: Any) -> None:
    config.objective = (term("test_local_matching", between=("image.local", "table.local")),)


def no_head(config: Any) -> None:
    config.objective = (term("clip", between=("image:pgs", "table")),)


def no_predictor(config: Any) -> None:
    config.objective = (term("simsiam", between=("image", "table")),)


def no_projector(config: Any) -> None:
    config.objective = (term("test_local_matching"),)
    del config.projectors["image.local"]


def state_with_partners(config: Any) -> None:
    config.objective = (term("test_local_matching", peek=True),)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            no_local,
            r"0.between: 'table.local' reads local features, and the encoder of 'table' has none; read 'table'",
        ),
        (
            no_head,
            r"0.between: 'image:pgs' needs 'image:pgs' in config.projectors, which has image, image.local, table",
        ),
        (no_predictor, r"0.between: 'image' needs 'image' in config.predictors, which has no keys; add it"),
        (no_projector, r"0.between: 'image.local' needs 'image.local' in config.projectors"),
        (state_with_partners, r"the term has no layer 'scaled' without model state; layers with model state"),
    ],
)
def test_what_a_model_does_not_have_is_refused_before_it_is_compiled(experiment, change, sentence: str) -> None:
    def begin() -> None:
        made = experiment(1, change=change)
        check_step(make_step(made), *made.shapes())

    with pytest.raises(UserError, match=sentence):
        begin()


def test_the_local_term_fits_a_model_whose_views_have_maps(tiny_config, digits_store: Store) -> None:
    """Traces the step, without compiling it."""
    config = tiny_config("digits_simclr")
    config.projectors["image.local"] = projector("mlp", hidden=8, out=6)
    config.objective = (term("nt_xent"), term("local_alignment", between=("image_1.local", "image_2.local")))
    made = build_experiment(config, digits_store, jax.devices()[:1])
    state, metrics = jax.eval_shape(make_step(made), *made.shapes())
    assert metrics["local_alignment/image_1.local-image_2.local"].shape == ()
    assert state.params["heads"]["term_1"]["align"].keys() == {"key", "value", "out", "norm"}
