"""The all-pairs kernel: three executions of the same mathematics, against a float64 reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mmcl_jax.objectives.pairs import (
    Execution,
    PairLosses,
    contrast,
    exclude,
    exclude_self,
    present,
    same,
    sigmoid_contrast,
)
from mmcl_jax.training.mesh import make_mesh

B, D, SCALE = 48, 8, 5.0
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(B, D)), RNG.normal(size=(B, D))
METADATA = {
    "id": np.arange(B, dtype=np.uint32),
    "index": np.arange(B, dtype=np.int32),
    "label": (np.arange(B, dtype=np.int32) * 7) % 5,
    "person": np.arange(B, dtype=np.int32) // 2,
    "present": np.arange(B) % 3 != 0,
}
# The weights of the anchors, different for each and for each direction.
FORWARD, BACKWARD = RNG.uniform(0.5, 2, size=(2, B))


def pairs_of(rule: str, i: int, j: int) -> tuple[bool, bool]:
    """(positive, counted) of one pair: every rule once more, in words of its own."""
    m = {name: (values[i], values[j]) for name, values in METADATA.items()}
    agree = {name: a == b for name, (a, b) in m.items()}
    match rule:
        case "identity":
            return bool(agree["id"]), True
        case "same label":
            return bool(agree["label"]), True
        case "same label removed":
            return bool(agree["id"]), bool(agree["id"] or not agree["label"])
        case "same person":
            return bool(agree["person"]), True
        case "same person removed":
            return bool(agree["id"]), bool(agree["id"] or not agree["person"])
        case "presence":
            here = bool(m["present"][0] and m["present"][1])
            return bool(agree["id"]) and here, here
        case "other views":
            return bool(agree["person"]) and i != j, i != j
    raise AssertionError(rule)


RULES = {
    "identity": same("id"),
    "same label": same("label"),
    "same label removed": exclude(same("id"), "label"),
    "same person": same("person"),
    "same person removed": exclude(same("id"), "person"),
    "presence": present(same("id")),
    "other views": exclude_self(same("person")),
}


@functools.cache
def masks(rule: str) -> tuple[np.ndarray, np.ndarray]:
    both = np.array([[pairs_of(rule, i, j) for j in range(B)] for i in range(B)])
    return both[..., 0], both[..., 1]


def reference(x: np.ndarray, y: np.ndarray, *, rule: str, kind: str) -> float:
    """The weighted sum of all anchors' losses, in float64, one anchor after another."""
    x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y))
    logits = SCALE * x @ y.T - (2.0 if kind == "sigmoid" else 0.0)
    positive, counted = masks(rule)
    total = 0.0
    for weights, s, p, c in ((FORWARD, logits, positive, counted), (BACKWARD, logits.T, positive.T, counted.T)):
        for i in range(B):
            if kind == "sigmoid":
                signs = np.where(p[i], 1, -1)
                total += weights[i] * np.sum(np.log1p(np.exp(-signs * s[i]))[c[i]])
                continue
            below = c[i] & ~p[i] if kind == "negatives" else c[i]
            if p[i].any() and below.any():
                total += weights[i] * (np.log(np.sum(np.exp(s[i][below]))) - s[i][p[i]].mean())
    return float(total)


def reference_gradient(side: int, index: tuple[int, int], *, rule: str, kind: str) -> float:
    step, values = 1e-6, []
    for sign in (1, -1):
        both = [X.copy(), Y.copy()]
        both[side][index] += sign * step
        values.append(reference(*both, rule=rule, kind=kind))
    return (values[0] - values[1]) / (2 * step)


def losses(x, y, metadata, *, rule: str, kind: str, execution: Execution, scale=SCALE, bias=-2.0) -> PairLosses:
    common = {
        "rule": RULES[rule],
        "x_metadata": metadata,
        "y_metadata": metadata,
        "scale": scale,
        "execution": execution,
    }
    if kind == "sigmoid":
        return sigmoid_contrast(x, y, bias=bias, **common)
    return contrast(x, y, denominator=kind, **common)


def total(x, y, metadata, **options) -> tuple[jax.Array, PairLosses]:
    both = losses(x, y, metadata, **options)
    weights = [jnp.asarray(w, jnp.float32) for w in (FORWARD, BACKWARD)]
    return weights[0] @ both.forward.loss + weights[1] @ both.backward.loss, both


