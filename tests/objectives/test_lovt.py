"""LoVT's losses against golden values and float64 references by loops: alignment, both local losses, negatives."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import Features
from mmcl_jax.encoders.layers import BatchNorm, batch_norm
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import LayerInput, clip, local_alignment
from mmcl_jax.objectives.local import position_contrast, smooth_targets
from mmcl_jax.objectives.stages import Sizes
from mmcl_jax.objectives.terms.local_alignment import Alignment
from mmcl_jax.training.mesh import by_example, make_mesh
from tests.objectives.lcg import lcg

pytestmark = pytest.mark.core

B, K, M, D, GRID = 4, 6, 3, 4, (2, 3)
MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]], bool)
PRESENT = np.array([1, 1, 1, 0], bool)
GOLDEN_MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)


def reference_contrast(a: np.ndarray, b: np.ndarray, p: np.ndarray, weight: np.ndarray, valid: np.ndarray) -> float:
    """The loss a -> b of one sample, float64, with loops; facts 2.2."""
    kept = np.flatnonzero(valid)
    total = sum(weight[k] for k in kept)
    loss = 0.0
    for k in kept:
        scores = {j: a[k] @ b[j] / (np.linalg.norm(a[k]) * np.linalg.norm(b[j])) / 0.3 for j in kept}
        each = np.log(sum(np.exp(score) for score in scores.values())) - sum(p[k, j] * scores[j] for j in kept)
        loss += weight[k] / total * each
    return loss


def reference_targets(grid: tuple[int, int], *, hard: bool) -> np.ndarray:
    places = list(itertools.product(*map(range, grid)))
    p = np.zeros((len(places), len(places)))
    for (k, here), (j, there) in itertools.product(enumerate(places), repeat=2):
        distance = np.hypot(here[0] - there[0], here[1] - there[1]) / np.hypot(*grid)
        p[k, j] = (1.0 if hard else np.exp(-distance)) if distance <= 0.5 else 0.0
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("seed", "shape", "smooth", "weighted", "golden"),
    [
        (31, (2, 9, 5), "smooth", True, (2.809208, 2.657899)),
        (31, (2, 9, 5), "smooth", False, (2.873468, 2.682482)),
        (31, (2, 9, 5), "hard", True, (2.853332, 2.688268)),
        (34, (2, 4, 5), "", True, (1.292200, 1.285935)),
        (34, (2, 4, 5), "", False, (1.260716, 1.268847)),
    ],
)
def test_local_losses_are_the_golden_values_and_the_reference_in_float64(
    seed: int, shape: tuple[int, ...], smooth: str, weighted: bool, golden: tuple[float, float]
) -> None:
    x, y = (lcg(shape, number).astype(np.float64) for number in (seed, seed + 1))
    mask = GOLDEN_MASK if shape[1] == 4 else np.ones(shape[:2], bool)
    weight = ((lcg(shape[:2], 33 if shape[1] == 9 else 36) + 0.5) * mask).astype(np.float64) if weighted else mask * 1.0
    p = reference_targets((3, 3), hard=smooth == "hard") if smooth else np.eye(shape[1])
    expected = [
        np.mean(
            [reference_contrast(*sides, p, w, valid) for *sides, w, valid in zip(*arrays, weight, mask, strict=True)]
        )
        for arrays in ((x, y), (y, x))
    ]
    np.testing.assert_allclose(expected, golden, rtol=2e-6)
    with jax.enable_x64(True):
        targets = smooth_targets((3, 3), smoothness=np.inf if smooth == "hard" else 1.0, threshold=0.5)
        actual = position_contrast(
            jnp.asarray(x),
            jnp.asarray(y),
            temperature=0.3,
            targets=targets if smooth else None,
            mask=jnp.asarray(mask),
            weight=jnp.asarray(weight) if weighted else None,
        )
        np.testing.assert_allclose([loss.mean() for loss in actual], expected, rtol=1e-12)


def alignment(normalise: str = "none", padding: str = "mask", dtype: str = "float32") -> Alignment:
    """Layers with the golden weights, whose norm has scales and biases that are not 1 and 0."""

    def norm(channels: int) -> BatchNorm:
        made = batch_norm(channels)
        for seed, leaf in ((51, made.scale), (52, made.bias)):
            leaf[...] = jnp.asarray(lcg((channels,), seed) + 1)
        return made

    sizes = (Sizes(pooled=D, local=D, embedding=D),) * 2
    layers = Alignment(
        LayerInput(sizes=sizes, norm=norm, rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype)),
        normalise=normalise,
        padding=padding,
    )
    for seed, layer in ((41, layers.key), (42, layers.value), (43, layers.out)):
        layer.kernel = nnx.Param(jnp.asarray(lcg((D, D), seed).T, dtype))
        layer.bias = nnx.Param(jnp.zeros(D, dtype))
    return layers


def test_alignment_has_the_golden_values_to_seven_digits() -> None:
    with jax.enable_x64(True):
        image, report = (jnp.asarray(lcg((2, n, 4), seed), jnp.float64) for n, seed in ((9, 44), (4, 45)))
        layers, mask = alignment(dtype="float64"), jnp.asarray(GOLDEN_MASK)
        read = layers(image, report, None, mask, train=True)
        back = layers(report, image, mask, None, train=True)
        np.testing.assert_allclose([read.sum(), back.sum()], [1.0625768, 0.0131985], rtol=0, atol=1e-7)
        golden = [0.02072954, -0.00178458, -0.00734628, 0.00978196]
        np.testing.assert_allclose(read[0, 0], golden, rtol=0, atol=1e-7)
        weights = layers.attention(image, report, mask)
        np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-12)
        np.testing.assert_array_equal(np.asarray(weights)[1, :, 2:], 0)


def test_initial_kernels_are_kaiming_normal_and_biases_zero() -> None:
    sizes = (Sizes(pooled=64, local=64, embedding=64),) * 2
    context = LayerInput(
        sizes=sizes,
        norm=lambda channels: nnx.BatchNorm(channels, rngs=nnx.Rngs(0)),
        rngs=nnx.Rngs(0),
        dtype=jnp.float32,
    )
    layers = Alignment(context, normalise="none", padding="mask")
    for layer in (layers.key, layers.value, layers.out):
        np.testing.assert_allclose(np.std(layer.kernel[...]), 1 / 8, rtol=0.05)
        assert np.abs(layer.kernel[...]).max() > 3 / 8  # not truncated
        np.testing.assert_array_equal(layer.bias[...], 0)


def reference_term(x: np.ndarray, y: np.ndarray, weight: np.ndarray, options: dict[str, Any]) -> tuple[float, float]:
    """The losses of both sides, float64, with loops over samples; facts 1.5 and 2.2."""
    key, value, out = (lcg((D, D), seed).astype(np.float64) for seed in (41, 42, 43))
    scale, bias = (lcg((D,), seed).astype(np.float64) + 1 for seed in (51, 52))
    every, losses = np.flatnonzero(PRESENT), []
    sides = ((x, y, np.ones((B, K), bool), MASK), (y, x, MASK, np.ones((B, K), bool)))
    for own, other, mask, other_mask in sides:
        read = np.zeros_like(own)
        for i in every:
            for k in np.flatnonzero(mask[i]):
                seen = np.flatnonzero(other_mask[i])
                scores = np.exp([(key @ own[i, k]) @ (key @ other[i, m]) / np.sqrt(D) for m in seen])
                read[i, k] = sum(s / scores.sum() * (value @ other[i, m]) for s, m in zip(scores, seen, strict=True))
        read = read @ out.T
        if options.get("normalise") != "none":
            include = options.get("padding") == "include"
            vectors = np.concatenate([read[i] if include else read[i, mask[i]] for i in every])
            read = (read - vectors.mean(axis=0)) / np.sqrt(vectors.var(axis=0) + 1e-5) * scale + bias
        p = np.eye(own.shape[1])
        if own.shape[1] == K:
            p = reference_targets(GRID, hard=options.get("positives") == "hard")
        uniform = own.shape[1] == M or options.get("weighting") == "uniform"
        w = np.ones(own.shape[:2]) if uniform else weight
        pairs = [
            [reference_contrast(*both, p, w[i], mask[i]) for both in ((own[i], read[i]), (read[i], own[i]))]
            for i in every
        ]
        losses.append(float(np.mean(pairs)))
    return losses[0], losses[1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "include", "sides": (0.0, 2.0)},
        {"normalise": "none", "weighting": "uniform", "positives": "hard", "sides": (1.0, 0.0)},
    ],
    ids=["default", "second side", "first side"],
)
def test_the_term_agrees_with_float64_and_so_do_its_gradients(options: dict[str, Any]) -> None:
    """A row without image and report, and reports of one to three sentences; what does not exist is NaN."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(B, K, D)), rng.normal(size=(B, M, D))
    weight = rng.uniform(0.1, 1, (B, K))

    def expected(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.dot(options.get("sides", (1.0, 1.0)), reference_term(x, y, weight, options)))

    term = local_alignment(**options)
    layers = {"align": alignment(options.get("normalise", "batch"), options.get("padding", "mask"))}
    graph, state = nnx.split(layers)

    @jax.jit
    def value(x: jax.Array, y: jax.Array) -> jax.Array:
        y = jnp.where(jnp.asarray(MASK)[:, :, None], y, 0)  # as `Model.project` leaves them
        image = Features(pooled=x[:, 0], local=x, weight=jnp.asarray(weight, jnp.float32), grid=GRID)
        report = Features(pooled=y[:, 0], local=y, mask=jnp.asarray(MASK))
        return term(image, report, layers=nnx.merge(graph, state, copy=True), present=jnp.asarray(PRESENT))

    absent = [jnp.asarray(np.where(PRESENT[:, None, None], side, np.nan), jnp.float32) for side in (x, y)]
    actual, gradients = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))(*absent)
    np.testing.assert_allclose(actual, expected(x, y), rtol=5e-6)
    for which, index in ((0, (0, 2, 1)), (0, (2, 5, 0)), (1, (1, 1, 3)), (1, (2, 0, 0))):
        moved = [[x.copy(), y.copy()] for _ in range(2)]
        moved[0][which][index] += 1e-5
        moved[1][which][index] -= 1e-5
        derivative = (expected(*moved[0]) - expected(*moved[1])) / 2e-5
        np.testing.assert_allclose(gradients[which][index], derivative, rtol=1e-3, atol=1e-6)
    for gradient in gradients:
        np.testing.assert_array_equal(np.asarray(gradient)[3], 0)


