"""MMVAE's encoders and decoders against PyTorch's layers with the same weights, and their initialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import ENCODERS
from mmcl_jax.encoders.decoders import DECODERS

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = pytest.mark.foreign


def tensor(array) -> "torch.Tensor":
    return torch.from_numpy(np.array(array, np.float64))


def kernel(layer) -> "torch.Tensor":
    """[*sides, in, out] -> [out, in, *sides]; of a linear layer [in, out] -> [out, in]."""
    array = np.asarray(layer.kernel[...], np.float64)
    return tensor(np.moveaxis(array, (-1, -2), (0, 1)))


def channels_first(array) -> "torch.Tensor":
    return tensor(np.moveaxis(np.asarray(array, np.float64), -1, 1))


def check_scale(found, raw: "torch.Tensor") -> None:
    np.testing.assert_allclose(found, torch.softmax(raw, -1) * raw.shape[1] + 1e-6, rtol=1e-4)
    np.testing.assert_allclose(np.mean(found, axis=1), 1, rtol=1e-5)


def test_mlp() -> None:
    encoder = ENCODERS.factory("laplace_mlp")(shape=(28, 28, 1), rngs=nnx.Rngs(0))
    decoder = DECODERS.factory("mlp")(shape=(28, 28, 1), rngs=nnx.Rngs(1))
    sizes = [sum(x.size for x in jax.tree.leaves(nnx.state(module))) for module in (encoder, decoder)]
    assert sizes == [785 * 400 + 2 * 401 * 20, 21 * 400 + 401 * 784]
    x = np.random.default_rng(0).uniform(size=(3, 28, 28, 1)).astype(np.float32)
    features = encoder(x, train=True)
    hidden = torch.relu(F.linear(tensor(x).reshape(3, -1), kernel(encoder.hidden), tensor(encoder.hidden.bias[...])))
    mean, raw = (F.linear(hidden, kernel(layer), tensor(layer.bias[...])) for layer in (encoder.mean, encoder.scale))
    np.testing.assert_allclose(features.pooled, mean, atol=1e-5)
    check_scale(features.scale, raw)
    hidden = torch.relu(F.linear(mean, kernel(decoder.hidden), tensor(decoder.hidden.bias[...])))
    pixels = torch.sigmoid(F.linear(hidden, kernel(decoder.out), tensor(decoder.out.bias[...]))).clamp(1e-6, 1 - 1e-6)
    np.testing.assert_allclose(decoder(features.pooled, train=True), pixels.reshape(3, 28, 28, 1), atol=1e-5)


@pytest.mark.parametrize("shape", [(32, 32, 3), (32, 32, 32, 1)])
def test_conv(shape: tuple[int, ...]) -> None:
    dimensions = len(shape) - 1
    conv, transposed = getattr(F, f"conv{dimensions}d"), getattr(F, f"conv_transpose{dimensions}d")
    encoder = ENCODERS.factory("laplace_conv")(shape=shape, rngs=nnx.Rngs(0), width=4)
    decoder = DECODERS.factory("conv")(shape=shape, rngs=nnx.Rngs(1), width=4)
    x = np.random.default_rng(0).uniform(size=(2, *shape)).astype(np.float32)
    features = encoder(x, train=True)
    y = channels_first(x)
    for layer in encoder.convs:
        y = torch.relu(conv(y, kernel(layer), tensor(layer.bias[...]), stride=2, padding=1))
    mean, raw = (
        conv(y, kernel(layer), tensor(layer.bias[...])).reshape(2, -1) for layer in (encoder.mean, encoder.scale)
    )
    np.testing.assert_allclose(features.pooled, mean, atol=1e-5)
    check_scale(features.scale, raw)
    y = mean.reshape(2, -1, *[1] * dimensions)
    for at, layer in enumerate(decoder.layers):
        weights = kernel(layer).transpose(0, 1)  # PyTorch's are [in, out, *sides]
        y = transposed(y, weights, tensor(layer.bias[...]), stride=1 if at == 0 else 2, padding=0 if at == 0 else 1)
        y = torch.relu(y) if at < len(decoder.layers) - 1 else torch.sigmoid(y)
    np.testing.assert_allclose(channels_first(decoder(features.pooled, train=True)), y, atol=1e-5)


def test_conv_is_initialised_as_in_pytorch() -> None:
    """Each array is uniform within PyTorch's bound."""
    encoder = ENCODERS.factory("laplace_conv")(shape=(32, 32, 3), rngs=nnx.Rngs(0))
    decoder = DECODERS.factory("conv")(shape=(32, 32, 3), rngs=nnx.Rngs(1))
    theirs = [torch.nn.Conv2d(i, o, 4) for i, o in ((3, 32), (32, 64), (64, 128), (128, 20), (128, 20))]
    theirs += [torch.nn.ConvTranspose2d(i, o, 4) for i, o in ((20, 128), (128, 64), (64, 32), (32, 3))]
    ours = [*encoder.convs, encoder.mean, encoder.scale, *decoder.layers]
    for mine, their in zip(ours, theirs, strict=True):
        assert mine.kernel.size == their.weight.numel()
        assert mine.bias.size == their.bias.numel()
        bound = float(their.weight.detach().abs().max())
        np.testing.assert_allclose(jnp.abs(mine.kernel[...]).max(), bound, rtol=0.01)
        np.testing.assert_allclose(mine.kernel[...].std(), bound / np.sqrt(3), rtol=0.05)
        assert float(jnp.abs(mine.bias[...]).max()) <= bound * 1.01


def test_dcgan_has_a_second_last_convolution() -> None:
    encoder = ENCODERS.factory("laplace_dcgan")(shape=(32, 32, 1), rngs=nnx.Rngs(0), width=4, features=8)
    features = encoder(np.random.default_rng(0).uniform(size=(4, 32, 32, 1)).astype(np.float32), train=True)
    last = channels_first(features.stages[-1])
    np.testing.assert_allclose(features.pooled, F.conv2d(last, kernel(encoder.convs[-1]))[..., 0, 0], atol=1e-4)
    check_scale(features.scale, F.conv2d(last, kernel(encoder.scale))[..., 0, 0])
