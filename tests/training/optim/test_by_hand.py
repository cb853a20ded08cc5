"""Three steps of the optimizers for large batches against their definitions, and what each of them keeps."""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.optim import OPTIMIZERS
from mmcl_jax.training.optim.schedules import Schedule

pytestmark = pytest.mark.core

RATE, DECAY = 0.1, 0.2
Tree = dict[str, dict[str, np.ndarray]]
MATRICES = {("layer", "kernel"), ("words", "table")}
# A bias of two axes is no matrix, and neither is the scale of a norm. An array of zeros has the trust ratio 1.
SHAPES = {
    ("layer", "kernel"): (2, 3),
    ("layer", "bias"): (3,),
    ("columns", "bias"): (2, 2),
    ("norm", "scale"): (3,),
    ("words", "table"): (2, 1),
}


def drawn(seed: int) -> dict[tuple[str, str], np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {path: rng.normal(size=shape) for path, shape in SHAPES.items()}
    if seed == 0:
        arrays["words", "table"] *= 0
    return arrays


def nested(arrays: dict[tuple[str, str], np.ndarray]) -> Tree:
    tree: Tree = {}
    for (part, name), array in arrays.items():
        tree.setdefault(part, {})[name] = jnp.asarray(array, jnp.float32)
    return tree


def ratio(weights: np.ndarray, update: np.ndarray) -> float:
    norms = np.linalg.norm(weights), np.linalg.norm(update)
    return norms[0] / norms[1] if all(norms) else 1.0


def sgd(w: np.ndarray, options: dict, *, decays: bool, adapts: bool) -> Iterator[np.ndarray]:
    v = np.zeros_like(w)
    for step in itertools.count(1):
        g = yield w
        g = g + decays * DECAY * w
        v = g if step == 1 else 0.9 * v + g  # PyTorch's buffer starts as the first gradient
        w = w - RATE * (g + 0.9 * v if options["nesterov"] else v)


def lars(w: np.ndarray, options: dict, *, decays: bool, adapts: bool) -> Iterator[np.ndarray]:
    v = np.zeros_like(w)
    while True:
        g = yield w
        g = g + decays * DECAY * w
        zero = not (np.any(w) and np.any(g))
        g = g * RATE * ((1.0 if zero else 0.03 * ratio(w, g)) if adapts else 1.0)
        v = 0.9 * v + g
        w = w - (g + 0.9 * v if options["nesterov"] else v)


def lamb(w: np.ndarray, options: dict, *, decays: bool, adapts: bool) -> Iterator[np.ndarray]:
    m = v = np.zeros_like(w)
    for step in itertools.count(1):
        g = yield w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        r = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-6) + decays * DECAY * w
        w = w - RATE * (ratio(w, r) if adapts else 1.0) * r


def adamw(w: np.ndarray, options: dict, *, decays: bool, adapts: bool) -> Iterator[np.ndarray]:
    return lamb(w, options, decays=decays, adapts=False)


CASES = [
    ("sgd", {"nesterov": False, "decay": "all"}),
    ("sgd", {"nesterov": True, "decay": "matrices"}),
    ("lars", {"nesterov": False, "decay": "matrices", "adapt": "matrices"}),
    ("lars", {"nesterov": True, "decay": "all", "adapt": "all"}),
    ("lamb", {"decay": "matrices", "adapt": "matrices"}),
    ("lamb", {"decay": "all", "adapt": "all"}),
    ("adamw", {"decay": "matrices"}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_three_steps_by_hand(name: str, options: dict[str, object]) -> None:
    more = {"lars": {"trust": 0.03}, "adamw": {"epsilon": 1e-6}}.get(name, {})
    spec = OPTIMIZERS.spec(name, weight_decay=DECAY, **options, **more)
    schedule = Schedule(learning_rate=lambda step: jnp.float32(RATE))
    optimizer = OPTIMIZERS.build(spec, "config.optimizer", schedule=schedule)
    masked = {key: {path for path in SHAPES if options.get(key) == "all" or path in MATRICES} for key in options}
    hands = {
        path: globals()[name](w, options, decays=path in masked["decay"], adapts=path in masked.get("adapt", ()))
        for path, w in drawn(0).items()
    }
    params = nested({path: next(hand) for path, hand in hands.items()})
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for step in (1, 2, 3):
        gradient = drawn(step)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = update(nested(gradient), state, params)
        params = optax.apply_updates(params, updates)
        expected = nested({path: hand.send(gradient[path]) for path, hand in hands.items()})
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), params, expected)


def test_large_batch_optimizers_leave_biases_and_norms_out_and_the_others_decay_all() -> None:
    defaults = {name: OPTIMIZERS.spec(name) for name in OPTIMIZERS.names()}
    assert {name: spec.decay for name, spec in defaults.items()} == {
        "adam_l2": "all", "adamw": "all", "amsgrad": "all", "radam": "all", "sgd": "all",
        "lars": "matrices", "lamb": "matrices",
    }  # fmt: skip
    assert {spec.adapt for spec in defaults.values() if "adapt" in spec} == {"matrices"}


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_a_model_axis_divides_what_every_optimizer_keeps(name: str, tiny_config) -> None:
    """As it divides the parameters; frozen parameters have no state."""
    overrides = [f"optimizer.name={name}", "mesh.model=8", "mesh.shard_above=32", "frozen=('encoders.image.*',)"]
    config = tiny_config("digits_mmcl", *overrides)
    state = build_experiment(config, Store.open(config.data), jax.devices()[:8]).shapes()[0]
    of_params = [(leaf.shape, leaf.sharding.spec) for leaf in jax.tree.leaves(state.params)]
    kept = [(leaf.shape, leaf.sharding.spec) for leaf in jax.tree.leaves(state.optimizer_state) if leaf.ndim]
    assert any(any(spec) for _, spec in of_params)
    assert sorted(map(str, kept)) == sorted(map(str, of_params * {"sgd": 1, "lars": 1, "amsgrad": 3}.get(name, 2)))


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("sgd", {"momentum": 1.0}, r"momentum must lie in \[0, 1\), not 1.0"),
        ("sgd", {"weight_decay": -1.0}, "weight_decay must not be negative"),
        ("lars", {"trust": 0.0}, "trust must be positive, not 0.0"),
        ("lamb", {"epsilon": 0.0}, "epsilon must be positive"),
        ("lars", {"decay": "kernels"}, r"config.optimizer.decay: 'kernels' is not of type Literal"),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        OPTIMIZERS.build(
            OPTIMIZERS.spec(name, **options), "config.optimizer", schedule=Schedule(learning_rate=lambda step: step)
        )
