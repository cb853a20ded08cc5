"""The edges of the taxonomy: golden values of its code, float64 references of every score and estimate, and draws."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mmcl_jax.encoders import Features
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import TERMS, infomax
from mmcl_jax.objectives.pairs import Execution
from mmcl_jax.objectives.terms.taxonomy.infomax import drawn_places
from mmcl_jax.training.mesh import make_mesh
from tests.objectives.lcg import lcg

CR, CC, RR = ("a", "a.local"), ("a.local", "b.local"), ("a", "b")


class Uniform:
    """The numbers that `torch.rand` draws after `torch.manual_seed(seed)`: 24 bits of a Mersenne twister each."""

    def __init__(self, seed: int) -> None:
        self.twister = np.random.RandomState(seed)

    def __call__(self, *shape: int) -> np.ndarray:
        bits = self.twister.randint(0, 2**32, size=shape, dtype=np.uint32) & 0xFFFFFF
        return bits.astype(np.float32) / np.float32(2**24)

    def local(self, samples: int, width: int, places: int) -> np.ndarray:
        return np.ascontiguousarray(self(samples, width, places).swapaxes(1, 2))

    def pooled(self, samples: int, width: int) -> np.ndarray:
        return self(samples, width, 1)[..., 0]


def metrics(term: Any, *arrays: Any, **options: Any) -> tuple[float, float]:
    found = term.with_metrics(*arrays, **options).metrics
    return float(found["estimate"]), float(found["penalty"])


def test_golden_values_of_the_estimator() -> None:
    """facts: taxonomy, 2.6."""
    local, pooled, other = 6 * lcg((4, 8, 9), 1).swapaxes(1, 2), 6 * lcg((4, 8, 1), 2), 6 * lcg((4, 8, 1), 4)
    pooled, other = pooled[..., 0], other[..., 0]
    edge, rr = infomax(between=CR), infomax(between=RR)
    np.testing.assert_allclose(metrics(edge, pooled, local), (6.355828, 0.311149), rtol=3e-6)
    np.testing.assert_allclose(metrics(edge, 10 * pooled, 10 * local), (25.705184, 3111.4886), rtol=3e-6)
    np.testing.assert_allclose(metrics(rr, pooled, other), (4.464222, 0.239189), rtol=3e-6)
    np.testing.assert_allclose(metrics(rr, other, pooled), (4.537112, 0.239189), rtol=3e-6)
    weighed = infomax(between=CR, weight=3.0)(pooled, local)
    np.testing.assert_allclose(weighed, 3 * 6.355828 + 0.311149, rtol=3e-6)


def test_golden_values_of_the_released_tests_of_estimators() -> None:
    """facts: taxonomy, 2.6; the first inputs of the code's tests, which draw them with the seed 42."""
    draw = Uniform(42)
    local, pooled = draw.local(8, 64, 32), draw.pooled(8, 64)
    infonce, jsd = infomax(critic="dot", clip=10.0), infomax(critic="dot", clip=None, estimator="jsd")
    np.testing.assert_allclose(metrics(infonce, pooled, local), (5.4309, 10.2132), atol=6e-5)
    np.testing.assert_allclose(metrics(jsd, pooled, local), (14.4711, 10.2132), atol=1.1e-4)
    draw = Uniform(42)
    x, y = jnp.asarray(draw(2, 32)), jnp.asarray(draw(2, 32))
    square = jnp.asarray(Uniform(42)(2, 2))
    np.testing.assert_allclose(0.04 * jnp.mean(square**2), 0.0268, atol=6e-5)
    np.testing.assert_allclose(10 * jnp.tanh(square / 10), [[0.88, 0.9125], [0.3827, 0.9564]], atol=6e-5)
    lengths = [jnp.linalg.norm(side, axis=1) for side in (x, y)]
    cosines = x @ y.T / jnp.outer(*lengths)
    # The released cosine divides by the lengths of row j of both sides, not of rows i and j.
    np.testing.assert_allclose(jnp.sum(x @ y.T / lengths[0][None] / lengths[1][None]), 2.8963, atol=6e-5)
    # The linear measure has the mean of the negatives' scores less that of the positives'.
    for critic, scores, total in (("scaled", x @ y.T / math.sqrt(32), 4.8168), ("cosine", cosines, 2.8962)):
        np.testing.assert_allclose(jnp.sum(scores), total, atol=6e-5)
        term = infomax(between=RR, critic=critic, clip=None, estimator="wasserstein", penalty=0.0)
        np.testing.assert_allclose(term(x, y), total / 2 - jnp.trace(scores), atol=6e-5)