def run(execution: Execution, *, rules=RULES, kind: str = "all", dtype=jnp.float32) -> dict[str, tuple]:
    """(value, losses, gradients) by rule, from one compiled program, with sharded inputs where there is a mesh."""
    arguments = (jnp.asarray(X, dtype), jnp.asarray(Y, dtype), jax.tree.map(jnp.asarray, METADATA))
    if execution.mesh is not None:
        arguments = jax.device_put(arguments, NamedSharding(execution.mesh, PartitionSpec(execution.mesh.axis_names)))

    def all_rules(*arguments):
        results = {}
        for rule in rules:
            function = functools.partial(total, rule=rule, kind=kind, execution=execution)
            (value, both), gradients = jax.value_and_grad(function, argnums=(0, 1), has_aux=True)(*arguments)
            results[rule] = value, both, gradients
        return results

    return jax.jit(all_rules)(*arguments)


def execution(name: str, devices: int | None, tile: int | None) -> Execution:
    mesh = None if devices is None else make_mesh(jax.devices()[:devices])
    return Execution(name=name, mesh=mesh, tile=tile)


@functools.cache
def dense_identity() -> tuple:
    return run(Execution(name="dense"), rules=["identity"])["identity"]


SAMPLE = [(0, 0), (17, 3), (47, 7)]


@functools.cache
def expected(rule: str, kind: str) -> tuple[float, np.ndarray]:
    gradients = [[reference_gradient(side, index, rule=rule, kind=kind) for index in SAMPLE] for side in (0, 1)]
    return reference(X, Y, rule=rule, kind=kind), np.array(gradients)


def check_against_float64(results: dict[str, tuple], kind: str) -> None:
    for rule, (value, both, gradients) in results.items():
        reference_value, reference_gradients = expected(rule, kind)
        np.testing.assert_allclose(value, reference_value, rtol=1e-6, err_msg=rule)
        sampled = [[gradient[index] for index in SAMPLE] for gradient in gradients]
        np.testing.assert_allclose(sampled, reference_gradients, rtol=1e-4, atol=2e-6, err_msg=rule)
        if rule == "presence" and kind != "sigmoid":
            np.testing.assert_array_equal(both.forward.valid, METADATA["present"])
            np.testing.assert_array_equal(np.asarray(gradients[0])[~METADATA["present"]], 0)


@pytest.mark.core
@pytest.mark.parametrize("kind", ["all", "negatives", "sigmoid"])
@pytest.mark.parametrize("name", ["dense", "gathered", "ring"])
def test_every_execution_of_every_rule_agrees_with_float64(name: str, kind: str) -> None:
    """On 8 devices with 6 rows each, in tiles of 4, which do not fill up."""
    check_against_float64(run(execution(name, 8, tile=4), kind=kind), kind)


@pytest.mark.parametrize("tile", [5, 24])
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("name", ["gathered", "ring"])
def test_so_does_it_on_other_numbers_of_devices(name: str, devices: int, tile: int) -> None:
    """48 columns do not divide into tiles of 5, and do into tiles of 24. Each has every other rule."""
    check_against_float64(run(execution(name, devices, tile), rules=list(RULES)[tile % 2 :: 2]), "all")


@pytest.mark.parametrize(("devices", "tile"), [(None, 1), (None, None), (8, 1), (8, 6), (8, 7), (8, None)])
@pytest.mark.parametrize("name", ["gathered", "ring"])
def test_neither_devices_nor_tiles_change_anything(name: str, devices: int | None, tile: int | None) -> None:
    value, both, gradients = run(execution(name, devices, tile), rules=["identity"])["identity"]
    dense = dense_identity()
    np.testing.assert_allclose(value, dense[0], rtol=1e-6)
    for mine, theirs in zip(gradients, dense[2], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    for direction in ("forward", "backward"):
        mine, theirs = getattr(both, direction), getattr(dense[1], direction)
        np.testing.assert_allclose(mine.loss, theirs.loss, rtol=1e-5)
        np.testing.assert_array_equal(mine.top1, theirs.top1)


@pytest.mark.parametrize("kind", ["all", "sigmoid"])
@pytest.mark.parametrize("name", ["gathered", "ring"])
def test_scale_and_bias_can_be_learned(name: str, kind: str) -> None:
    mesh = make_mesh(jax.devices())
    arguments = jax.device_put(
        (jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)), NamedSharding(mesh, PartitionSpec("data"))
    )
    ids = {"id": jnp.arange(B, dtype=jnp.uint32)}

    def value(scalars: dict[str, jax.Array], execution: Execution) -> jax.Array:
        return losses(*arguments, ids, rule="identity", kind=kind, execution=execution, **scalars).backward.mean()

    scalars = {"scale": jnp.float32(3.0), "bias": jnp.float32(-1.0)}
    expected = jax.grad(functools.partial(value, execution=Execution(name="dense")))(scalars)
    got = jax.jit(jax.grad(functools.partial(value, execution=execution(name, 8, tile=4))))(scalars)
    assert expected["scale"] != 0
    assert (expected["bias"] == 0) == (kind == "all")
    for key in scalars:
        np.testing.assert_allclose(got[key], expected[key], rtol=1e-5)


