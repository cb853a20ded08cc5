"""The encoder `dcgan`, its heads and its decoder against PyTorch's layers with the same weights, in float64.

All of outputs, local features, gradients and running statistics, of images and of volumes.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from mmcl_jax.encoders import DECODERS, ENCODERS, PROJECTORS, layers
from mmcl_jax.encoders.layers import BatchNorm

torch = pytest.importorskip("torch")
nn = torch.nn

from tests.encoders.test_torch_parity import (  # noqa: E402
    Case,
    Float64Numpy,
    Pairs,
    compare_gradients,
    error,
    our_step,
    prepared,
    their_arrays,
    their_step,
)

pytestmark = pytest.mark.foreign
BATCH, SIDE, WIDTH, FEATURES = 4, 32, 3, 5
TOLERANCE = 1e-9
CLASSES = {
    2: (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d),
}


class Flat(nnx.Module):
    """All that a part returns of a row, side by side in PyTorch's order: pooled and local features, or a view."""

    def __init__(self, part: nnx.Module) -> None:
        self.part = part

    def __call__(self, x: Array, *, train: bool) -> Array:
        found = self.part(x, train=train)
        outputs = (found.pooled, found.local) if hasattr(found, "pooled") else (found,)
        return jnp.concatenate([jnp.moveaxis(o, -1, 1).reshape(len(x), -1) for o in outputs], axis=1)


def build(registry: Any, name: str, options: dict[str, Any], **given: Any) -> Flat:
    def norm(channels: int) -> BatchNorm:
        return BatchNorm(channels, group_size=None, momentum=0.9, epsilon=1e-5, dtype=jnp.float64)

    spec = registry.spec(name, **options)
    return Flat(registry.build(spec, name, **given, norm=norm, rngs=nnx.Rngs(0), dtype=jnp.float64))


class Encoder(nn.Module):
    """Layer by layer as the published table has them; it returns z and the raw result of one of the convolutions."""

    def __init__(self, axes: int, channels: int, local: int) -> None:
        super().__init__()
        conv, _, norm = CLASSES[axes]
        first = nn.Sequential(conv(channels, WIDTH, 4, 2, 1, bias=False), nn.LeakyReLU(0.2))
        inner = [
            nn.Sequential(conv(size, 2 * size, 4, 2, 1, bias=False), norm(2 * size), nn.LeakyReLU(0.2))
            for size in (WIDTH, 2 * WIDTH)
        ]
        last = nn.Sequential(conv(4 * WIDTH, FEATURES, 4, 1, 0, bias=False))
        self.layers, self.local = nn.ModuleList([first, *inner, last]), local

    def forward(self, x: Any) -> Any:
        """Views to z and local features, side by side."""
        raw = []
        for layer in self.layers:
            raw.append(layer[0](x))
            x = layer[1:](raw[-1])
        return torch.cat([x.flatten(1), raw[self.local].flatten(1)], 1)


