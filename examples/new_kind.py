"""A kind of entry of your own: drawn signals, such as electrocardiograms, contrasted with scores of the same people.

python examples/new_kind.py OUT
"""

import sys
from pathlib import Path

import jax
import numpy as np

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, projector, schedule, term, view
from mmcl_jax.data.arrays_store import store_of_arrays
from mmcl_jax.data.kinds import image, register_kind
from mmcl_jax.encoders import ENCODERS
from mmcl_jax.encoders.cnn import CNN
from mmcl_jax.views import VIEWS, View, Viewed


class Signals(image.ImageKind):  # `[time, leads]`, stored and checked as images are
    name, axes, dtypes, baseline = "signal", ("time", "leads"), ("float16",), "samples"


class SignalCNN(CNN):  # convolutions over time, at stride 2
    takes, dimensions = ("signal",), 1


@VIEWS.register("signal")
def signal(*, modality: str = "signal") -> View:
    """Return every signal in its own standard deviations."""

    def scaled(rows, keys, fitted):
        return Viewed(jax.nn.standardize(rows.astype("float32"), axis=1))

    return View(modality=modality, takes="signal", apply=scaled, plain=scaled)


@ENCODERS.register("signal_cnn")
def signal_cnn(*, shape, norm, rngs, dtype, channels: tuple[int, ...] = (8, 16)) -> SignalCNN:
    """Return an encoder of signals with these numbers of channels."""
    return SignalCNN(shape=shape, channels=channels, norm=norm, rngs=rngs, dtype=dtype)


register_kind(Signals())
rate, phase = np.random.default_rng(0).uniform(size=(2, 400, 1, 1))  # of 400 people, whose scores show the rate, too
signals = np.sin((0.1 + rate / 2) * np.arange(64)[:, None] + 6 * phase).astype(np.float16)
scores = np.sin((0.1 + rate[:, 0] / 2) * np.arange(5, 35, 5)).astype(np.float32)
out, kinds = Path(sys.argv[1]), {"ecg": "signal", "scores": "vector"}
store = store_of_arrays(out / "store", {"ecg": signals, "scores": scores}, kinds=kinds)
config = experiment()
config.batch_size, config.epochs, config.batch_norm.group_size = 64, 20, 8
config.monitor.epochs, config.log_every = None, 1
config.schedule = schedule("warmup_cosine", learning_rate=3e-3, warmup_epochs=1)
config.inputs = {name: input() for name in kinds}
config.views = {"ecg": view("signal", modality="ecg"), "scores": view("vector", modality="scores")}
config.encoders = {"ecg": encoder("signal_cnn"), "scores": encoder("vector_mlp", hidden=32, features=16)}
config.projectors = {name: projector("mlp", hidden=32, out=16) for name in kinds}
config.objective = (term("clip", between=("ecg", "scores")),)
print(mj.pretrain(config, out / "run", data=store).metrics()[-1])
