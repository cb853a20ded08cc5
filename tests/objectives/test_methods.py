"""The terms of BYOL, SimSiam, NNCLR, VIME and supervised training against float64, and what collapse looks like."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import Features
from mmcl_jax.objectives import TERMS, Each, Term, build_objective
from mmcl_jax.objectives.collapse import spread

pytestmark = pytest.mark.core

B, D = 12, 6
IDS = jnp.arange(B, dtype=jnp.uint32)


def term(name: str, **options: object) -> Term:
    return TERMS.build(TERMS.spec(name, **options), "", classes=3, widths=(1, 3, 1))


def agreement(name: str, p1, p2, z1, z2) -> jax.Array:
    """The term on predictions and on embeddings, for BYOL those by the target network."""
    embeddings, teacher = ((), (z1, z2)) if name == "byol" else ((z1, z2), ())
    return term(name)(*embeddings, predictions=(p1, p2), teacher=teacher)


class Identity(nnx.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        return x


def draw(*shape: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Four arrays."""
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape) for _ in range(4))


def f32(*arrays: np.ndarray) -> list[jax.Array]:
    return [jnp.asarray(a, jnp.float32) for a in arrays]


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    """Float64, with loops: the mean over rows."""
    return float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x, y, strict=True)]))


def difference_quotient(function, arrays: tuple[np.ndarray, ...], which: int, index: tuple[int, int]) -> float:
    """A float64 difference quotient."""
    ends = []
    for sign in (1, -1):
        moved = [a.copy() for a in arrays]
        moved[which][index] += sign * 1e-6
        ends.append(function(*moved))
    return (ends[0] - ends[1]) / 2e-6


def byol(p1, p2, z1, z2) -> float:
    return (2 - 2 * cosine(p1, z2)) + (2 - 2 * cosine(p2, z1))


def simsiam(p1, p2, z1, z2) -> float:
    return -cosine(p1, z2) / 2 - cosine(p2, z1) / 2


@pytest.mark.parametrize(("name", "reference"), [("byol", byol), ("simsiam", simsiam)])
def test_agreement_terms_agree_with_float64(name: str, reference) -> None:
    arrays = draw(B, D)
    value, gradients = jax.value_and_grad(lambda *a: agreement(name, *a), argnums=(0, 1, 2, 3))(*f32(*arrays))
    np.testing.assert_allclose(value, reference(*arrays), rtol=1e-5)
    for which in (0, 1):
        for index in [(0, 0), (7, 3)]:
            np.testing.assert_allclose(
                gradients[which][index], difference_quotient(reference, arrays, which, index), rtol=1e-3
            )
    if name == "simsiam":  # embeddings get no gradient
        assert not np.any(gradients[2])
        assert not np.any(gradients[3])
    p1, p2, _, _ = f32(*arrays)
    best = {"byol": 0.0, "simsiam": -1.0}[name]
    np.testing.assert_allclose(agreement(name, p1, p2, p2, p1), best, atol=1e-6)


def nnclr(p1, p2, z1, z2, queue) -> float:
    """Float64, with loops: equation 3 of the paper, both directions."""
    total = 0.0
    p1, p2, z1, z2 = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (p1, p2, z1, z2))
    for z, p in ((z1, p2), (z2, p1)):
        for i in range(len(z)):
            nearest = max(queue, key=lambda q, z=z, i=i: float(q @ z[i]))
            logits = [nearest @ p[k] / 0.1 for k in range(len(p))]
            total += np.log(np.sum(np.exp(logits))) - logits[i]
    return total / 2 / len(z1)


def test_nnclr_agrees_with_float64() -> None:
    arrays = draw(B, D)
    queue = np.random.default_rng(1).normal(size=(20, D))
    queue /= np.linalg.norm(queue, axis=1, keepdims=True)
    inputs = f32(*arrays, queue)

    def loss(p1, p2, z1, z2, queue) -> jax.Array:
        return term("nnclr", queue=20)(z1, z2, predictions=(p1, p2), queue=queue)

    value, gradient = jax.value_and_grad(loss)(*inputs)
    np.testing.assert_allclose(value, nnclr(*arrays, queue), rtol=1e-5)
    expected = difference_quotient(lambda *a: nnclr(*a, queue), arrays, 0, (3, 2))
    np.testing.assert_allclose(gradient[3, 2], expected, rtol=1e-3)