@pytest.mark.parametrize("name", ["gathered", "ring"])
def test_bfloat16_embeddings_have_float32_logits(name: str) -> None:
    value, both, gradients = run(execution(name, 8, tile=4), rules=["identity"], dtype=jnp.bfloat16)["identity"]
    assert both.forward.loss.dtype == jnp.float32
    assert {g.dtype for g in gradients} == {jnp.dtype(jnp.bfloat16)}
    dense = run(Execution(name="dense"), rules=["identity"], dtype=jnp.bfloat16)["identity"]
    np.testing.assert_allclose(value, dense[0], rtol=1e-6)
    for mine, theirs in zip(gradients, dense[2], strict=True):
        np.testing.assert_allclose(np.asarray(mine, np.float32), np.asarray(theirs, np.float32), rtol=0.05, atol=0.02)


def test_small_temperatures_do_not_overflow() -> None:
    """At tau = 0.01 logits differ by up to 200, beyond what float32 exponentials hold."""
    x = jnp.eye(B, D) - 1e-3
    for denominator in ("all", "negatives"):
        function = functools.partial(
            losses, metadata={"id": jnp.arange(B)}, rule="identity", kind=denominator, scale=100.0
        )
        for e in (Execution(name="dense"), Execution(tile=5)):
            value, gradient = jax.value_and_grad(lambda x, e=e, f=function: f(x, -x, execution=e).forward.mean())(x)
            assert np.isfinite(value)
            assert np.isfinite(gradient).all()


def test_the_directions_of_two_unequal_sides() -> None:
    """A rows against 2 A columns: each row has two positives, each column one."""
    rows, columns = {"id": jnp.arange(8)}, {"id": jnp.arange(16) % 8}
    x, y = jnp.asarray(X[:8], jnp.float32), jnp.asarray(Y[:16], jnp.float32)
    by = [
        contrast(x, y, rule=same("id"), x_metadata=rows, y_metadata=columns, scale=SCALE, execution=e)
        for e in (Execution(name="dense"), Execution(tile=3), Execution(name="ring", tile=5))
    ]
    assert by[0].forward.loss.shape == (8,)
    assert by[0].backward.loss.shape == (16,)
    for other in by[1:]:
        for mine, theirs in zip(jax.tree.leaves(other), jax.tree.leaves(by[0]), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_the_default_tile_grows_with_the_root_of_the_batch() -> None:
    assert [Execution().tile_for(columns, 128) for columns in (512, 2**17, 2**20, 2**22)] == [1024, 1024, 2048, 4096]
    assert Execution(tile=7).tile_for(2**20, 128) == 7


def test_the_default_tile_keeps_a_gpu_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [Execution().tile_for(columns, 128) for columns in (512, 2**20, 2**26)] == [8192, 8192, 16384]
    assert Execution(mesh=make_mesh(jax.devices()[:2])).tile_for(2**20, 128) == 2048  # the devices of the mesh decide


def test_embeddings_that_do_not_divide_are_refused() -> None:
    x = jnp.asarray(X, jnp.float32)
    with pytest.raises(ValueError, match="48 embeddings do not divide among 5 devices"):
        losses(x, x, {"id": jnp.arange(B)}, rule="identity", kind="all", execution=execution("ring", 5, tile=4))


def test_sides_of_two_dtypes_are_refused() -> None:
    x = jnp.asarray(X, jnp.float32)
    with pytest.raises(ValueError, match="x has the dtype float32 and y the dtype bfloat16"):
        contrast(x, x.astype(jnp.bfloat16), rule=same("id"), x_metadata={}, y_metadata={}, scale=1.0)


def test_the_reference_can_tell_rules_apart() -> None:
    values = {rule: reference(X, Y, rule=rule, kind="all") for rule in RULES}
    assert len(set(values.values())) == len(RULES)
