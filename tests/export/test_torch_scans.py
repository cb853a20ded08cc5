"""The preprocessing of scans in PyTorch gives what the view gives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.data.kinds.intensity import PERCENTILES, IntensityFit, fit_intensities
from mmcl_jax.export.preprocessing import _steps
from mmcl_jax.views import VIEWS

pytestmark = pytest.mark.foreign

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"mask": True, "rescale": True, "histogram": "above_mean", "normalise": "all", "size": (4, 9, 5)},
    {"histogram": "none", "normalise": "none", "pad": 2, "size": (9, 3, 10)},
)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
@pytest.mark.parametrize("options", OPTIONS)
def test_scans(options: dict, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from mmcl_jax.export.modeling_torch import scans

    assert scans.PERCENTILES == PERCENTILES
    random = np.random.default_rng(0)
    stored = np.zeros((5, 5, 7, 6, 2))
    stored[:, 1:, 1:6, 1:5] = random.gamma(2.0, 1.0, (5, 4, 5, 4, 2))
    stored[4] = 1  # a constant volume stays finite
    stored = (stored * (20 if dtype == "uint8" else 2000) - (3 if dtype == "float16" else 0)).astype(dtype)
    spec = VIEWS.spec("scan", modality="t1", **options)
    view = VIEWS.build(spec, "view")
    asked = view.fits or IntensityFit()
    fitted = fit_intensities(stored[:4], asked, name="t1")
    seen = view.plain(jnp.asarray(stored), jax.random.split(jax.random.key(0), 5), jax.tree.map(jnp.asarray, fitted))
    card = {
        "scan": _steps(tuple(sorted(spec.items()))),
        "divide_by": {"uint8": 255, "uint16": 65535, "float16": 1}[dtype],
        "size": list(seen.values.shape[1:4]),
    }
    module = scans.Scan(card, {name: torch.tensor(array) for name, array in fitted.items()})
    theirs = module(torch.tensor(stored)).movedim(1, -1).numpy()
    assert np.isfinite(theirs).all()
    np.testing.assert_allclose(theirs, seen.values, rtol=1e-4, atol=2e-4)
