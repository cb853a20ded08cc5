"""PixPro's pixel-to-propagation term: a float64 reference by loops, views that are turned and mirrored, its limits."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import Features
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import pixpro
from mmcl_jax.views import Viewed, resized
from mmcl_jax.views import geometry as affine

pytestmark = pytest.mark.core

B, GRID, D, SIZE = 3, (2, 3), 4, (8, 12)
RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(2, 2, B, 6, D))
PRESENT = np.array([True, True, False])


@functools.cache
def maps() -> tuple[np.ndarray, np.ndarray]:
    """Geometries of two views of three images: one turned, mirrored and zoomed, and a pair that does not overlap."""

    def one(*, origin: tuple[float, float], extent: tuple[float, float], degrees: float, mirror: bool) -> np.ndarray:
        steps = (
            affine.rotated((32, 32), jnp.float32(degrees)),
            affine.window(jnp.array(origin), jnp.array(extent), SIZE),
            affine.flipped(SIZE, jnp.array([False, mirror])),
        )
        return np.asarray(affine.composed(*steps)[:2])

    plain = {"origin": (0.0, 0.0), "extent": (16.0, 24.0), "degrees": 0.0, "mirror": False}
    turned = {"origin": (3.0, 2.0), "extent": (20.0, 22.0), "degrees": 20.0, "mirror": True}
    far = {"origin": (100.0, 100.0), "extent": (16.0, 24.0), "degrees": 0.0, "mirror": False}
    return np.stack([one(**plain)] * B), np.stack([one(**view) for view in (turned, far, plain)])


def reference(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, threshold: float, gamma: float) -> tuple[float, int]:
    """The loss over the images that are there, and the number of pairs; float64, with loops."""
    geometry = [given.astype(np.float64) for given in maps()]
    cell = np.array(SIZE) / np.array(GRID)
    cells = list(itertools.product(*map(range, GRID)))

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    def propagate(x: np.ndarray) -> list[np.ndarray]:
        return [sum(max(cosine(a, b), 0) ** gamma * (b @ kernel + bias) for b in x) for a in x]

    losses, pairs = [], 0
    for image in np.flatnonzero(PRESENT):
        places, diagonals = [], []
        for view in geometry:
            linear, offset = view[image, :, :2], view[image, :, 2]
            places.append([linear @ ((np.array(place) + 0.5) * cell - 0.5) + offset for place in cells])
            diagonals.append(np.hypot(np.linalg.norm(linear[:, 0] * cell[0]), np.linalg.norm(linear[:, 1] * cell[1])))
        y1, y2 = propagate(x[0, image]), propagate(x[1, image])
        near = [
            (i, j)
            for i, j in itertools.product(range(6), repeat=2)
            if np.linalg.norm(places[0][i] - places[1][j]) / max(diagonals) < threshold
        ]
        pairs += len(near)
        found = [-cosine(y1[i], T[1, image, j]) - cosine(y2[j], T[0, image, i]) for i, j in near]
        losses.append(np.mean(found) if found else 0.0)
    return float(np.mean(losses)), pairs


def given(x: Any, teacher: Any = T) -> dict[str, Any]:
    """Arguments of the term for the views of `maps`; an absent row holds NaN."""
    here = PRESENT[:, None, None]
    local = [jnp.where(here, side, jnp.nan).astype(jnp.float32) for side in x]
    return {
        "arrays": [Features(pooled=side.mean(axis=1), local=side, grid=GRID) for side in local],
        "teacher": tuple(jnp.asarray(side, jnp.float32) for side in teacher),
        "views": tuple(Viewed(jnp.zeros((B, *SIZE, 1)), jnp.asarray(geometry)) for geometry in maps()),
        "present": jnp.asarray(PRESENT),
    }


def test_the_term_agrees_with_float64_and_so_do_its_gradients() -> None:
    threshold, gamma = 0.7, 2.0
    maps()  # outside of what is compiled
    term = pixpro(threshold=threshold, gamma=gamma)
    layers = term.init(nnx.Rngs(0), *given(X)["arrays"])
    kernel, bias = (
        np.asarray(leaf[...], np.float64) for leaf in (layers["transform"].kernel, layers["transform"].bias)
    )

    @jax.jit
    def value(x: jax.Array, teacher: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        arguments = given(x, teacher)
        loss = term.with_metrics(*arguments.pop("arrays"), **arguments, layers=layers)
        return loss.value, loss.metrics

    x, teacher = jnp.asarray(X, jnp.float32), jnp.asarray(T, jnp.float32)
    (loss, metrics), (of_x, of_teacher) = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(x, teacher)
    expected, pairs = reference(X, kernel, bias, threshold, gamma)
    assert 6 < pairs < 36
    np.testing.assert_allclose(loss, expected, rtol=2e-5)
    assert metrics["overlapping"] == 0.5
    np.testing.assert_allclose(metrics["agreement"], -loss / 2, rtol=1e-6)
    for index in ((0, 0, 1, 2), (0, 0, 5, 0), (1, 0, 3, 3)):
        moved = [X.copy(), X.copy()]
        moved[0][index] += 1e-5
        moved[1][index] -= 1e-5
        ends = [reference(x, kernel, bias, threshold, gamma)[0] for x in moved]
        np.testing.assert_allclose(of_x[index], (ends[0] - ends[1]) / 2e-5, rtol=2e-3, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(of_x)[:, 1:], 0)  # nothing overlaps, or the row is absent
    np.testing.assert_array_equal(np.asarray(of_teacher)[:, 1:], 0)


def test_a_mirrored_view_pairs_mirrored_cells() -> None:
    """If the teacher agrees with the online network on each place, and all places differ, the loss is -2."""
    x = np.eye(6, dtype=np.float32)[None]
    flip = np.arange(6).reshape(GRID)[:, ::-1].reshape(-1)
    identity = nnx.Linear(6, 6, rngs=nnx.Rngs(0))
    identity.kernel[...], identity.bias[...] = jnp.eye(6), jnp.zeros(6)
    features = [Features(pooled=side[:, 0], local=side, grid=GRID) for side in map(jnp.asarray, (x, x[:, flip]))]
    straight = affine.resized(SIZE, SIZE)
    mirrored = affine.composed(straight, affine.flipped(SIZE, jnp.array([False, True])))
    views = tuple(Viewed(jnp.zeros((1, *SIZE, 1)), geometry[None, :2]) for geometry in (straight, mirrored))
    teacher = (x, x[:, flip])
    loss = pixpro()(*features, teacher=teacher, views=views, layers={"transform": identity})
    np.testing.assert_allclose(loss, -2, rtol=1e-6)
    assert pixpro()(*features, teacher=teacher, views=views[:1] * 2, layers={"transform": identity}) > -1


def test_pooled_features_are_a_map_of_one_position() -> None:
    """LoVT's released baseline: a linear predictor, and nothing local."""
    x1, x2, t1, t2 = (jnp.asarray(side[:, 0], jnp.float32) for side in (*X, *T))
    term = pixpro(between=("image_1", "image_2"))
    layers = term.init(nnx.Rngs(0), x1, x2)

    def cosine(x: jax.Array, target: jax.Array) -> np.ndarray:
        y = np.asarray(layers["transform"](x))
        return (y * target).sum(axis=1) / np.linalg.norm(y, axis=1) / np.linalg.norm(target, axis=1)

    loss = term(x1, x2, teacher=(t1, t2), layers=layers)
    np.testing.assert_allclose(loss, -np.mean(cosine(x1, t2) + cosine(x2, t1)), rtol=1e-5)


