"""The U-Net: its structure against one written in PyTorch, and what the engine does with it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders.layers import BatchNorm
from mmcl_jax.encoders.resnet import resnet18
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.unet import UNet, UNetHead, by_grid, maps_of, unet_of

SHAPES = [(16, 16, 3), (8, 8, 5), (4, 4, 6), (2, 2, 12), (1, 1, 32)]  # as a narrow ResNet with its stem has them


def maps(seed: int = 0, shapes: list[tuple[int, int, int]] = SHAPES, rows: int = 3) -> list[jax.Array]:
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=(rows, *shape)), jnp.float32) for shape in shapes]


@pytest.fixture(scope="module")
def decoder() -> UNet:
    return UNet(SHAPES, rngs=nnx.Rngs(0))


def test_widths_are_those_of_the_paper_on_a_resnet50() -> None:
    shapes = [(448, 448, 3), (224, 224, 64), (112, 112, 256), (56, 56, 512), (28, 28, 1024), (14, 14, 2048)]
    unet = nnx.eval_shape(lambda: UNet(shapes, rngs=nnx.Rngs(0)))
    assert unet.widths == (1024, 512, 256, 128, 64)
    ups = [(up.kernel.shape[0], up.kernel.shape[-1]) for up in unet.ups]
    assert ups == [(2048, 1024), (1024, 512), (512, 256), (256, 128), (128, 64)]
    inputs = [block.conv1.kernel.shape[2] for block in unet.blocks]
    assert inputs == [2048, 1024, 512, 128 + 64, 64 + 3]  # the skips: layer3, layer2, layer1, the stem, the image
    assert unet.bridge.conv1.kernel.shape == (3, 3, 2048, 2048)


@pytest.mark.parametrize(
    ("stem", "grids", "channels"),
    [
        ("imagenet", [32, 16, 8, 4, 2, 1], [[3], [8], [8], [16], [32], [64]]),
        ("cifar", [32, 32, 16, 8, 4], [[3, 8], [16], [32], [64]]),  # the first stage stands beside the image
    ],
)
def test_the_stem_of_a_resnet_is_a_skip(stem: Any, grids: list[int], channels: list[list[int]]) -> None:
    encoder = nnx.eval_shape(lambda: resnet18(shape=(32, 32, 3), width=0.125, stem=stem, rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(encoder)
    view = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    found = jax.eval_shape(lambda state, x: maps_of(nnx.merge(graphdef, state)(x, train=False), x), state, view)
    assert [one.shape[1] for one in found] == grids
    assert [[one.shape[-1] for one in group] for group in by_grid(found)] == channels
    unet = nnx.eval_shape(lambda: unet_of(encoder, view, rngs=nnx.Rngs(0), dtype=jnp.float32))
    assert unet.out_features == 8


def test_odd_grids_are_cut_to_the_finer_one() -> None:
    shapes = [(10, 7, 1), (5, 4, 4), (3, 2, 8)]
    unet = UNet(shapes, rngs=nnx.Rngs(0))
    assert unet(maps(shapes=shapes), train=False).shape == (3, 10, 7, 8)


@pytest.mark.parametrize("shapes", [[(16, 16, 3), (4, 4, 8)], [(16, 16, 3)]], ids=["patches", "no stage"])
def test_grids_that_do_not_halve_are_refused(shapes: list[tuple[int, int, int]]) -> None:
    with pytest.raises(UserError, match=r"A U-Net reads maps whose grids halve .* use a convolutional encoder"):
        UNet(shapes, rngs=nnx.Rngs(0))


def test_the_head_enlarges_maps_to_masks_of_another_size() -> None:
    params = {"kernel": jnp.ones((2, 1)), "bias": jnp.ones(1)}
    features = maps(shapes=[(4, 4, 2)])[0]
    same, larger = UNetHead(size=(4, 4))(params, features), UNetHead(size=(8, 6))(params, features)
    np.testing.assert_allclose(same[..., 0], features.sum(axis=-1) + 1, rtol=1e-5)
    assert larger.shape == (3, 8, 6, 1)


@pytest.mark.foreign
@pytest.mark.parametrize("train", [True, False])
def test_outputs_and_statistics_are_those_of_a_network_in_pytorch(decoder: UNet, train: bool) -> None:
    torch = pytest.importorskip("torch")
    decoder = nnx.clone(decoder)
    for _, module in nnx.iter_graph(decoder):  # other statistics and biases than the initial ones
        if isinstance(module, BatchNorm):
            module.mean[...], module.var[...] = module.mean[...] + 0.3, module.var[...] * 1.7
            module.scale[...], module.bias[...] = module.scale[...] * 1.2, module.bias[...] - 0.1
    for up in decoder.ups:
        up.bias[...] = up.bias[...] + 0.2

    def layers(block: Any) -> Any:
        parts = []
        for conv, norm in ((block.conv1, block.norm1), (block.conv2, block.norm2)):
            kernel = np.transpose(np.asarray(conv.kernel[...]), (3, 2, 0, 1))
            ours = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1, bias=False)
            ours.weight.data = torch.tensor(kernel)
            scale = torch.nn.BatchNorm2d(kernel.shape[0])
            for name, values in (("weight", norm.scale), ("bias", norm.bias)):
                getattr(scale, name).data = torch.tensor(np.asarray(values[...]))
            scale.running_mean, scale.running_var = (torch.tensor(np.asarray(v[...])) for v in (norm.mean, norm.var))
            parts += [ours, scale, torch.nn.ReLU()]
        return torch.nn.Sequential(*parts).train(train)

    def upwards(up: Any) -> Any:
        kernel = np.transpose(np.asarray(up.kernel[...]), (0, 3, 1, 2))
        ours = torch.nn.ConvTranspose2d(kernel.shape[0], kernel.shape[1], 2, stride=2)
        ours.weight.data, ours.bias.data = torch.tensor(kernel), torch.tensor(np.asarray(up.bias[...]))
        return ours

    given = [torch.tensor(np.transpose(np.asarray(one), (0, 3, 1, 2))) for one in maps()]
    bridge, blocks = layers(decoder.bridge), [layers(block) for block in decoder.blocks]
    with torch.no_grad():
        x = bridge(given[-1])
        for up, block, skip in zip(decoder.ups, blocks, reversed(given[:-1]), strict=True):
            x = block(torch.cat([upwards(up)(x), skip], dim=1))
    ours = decoder(maps(), train=train)
    np.testing.assert_allclose(np.transpose(np.asarray(ours), (0, 3, 1, 2)), x.numpy(), atol=1e-4)
    last = blocks[-1][4]
    np.testing.assert_allclose(decoder.blocks[-1].norm2.mean[...], last.running_mean.numpy(), atol=1e-4)
    np.testing.assert_allclose(decoder.blocks[-1].norm2.var[...], last.running_var.numpy(), atol=1e-4)


def test_the_head_is_a_static_argument_of_programs() -> None:
    assert UNetHead(size=(4, 4)) == UNetHead(size=(4, 4))
    assert hash(UNetHead(size=(4, 4))) != hash(dataclasses.replace(UNetHead(), size=(8, 8)))
