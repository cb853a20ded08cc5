"""The terms of the taxonomy with labels, `supcon_dim` and `pixl`, against loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.objectives import Execution, pixl, supcon_dim
from mmcl_jax.training.mesh import make_mesh

B, L, D, CLIP, PENALTY = 8, 3, 4, 2.0, 0.1
RNG = np.random.default_rng(3)
X, Y = 3 * RNG.normal(size=(2, B, D))
PLACES = 3 * RNG.normal(size=(B, L, D))
LABELS = np.array([0, 1, 0, -1, 2, 1, 0, -1])
PRESENT = np.arange(B) != 6


def supcon(anchors, others, same, own) -> float:
    """The mean over anchors of the mean over positives; `own` are pairs of an anchor with itself."""
    raw = anchors @ others.T / np.sqrt(D)
    scores, losses = CLIP * np.tanh(raw / CLIP), []
    for a in range(len(anchors)):
        rest = np.array([b for b in range(len(others)) if not own[a, b]])
        positives = [b for b in rest if same[a, b]]
        if positives:
            losses.append(np.log(np.exp(scores[a, rest]).sum()) - scores[a, positives].mean())
    return np.mean(losses) + PENALTY * np.mean(raw**2)


def agree(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether samples are of one class; one without a label agrees with itself."""
    return (a[:, None] == b[None]) | ((LABELS[a][:, None] == LABELS[b][None]) & (LABELS[a][:, None] >= 0))


@pytest.mark.parametrize("execution", ["dense", "gathered", "ring"])
def test_supcon_dim(execution: str) -> None:
    """Whole, and with an absent row that holds NaN."""
    term = supcon_dim(clip=CLIP, penalty=PENALTY, weight=1.0)
    on = Execution(name=execution, mesh=make_mesh(jax.devices()[:4]), tile=3)
    x, y = (jnp.asarray(array, jnp.float32) for array in (X, Y))
    for present in (None, PRESENT):
        rows = np.flatnonzero(np.ones(B, bool) if present is None else present)
        views = np.concatenate([X[rows], Y[rows]])
        twice = np.concatenate([rows, rows])
        expected = supcon(views, views, agree(twice, twice), np.eye(len(views), dtype=bool))
        dirty = x if present is None else x.at[6].set(jnp.nan)
        found = term(dirty, y, labels=LABELS, present=present, execution=on, mesh=on.mesh)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_supcon_dim_of_local_features() -> None:
    term = supcon_dim(between=("a", "b.local"), clip=CLIP, penalty=PENALTY)
    rows, places = np.flatnonzero(PRESENT), np.repeat(np.flatnonzero(PRESENT), L)
    expected = supcon(X[rows], PLACES[rows].reshape(-1, D), agree(rows, places), np.zeros((len(rows), len(places))))
    arrays = (jnp.asarray(array, jnp.float32) for array in (X, PLACES))
    np.testing.assert_allclose(term(*arrays, labels=LABELS, present=PRESENT), expected, rtol=1e-5)
    for between in ((), ("a.local", "b"), ("a.local",), ("a", "b", "c.local")):
        with pytest.raises(ValueError, match="must name pooled features, or a pooled and then a local one"):
            supcon_dim(between=between)


def infonce(anchors: np.ndarray, others: np.ndarray) -> float:
    raw = anchors @ others.T / np.sqrt(D)
    scores = CLIP * np.tanh(raw / CLIP)
    return np.mean(np.log(np.exp(scores).sum(axis=1)) - np.diag(scores)) + PENALTY * np.mean(raw**2)


def test_pixl() -> None:
    term = pixl(classes=3, clip=CLIP, penalty=PENALTY, trade_off=0.3)
    x, y = (jnp.asarray(array, jnp.float32) for array in (X, Y))
    layers = term.init(nnx.Rngs(0), x, y)
    cross_entropy, labelled = 0.0, np.flatnonzero(LABELS >= 0)
    for name, features in (("image", X), ("table", Y)):
        weights, bias = (np.asarray(array[...], np.float64) for array in (layers[name].kernel, layers[name].bias))
        logits = (features @ weights + bias)[labelled]
        cross_entropy += np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[range(len(labelled)), LABELS[labelled]])
    expected = 0.3 * cross_entropy + 0.7 * (infonce(X, Y) + infonce(Y, X))
    np.testing.assert_allclose(term(x, y, layers=layers, labels=LABELS), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="trade_off must lie in"):
        pixl(classes=3, trade_off=1.5)
    with pytest.raises(ValueError, match="the label is a number"):
        pixl(classes=0)
