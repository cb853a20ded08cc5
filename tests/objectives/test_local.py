"""Contrast within a sample: golden values of LoVT's code, and places that do not exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.objectives.local import near_regions, region_contrast
from tests.objectives.lcg import lcg

IMAGE = lcg((2, 9, 5), 31), lcg((2, 9, 5), 32)
IMAGE_WEIGHT = lcg((2, 9), 33) + np.float32(0.5)
REPORT = lcg((2, 4, 5), 34), lcg((2, 4, 5), 35)
REPORT_WEIGHT = lcg((2, 4), 36) + np.float32(0.5)
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
SMOOTH = {"targets": near_regions((3, 3), threshold=0.5, smoothness=1.0)}


@pytest.mark.core
@pytest.mark.parametrize(
    ("sides", "options", "golden"),
    [
        (IMAGE, {**SMOOTH, "weight": IMAGE_WEIGHT}, (2.809208, 2.657899)),
        (IMAGE, SMOOTH, (2.873468, 2.682482)),
        (IMAGE, {"targets": near_regions((3, 3), threshold=0.5), "weight": IMAGE_WEIGHT}, (2.853332, 2.688268)),
        (REPORT, {"mask": MASK, "weight": REPORT_WEIGHT}, (1.292200, 1.285935)),
        (REPORT, {"mask": MASK}, (1.260716, 1.268847)),
    ],
)
def test_golden_values_of_lovt(sides, options, golden) -> None:
    options = {name: jnp.asarray(value) for name, value in options.items()}
    x, y = map(jnp.asarray, sides)
    found = [region_contrast(*pair, scale=1 / 0.3, **options).mean() for pair in ((x, y), (y, x))]
    np.testing.assert_allclose(found, golden, rtol=2e-6)


def test_places_that_do_not_exist_change_nothing_and_have_no_gradient() -> None:
    x, y = REPORT[0][:1], REPORT[1][:1]
    mask = np.array([[True, False, True, False], [False] * 4])
    junk = [np.concatenate([side, side]) for side in (x, y)]
    junk[0][~mask], junk[1][~mask] = np.nan, 1e30

    @jax.jit
    def loss(x, y):
        return region_contrast(x, y, scale=2.0, mask=jnp.asarray(mask)).sum()

    def alone(x, y):
        return region_contrast(x[:, ::2], y[:, ::2], scale=2.0).sum()

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(*map(jnp.asarray, junk))
    expected, of_pair = jax.value_and_grad(alone, argnums=(0, 1))(*map(jnp.asarray, (x, y)))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for gradient, theirs in zip(gradients, of_pair, strict=True):
        np.testing.assert_allclose(gradient[:1], theirs, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(np.asarray(gradient)[~mask], 0)


def test_the_targets_of_a_grid_of_seven_by_seven() -> None:
    """facts: corner regions have 22 positives, the central region has all; p of corner and centre to themselves."""
    targets = np.asarray(near_regions((7, 7), threshold=0.5, smoothness=1.0))
    assert (targets[0] > 0).sum() == 22
    assert (targets[24] > 0).sum() == 49
    np.testing.assert_allclose([targets[0, 0], targets[24, 24], targets[24, 25]], [0.0604, 0.0265, 0.0240], atol=5e-5)
