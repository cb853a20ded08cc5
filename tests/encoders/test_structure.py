"""What the encoders compute, written down again without PyTorch: strides, shortcuts, rectifiers, pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import ENCODERS, PROJECTORS
from mmcl_jax.encoders.layers import BatchNorm
from mmcl_jax.encoders.operations.pool import max_pool_3x3
from mmcl_jax.encoders.resnet import BasicBlock, Bottleneck

OPTIONS = {"rngs": nnx.Rngs(0), "dtype": jnp.dtype("float32")}


def norm(channels: int) -> BatchNorm:
    return BatchNorm(channels, group_size=None, momentum=0.9, epsilon=1e-5, dtype=jnp.dtype("float32"))


def encoder(name: str, **options: object) -> nnx.Module:
    given = {"shape": (64, 64, 3), "widths": (1, 3), "missing": "refuse", "norm": norm, **OPTIONS}
    return ENCODERS.build(ENCODERS.spec(name, **options), name, **given)


@pytest.mark.parametrize(("name", "depths"), [("resnet18", (2, 2, 2, 2)), ("resnet50", (3, 4, 6, 3))])
@pytest.mark.parametrize(("stem", "first"), [("imagenet", 16), ("cifar", 64)])
def test_strides_are_where_the_paper_has_them(name: str, depths: tuple[int, ...], stem: str, first: int) -> None:
    """He et al., table 1: the first block of stages 2 to 4 halves the map, in a bottleneck by its 3x3 (v1.5)."""
    made = encoder(name, width=0.03125, stem=stem)
    assert made.conv.strides == (2 if stem == "imagenet" else 1)
    assert tuple(len(stage.blocks) for stage in made.stages) == depths
    for place, stage in enumerate(made.stages):
        for index, block in enumerate(stage.blocks):
            stride = 2 if place > 0 and index == 0 else 1
            names = ("conv1", "conv2", "conv3") if name == "resnet50" else ("conv1", "conv2")
            strides = [getattr(block, conv).strides for conv in names]
            assert strides == ([1, stride, 1] if name == "resnet50" else [stride, 1])
            assert (block.shortcut is not None) == (stride == 2 or (index == 0 and name == "resnet50"))
            assert block.shortcut is None or block.shortcut.conv.strides == stride
    local = jax.eval_shape(lambda: made(jnp.zeros((2, 64, 64, 3)), train=False).local)
    assert local.shape[1] == (first // 8) ** 2


def folded(layer: nnx.Conv, normalise: BatchNorm, x: np.ndarray) -> np.ndarray:
    """A convolution and a normalisation by running statistics, in float64, with loops over the window."""
    kernel, stride = np.asarray(layer.kernel[...], np.float64), layer.strides
    size = kernel.shape[0]
    padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    height, width = (-(-side // stride) for side in x.shape[1:3])
    y = np.zeros((len(x), height, width, kernel.shape[3]))
    for i in range(size):
        for j in range(size):
            window = padded[:, i : i + stride * height : stride, j : j + stride * width : stride]
            y += window[:, :height, :width] @ kernel[i, j]
    variables = (normalise.scale, normalise.bias, normalise.mean, normalise.var)
    scale, bias, mean, var = (np.asarray(variable[...], np.float64) for variable in variables)
    return (y - mean) / np.sqrt(var + 1e-5) * scale + bias


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
def test_a_block_by_hand(kind: type, stride: int) -> None:
    rng = np.random.default_rng(0)
    block = kind(4, 6, stride=stride, norm=norm, **OPTIONS)
    for _, module in nnx.iter_modules(block):
        if isinstance(module, BatchNorm):
            for variable, low in ((module.scale, 0.5), (module.var, 0.5), (module.mean, -1), (module.bias, -1)):
                variable.set_value(jnp.asarray(rng.uniform(low, 1.5, variable[...].shape), jnp.float32))
    x = rng.normal(size=(2, 7, 6, 4)).astype(np.float32)
    y = np.maximum(folded(block.conv1, block.norm1, x.astype(np.float64)), 0)
    y = folded(block.conv2, block.norm2, y)
    if kind is Bottleneck:
        y = folded(block.conv3, block.norm3, np.maximum(y, 0))
    expected = np.maximum(y + folded(block.shortcut.conv, block.shortcut.norm, x.astype(np.float64)), 0)
    np.testing.assert_allclose(block(jnp.asarray(x), train=False), expected, rtol=1e-4, atol=1e-4)
    assert (y < -0.1).any()  # or a rectifier that is left out would not show


def test_the_stem_pool_is_centred_as_pytorchs() -> None:
    x = np.random.default_rng(0).normal(size=(1, 6, 8, 1)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = [padded[:, i : i + 6 : 2, j : j + 8 : 2] for i in range(3) for j in range(3)]
    np.testing.assert_array_equal(max_pool_3x3(jnp.asarray(x)), np.max(windows, axis=0))


def test_the_table_encoder_by_hand() -> None:
    made = encoder("table_mlp", hidden=5, features=4, layers=2)
    rows = np.column_stack([np.random.default_rng(0).normal(size=8), np.arange(8) % 3]).astype(np.float32)
    x = np.column_stack([rows[:, 0], np.eye(3)[np.arange(8) % 3]])
    x = x @ np.asarray(made.layers[0].kernel[...]) + np.asarray(made.layers[0].bias[...])
    x = np.maximum((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 0)
    x = x @ np.asarray(made.layers[1].kernel[...]) + np.asarray(made.layers[1].bias[...])
    np.testing.assert_allclose(made(jnp.asarray(rows), train=True).pooled, x, rtol=1e-4, atol=1e-5)


def test_the_projector_by_hand() -> None:
    made = PROJECTORS.build(PROJECTORS.spec("mlp", hidden=5, out=4), "mlp", features=3, **OPTIONS)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    hidden = np.maximum(x @ np.asarray(made.hidden.kernel[...]) + np.asarray(made.hidden.bias[...]), 0)
    expected = hidden @ np.asarray(made.out.kernel[...]) + np.asarray(made.out.bias[...])
    np.testing.assert_allclose(made(jnp.asarray(x), train=True), expected, rtol=1e-5, atol=1e-6)
