"""The kernel called by a stranger: plain arrays, defaults, presence, meshes of any kind, and what is refused."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from examples.foreign_loop import train
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import pairs
from tests.foreign import Foreign

B, D = 16, 4
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, B, D)).astype(np.float32)
LABEL = np.arange(B) % 5
PRESENT = np.arange(B) % 3 > 0
SPOILT = [np.where(PRESENT[:, None], side, np.float32(junk)) for side, junk in ((X, np.nan), (Y, 1e30))]
EXECUTIONS = ("dense", "gathered", "ring")


def clip_loss(x: np.ndarray, y: np.ndarray) -> float:
    """CLIP's loss at a temperature of 0.1, in float64."""
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x.astype(float), y.astype(float)))
    logits = 10 * x @ y.T
    return float(np.mean([np.log(np.exp(s).sum(axis=1)) - np.diag(s) for s in (logits, logits.T)]))


def test_two_arrays_are_enough() -> None:
    """Row i and column i are a pair, the temperature is 0.1, and every execution has a name."""
    for read in (np.asarray, Foreign, jnp.asarray):
        actual = pairs.contrast(read(X), read(Y))
        np.testing.assert_allclose(actual.mean(), clip_loss(X, Y), rtol=1e-6)
        assert actual.forward.loss.shape == actual.backward.loss.shape == (B,)
    for name in EXECUTIONS:
        np.testing.assert_allclose(pairs.contrast(X, Y, execution=name).mean(), clip_loss(X, Y), rtol=1e-6)
    np.testing.assert_allclose(pairs.contrast(X.astype(np.float64), Y, scale=10).mean(), clip_loss(X, Y), rtol=1e-6)
    np.testing.assert_allclose(pairs.contrast(X, Y, temperature=0.1).mean(), clip_loss(X, Y), rtol=1e-6)


def test_indices_of_the_batch_are_known_to_rules() -> None:
    def own(rows: Any, columns: Any) -> Any:  # beside the identity, samples of the slice of 4 repel
        return rows["id"] == columns["id"], rows["index"] // 4 == columns["index"] // 4

    given = {"id": np.arange(B), "index": np.arange(B)}
    expected = pairs.contrast(X, Y, rule=pairs.within(pairs.same("id"), size=4), metadata=given)
    for rule in (own, pairs.rules.within(pairs.rules.identity(), size=4)):
        np.testing.assert_array_equal(pairs.contrast(X, Y, rule=rule).forward.loss, expected.forward.loss)


@functools.cache
def dense_gradients() -> tuple[jax.Array, jax.Array]:
    """The gradients on one device, of all pairs at once."""
    loss = jax.jit(jax.grad(lambda x, y: pairs.contrast(x, y, present=PRESENT, execution="dense").mean(), (0, 1)))
    return loss(X, Y)


MESHES: dict[str, Callable[[], Mesh]] = {
    "auto": lambda: Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model")),
    "explicit": lambda: jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2),
}


