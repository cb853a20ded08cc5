"""An encoder of your own: MLP-Mixer (Tolstikhin et al., 2021) on patches of an image.

python examples/new_encoder.py OUT
"""

import sys
from pathlib import Path

import jax.numpy as jnp
from flax import nnx

import mmcl_jax as mj
from mmcl_jax.datasets import digits
from mmcl_jax.encoders import ENCODERS, Encoder, Features


class Mixer(Encoder):
    """Patches, mixed over positions and over channels in turn; their mean is the pooled feature."""

    takes = ("image",)

    def __init__(self, *, shape, patch, width, blocks, rngs):
        """Make the layers for images `[H, W, C]`, of which the patches leave out a margin."""
        self.grid, self.patch = (shape[0] // patch, shape[1] // patch), patch
        positions = self.grid[0] * self.grid[1]
        self.stem = nnx.Conv(shape[2], width, (patch, patch), strides=patch, padding="VALID", rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(2 * blocks)])
        self.over_positions = nnx.List([nnx.Linear(positions, positions, rngs=rngs) for _ in range(blocks)])
        self.over_channels = nnx.List([nnx.Linear(width, width, rngs=rngs) for _ in range(blocks)])
        self.out_features = self.out_local_features = width

    def embed(self, view):
        """Return the images `[B, H, W, C]` themselves, in which a gradient has a meaning."""
        return view

    def body(self, embedded, *, train, present=None, keys=None):
        """Return `pooled [B, D]` and the patches as `local [B, L, D]`."""
        x = self.stem(embedded).reshape(len(embedded), -1, self.out_features)
        for block, (positions, channels) in enumerate(zip(self.over_positions, self.over_channels, strict=True)):
            x = x + nnx.gelu(positions(self.norms[2 * block](x).swapaxes(1, 2))).swapaxes(1, 2)
            x = x + nnx.gelu(channels(self.norms[2 * block + 1](x)))
        return Features(pooled=x.mean(axis=1), local=x, grid=self.grid)


@ENCODERS.register("mixer")
def mixer(*, shape, rngs, patch: int = 4, width: int = 32, blocks: int = 2) -> Mixer:
    """Return a mixer; keywords with a default are keys of the config, the others are given by the program."""
    return Mixer(shape=shape, patch=patch, width=width, blocks=blocks, rngs=rngs)


if __name__ == "__main__":
    encoder = mixer(shape=(16, 15, 1), rngs=nnx.Rngs(0))  # by itself, on arrays
    print(encoder(jnp.ones((2, 16, 15, 1)), train=False).pooled.shape)
    out = Path(sys.argv[1])
    store = mj.prepare(request=vars(digits.unpack(out / "raw")), out=out / "store")
    image = {"encoders.image.name": "mixer", "encoders.image.patch": 3}
    short = {"epochs": 2, "schedule.warmup_epochs": 0, "schedule.learning_rate": 3e-3, "log_every": 1}
    settings = {**image, **short, "encoders.table.hidden": 64, "monitor.epochs": None}
    print(mj.pretrain("digits_mmcl", data=store, workdir=out / "run", overrides=settings))
