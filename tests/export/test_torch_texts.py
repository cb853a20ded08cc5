"""The view of reports in PyTorch is that of mmcl_jax."""

import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.views import report as view_of

pytestmark = pytest.mark.foreign


@pytest.mark.parametrize("special", [(), (2, 3)])
@pytest.mark.parametrize("max_tokens", [3, 7, 8, 30])
def test_reports(max_tokens: int, special: tuple[int, ...]) -> None:
    """Cut and whole, with first sentences that are too long, sentences that end where the room ends, and no tokens."""
    torch = pytest.importorskip("torch")
    from mmcl_jax.export.modeling_torch.texts import report

    rng = np.random.default_rng(0)
    texts = np.full((40, 12, 2), -1, np.int32)
    for text, length in zip(texts, [*range(13), *rng.integers(0, 13, 27)], strict=True):
        text[:length, 0] = rng.integers(4, 20, length)
        text[:length, 1] = np.sort(rng.integers(0, rng.integers(1, 6), length))  # with numbers left out
    fitted = {"tokens": jnp.ones(20, bool), "unknown": jnp.int32(0), "special_tokens": jnp.array(special, jnp.int32)}
    ours = view_of(max_tokens=max_tokens, special_tokens=bool(special))(texts, train=False, **fitted).values
    theirs = report(torch.tensor(texts), max_tokens, torch.tensor(special, dtype=torch.int32) if special else None)
    np.testing.assert_array_equal(theirs.numpy(), ours)