def test_the_weights_get_no_gradient_and_a_report_without_sentences_has_no_loss() -> None:
    x, y, weight = (jnp.asarray(lcg(shape, 3)) for shape in ((2, K, D), (2, M, D), (2, K)))
    layers, mask = {"align": alignment()}, jnp.array([[True, False, True], [False] * 3])
    term = local_alignment(normalise="none")

    @jax.jit
    def loss(weight: jax.Array) -> Any:
        image = Features(pooled=x[:, 0], local=x, weight=weight, grid=GRID)
        whole = term.with_metrics(image, Features(pooled=y[:, 0], local=y, mask=mask), layers=layers)
        first = Features(pooled=x[:1, 0], local=x[:1], weight=weight[:1], grid=GRID)
        alone = term(first, Features(pooled=y[:1, 0], local=y[:1], mask=mask[:1]), layers=layers)
        return whole.value, (whole.metrics, alone)

    (value, (metrics, alone)), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(weight + 1)
    np.testing.assert_array_equal(slope, 0)
    np.testing.assert_allclose(value, alone / 2, rtol=1e-6)
    np.testing.assert_allclose(metrics["first"] + metrics["second"], value, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: local_alignment(sides=(0.0, 0.0)), "sides must not both be 0"),
        (lambda: local_alignment(sides=(1.0, -1.0)), r"sides\[1\] must not be negative"),
        (lambda: local_alignment(smoothness=0.0), "smoothness must be positive"),
        (lambda: local_alignment(threshold=-0.1), "threshold must not be negative"),
        (lambda: clip(within=1), "within must be at least 2 samples, not 1"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


ROWS, SLICE = 32, 8
TEXTS = np.stack([np.arange(ROWS) % 5, np.zeros(ROWS, np.int64)], axis=1)[:, None].repeat(3, axis=1).astype(np.int32)
PEOPLE = (np.arange(ROWS) // 3).astype(np.int32)
HERE = np.arange(ROWS) % 7 != 0
X, Y = np.random.default_rng(5).normal(size=(2, ROWS, 6)).astype(np.float32)


def reference_global(options: dict[str, Any]) -> float:
    """Float64, with loops: the mean over the rows that are there of each direction; facts 2.1."""
    x, y = (side.astype(np.float64) / np.linalg.norm(side, axis=1, keepdims=True) for side in (X, Y))
    logits, rows = x @ y.T / 0.1, np.flatnonzero(HERE)

    def kept(i: int, j: int) -> bool:
        if "within" in options and i // options["within"] != j // options["within"]:
            return False
        same_text = options.get("text") == "ignore" and (TEXTS[i] == TEXTS[j]).all()
        same_person = options.get("group") == "ignore" and PEOPLE[i] == PEOPLE[j]
        return i == j or not (same_text or same_person)

    def direction(logits: np.ndarray) -> float:
        return float(
            np.mean([np.log(sum(np.exp(logits[i, j]) for j in rows if kept(i, j))) - logits[i, i] for i in rows])
        )

    return 0.75 * direction(logits) + 0.25 * direction(logits.T)


@pytest.mark.parametrize(
    "options",
    [{"within": SLICE}, {"text": "ignore"}, {"within": SLICE, "text": "ignore", "group": "ignore"}],
    ids=["within", "text", "all"],
)
def test_negatives_within_slices_and_without_identical_reports_or_the_same_patient(options: dict[str, Any]) -> None:
    term, expected = clip(balance=0.75, **options), reference_global(options)
    results = []
    for devices in (1, 2, 8) if "group" in options else (1,):
        mesh = make_mesh(jax.devices()[:devices])

        def value(arrays: tuple[jax.Array, jax.Array], rows: dict[str, jax.Array], mesh: Any = mesh) -> jax.Array:
            given: dict[str, Any] = {"present": rows["here"]}
            if "text" in options:
                given["inputs"] = (None, rows["texts"])
            if "group" in options:
                given["groups"] = rows["people"]
            return term(*arrays, **given, execution="gathered", mesh=mesh)

        rows = {"here": HERE, "texts": TEXTS, "people": PEOPLE}
        arrays = tuple(np.where(HERE[:, None], side, np.nan) for side in (X, Y))
        placed = jax.device_put((arrays, rows), by_example(mesh))
        results.append(jax.jit(jax.value_and_grad(value))(*placed))
    np.testing.assert_allclose(results[0][0], expected, rtol=1e-5)
    for other in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), results[0], other)


def test_a_large_batch_within_slices_is_the_mean_of_small_batches() -> None:
    small = [clip(balance=0.75)(X[i : i + SLICE], Y[i : i + SLICE]) for i in range(0, ROWS, SLICE)]
    np.testing.assert_allclose(clip(balance=0.75, within=SLICE)(X, Y), np.mean(small), rtol=1e-6)
    caution = clip(within=SLICE).caution
    assert caution(ROWS, [6, 6]) == ""
    assert "the last slice of a batch of 35 has 3" in caution(35, [6, 6])


def test_a_text_is_needed_to_leave_out_identical_ones() -> None:
    with pytest.raises(UserError, match="clip compares image with table, and text='ignore' needs an input that is a"):
        clip(text="ignore")(X, Y, inputs=(X, Y))