def test_views_of_images_have_the_geometry_that_it_reads() -> None:
    view = resized(size=SIZE)(jnp.asarray(RNG.integers(0, 256, (B, 16, 16, 1)), jnp.uint8))
    arguments = {**given(X), "views": (view, view)}
    term, arrays = pixpro(), arguments.pop("arrays")
    layers = term.init(nnx.Rngs(0), *arrays)
    loss = jax.jit(lambda arrays, arguments: term.with_metrics(*arrays, **arguments, layers=layers))(arrays, arguments)
    assert -2 <= loss.value <= 2
    assert loss.metrics["overlapping"] == 1


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    arguments = given(X)
    arrays, views = arguments.pop("arrays"), arguments.pop("views")
    term = pixpro()
    layers = term.init(nnx.Rngs(0), *arrays)
    with pytest.raises(UserError, match=r"the view of 'image_1.local' has no geometry"):
        term(*arrays, **arguments, layers=layers)
    with pytest.raises(UserError, match=r"the local features of 'image_1.local' are on no map"):
        term(arrays[0].local, arrays[1], **arguments, views=views, layers=layers)
    with pytest.raises(ValueError, match="local features with local ones"):
        pixpro(between=("image_1.local", "image_2"))
    with pytest.raises(ValueError, match="threshold must be positive"):
        pixpro(threshold=0.0)