def test_queues_hold_the_latest_embeddings_of_the_first_view() -> None:
    spec = TERMS.spec("nnclr", between=("a", "b"), queue=5)
    objective = build_objective([spec], {"a": "image", "b": "image"})
    queues = objective.initial_queues({"a": D, "b": D}, jax.random.key(0))
    np.testing.assert_allclose(np.linalg.norm(queues["term_0"], axis=1), 1, rtol=1e-6)
    first, second, *_ = f32(*draw(3, D))
    for embeddings in (first, second):
        queues = objective.enqueue(queues, {"embedding": {"a": embeddings, "b": first}}, {})
    rows = np.concatenate([second, first])[:5]
    np.testing.assert_allclose(queues["term_0"], rows / np.linalg.norm(rows, axis=1, keepdims=True), rtol=1e-5)


def test_supervised_is_the_cross_entropy_of_rows_that_have_a_label() -> None:
    first, second, *_ = draw(B, 3)
    label = np.array([0, 1, 2, -5, 1, 1, 0, -9, 2, 2, 0, 1], np.int32)
    supervised = term("supervised", between=("image", "table"))
    layers = {name: Identity() for name in ("image", "table")}
    features = tuple(Features(pooled=pooled) for pooled in f32(first, second))
    summed = supervised.each(Each(ids=IDS, features=features, layers=layers))
    actual = supervised.with_metrics(each=summed, targets={"label": jnp.asarray(label)})
    value, metrics = actual.value, actual.metrics
    logits = first + second
    rows = np.flatnonzero(label >= 0)
    expected = [np.log(np.exp(logits[i]).sum()) - logits[i, label[i]] for i in rows]
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-5)
    np.testing.assert_allclose(metrics["top1"], np.mean(logits[rows].argmax(1) == label[rows]), rtol=1e-6)
    assert actual.rows == len(rows)
    nobody = supervised.with_metrics(each=summed, targets={"label": jnp.full(B, -1)})
    assert nobody.value == 0
    assert nobody.rows == 0


def vime(head: np.ndarray, view: np.ndarray, row: np.ndarray) -> float:
    """Float64, with loops, for the widths (1, 3, 1)."""
    masks, values = [], []
    for i in range(len(row)):
        wide = [row[i, 0], *(row[i, 1] == k for k in range(3)), row[i, 2]]
        column_of = [0, 1, 1, 1, 2]
        for j in range(3):
            if not np.isnan(row[i, j]):
                p = 1 / (1 + np.exp(-head[i, j]))
                masks.append(-np.log(p if view[i, j] != row[i, j] else 1 - p))
        values += [(head[i, 3 + k] - wide[k]) ** 2 for k in range(5) if not np.isnan(row[i, column_of[k]])]
    return float(np.mean(masks) + 2 * np.mean(values))


def test_vime_agrees_with_float64() -> None:
    rng = np.random.default_rng(0)
    head = rng.normal(size=(B, 8))
    row = np.stack([rng.normal(size=B), rng.integers(0, 3, B), rng.normal(size=B)], axis=1)
    view = np.where(rng.random((B, 3)) < 0.5, row[::-1], row)
    row[2, 0] = row[5, 1] = np.nan  # and the draws for other rows may be missing, too
    view[4, 2] = np.nan
    seen, original = f32(view, row)
    value, gradient = jax.value_and_grad(lambda h: term("vime")(each={"head": h, "view": seen, "row": original}))(
        f32(head)[0]
    )
    np.testing.assert_allclose(value, vime(head, view, row), rtol=1e-5)
    for index in [(0, 0), (2, 0), (5, 4), (7, 7)]:
        expected = difference_quotient(lambda h: vime(h, view, row), (head,), 0, index)
        np.testing.assert_allclose(gradient[index], expected, rtol=1e-3, atol=1e-8)


def test_spread_tells_collapse() -> None:
    rng = np.random.default_rng(0)
    everywhere = jnp.asarray(rng.normal(size=(4096, 16)), jnp.float32)
    actual = spread(everywhere)
    np.testing.assert_allclose(actual["deviation"], 1, atol=0.02)
    np.testing.assert_allclose(actual["rank"], 16, atol=0.3)
    point = spread(1 + 1e-4 * everywhere)
    assert point["deviation"] < 0.05
    plane = jnp.concatenate([everywhere[:, :2], jnp.zeros((4096, 14))], axis=1)
    np.testing.assert_allclose(spread(plane)["rank"], 2, atol=0.05)
    assert spread(plane)["deviation"] > 0.05
    wide = jnp.asarray(rng.normal(size=(8, 64)), jnp.float32)  # by the products over samples
    values = np.asarray(wide, np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    values -= values.mean(0)
    eigenvalues = np.linalg.eigvalsh(values.T @ values)
    np.testing.assert_allclose(spread(wide)["rank"], eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rtol=1e-5)
