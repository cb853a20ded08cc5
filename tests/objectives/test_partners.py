"""Partners: the draws of one device by NumPy, those of every execution, and their distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from jax.sharding import NamedSharding, PartitionSpec

from mmcl_jax.objectives.pairs import Execution, draw_partners, exclude, present, same, within
from mmcl_jax.training.mesh import make_mesh

B, D, SCALE, FLOOR = 32, 4, 4.0, 1e-4
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(2, B, D)).astype(np.float32)
IDS = RNG.permutation(2**32 - 1 - np.arange(B)).astype(np.uint32)  # beyond what float32 or int32 hold
IDS[9] = IDS[4]  # a sample that is twice in the batch
PRESENT = (np.arange(B) % 5 != 3) & (np.arange(B) != 31)
LABEL = (np.arange(B) * 7) % 3
METADATA = {
    "id": IDS,
    "index": np.arange(B, dtype=np.int32),
    "label": LABEL.astype(np.int32),
    "present": PRESENT,
}
RULES = {
    "presence": present(same("id")),
    "not of the own class, presence": exclude(present(same("id")), "label"),
    "slices of 3, presence": present(within(same("id"), size=3)),
}


def candidates(rule: str) -> tuple[np.ndarray, np.ndarray]:
    """(counted, those of them that may be drawn), once more in words of their own."""
    i, j = np.ogrid[:B, :B]
    own, here = IDS[:, None] == IDS, PRESENT[:, None] & PRESENT
    match rule:
        case "presence":
            return here, here & ~own
        case "not of the own class, presence":
            other = LABEL[:, None] != LABEL
            return here & (own | other), here & other & ~own
        case "slices of 3, presence":
            inside = here & (i // 3 == j // 3)
            return inside, inside & ~own
    raise AssertionError(rule)


def probabilities(rule: str) -> np.ndarray:
    """In float64, [2, B, B]: of anchors of X by candidates of Y, and of Y by X."""
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (X.astype(np.float64), Y.astype(np.float64)))
    weights = np.exp(SCALE * x @ y.T)
    counted, drawn = candidates(rule)
    both = []
    for w, c, d in ((weights, counted, drawn), (weights.T, counted.T, drawn.T)):
        softmax = w * c / np.maximum((w * c).sum(axis=1, keepdims=True), 1e-300)
        p = (softmax + FLOOR) * d
        both.append(p / np.maximum(p.sum(axis=1, keepdims=True), 1e-300))
    return np.stack(both)


def random_key(step: jax.Array | int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(11), step)


def expected(rule: str, step: int) -> np.ndarray:
    """The indices [2, B], -1 without a candidate: an exponential race in float64."""
    words = jax.random.bits(random_key(step), (2,))
    pairs = jnp.stack(jnp.broadcast_arrays(jnp.asarray(IDS)[:, None], jnp.asarray(IDS)[None]))
    forward, backward = np.asarray(threefry_2x32(words, pairs), np.float64) / 2**32
    p = probabilities(rule)
    races = np.where(p > 0, p / -np.log1p(-np.stack([forward, backward.T])), 0)
    return np.where(races.any(axis=2), races.argmax(axis=2), -1)


@pytest.mark.parametrize(
    ("name", "devices", "tile"), [("dense", 1, None), ("gathered", 2, 5), ("gathered", 8, 3), ("ring", 8, 3)]
)
def test_partners_are_the_same_in_every_execution_on_any_devices(name: str, devices: int, tile: int | None) -> None:
    mesh = make_mesh(jax.devices()[:devices])
    execution = Execution(name=name, mesh=mesh, tile=tile)

    def draws(x, y, metadata, step):
        both = {
            rule: draw_partners(
                x,
                y,
                rule=RULES[rule],
                x_metadata=metadata,
                y_metadata=metadata,
                scale=SCALE,
                key=random_key(step),
                floor=FLOOR,
                execution=execution,
            )
            for rule in RULES
        }
        taken = x[jnp.maximum(both["presence"].backward.index, 0)]
        return jnp.sum(jnp.where(metadata["present"][:, None], taken, 0)), both

    junk = X.copy(), Y.copy()
    junk[0][~PRESENT], junk[1][~PRESENT] = np.nan, 1e30
    arguments = jax.device_put((*junk, METADATA), NamedSharding(mesh, PartitionSpec(mesh.axis_names)))
    compiled = jax.jit(jax.grad(draws, has_aux=True))
    for step in (0, 1):
        gradient, by_rule = compiled(*arguments, step)
        for rule, both in by_rule.items():
            index = expected(rule, step)
            np.testing.assert_array_equal([both.forward.index, both.backward.index], index, err_msg=rule)
            np.testing.assert_array_equal([both.forward.id, both.backward.id], np.where(index < 0, 0, IDS[index]))
        # What is taken by index has a gradient, the choice has none.
        taken = np.bincount(expected("presence", step)[1][PRESENT], minlength=B)
        np.testing.assert_array_equal(gradient, np.broadcast_to(taken[:, None], (B, D)))


def test_the_reference_draws_nobody_for_anchors_that_are_absent_or_alone() -> None:
    index = expected("slices of 3, presence", 0)
    alone = [sum(PRESENT[j] and j // 3 == i // 3 for j in range(B)) == 1 for i in range(B)]
    assert sum(alone) > 0
    np.testing.assert_array_equal(index < 0, np.broadcast_to(~PRESENT | alone, (2, B)))


@pytest.mark.parametrize(("scale", "floor"), [(3.0, 0.0), (3.0, 0.1), (400.0, 0.0), (400.0, 0.1)])
def test_partners_are_drawn_from_the_softmax_and_its_floor(scale: float, floor: float) -> None:
    """At a scale of 400 all probabilities but the own pair's are below what float32 holds."""
    n, count = 6, 4000
    x, y = X[:n], X[:n] + 0.1 * Y[:n]
    actual = np.stack(_many(x, y, jnp.float32(scale), floor, count))
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x.astype(np.float64), y.astype(np.float64))]
    logits = scale * unit[0] @ unit[1].T
    for indices, s in zip(actual, (logits, logits.T), strict=True):
        softmax = np.exp(s - s.max(axis=1, keepdims=True))
        p = (softmax / softmax.sum(axis=1, keepdims=True) + floor) * (1 - np.eye(n))
        p /= p.sum(axis=1, keepdims=True)
        shares = np.stack([(indices == j).mean(axis=0) for j in range(n)], axis=1)
        np.testing.assert_array_less(np.abs(shares - p), 5 * np.sqrt(p * (1 - p) / count) + 1e-3)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _many(x, y, scale, floor, count):
    ids = {"id": jnp.arange(len(x), dtype=jnp.uint32)}

    def once(step):
        both = draw_partners(
            x, y, rule=same("id"), x_metadata=ids, y_metadata=ids, scale=scale, key=random_key(step), floor=floor
        )
        return both.forward.index, both.backward.index

    return jax.vmap(once)(jnp.arange(count))


def test_partners_take_no_array_of_all_pairs() -> None:
    rows = 8192
    ids = {"id": jnp.arange(rows, dtype=jnp.uint32)}

    def draw(x, y, key):
        return draw_partners(
            x, y, rule=same("id"), x_metadata=ids, y_metadata=ids, scale=1.0, key=key, execution=Execution(tile=256)
        )

    side = jax.ShapeDtypeStruct((rows, 8), jnp.float32)
    memory = jax.jit(draw).lower(side, side, jax.random.key(0)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < rows**2 / 8  # a bit per pair


def test_a_floor_is_not_negative() -> None:
    ids = {"id": jnp.arange(B)}
    with pytest.raises(ValueError, match=r"floor must not be negative, as -0\.1 is"):
        draw_partners(
            jnp.asarray(X),
            jnp.asarray(Y),
            rule=same("id"),
            x_metadata=ids,
            y_metadata=ids,
            scale=1.0,
            key=random_key(0),
            floor=-0.1,
        )