def test_golden_values_of_the_released_tests_of_edges() -> None:
    """facts: taxonomy, 2.6. There, a pooled feature stands for the drawn place of CC."""
    draw, local, place, pooled = Uniform(42), {}, {}, {}
    for modality in (0, 1):
        local[modality], place[modality] = draw.local(8, 64, 32), draw.pooled(8, 64)
        pooled[modality] = draw.pooled(8, 64)
    edge, rr = (infomax(between=between, critic="dot", clip=10.0) for between in (CR, RR))
    cases = {
        "CR": (edge, pooled, local, 0, (5.4389, 10.7434, 5.4361, 10.4492), 32.0676),
        "XX": (edge, pooled, local, 1, (5.4481, 10.7993, 5.4465, 10.3911), 32.0850),
        "CC": (edge, place, local, 1, (5.4396, 10.2893, 5.4479, 10.3638), 31.5406),
        "RR": (rr, pooled, pooled, 1, (2.0887, 10.9743, 2.0777, 10.9743), 26.1152),
    }
    for name, (term, anchors, places, other, expected, total) in cases.items():
        found = [metrics(term, anchors[one], places[one ^ other]) for one in (0, 1)]
        np.testing.assert_allclose(np.ravel(found), expected, atol=1.1e-4, err_msg=name)
        np.testing.assert_allclose(np.sum(found), total, atol=2.1e-4, err_msg=name)


B, L, D, CLIP, PENALTY, WEIGHT = 8, 3, 2, 1.5, 0.3, 1.7
RNG = np.random.default_rng(5)
POOLED, OTHER = RNG.normal(size=(2, B, D)).astype(np.float32)
LOCAL, OTHER_LOCAL = RNG.normal(size=(2, B, L, D)).astype(np.float32)
PRESENT = np.arange(B) % 4 != 1
MASK = RNG.uniform(size=(B, L)) < 0.7
MASK[:, 0] |= ~MASK.any(axis=1)
CRITICS = {"scaled": 1.0, "dot": 1.0, "cosine": 0.7}
ESTIMATORS = ["infonce", "jsd", "gan", "nwj", "reverse_kl", "hellinger", "wasserstein"]


def softplus(s: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, s)


DUALS: dict[str, tuple[Any, Any]] = {
    "jsd": (lambda s: np.log(2) - softplus(-s), lambda s: softplus(s) - np.log(2)),
    "gan": (lambda s: -softplus(-s), softplus),
    "nwj": (lambda s: s, lambda s: np.exp(s - 1)),
    "reverse_kl": (lambda s: -np.exp(-s), lambda s: s - 1),
    "hellinger": (lambda s: 1 - np.exp(-s), lambda s: np.exp(s) - 1),
    "wasserstein": (lambda s: s, lambda s: s),
}


def reference(u: np.ndarray, v: np.ndarray, mask: np.ndarray, critic: str, estimator: str) -> float:
    """In float64, one anchor after another: the loss with its penalty."""
    raw = np.einsum("ad,bld->abl", u, v)
    if critic == "cosine":
        raw = raw / np.linalg.norm(u, axis=1)[:, None, None] / np.linalg.norm(v, axis=2)[None] / CRITICS[critic]
    raw = raw / np.sqrt(D) if critic == "scaled" else raw
    s, valid = CLIP * np.tanh(raw / CLIP), PRESENT[:, None] & mask
    losses, squares = [], []
    for a in np.flatnonzero(PRESENT):
        squares += list(raw[a][valid] ** 2)
        own, others = s[a, a][mask[a]], valid.copy()
        others[a] = False
        negatives = s[a][others]
        if estimator == "infonce":
            losses.append(np.mean(np.log(np.exp(own) + np.exp(negatives).sum()) - own))
        else:
            positive, negative = DUALS[estimator]
            losses.append(np.mean(negative(negatives)) - np.mean(positive(own)))
    return WEIGHT * float(np.mean(losses)) + PENALTY * float(np.mean(squares))


def gradient(f: Any, x: np.ndarray) -> np.ndarray:
    found = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        steps = [x.copy(), x.copy()]
        steps[0][index] += 1e-6
        steps[1][index] -= 1e-6
        found[index] = (f(steps[0]) - f(steps[1])) / 2e-6
    return found