class Head(nn.Module):
    """Two 1x1 convolutions and a shortcut, on vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(6, 7, bias=False), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 5, bias=False)
        )
        self.shortcut, self.norm = nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5)

    def forward(self, x: Any) -> Any:
        """Vectors to vectors."""
        return self.norm(self.main(x) + self.shortcut(x))


def views(axes: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """Patches of colour: of noise, all views would look alike after some layers."""
    coarse = rng.normal(size=(BATCH, *[8] * axes, channels))
    return np.kron(coarse, np.ones((1, *[SIDE // 8] * axes, 1)))


def encoder(axes: int, local_side: int, rng: np.random.Generator) -> Case:
    channels = 4 - axes

    def pairs(ours: Any, theirs: Any) -> Pairs:
        yield from zip(ours.part.convs, (layer[0] for layer in theirs.layers), strict=True)
        yield from zip(ours.part.norms, (layer[1] for layer in theirs.layers[1:-1]), strict=True)

    options = {"width": WIDTH, "features": FEATURES, "local_side": local_side}
    ours = build(ENCODERS, "dcgan", options, shape=(*[SIDE] * axes, channels))
    x = views(axes, channels, rng)
    theirs = Encoder(axes, channels, {16: 0, 8: 1, 4: 2}[local_side])
    return Case(ours, theirs, pairs, x, np.moveaxis(x, -1, 1))


def decoder(axes: int, rng: np.random.Generator) -> Case:
    channels, (_, conv, norm) = 4 - axes, CLASSES[axes]
    parts: list[Any] = [nn.Unflatten(1, (FEATURES, *[1] * axes)), conv(FEATURES, 4 * WIDTH, 4, 1, 0, bias=False)]
    parts += [norm(4 * WIDTH), nn.ReLU()]
    for size in (4 * WIDTH, 2 * WIDTH):
        parts += [conv(size, size // 2, 4, 2, 1, bias=False), norm(size // 2), nn.ReLU()]
    parts += [conv(WIDTH, channels, 4, 2, 1, bias=False), nn.Sigmoid(), nn.Flatten()]

    def pairs(ours: Any, theirs: Any) -> Pairs:
        yield from zip(ours.part.layers, (layer for layer in theirs if isinstance(layer, conv)), strict=True)
        yield from zip(ours.part.norms, (layer for layer in theirs if isinstance(layer, norm)), strict=True)

    given = {"shape": (*[SIDE] * axes, channels), "features": FEATURES}
    x = rng.normal(size=(BATCH, FEATURES))
    return Case(build(DECODERS, "dcgan", {"width": WIDTH}, **given), nn.Sequential(*parts), pairs, x, x)


def local_shortcut(rng: np.random.Generator) -> Case:
    def pairs(ours: Any, theirs: Any) -> Pairs:
        mine = ours.part
        yield from zip((mine.hidden, mine.norm, mine.out), (theirs.main[i] for i in (0, 1, 3)), strict=True)
        yield from ((mine.shortcut, theirs.shortcut), (mine.out_norm, theirs.norm))

    x = rng.normal(size=(2 * BATCH, 6))
    return Case(build(PROJECTORS, "local_shortcut", {"hidden": 7, "out": 5}, features=6), Head(), pairs, x, x)


def latent_mlp(rng: np.random.Generator) -> Case:
    def pairs(ours: Any, theirs: Any) -> Pairs:
        yield from zip((*ours.part.layers, *ours.part.norms), (theirs[0], theirs[3], theirs[1]), strict=True)

    x = rng.normal(size=(2 * BATCH, 6))
    theirs = nn.Sequential(nn.Linear(6, 7, bias=False), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 5, bias=False))
    return Case(build(PROJECTORS, "latent_mlp", {"hidden": 7, "out": 5}, features=6), theirs, pairs, x, x)


CASES = {
    "encoder of images": lambda rng: encoder(2, 8, rng),
    "encoder of volumes": lambda rng: encoder(3, 4, rng),
    "decoder of images": lambda rng: decoder(2, rng),
    "decoder of volumes": lambda rng: decoder(3, rng),
    "local_shortcut": local_shortcut,
    "latent_mlp": latent_mlp,
}


@pytest.fixture
def doubled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(layers, "jnp", Float64Numpy())  # batch normalisation computes in float32 by name
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("doubled")
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_as_pytorch(name: str, train: bool) -> None:
    case = prepared(CASES[name])
    shape = jax.eval_shape(lambda x: case.ours(x, train=False), jnp.asarray(case.input)).shape
    target = np.random.default_rng(1).normal(size=shape)
    before = [their_arrays(layer, "statistics") for _, layer in case.pairs(case.ours, case.theirs)]
    before = [{key: value.copy() for key, value in layer.items()} for layer in before]
    found, true = our_step(case, target, train=train), their_step(case, target, train=train)
    assert found.output.shape == true.output.shape
    assert error(found.output, true.output) < TOLERANCE
    assert compare_gradients(found, true, TOLERANCE) == 0
    for place, (mine, theirs) in enumerate(zip(found.statistics, true.statistics, strict=True)):
        for key, value in theirs.items():
            assert error(mine[key], value) < TOLERANCE, (place, key)
            assert (error(mine[key], before[place][key]) > 1e-3) == train, (place, key)
