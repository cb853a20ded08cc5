"""The rules by which an `:own` config is chosen for a store and its devices, with the reason for each choice.

The values for CPUs suit two cores; the values for accelerators are near the published ones.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from mmcl_jax.config.experiment import encoder
from mmcl_jax.config.own_data import OwnData, this_device
from mmcl_jax.config.preset import Preset
from mmcl_jax.config.presets import DIGITS, DVM

# A CPU trains a CNN on 64 pixels in minutes, and a ResNet in hours; on few small images a ResNet learns no more than a
# CNN, whatever the device.
SMALL_SIDE, FEW_ROWS = 64, 20_000
SIDE = 128  # MMCL's image size
# Optimizer steps and the limit of epochs: about those of the drawn cars, and three quarters of those of DVM-CAR.
SMALL_STEPS, STEPS = 2_000, 50_000
SMALL_EPOCHS, EPOCHS = 100, 500
SMALL_BATCH, BATCH = 128, 512
# Above this, mirror images do not look like images of the data set: letters, hearts, shoes that all point to the left.
ONE_SIDED = 0.025


def is_small(data: OwnData) -> bool:
    """Return whether images are encoded by the small CNN: on CPUs, or if they are few and small."""
    return data.device == "cpu" or (min(data.height, data.width) < SMALL_SIDE and data.rows < FEW_ROWS)


def choose(data: OwnData) -> Preset:
    """Return the preset for the data and devices: that of the digits or of DVM-CAR (see `is_small`), adapted."""
    small = is_small(data)
    batch = batch_size(data)
    group = max(size for size in range(1, 65) if batch % size == 0)
    per_epoch = max(1, data.rows // batch)
    steps, most = (SMALL_STEPS, SMALL_EPOCHS) if small else (STEPS, EPOCHS)
    epochs = min(max(1, round(steps / per_epoch)), most)
    base = DIGITS if small else DVM
    return dataclasses.replace(
        base,
        augmentation={"size": size(data), **augmentation(data)},
        image_encoder=functools.partial(image_encoder, data),
        dtype="float32" if small else "bfloat16",
        batch_size=batch,
        group_size=group if group > 1 else None,
        epochs=epochs,
        warmup_epochs=round(epochs / 10),
        checkpoint_every=min(max(50, epochs * per_epoch // 10), 500),
        # A learned token tells "not measured" from "average"; it is learned from missing values in the training rows.
        missing="token" if data.incomplete else "mean",
        # 30 % of two or three columns is less than one column, and nothing would be corrupted.
        corruption=max(base.corruption, 1 / data.columns) if data.columns > 1 else base.corruption,
        queue=min(base.queue, data.rows // 2),
    )


def batch_size(data: OwnData) -> int:
    """Return a power of two per device, at most a quarter of the rows so that an epoch has a few steps."""
    most = SMALL_BATCH if is_small(data) else BATCH
    limit = min(most, max(8, data.rows // 4), data.rows)
    return data.devices * 2 ** int(math.log2(max(1, limit // data.devices)))


def size(data: OwnData) -> tuple[int, int] | None:
    """Return (height, width) of the view, in the proportions of the stored images; None to keep their size."""
    longest, most = max(data.height, data.width), SMALL_SIDE if is_small(data) else SIDE
    if longest <= most:
        return None
    height, width = (max(1, round(side * most / longest)) for side in (data.height, data.width))
    return height, width


def image_encoder(data: OwnData) -> ConfigDict:
    """Return a CNN that halves the image down to two pixels, or a ResNet-18, or from 20,000 rows on a ResNet-50."""
    height, width = size(data) or (data.height, data.width)
    if is_small(data):
        layers = max(1, round(math.log2(min(height, width))) - 1)
        return encoder("cnn", channels=tuple(min(32 * 2**layer, 256) for layer in range(layers)))
    stem = "cifar" if min(height, width) < SMALL_SIDE else "imagenet"
    return encoder("resnet18" if data.rows < FEW_ROWS else "resnet50", stem=stem)


def augmentation(data: OwnData) -> dict[str, object]:
    """Return the options of the view `augment`.

    Tables hold sizes, proportions and colours, so views preserve these: crops are weak, and no image is stretched or
    turned grey. Images without colour are rotated a little instead.
    """
    colour = data.channels == 3
    return {
        "crop_scale": (0.6, 1.0) if is_small(data) else (0.2, 1.0),
        "crop_ratio": (0.9, 1.1),
        "flip": 0.5 if data.one_sided < ONE_SIDED else 0.0,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4 if colour else 0.0,
        "grayscale": 0.0,
        "blur": 0.0,
        "rotation": 0.0 if colour else 15.0,
    }


def explain(config: ConfigDict, overrides: Sequence[str]) -> list[str]:
    """Return lines that list the choices of an `:own` config with their reasons.

    The list ends at a value of a wrong type: the training names its key when it checks the config.

    Args:
      config: config of an `:own` experiment.
      overrides: texts `key.path=value` that the config was loaded with.
    """
    data = OwnData(**config.own)
    devices = f"{data.devices} {data.device}{'s' if data.devices > 1 else ''}"
    images = f"images of {data.height} x {data.width} x {data.channels}"
    lines = [f"own: {data.rows:,} training rows, {images}, {data.columns} columns, {devices}. Chosen for these:"]
    if data.device != (device := this_device()):
        lines.append(
            f"  for a {data.device}, as in the run's config or --config.own.device, though this device is a {device}"
        )
    with contextlib.suppress(TypeError, ValueError, IndexError):
        for key, choice, reason in _reasons(config, data):
            overridden = any(override.partition("=")[0].startswith(key) for override in overrides)
            lines.append(f"  {choice} ({'from your override' if overridden else reason})")
    return [*lines, "  --config.KEY=VALUE overrides a choice; the run's config.json lists all keys."]


def _reasons(config: ConfigDict, data: OwnData) -> Iterator[tuple[str, str, str]]:
    """Yield key, choice in words, and reason, for every chosen key that the config has."""
    image = next((spec for spec in config.views.values() if spec.modality == "image"), None)
    if image is not None:
        spec = config.encoders.image
        name = f"cnn of {len(spec.channels)} layers" if spec.name == "cnn" else spec.name
        few = "images are few and small" if data.device != "cpu" else "a ResNet takes hours on a CPU"
        yield "encoders.image", f"encoder {name}", few if is_small(data) else f"{data.rows:,} rows"
        if image.size is not None:
            height, width = image.size
            reason = f"to save time; mmcl prepare --image-size {height}x{width} saves more"
            yield "views", f"views of {height} x {width} pixels", reason
        least = f"{100 * image.crop_scale[0]:g} %"
        yield "views", f"crops of at least {least} of the area", "tables hold sizes and proportions"
        if image.flip:
            yield "views", "mirrored at random", "images and their mirror images are alike"
        else:
            yield "views", "not mirrored", "images and their mirror images differ"
    if "table" in config.encoders:
        columns = f"{data.incomplete} column{'s' if data.incomplete > 1 else ''}"
        reason = f"training rows lack values of {columns}; a token for them is learned"
        if not data.incomplete:
            later = "the mean" if config.inputs.table.missing == "mean" else "a token that is not trained"
            reason = f"no training row lacks a value; later rows get {later}"
        yield "inputs.table.missing", f"missing values: {config.inputs.table.missing}", reason
    yield "batch_size", f"batches of {config.batch_size}", "at most a quarter of the rows"
    steps = max(1, data.rows // config.batch_size)
    budget, most = (SMALL_STEPS, SMALL_EPOCHS) if is_small(data) else (STEPS, EPOCHS)
    epochs = f"{config.epochs} epoch{'s' if config.epochs > 1 else ''}"
    yield "epochs", f"{epochs} of {steps} steps", f"about {budget:,} steps, but at most {most} epochs"
