"""The published forms of the loss that the kernel is compared with are the same mathematics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import forms
from benchmarks.losses import gradients
from mmcl_jax.training.mesh import make_mesh


def test_published_forms_are_the_same_loss_with_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "TILE", 4)  # of 8 rows on each of four devices, so that several tiles are visited
    mesh = make_mesh(jax.devices()[:4])
    x, y = jax.random.normal(jax.random.key(0), (2, 32, 16))
    both = jax.jit(lambda x, y: [gradients(name, mesh)(x, y) for name in ("gathered", "OpenCLIP", "Inf-CL")])
    (loss, expected), *others = both(x, y)
    assert float(jnp.abs(jnp.stack(expected)).max()) > 1e-3
    for other, found in others:
        np.testing.assert_allclose(other, loss, rtol=1e-6)
        np.testing.assert_allclose(found, expected, atol=1e-6)
