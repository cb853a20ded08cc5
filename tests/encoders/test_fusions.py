"""Fusions: what is absent or masked changes nothing, the attention is PyTorch's, parts have one order."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import ENCODERS, Model
from mmcl_jax.encoders.fusions import Part
from mmcl_jax.encoders.transformers.attention import Attention

OPTIONS = {
    "concat_mlp": {"hidden": 8, "features": 6},
    "cross_attention": {"width": 8, "heads": 2, "blocks": 2},
    "cross_attention first": {"width": 8, "heads": 2, "blocks": 1, "pool": "first"},
    "cross_attention symmetric": {"width": 8, "heads": 2, "blocks": 1, "form": "symmetric"},
    "daft": {"reduction": 2},
    "max": {"features": 6},
    "mul": {},
}
ROWS, PLACES, COLUMNS = 4, 5, 3
WIDTHS = 8, 7
PRESENT = np.array([True, False, True, True])
MASK = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]], bool)
SEEN = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)  # the last sees nothing


def model_of(name: str) -> Model:
    factory = ENCODERS.factory(name.split()[0])
    fusion = factory(parts=WIDTHS, rngs=nnx.Rngs(0), dtype=jnp.float32, **OPTIONS[name])
    return Model({"fusion": fusion}, {}, {}, {}, {})


def parts(junk: float = 0.0) -> tuple[Part, Part]:
    """An image with places and a table with columns; rows that are absent and tokens that are masked hold junk."""
    rng = np.random.default_rng(0)
    made = []
    for length, channels, mask in ((PLACES, WIDTHS[0], SEEN), (COLUMNS, WIDTHS[1], MASK)):
        tokens = rng.normal(size=(ROWS, length, channels)).astype(np.float32)
        there = mask & PRESENT[:, None]
        tokens = np.where(there[:, :, None], tokens, np.float32(junk))
        made.append(Part(tokens=jnp.asarray(tokens), mask=jnp.asarray(mask)))
    return made[0], made[1]


@functools.cache
def found(name: str) -> Callable[..., Any]:
    """The compiled fusion: features, and gradients by tokens and parameters of their sum of squares."""
    graph, params = nnx.split(model_of(name))

    @jax.jit
    def run(given: tuple[Part, Part], present: jax.Array) -> Any:
        def loss(tokens: Any, params: Any) -> Any:
            of = [Part(tokens=one, mask=part.mask) for one, part in zip(tokens, given, strict=True)]
            features = nnx.merge(graph, params).encode("fusion", tuple(of), train=True, present=present)
            arrays = [features.pooled, *([] if features.local is None else [features.local])]
            return sum(jnp.square(array + 1).sum() for array in arrays), (features.pooled, features.local)

        tokens = [part.tokens for part in given]
        return jax.grad(loss, argnums=(0, 1), has_aux=True)(tokens, params)

    return run


@pytest.mark.parametrize("name", OPTIONS)
def test_absent_rows_and_masked_tokens_change_nothing_and_get_no_gradient(name: str) -> None:
    expected = jax.device_get(found(name)(parts(), PRESENT))
    (by_tokens, _), (pooled, local) = expected
    assert (pooled[~PRESENT] == 0).all()
    assert (np.abs(pooled[PRESENT]).max(axis=1) > 0).all()
    for gradient, mask in zip(by_tokens, (SEEN, MASK), strict=True):
        assert (gradient[~(mask & PRESENT[:, None])] == 0).all()
        assert np.abs(gradient[0, 0]).max() > 0
    if local is not None:
        mask = SEEN if local.shape[1] == PLACES else MASK
        assert (local[~(mask & PRESENT[:, None])] == 0).all()
    assert np.isfinite(np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(expected)])).all()
    for junk in (np.nan, 1e30, np.inf):
        again = jax.device_get(found(name)(parts(junk), PRESENT))
        jax.tree.map(np.testing.assert_array_equal, again, expected)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_masked_token_is_as_one_that_is_not_there(name: str) -> None:
    image, table = parts()
    short = Part(tokens=image.tokens[2:3, :3]), Part(tokens=table.tokens[2:3, :1])
    alone = model_of(name).encode("fusion", short, train=False).pooled[0]
    _, (pooled, _) = found(name)((image, table), PRESENT)
    np.testing.assert_allclose(pooled[2], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["tip", "symmetric"])
def test_the_weights_of_attention_are_given_on_request(form: str) -> None:
    """Of both blocks: they sum to 1 over the tokens that exist, and to 0 for the row that sees nothing."""
    fusion = ENCODERS.factory("cross_attention")(
        parts=WIDTHS, rngs=nnx.Rngs(0), width=8, heads=2, blocks=2, form=form, dtype=jnp.float32
    )
    features, weights = fusion.attended(parts())
    assert [one.shape for one in weights] == [(ROWS, 2, COLUMNS, PLACES)] * 2
    for one in weights:
        assert (np.asarray(one)[~np.broadcast_to(SEEN[:, None, None], one.shape)] == 0).all()
        expected = np.broadcast_to(SEEN.any(axis=1)[:, None, None].astype(np.float32), one.shape[:3])
        np.testing.assert_allclose(one.sum(axis=3), expected, rtol=1e-5)
    np.testing.assert_array_equal(features.pooled, fusion(parts(), train=False).pooled)


def test_tips_form_takes_a_table_of_its_width_as_it_is() -> None:
    """Nothing stands between its tokens and the blocks; the image passes a layer and a norm, and a norm comes last."""
    made = {
        (form, width): ENCODERS.factory("cross_attention")(
            parts=(4, 8), rngs=nnx.Rngs(0), width=width, heads=2, blocks=1, form=form, dtype=jnp.float32
        )
        for form in ("tip", "symmetric")
        for width in (8, 6)
    }
    layers = {key: (len(fusion.inputs), len(fusion.norms), fusion.norm is not None) for key, fusion in made.items()}
    assert layers == {("tip", 8): (1, 1, True), ("tip", 6): (2, 1, True),
                      ("symmetric", 8): (2, 2, False), ("symmetric", 6): (2, 2, False)}  # fmt: skip
    (block,) = made["tip", 8].blocks
    biases = [layer.bias is not None for layer in (block.own.query, block.own.key_value, block.cross.key_value)]
    assert biases == [False] * 3
    assert block.cross.query.bias is not None


@pytest.mark.foreign
def test_the_attention_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    ours = Attention(8, 2, rngs=nnx.Rngs(0), dtype=jnp.float32)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    kernels = [ours.query.kernel, *jnp.split(ours.key_value.kernel[...], 2, axis=1)]
    rng = np.random.default_rng(1)
    x, context = (rng.normal(size=(2, length, 8)).astype(np.float32) for length in (3, 5))
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0]], bool)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.tensor(np.concatenate([np.asarray(kernel[...]).T for kernel in kernels])))
        theirs.out_proj.weight.copy_(torch.tensor(np.asarray(ours.out.kernel[...]).T))
        keys = torch.tensor(context)
        expected, _ = theirs(torch.tensor(x), keys, keys, key_padding_mask=torch.tensor(~mask))
    found = ours(*map(jnp.asarray, (x, context, mask)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("concat_mlp", {"hidden": 0}, "hidden, features and layers must be positive"),
        ("cross_attention", {"width": 9, "heads": 2}, "heads must divide width, not 9, 2, 4"),
        ("cross_attention", {"blocks": 0}, "must be positive"),
    ],
)
def test_sizes_are_checked(name: str, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ENCODERS.factory(name)(parts=WIDTHS, rngs=nnx.Rngs(0), dtype=jnp.float32, **options)
