"""A kind of entry of your own: signals, such as electrocardiograms, contrasted with scores of the same people.

    python examples/new_kind.py OUT

A kind says what a store holds; a view and an encoder take it. The data are drawn.
"""

import sys
from pathlib import Path

import numpy as np

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, projector, term, view
from mmcl_jax.data.arrays_store import store_of_arrays
from mmcl_jax.data.kinds import image, register_kind
from mmcl_jax.encoders import ENCODERS
from mmcl_jax.encoders.cnn import CNN
from mmcl_jax.views import VIEWS, View, Viewed


class Signals(image.ImageKind):  # `[time, leads]`, checked as images are
    name, axes, dtypes, baseline = "signal", ("time", "leads"), ("float16",), "samples"


class SignalCNN(CNN):  # convolutions over time, at stride 2
    takes, dimensions = ("signal",), 1


@VIEWS.register("signal")
def signal(*, modality: str = "signal") -> View:
    """Return every signal around its mean."""

    def centred(rows, keys, fitted):
        return Viewed(rows.astype("float32") - rows.astype("float32").mean(axis=1, keepdims=True))

    return View(modality=modality, takes="signal", apply=centred, plain=centred)


@ENCODERS.register("signal_cnn")
def signal_cnn(*, shape, norm, rngs, dtype, channels: tuple[int, ...] = (8, 16)) -> SignalCNN:
    """Return an encoder of signals with these numbers of channels."""
    return SignalCNN(shape=shape, channels=channels, norm=norm, rngs=rngs, dtype=dtype)


register_kind(Signals())
rate, phase = np.random.default_rng(0).uniform(size=(2, 400, 1, 1))  # of 400 people, whose scores show the rate, too
signals = np.sin((0.1 + rate / 2) * np.arange(64)[:, None] + 6 * phase).astype(np.float16)
scores = np.sin((0.1 + rate[:, 0] / 2) * np.arange(5, 35, 5)).astype(np.float32)
arrays, out = {"ecg": ("signal", signals), "scores": ("vector", scores)}, Path(sys.argv[1])
config = experiment()
config.batch_size, config.batch_norm.group_size, config.monitor.epochs, config.log_every = 64, 8, None, 1
config.epochs, config.schedule.warmup_epochs, config.schedule.learning_rate = 20, 1, 3e-3
config.inputs = {name: input() for name in arrays}
config.views = {"ecg": view("signal", modality="ecg"), "scores": view("vector", modality="scores")}
config.encoders = {"ecg": encoder("signal_cnn"), "scores": encoder("vector_mlp", hidden=32, features=16)}
config.projectors = {name: projector("mlp", hidden=32, out=16) for name in arrays}
config.objective = (term("clip", between=("ecg", "scores")),)
print(mj.pretrain(config, out / "run", data=store_of_arrays(out / "store", arrays)).metrics()[-1])
