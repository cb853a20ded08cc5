"""PixPro's pixel term and its propagation, against NumPy in float64, and in training."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import Features
from mmcl_jax.encoders.propagation import pixel_propagation
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import pixpro
from mmcl_jax.views import Viewed, frontal

pytestmark = pytest.mark.core

B, D = 6, 5
RNG = np.random.default_rng(3)
STORED = jnp.asarray(RNG.integers(0, 255, (B, 30, 24, 1), np.uint8))
GRIDS = (3, 2), (2, 4)  # of maps that need not be alike
FEATURES = tuple(Features(pooled=jnp.zeros((B, D)), local=jnp.zeros((B, h * w, D)), grid=(h, w)) for h, w in GRIDS)
Y, Z = ([RNG.normal(size=(B, h * w, D)) for h, w in GRIDS] for _ in range(2))


def drawn(**options: object) -> list[Viewed]:
    view = frontal(size=(18, 16), jitter=0.0, blur=0.0, crop_scale=(0.2, 0.5), **options)
    return [view(STORED, jax.random.key(seed)) for seed in (0, 1)]


def by_hand(views: list[Viewed], threshold: float) -> tuple[float, np.ndarray]:
    """The loss in float64, pair by pair, and the number of pairs of each image."""
    losses, counts = [], np.zeros(B, int)
    for row in range(B):
        places, diagonals = [], []
        for view, (h, w) in zip(views, GRIDS, strict=True):
            geometry = np.asarray(view.geometry, np.float64)[row]
            sides = np.array([18 / h, 16 / w])
            cells = np.array(list(itertools.product(range(h), range(w))))
            places.append((cells * sides + (sides - 1) / 2) @ geometry[:, :2].T + geometry[:, 2])
            corner = geometry[:, :2] * sides  # columns: the two edges of a position in the stored image
            diagonals.append(np.sqrt((corner**2).sum()))
        pairs = []
        for i, j in itertools.product(range(len(places[0])), range(len(places[1]))):
            if np.linalg.norm(places[0][i] - places[1][j]) / max(diagonals) <= threshold:
                cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
                pairs.append(2 - cosine(Y[0][row, i], Z[1][row, j]) - cosine(Y[1][row, j], Z[0][row, i]))
        counts[row] = len(pairs)
        losses += [np.mean(pairs)] if pairs else []
    return float(np.mean(losses)), counts


def loss_of(views: list[Viewed], present: np.ndarray | None = None, **options: float):
    arrays = [tuple(jnp.asarray(array, jnp.float32) for array in arrays) for arrays in (Y, Z)]
    return pixpro(**options).with_metrics(
        *FEATURES, predictions=arrays[0], teacher=arrays[1], views=tuple(views), present=present
    )


@pytest.mark.parametrize("threshold", [0.35, 0.7])
def test_the_loss_is_that_of_numpy(threshold: float) -> None:
    views = drawn()
    expected, counts = by_hand(views, threshold)
    found = loss_of(views, threshold=threshold)
    np.testing.assert_allclose(found.value, expected, rtol=2e-6)
    assert float(found.metrics["overlap"]) == pytest.approx((counts > 0).mean())
    assert threshold > 0.5 or 0 < (counts == 0).sum() < B  # views of some images show no common place


def test_an_image_without_a_pair_and_one_that_is_absent_change_nothing() -> None:
    views = drawn()
    _, counts = by_hand(views, 0.35)
    with_pair = counts > 0
    assert float(loss_of(views, present=with_pair, threshold=0.35).value) == pytest.approx(
        float(loss_of(views, threshold=0.35).value)
    )
    assert float(loss_of(views, present=~with_pair, threshold=0.35).value) == 0


def test_pooled_features_are_a_map_of_one_position() -> None:
    """The released setting: a positive wherever the centres of the two views are near, which is nearly everywhere."""
    y, z = (tuple(jnp.asarray(side[:, 0], jnp.float32) for side in sides) for sides in (Y, Z))
    pooled = jnp.zeros((B, D))
    term = pixpro(between=("image_1", "image_2"))
    found = term.with_metrics(pooled, pooled, predictions=y, teacher=z, views=tuple(drawn()))
    assert float(found.metrics["overlap"]) == 1
    cosines = [
        np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        for a, b in zip(y, z[::-1], strict=True)
    ]
    np.testing.assert_allclose(found.value, 2 - sum(map(np.mean, cosines)), rtol=1e-5)


def test_propagation_is_that_of_numpy_and_its_gradient_is_finite() -> None:
    x = RNG.normal(size=(2, 4, D)).astype(np.float32)
    x[1, 2] = 0
    present = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], bool)
    layer = pixel_propagation(features=D, layers=1, gamma=2.0, rngs=nnx.Rngs(0))
    g = layer.layers[0]
    kernel, bias = (np.asarray(array[...], np.float64) for array in (g.kernel, g.bias))
    unit = x / np.maximum(np.linalg.norm(x, axis=2, keepdims=True), 1e-12)
    likeness = np.maximum(np.einsum("bid,bjd->bij", unit, unit), 0) ** 2 * present[:, None]
    expected = likeness @ (x @ kernel + bias)
    np.testing.assert_allclose(layer(jnp.asarray(x), train=True, present=jnp.asarray(present)), expected, rtol=1e-5)
    gradient = jax.grad(lambda x: layer(x, train=True).sum())(jnp.asarray(x))
    assert np.isfinite(gradient).all()
    one = layer(jnp.asarray(x[:, 0]), train=True)  # a map of one position
    np.testing.assert_allclose(one, x[:, 0] @ kernel + bias, rtol=1e-5)


def test_what_is_missing_is_named() -> None:
    views = drawn()
    with pytest.raises(UserError, match=r"image_1.local, and this view does not say what its pixels show"):
        loss_of([Viewed(views[0].values), views[1]])
    with pytest.raises(ValueError, match="threshold must be positive"):
        pixpro(threshold=0.0)
    with pytest.raises(ValueError, match="gamma must be at least 1"):
        pixel_propagation(features=2, gamma=0.5, rngs=nnx.Rngs(0))
