"""Attention pooling: PyTorch's attention with the mean as query, masks, weights, and the config's sentences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.config import encoder, experiment, projector
from mmcl_jax.encoders import Features, ViewSpec, build_model, text_embedding
from mmcl_jax.encoders.pooling import AttentionPool, attention_pooled
from mmcl_jax.errors import UserError

pytestmark = pytest.mark.core

B, L, D, HEADS = 3, 5, 8, 4
LOCAL = np.random.default_rng(0).normal(size=(B, L, D)).astype(np.float32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)


def features(mask: np.ndarray | None = MASK, junk: float = 0.0) -> Features:
    local = LOCAL if mask is None else np.where(mask[:, :, None], LOCAL, np.float32(junk))
    return Features(
        pooled=jnp.zeros((B, D)),
        local=jnp.asarray(local),
        mask=None if mask is None else jnp.asarray(mask),
        grid=(1, L),
    )


def pool(mean: str = "mask") -> AttentionPool:
    made = AttentionPool(D, heads=HEADS, mean=mean, rngs=nnx.Rngs(0), dtype=jnp.float32)
    for index, layer in enumerate((made.attention.query, made.attention.key_value, made.attention.out)):
        layer.bias[...] = jax.random.normal(jax.random.key(index), layer.bias.shape)  # no bias is 0 in training
    return made


@pytest.mark.foreign
@pytest.mark.parametrize(("mean", "masked"), [("mask", False), ("mask", True), ("length", True)])
def test_it_is_pytorchs_attention_of_the_mean(mean: str, masked: bool) -> None:
    torch = pytest.importorskip("torch")
    made = pool(mean)
    theirs = torch.nn.MultiheadAttention(D, HEADS, batch_first=True)
    layers = (made.attention.query, made.attention.key_value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.tensor(np.concatenate([layer.kernel[...] for layer in layers], axis=1).T))
        theirs.in_proj_bias.copy_(torch.tensor(np.concatenate([layer.bias[...] for layer in layers])))
        theirs.out_proj.weight.copy_(torch.tensor(np.asarray(made.attention.out.kernel[...]).T))
        theirs.out_proj.bias.copy_(torch.tensor(np.asarray(made.attention.out.bias[...])))
        mask = MASK[:2] if masked else np.ones((2, L), bool)
        local = np.where(mask[:, :, None], LOCAL[:2], 0)
        count = mask.sum(axis=1) if mean == "mask" else np.full(2, L)
        query = torch.tensor(local.sum(axis=1, keepdims=True) / count[:, None, None].astype(np.float32))
        output, weights = theirs(query, torch.tensor(local), torch.tensor(local), key_padding_mask=torch.tensor(~mask))
    ours = made(features(MASK if masked else None))
    np.testing.assert_allclose(ours.pooled[:2], output[:, 0].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.weight[:2], weights[:, 0].numpy(), rtol=1e-5, atol=1e-7)


def test_initial_parameters_have_the_bounds_of_pytorch() -> None:
    attention = AttentionPool(64, heads=8, mean="mask", rngs=nnx.Rngs(0), dtype=jnp.float32).attention
    for layer, bound in (
        (attention.query, np.sqrt(6 / (64 + 3 * 64))),
        (attention.key_value, np.sqrt(6 / (64 + 3 * 64))),
        (attention.out, 1 / np.sqrt(64)),
    ):
        assert 0.97 * bound < np.abs(layer.kernel[...]).max() <= bound
        np.testing.assert_array_equal(layer.bias[...], 0)


def test_masked_positions_change_nothing_and_a_sample_without_positions_is_finite() -> None:
    made = pool()
    graph, state = nnx.split(made)

    @jax.jit
    def gradient(given: Features) -> tuple[Features, Features]:
        def total(local: jax.Array) -> tuple[jax.Array, Features]:
            out = nnx.merge(graph, state)(Features(pooled=given.pooled, local=local, mask=given.mask))
            return (out.pooled**2).sum() + (out.weight**2).sum(), out

        return jax.grad(total, has_aux=True)(given.local)

    slopes, ours = gradient(features())
    slopes_of_junk, of_junk = gradient(features(junk=np.nan))
    junk = (slopes_of_junk, of_junk.pooled, of_junk.weight)
    for ours_array, other in zip((slopes, ours.pooled, ours.weight), junk, strict=True):
        np.testing.assert_array_equal(ours_array, other)
    assert np.all(np.any(np.asarray(slopes)[MASK] != 0, axis=1))
    np.testing.assert_array_equal(np.asarray(slopes)[~MASK], 0)
    np.testing.assert_allclose(ours.weight.sum(axis=1), [1, 1, 0], rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(ours.weight)[~MASK], 0)
    np.testing.assert_array_equal(ours.pooled[2], made.attention.out.bias[...])
    short = made(Features(pooled=jnp.zeros((1, D)), local=jnp.asarray(LOCAL[1:2, :2])))
    np.testing.assert_allclose(ours.pooled[1], short.pooled[0], rtol=1e-5, atol=1e-6)


def test_the_length_shrinks_the_query_of_short_samples_alone() -> None:
    mask, length = pool("mask").query(features()), pool("length").query(features())
    shares = MASK.mean(axis=1, keepdims=True, dtype=np.float32)
    np.testing.assert_allclose(length[:, 0], np.asarray(mask[:, 0]) * shares, rtol=1e-5, atol=1e-7)


def test_a_config_asks_for_it_and_it_computes_in_the_configs_type() -> None:
    config = experiment()
    config.encoders = {"image": encoder("cnn", channels=(4, D), pooling="attention", pooling_heads=2)}
    config.projectors = {"image": projector("identity"), "image.local": projector("identity")}
    config.dtype = "bfloat16"
    specs = {"image": ViewSpec(kind="image", shape=(8, 8, 1))}
    model = build_model(config, specs, rngs=nnx.Rngs(0))
    ours = model.encode("image", jnp.ones((2, 8, 8, 1)), train=False, present=jnp.array([True, False]))
    assert (ours.pooled.dtype, ours.local.dtype, ours.weight.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32)
    assert (ours.pooled.shape, ours.weight.shape, ours.grid) == ((2, D), (2, 4), (2, 2))
    np.testing.assert_array_equal(ours.pooled[1], 0)
    assert model.projectors["image"].out_features == D


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("cnn", {"pooling": "attention", "pooling_heads": 3}, "encoders.image.pooling: attention pooling needs a num"),
        ("cnn", {"pooling": "max"}, "config.encoders.image.pooling: 'max' is not of type"),
        ("cnn", {"pooling_mean": "length"}, "image.pooling_mean: the encoder has no attention pooling; set config.enc"),
        ("laplace_mlp", {"pooling": "attention"}, "attention pooling needs local features, and this encoder has none"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(name: str, options: dict[str, object], sentence: str) -> None:
    config = experiment()
    config.encoders = {"image": encoder(name, **options)}
    with pytest.raises(UserError) as raised:
        nnx.eval_shape(
            lambda: build_model(config, {"image": ViewSpec(kind="image", shape=(8, 8, 1))}, rngs=nnx.Rngs(0))
        )
    assert sentence in str(raised.value)


def test_texts_keep_their_masks() -> None:
    text = attention_pooled(text_embedding(vocabulary=4, features=D, rngs=nnx.Rngs(0)), heads=2, rngs=nnx.Rngs(1))
    ours = text(jnp.array([[[3, 0], [1, 0], [-1, -1]], [[-1, -1]] * 3]), train=False)
    np.testing.assert_allclose(ours.weight.sum(axis=1), [1, 0], rtol=1e-6)
    assert ours.weight[0, 2] == 0
