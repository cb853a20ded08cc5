"""Terms against golden values, float64 references and their limits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.objectives import TERMS, Execution, build_objective
from mmcl_jax.training.mesh import by_example, make_mesh

pytestmark = pytest.mark.core

FIRST = jnp.array([[0.2, 0.3, 0.6], [-0.4, 0.2, 0.8], [0.3, 0.5, -0.5]])
SECOND = jnp.array([[0.25, 0.35, 0.55], [-0.2, 0.1, 0.5], [-0.2, 0.3, 0.1]])
BATCH = {"id": jnp.arange(3, dtype=jnp.uint32)}
MODALITIES = {"image": "image", "table": "table"}


def loss(name: str, *, execution: Execution | None = None, **options: object):
    """The term on two arrays and a batch of `id` and `label`: its value and metrics."""
    term = TERMS.build(TERMS.spec(name, **options), "config.objective.0")

    def value(first, second, batch):
        targets = {"label": batch["label"]} if "label" in batch else {}
        actual = term.with_metrics(first, second, ids=batch["id"], targets=targets, execution=execution)
        return actual.value, actual.metrics

    return value


@pytest.mark.parametrize(
    ("name", "options", "golden"),
    [
        ("clip", {}, 0.9240035),
        ("clip", {"balance": 1.0}, 0.0981888),
        ("clip", {"balance": 0.0}, 1.7498181),
        ("clip", {"denominator": "negatives"}, -1.3034386),
        ("nt_xent", {}, 1.0451879),
        ("clip", {"labels": "eliminate"}, 0.8850298),
        ("clip", {"labels": "attract"}, 1.9094576),
        ("clip", {"labels": "eliminate", "background": 1}, 0.8850298),
        ("clip", {"labels": "attract", "background": 0}, 0.9240035),  # nobody of the other class has a fellow
    ],
)
def test_golden_values(name: str, options: dict[str, object], golden: float) -> None:
    value, _ = loss(name, **options)(FIRST, SECOND, {**BATCH, "label": jnp.array([0, 0, 1])})
    np.testing.assert_allclose(value, golden, rtol=2e-6)


def reference_clip(x: np.ndarray, y: np.ndarray, *, temperature: float, balance: float, denominator: str) -> float:
    """Float64, with loops."""
    x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x.astype(np.float64), y.astype(np.float64)))
    s = x @ y.T / temperature
    directions = []
    for logits in (s, s.T):
        losses = []
        for i, row in enumerate(logits):
            included = [v for j, v in enumerate(row) if denominator == "all" or j != i]
            losses.append(np.log(np.sum(np.exp(included))) - row[i])
        directions.append(np.mean(losses))
    return balance * directions[0] + (1 - balance) * directions[1]


def reference_labels(anchors: np.ndarray, others: np.ndarray, classes: list[int], how: str, *, views: int) -> float:
    """Float64, with loops: the mean over anchors; with two views, an anchor is not compared with itself."""
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (anchors, others)]
    s = unit[0] @ unit[1].T / 0.1
    losses = []
    for i in range(len(s)):
        mates = [j for j in range(len(s)) if classes[j // views] == classes[i // views] and not (views == 2 and i == j)]
        own = [j for j in mates if j // views == i // views]
        positives = mates if how == "attract" else own
        counted = [
            j for j in range(len(s)) if not (views == 2 and i == j) and (how == "attract" or j in own or j not in mates)
        ]
        losses.append(np.log(np.exp(s[i, counted]).sum()) - s[i, positives].mean())
    return float(np.mean(losses))


@pytest.mark.parametrize("how", ["eliminate", "attract"])
def test_contrast_with_labels_agrees_with_float64(how: str) -> None:
    rng = np.random.default_rng(1)
    x, y, classes = rng.normal(size=(12, 5)), rng.normal(size=(12, 5)), rng.integers(0, 3, 12).tolist()
    batch = {"id": jnp.arange(12, dtype=jnp.uint32), "label": jnp.array(classes, jnp.int32)}
    embeddings = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    both = (reference_labels(x, y, classes, how, views=1) + reference_labels(y, x, classes, how, views=1)) / 2
    np.testing.assert_allclose(loss("clip", labels=how)(*embeddings, batch)[0], both, rtol=1e-5)
    views = np.stack([x, y], axis=1).reshape(24, 5)
    expected = reference_labels(views, views, classes, how, views=2)
    np.testing.assert_allclose(loss("nt_xent", labels=how)(*embeddings, batch)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("background", [0, 1, 2])
@pytest.mark.parametrize("how", ["eliminate", "attract"])
def test_rows_of_the_background_have_no_fellows(how: str, background: int) -> None:
    """A background of several rows is as so many classes of one row."""
    rng = np.random.default_rng(1)
    x, y, classes = rng.normal(size=(12, 5)), rng.normal(size=(12, 5)), np.arange(12) % 3
    apart = [100 + row if code == background else int(code) for row, code in enumerate(classes)]
    batch = {"id": jnp.arange(12, dtype=jnp.uint32), "label": jnp.asarray(classes, jnp.int32)}
    embeddings = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    views = np.stack([x, y], axis=1).reshape(24, 5)

    def expected(codes: list[int]) -> list[float]:
        both = [reference_labels(a, b, codes, how, views=1) for a, b in ((x, y), (y, x))]
        return [float(np.mean(both)), reference_labels(views, views, codes, how, views=2)]

    actual = [
        float(loss(name, labels=how, background=background)(*embeddings, batch)[0]) for name in ("clip", "nt_xent")
    ]
    np.testing.assert_allclose(actual, expected(apart), rtol=1e-5)
    assert (np.abs(np.subtract(actual, expected(classes.tolist()))) > 1e-3).all()


@pytest.mark.parametrize("denominator", ["all", "negatives"])
def test_clip_and_its_gradients_agree_with_float64(denominator: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 8)), rng.normal(size=(16, 8))
    options = {"temperature": 0.2, "balance": 0.3, "denominator": denominator}
    term = loss("clip", **options)
    batch = {"id": jnp.arange(16, dtype=jnp.uint32)}
    value, gradients = jax.value_and_grad(lambda x, y: term(x, y, batch)[0], argnums=(0, 1))(
        jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    )
    np.testing.assert_allclose(value, reference_clip(x, y, **options), rtol=1e-6)
    step = 1e-6
    for which, gradient in enumerate(gradients):
        for index in [(0, 0), (3, 5), (15, 7)]:
            shifted = []
            for sign in (1, -1):
                both = [x.copy(), y.copy()]
                both[which][index] += sign * step
                shifted.append(reference_clip(*both, **options))
            numeric = (shifted[0] - shifted[1]) / (2 * step)
            np.testing.assert_allclose(gradient[index], numeric, rtol=2e-4, atol=1e-6)


def test_limits() -> None:
    eye = jnp.eye(8)
    batch = {"id": jnp.arange(8, dtype=jnp.uint32)}
    cold, metrics = loss("clip", temperature=0.02)(eye, eye, batch)
    np.testing.assert_allclose(cold, 0, atol=1e-6)
    assert metrics["top1"] == metrics["top1_back"] == 1
    collapsed, metrics = loss("clip")(jnp.ones((8, 8)), jnp.ones((8, 8)), batch)
    np.testing.assert_allclose(collapsed, np.log(8), rtol=1e-6)
    collapsed, _ = loss("nt_xent")(jnp.ones((8, 8)), jnp.ones((8, 8)), batch)
    np.testing.assert_allclose(collapsed, np.log(15), rtol=1e-6)
    _, metrics = loss("clip")(eye, jnp.roll(eye, 1, axis=0), batch)
    assert metrics["top1"] == 0


def test_positives_follow_ids_not_places() -> None:
    order = jnp.array([2, 0, 1])
    value, _ = loss("clip")(FIRST, SECOND, BATCH)
    shuffled, _ = loss("clip")(FIRST[order], SECOND[order], {"id": BATCH["id"][order]})
    np.testing.assert_allclose(value, shuffled, rtol=1e-6)


def test_bfloat16_embeddings_have_a_float32_loss() -> None:
    value, _ = loss("clip")(FIRST.astype(jnp.bfloat16), SECOND.astype(jnp.bfloat16), BATCH)
    assert value.dtype == jnp.float32
    # Unit rows are rounded to bfloat16 once; a value in [0.5, 1) by at most 2 ** -9, so a logit by about 0.04.
    expected = reference_clip(
        *(np.asarray(a) for a in (FIRST, SECOND)), temperature=0.1, balance=0.5, denominator="all"
    )
    np.testing.assert_allclose(value, expected, atol=0.04)
    assert value != loss("clip")(FIRST, SECOND, BATCH)[0]


@pytest.mark.parametrize("name", ["clip", "nt_xent", "siglip"])
def test_sharding_changes_neither_values_nor_gradients(name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.normal(size=(64, 16)), jnp.float32) for _ in range(2))
    results = []
    for devices, execution in itertools.product((1, 2, 8), ("gathered", "ring", "dense")):
        if devices == 2 and execution != "gathered":
            continue
        mesh = make_mesh(jax.devices()[:devices])
        term = loss(name, execution=Execution(name=execution, mesh=mesh))
        arguments = jax.device_put((x, y, jnp.arange(64, dtype=jnp.uint32)), by_example(mesh))
        value = jax.value_and_grad(lambda x, y, ids, term=term: term(x, y, {"id": ids})[0], argnums=(0, 1))
        results.append(jax.jit(value)(*arguments))
    for other in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), results[0], other)


def test_siglip_is_the_papers_algorithm() -> None:
    """Algorithm 1 of the paper, in float64."""
    x, y = (np.asarray(a, np.float64) / np.linalg.norm(a, axis=1, keepdims=True) for a in (FIRST, SECOND))
    logits = 10 * x @ y.T - 10
    expected = -np.sum(np.log(1 / (1 + np.exp(-(2 * np.eye(3) - 1) * logits)))) / 3
    value, metrics = loss("siglip")(FIRST, SECOND, BATCH)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert metrics["top1"] == 1


def test_a_learned_temperature_starts_at_the_fixed_one_and_is_bounded() -> None:
    fixed, _ = loss("clip", temperature=0.07)(FIRST, SECOND, BATCH)
    term = TERMS.build(TERMS.spec("clip", temperature=0.07, learn_temperature=True), "")

    def learned(scale: float | jax.Array) -> jax.Array:
        return term(FIRST, SECOND, learned={"log_scale": jnp.float32(scale)})

    value, derivative = jax.value_and_grad(learned)(jnp.float32(term.learned["log_scale"]))
    np.testing.assert_allclose(value, fixed, rtol=1e-6)
    assert derivative != 0
    bounded = [learned(scale) for scale in (np.log(100), 9.0)]
    np.testing.assert_allclose(*bounded, rtol=1e-6)


def test_an_objective_is_the_weighted_sum_of_its_terms() -> None:
    specs = [TERMS.spec("clip", weight=2.0), TERMS.spec("nt_xent", between=("image", "table"), weight=0.5)]
    outputs = {"embedding": {"image": FIRST, "table": SECOND}}
    total, metrics = build_objective(specs, MODALITIES)(outputs, BATCH)
    np.testing.assert_allclose(total, 2 * 0.9240035 + 0.5 * 1.0451879, rtol=1e-6)
    np.testing.assert_allclose(metrics["clip/image-table"], 0.9240035, rtol=1e-6)
    np.testing.assert_allclose(metrics["nt_xent/image-table"], 1.0451879, rtol=1e-6)


def test_bad_objectives_are_refused() -> None:
    with pytest.raises(UserError, match=r"config.objective.0.between: there is no view 'table'"):
        build_objective([TERMS.spec("clip")], {"image": "image"})
    with pytest.raises(UserError, match=r"config.objective.0: temperature must be positive"):
        build_objective([TERMS.spec("clip", temperature=0.0)], MODALITIES)
    with pytest.raises(UserError, match="no term"):
        build_objective([], {"image": "image"})


def reference_barlow_twins(x: np.ndarray, y: np.ndarray, redundancy: float) -> float:
    """Float64, with loops."""
    x, y = ((a - a.mean(0)) / np.sqrt(a.var(0) + 1e-5) for a in (x, y))
    total = 0.0
    for i, j in itertools.product(range(x.shape[1]), repeat=2):
        c = float(np.mean(x[:, i] * y[:, j]))
        total += (1 - c) ** 2 if i == j else redundancy * c**2
    return total


def reference_vicreg(x: np.ndarray, y: np.ndarray) -> float:
    """Float64, with loops."""
    total = 25 * np.mean((x - y) ** 2)
    for a in (x, y):
        covariance = np.cov(a, rowvar=False)
        total += 25 * np.mean(np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4))) / 2
        total += sum(covariance[i, j] ** 2 for i, j in itertools.permutations(range(len(covariance)), 2)) / len(
            covariance
        )
    return float(total)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("barlow_twins", lambda x, y: reference_barlow_twins(x, y, 0.005)), ("vicreg", reference_vicreg)],
)
def test_terms_of_moments_agree_with_float64(name: str, reference) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 6)) * 0.7 + 2
    y = 0.8 * x + 0.3 * rng.normal(size=(24, 6))
    batch = {"id": jnp.arange(24, dtype=jnp.uint32)}

    def value(x, y):
        return loss(name)(x, y, batch)[0]

    embeddings = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    np.testing.assert_allclose(value(*embeddings), reference(x, y), rtol=1e-5)
    gradients = jax.grad(value, argnums=(0, 1))(*embeddings)
    step = 1e-5
    for which, gradient in enumerate(gradients):
        for index in [(0, 0), (7, 3), (23, 5)]:
            moved = [[x.copy(), y.copy()] for _ in range(2)]
            moved[0][which][index] += step
            moved[1][which][index] -= step
            derivative = (reference(*moved[0]) - reference(*moved[1])) / (2 * step)
            np.testing.assert_allclose(gradient[index], derivative, rtol=2e-3, atol=1e-5)


def test_limits_of_the_terms_of_moments() -> None:
    """What they are when two views are equal and their dimensions independent, and when everything collapses."""
    rng = np.random.default_rng(0)
    independent, _ = np.linalg.qr(rng.normal(size=(64, 5)) - 0)
    independent -= independent.mean(0)
    independent, _ = np.linalg.qr(independent)
    good = jnp.asarray(independent * np.sqrt(64), jnp.float32)
    batch = {"id": jnp.arange(64, dtype=jnp.uint32)}
    assert float(loss("barlow_twins")(good, good, batch)[0]) < 1e-6
    assert float(loss("vicreg")(good, good, batch)[0]) < 1e-6
    collapsed = jnp.ones((64, 5))
    np.testing.assert_allclose(loss("barlow_twins")(collapsed, collapsed, batch)[0], 5, rtol=1e-6)
    np.testing.assert_allclose(loss("vicreg")(collapsed, collapsed, batch)[0], 25 * 0.99, rtol=1e-5)