def spoilt(x: np.ndarray, mask: np.ndarray | None = None) -> jax.Array:
    """The array with what must not matter: NaN in absent rows, and large numbers behind the mask."""
    x = x.copy()
    if mask is not None:
        x[~mask] = 1e4
    x[~PRESENT] = np.nan
    return jnp.asarray(x)


def edge_arrays(edge: str) -> tuple[tuple[str, str], np.ndarray, np.ndarray, np.ndarray]:
    """The texts of an edge, its anchors' features, its places [B, L, d] and their mask."""
    all_of = np.ones((B, 1), bool)
    return {
        "CR": (CR, POOLED, LOCAL, MASK),
        "XX": (("b", "a.local"), OTHER, LOCAL, MASK),
        "CC": (CC, OTHER_LOCAL, LOCAL, MASK),
        "RR": (RR, POOLED, OTHER[:, None], all_of),
    }[edge]


KEY = jax.random.key(3)
PLACES = jax.jit(lambda local, keys: drawn_places(local, None, keys))


def drawn_index() -> np.ndarray:
    """The place that CC draws in each row, found from features that are the places' numbers."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(B, dtype=jnp.uint32))
    numbers = jnp.broadcast_to(jnp.arange(L, dtype=jnp.float32)[None, :, None], (B, L, 1))
    return np.asarray(PLACES(numbers, keys))[:, 0].astype(int)


def value_and_gradients(term: Any, edge: str, execution: Execution) -> tuple[Any, tuple[Any, Any]]:
    _, source, places, mask = edge_arrays(edge)

    def features(array: jax.Array, shown: np.ndarray | None) -> Any:
        local = array if array.shape[1] > 1 else array[:, 0]
        if local.ndim == 2:
            return local
        return Features(pooled=jnp.zeros((B, D)), local=local, mask=None if shown is None else jnp.asarray(shown))

    def loss(u: jax.Array, v: jax.Array) -> jax.Array:
        anchors = u if u.ndim == 2 else features(u, None)
        options = {"present": jnp.asarray(PRESENT), "execution": execution, "key": KEY}
        return term(anchors, features(v, mask if mask.shape[1] > 1 else None), **options)

    u, v = spoilt(source), spoilt(places, mask)
    if execution.mesh is not None:
        sharding = NamedSharding(execution.mesh, PartitionSpec(execution.mesh.axis_names))
        u, v = jax.device_put((u, v), sharding)
        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(u, v)
    return jax.value_and_grad(loss, argnums=(0, 1))(u, v)


def check(edge: str, critic: str, estimator: str, execution: Execution) -> None:
    between, source, places, mask = edge_arrays(edge)
    term = infomax(
        between=between, critic=critic, temperature=CRITICS[critic], estimator=estimator, clip=CLIP,
        penalty=PENALTY, weight=WEIGHT,
    )  # fmt: skip
    u, v = source.astype(np.float64), places.astype(np.float64)
    chosen = (np.arange(B), drawn_index()) if edge == "CC" else slice(None)
    value, (du, dv) = value_and_gradients(term, edge, execution)
    np.testing.assert_allclose(value, reference(u[chosen], v, mask, critic, estimator), rtol=2e-6, atol=2e-7)
    if execution.mesh is None and critic != "scaled" and estimator not in ("infonce", "jsd"):
        return  # the slopes of the score and of the estimate are each in other cases
    np.testing.assert_allclose(
        du, gradient(lambda x: reference(x[chosen], v, mask, critic, estimator), u), rtol=1e-4, atol=5e-6
    )
    np.testing.assert_allclose(
        dv, gradient(lambda x: reference(u[chosen], x, mask, critic, estimator), v), rtol=1e-4, atol=5e-6
    )
    np.testing.assert_array_equal(np.asarray(du)[~PRESENT], 0)
    np.testing.assert_array_equal(np.asarray(dv)[~(PRESENT[:, None] & mask)], 0)


@pytest.mark.parametrize("edge", ["CR", "XX", "CC", "RR"])
def test_every_score_and_estimate_agrees_with_float64(edge: str) -> None:
    """With absent rows, and with places that do not exist; values, and gradients of both sides."""
    for critic, estimator in itertools.product(CRITICS, ESTIMATORS):
        check(edge, critic, estimator, Execution(name="dense"))


@pytest.mark.parametrize(
    ("name", "edge", "critic", "estimator"),
    [
        ("dense", "CC", "scaled", "infonce"),
        ("gathered", "CC", "scaled", "infonce"),
        ("ring", "CC", "scaled", "infonce"),
        ("gathered", "XX", "cosine", "jsd"),
        ("ring", "CR", "dot", "nwj"),
        ("gathered", "RR", "scaled", "wasserstein"),
    ],
)
def test_every_execution_agrees_with_float64_on_four_devices(name: Any, edge: str, critic: str, estimator: str) -> None:
    check(edge, critic, estimator, Execution(name=name, mesh=make_mesh(jax.devices()[:4]), tile=3))


def test_a_place_is_drawn_by_the_row_alone_and_every_place_equally_often() -> None:
    keys = jax.random.split(KEY, 3000)
    numbers = jnp.broadcast_to(jnp.arange(L, dtype=jnp.float32)[None, :, None], (3000, L, 1))
    drawn = np.asarray(PLACES(numbers, keys))[:, 0]
    np.testing.assert_array_equal(drawn[7:20], np.asarray(PLACES(numbers[:13], keys[7:20]))[:, 0])
    assert np.abs(np.bincount(drawn.astype(int)) / 3000 - 1 / 3).max() < 0.03
    mask = np.arange(3000)[:, None] % 2 == np.array([0, 1, 1])
    masked = np.asarray(drawn_places(numbers, jnp.asarray(mask), keys))[:, 0].astype(int)
    assert mask[np.arange(3000), masked].all()
    np.testing.assert_allclose(np.mean(masked[1::2] == 2), 0.5, atol=0.04)


def test_edges_from_one_view_share_their_stream() -> None:
    texts = [("a.local", "b.local"), ("a.local", "c.local"), ("b.local", "a.local"), ("a", "b.local")]
    assert [infomax(between=between).stream for between in texts] == ["place/a", "place/a", "place/b", ""]


def test_rows_without_places_are_no_anchors_and_no_negatives() -> None:
    mask = np.ones((B, L), bool)
    mask[2] = False
    anchors = Features(pooled=jnp.zeros((B, D)), local=jnp.asarray(OTHER_LOCAL), mask=jnp.asarray(mask))
    term = infomax(between=CC)
    found = term.with_metrics(anchors, jnp.asarray(LOCAL), key=KEY)
    kept = np.arange(B) != 2
    whole = Features(pooled=jnp.zeros((B, D)), local=jnp.asarray(OTHER_LOCAL))
    without = term.with_metrics(whole, jnp.asarray(LOCAL), key=KEY, present=jnp.asarray(kept))
    np.testing.assert_allclose(found.value, without.value, rtol=1e-6)
    assert float(found.rows) == B - 1
    nothing = term.with_metrics(whole, jnp.asarray(LOCAL), key=KEY, present=jnp.zeros(B, bool))
    assert float(nothing.value) == 0


def test_the_same_sample_twice_in_a_batch_is_no_negative() -> None:
    ids = np.array([0, 0, 1, 2], np.uint32)
    term = infomax(between=RR, penalty=0.0)
    value = float(term(POOLED[:4], OTHER[:4], ids=ids))
    s = 20 * np.tanh(POOLED[:4].astype(np.float64) @ OTHER[:4].T / np.sqrt(D) / 20)
    others = ids[:, None] != ids
    losses = [np.log(np.exp(s[a, a]) + np.exp(s[a][others[a]]).sum()) - s[a, a] for a in range(4)]
    np.testing.assert_allclose(value, np.mean(losses), rtol=2e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"clip": 0.0}, "clip must be positive, or None for no clip, not 0.0"),
        ({"penalty": -1.0}, "penalty must not be negative"),
        ({"temperature": 0.5}, "the critic 'scaled' has no temperature"),
        ({"critic": "cosine", "temperature": 0.0}, "temperature must be positive"),
        ({"estimator": "kl"}, "config.objective.0.estimator: 'kl' is not of type"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        TERMS.build(TERMS.spec("infomax", **options), "config.objective.0")


def test_plain_arrays_of_the_wrong_form_are_refused() -> None:
    with pytest.raises(UserError, match=r"infomax reads the pooled feature 'a'; give \[rows, width\], no places"):
        infomax(between=CR)(LOCAL, LOCAL)
    with pytest.raises(UserError, match=r"infomax draws a place of 'a.local' for each row; give key="):
        infomax(between=CC)(LOCAL, LOCAL)
