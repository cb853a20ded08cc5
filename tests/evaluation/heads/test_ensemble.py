"""The ensemble: the mean of heads on the parts of the features, as one linear head."""

import itertools

import numpy as np
import pytest

from mmcl_jax.evaluation.heads.ensemble import EnsembleHead
from mmcl_jax.evaluation.heads.linear import LinearHead

pytestmark = pytest.mark.core


@pytest.mark.parametrize("widths", [(3, 4), (5, 1, 2), (2, 2, 2, 2)])
def test_the_outputs_are_the_mean_of_the_members(widths: tuple[int, ...]) -> None:
    head, rng = EnsembleHead(widths=widths), np.random.default_rng(0)
    weights = {name: np.asarray(arrays[0]) for name, arrays in head.new(sum(widths), 3, seeds=[7]).items()}
    features = rng.normal(size=(6, sum(widths))).astype(np.float32)
    ends = np.cumsum((0, *widths))
    parts = [slice(start, end) for start, end in itertools.pairwise(ends)]
    members = [features[:, part] @ weights["kernel"][part] + weights["bias"][index] for index, part in enumerate(parts)]
    expected = np.mean(members, axis=0)
    np.testing.assert_allclose(head(weights, features), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(LinearHead()(head.folded(weights), features), expected, rtol=1e-5, atol=1e-6)


def test_every_member_starts_as_a_head_on_its_part_alone() -> None:
    """Within +-1/sqrt(width) of the member, not of all features; members and seeds differ."""
    weights = EnsembleHead(widths=(4, 400)).new(404, 50, seeds=[0, 1])
    kernel = np.asarray(weights["kernel"])
    assert 0.45 < np.abs(kernel[:, :4]).max() <= 1 / 2
    assert 0.04 < np.abs(kernel[:, 4:]).max() <= 1 / 20
    assert not np.array_equal(kernel[0], kernel[1])
    assert not np.array_equal(weights["bias"][0, 0], weights["bias"][0, 1])