@pytest.mark.parametrize("name", EXECUTIONS)
@pytest.mark.parametrize("kind", MESHES)
def test_arrays_on_a_mesh_give_the_losses_of_those_on_one_device(kind: str, name: str) -> None:
    """Recognised, or a mesh that is given; eager, or compiled with gradients; absent rows hold NaN and 1e30."""
    mesh = MESHES[kind]()
    x, y = jax.device_put(tuple(SPOILT), NamedSharding(mesh, PartitionSpec("data")))
    expected = clip_loss(X[PRESENT], Y[PRESENT])
    if name == "gathered":
        eager = pairs.contrast(x, y, present=PRESENT)
        np.testing.assert_allclose(eager.mean(), expected, rtol=1e-6)
        assert eager.forward.loss.sharding.spec == PartitionSpec("data")  # recognised: as the embeddings are

    def value(x: jax.Array, y: jax.Array, given: Mesh | None) -> jax.Array:
        return pairs.contrast(x, y, present=PRESENT, execution=name, mesh=given).mean()

    compiled = jax.jit(jax.value_and_grad(value, argnums=(0, 1)), static_argnums=2)
    for given in (mesh,) if kind == "auto" else (mesh, None):  # explicit axes are seen in what is traced
        loss, gradients = compiled(x, y, given)
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
        for gradient, other in zip(gradients, dense_gradients(), strict=True):
            np.testing.assert_allclose(gradient, other, rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(np.asarray(gradient)[~PRESENT], 0)


def test_presence_is_an_argument_of_all_that_compare_pairs() -> None:
    index = np.flatnonzero(PRESENT)

    def rule(rows: Any, columns: Any) -> Any:  # of one's own, which knows nothing of presence
        return rows["id"] == columns["id"], (rows["label"] != columns["label"]) | (rows["id"] == columns["id"])

    given = {"id": np.arange(B, dtype=np.uint32), "label": LABEL}
    few = {key: values[index] for key, values in given.items()}
    local, mask = np.stack([Y, X[::-1]], axis=1), RNG.random((B, 2)) < 0.8
    junk = np.where((PRESENT[:, None] & mask)[:, :, None], local, np.float32(np.nan))
    own = {"x_metadata": {"id": np.arange(B)}, "y_metadata": {"id": index}}
    key = jax.random.key(0)

    @jax.jit
    def all_functions() -> Any:
        return (
            pairs.draw_partners(*SPOILT, key=key, rule=rule, metadata=given, present=PRESENT),
            pairs.draw_partners(X[index], Y[index], key=key, rule=rule, metadata=few),
            pairs.local_contrast(SPOILT[0], junk, rule=rule, metadata=given, present=PRESENT, mask=mask),
            pairs.local_contrast(X[index], local[index], rule=rule, metadata=few, mask=mask[index]),
            pairs.contrast(SPOILT[0], Y[index], **own, present=(PRESENT, np.ones(len(index), bool))).mean(),
        )

    drawn, fewer, by_index, short, unequal = all_functions()
    for side, other in ((drawn.forward, fewer.forward), (drawn.backward, fewer.backward)):
        np.testing.assert_array_equal(np.asarray(side.index)[~PRESENT], -1)
        np.testing.assert_array_equal(np.asarray(side.id)[index], other.id)
    np.testing.assert_allclose(np.asarray(by_index.forward.loss)[index], short.forward.loss, rtol=1e-5)
    np.testing.assert_allclose(by_index.mean(), short.mean(), rtol=1e-5)
    np.testing.assert_allclose(unequal, clip_loss(X[index], Y[index]), rtol=1e-5)


NO_ID = {"x_metadata": {"id": np.arange(B)}}
BAD: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (pairs.contrast, (X[0], Y), {}, "x has the shape (4,); give embeddings [rows, width]."),
    (pairs.contrast, (X[:0], Y[:0]), {}, "x has the shape (0, 4)"),
    (pairs.contrast, (X, Y[:, :3]), {}, "x has the width 4 and y the width 3; give embeddings of one width."),
    (pairs.contrast, (X, Y[:4]), {}, "x has 16 rows and y 4; give x_metadata and y_metadata with 'id'"),
    (pairs.contrast, (X, Y), NO_ID, "the pair rule reads 'id', which the metadata of y lack; give it to both sides."),
    (pairs.contrast, (X, Y), {"rule": pairs.same("label")}, "reads 'label', which the metadata of x lack"),
    (pairs.contrast, (X, Y), {"metadata": {"id": np.arange(3)}}, "metadata 'id' of x has the shape (3,); give one"),
    (pairs.contrast, (X, Y), {"rule": lambda x, y: x["id"] == y["id"]}, "must return two boolean masks"),
    (pairs.contrast, (X, Y), {"rule": lambda x, y: (x["id"] - y["id"],) * 2}, "must return two boolean masks"),
    (pairs.contrast, (X, Y), {"rule": lambda x, y: (jnp.ones((3, 2), bool),) * 2}, "an array (3, 2) for 16 x 16 pairs"),
    (pairs.contrast, (X, Y), {"present": np.ones(B)}, "present is an array of float32; give booleans [rows]."),
    (pairs.contrast, (X, Y), {"present": PRESENT[:3]}, "present has the shape (3,); give one value for each of the 16"),
    (pairs.contrast, (X, Y[:4]), {"present": PRESENT}, "x has 16 rows and y 4; give present"),
    (pairs.contrast, (X, Y), {"temperature": 0.0}, "temperature must be positive, not 0.0"),
    (pairs.contrast, (X, Y), {"temperature": 0.1, "scale": 10.0}, "give temperature or scale, its inverse, not both."),
    (pairs.contrast, (X, Y), {"execution": "fast"}, "there is no execution 'fast'; choose from dense, gathered, ring."),
    (pairs.contrast, (X, Y), {"denominator": "none"}, "no denominator 'none'; choose from all, negatives."),
    (pairs.contrast, (X, jnp.asarray(Y, jnp.bfloat16)), {}, "x has the dtype float32 and y the dtype bfloat16"),
    (pairs.contrast, (X.astype(int), Y), {}, "x is an array of int"),
    (pairs.contrast, (X.tolist(), Y), {}, "x is of the type list; give an array"),
    (pairs.sigmoid_contrast, (X, Y), {"clip": -1.0}, "clip must be positive, not -1.0"),
    (pairs.local_contrast, (X, Y), {}, "y has the shape (16, 4); give local features [samples, locations, width]."),
    (pairs.draw_partners, (X, Y), {"key": jax.random.key(0), "floor": -1.0}, "floor must not be negative"),
]


@pytest.mark.parametrize(("function", "arrays", "given", "sentence"), BAD, ids=[sentence for *_, sentence in BAD])
def test_what_does_not_fit_is_refused_in_a_sentence(
    function: Callable[..., Any], arrays: Any, given: Any, sentence: str
) -> None:
    with pytest.raises(UserError) as raised:
        function(*arrays, **given)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_rows_that_do_not_divide_among_the_devices_are_refused() -> None:
    with pytest.raises(UserError, match="12 embeddings do not divide among 8 devices"):
        pairs.contrast(X[:12], Y[:12], mesh=MESHES["auto"]())


@functools.cache
def losses_of(execution: str) -> list[float]:
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        return train(steps=6, samples=64, execution=execution)


def test_the_foreign_loop_learns_as_with_all_pairs_at_once() -> None:
    assert losses_of("gathered")[-1] < 0.8 * losses_of("gathered")[0]
    np.testing.assert_allclose(losses_of("gathered"), losses_of("dense"), rtol=1e-4)
