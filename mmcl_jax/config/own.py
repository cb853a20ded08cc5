"""The rules of `:own` configs: what a store and a device decide, each with its reason.

The figures for CPUs are for two cores; those for accelerators are near the published ones.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from mmcl_jax.config.experiment import encoder
from mmcl_jax.config.own_data import OwnData, this_device
from mmcl_jax.config.preset import Preset
from mmcl_jax.config.presets import DIGITS, DVM

# A CPU trains a CNN on 64 pixels in minutes, where a ResNet takes hours; from a few small pictures a ResNet learns no
# more, whatever the device.
SMALL_SIDE, FEW_ROWS = 64, 20_000
SIDE = 128  # of MMCL's pictures
# Optimizer steps, and at most so many epochs: about what the drawn cars, and three quarters of what DVM-CAR, are given.
SMALL_STEPS, STEPS = 2_000, 50_000
SMALL_EPOCHS, EPOCHS = 100, 500
SMALL_BATCH, BATCH = 128, 512
# Above this, mirror images are of another kind than the pictures: letters, hearts, shoes that all point to the left.
ONE_SIDED = 0.025


def is_small(data: OwnData) -> bool:
    """Return whether the small CNN encodes images: on CPUs, and where images are few and small."""
    return data.device == "cpu" or (min(data.height, data.width) < SMALL_SIDE and data.rows < FEW_ROWS)


def choose(data: OwnData) -> Preset:
    """Return the preset that the data and the device decide: that of the digits or of DVM-CAR, by `is_small`."""
    small = is_small(data)
    batch = batch_size(data)
    group = max(size for size in range(1, 65) if batch % size == 0)
    per_epoch = max(1, data.rows // batch)
    steps, most = (SMALL_STEPS, SMALL_EPOCHS) if small else (STEPS, EPOCHS)
    epochs = min(max(1, round(steps / per_epoch)), most)
    near = DIGITS if small else DVM
    return dataclasses.replace(
        near,
        augmentation={"size": size(data), **augmentation(data)},
        image_encoder=functools.partial(image_encoder, data),
        dtype="float32" if small else "bfloat16",
        batch_size=batch,
        group_size=group if group > 1 else None,
        epochs=epochs,
        warmup_epochs=round(epochs / 10),
        checkpoint_every=min(max(50, epochs * per_epoch // 10), 500),
        # A value that is learned tells "not measured" from "average". Without holes in training there is none to learn.
        missing="token" if data.incomplete else "mean",
        # 30 % of two or three columns are less than one, and nothing would be corrupted.
        corruption=max(near.corruption, 1 / data.columns) if data.columns > 1 else near.corruption,
        queue=min(near.queue, data.rows // 2),
    )


def batch_size(data: OwnData) -> int:
    """Return a power of two per device, at most a quarter of the rows, so that an epoch has a few steps."""
    most = SMALL_BATCH if is_small(data) else BATCH
    wanted = min(most, max(8, data.rows // 4), data.rows)
    return data.devices * 2 ** int(math.log2(max(1, wanted // data.devices)))


def size(data: OwnData) -> tuple[int, int] | None:
    """Return (height, width) of the view, in the proportions of the stored images; None if they are small enough."""
    longest, most = max(data.height, data.width), SMALL_SIDE if is_small(data) else SIDE
    if longest <= most:
        return None
    height, width = (max(1, round(side * most / longest)) for side in (data.height, data.width))
    return height, width


def image_encoder(data: OwnData) -> ConfigDict:
    """Return a CNN that halves the image to two pixels, or a ResNet-18; from 20,000 rows a ResNet-50."""
    height, width = size(data) or (data.height, data.width)
    if is_small(data):
        layers = max(1, round(math.log2(min(height, width))) - 1)
        return encoder("cnn", channels=tuple(min(32 * 2**layer, 256) for layer in range(layers)))
    stem = "cifar" if min(height, width) < SMALL_SIDE else "imagenet"
    return encoder("resnet18" if data.rows < FEW_ROWS else "resnet50", stem=stem)


def augmentation(data: OwnData) -> dict[str, object]:
    """Return the options of the view `augment`.

    Tables tell sizes, proportions and colours, so these are left: crops are weak, and nothing is stretched or turns
    grey. Pictures without colour are turned a little instead.
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
    """Return in a few lines what was chosen and why.

    Args:
      config: made by an `:own` experiment.
      overrides: texts `key.path=value` that it was loaded with.
    """
    data = OwnData(**config.own)
    devices = f"{data.devices} {data.device}{'s' if data.devices > 1 else ''}"
    pictures = f"pictures of {data.height} x {data.width} x {data.channels}"
    lines = [f"own: {data.rows:,} training rows, {pictures}, {data.columns} columns, {devices}. So:"]
    if data.device != (here := this_device()):
        lines.append(
            f"  chosen for a {data.device}, as the run was begun or as you say, though this device is a {here}"
        )
    for key, what, why in _reasons(config, data):
        given = [one for one in overrides if one.partition("=")[0].startswith(key)]
        lines.append(f"  {what} ({'as given' if given else why})")
    return [*lines, "  --config.KEY=VALUE sets any key otherwise; all are in the run's config.json."]


def _reasons(config: ConfigDict, data: OwnData) -> Iterator[tuple[str, str, str]]:
    """Yield the chosen keys that this method has: key, value in words, and reason."""
    image = next((spec for spec in config.views.values() if spec.modality == "image"), None)
    if image is not None:
        spec = config.encoders.image
        name = f"cnn of {len(spec.channels)} layers" if spec.name == "cnn" else spec.name
        few = "pictures are few and small" if data.device != "cpu" else "a ResNet takes hours on a CPU"
        yield "encoders.image", f"encoder {name}", few if is_small(data) else f"{data.rows:,} rows"
        if image.size is not None:
            height, width = image.size
            why = f"for the time, which is shorter still after mmcl prepare --image-size {height}x{width}"
            yield "views", f"pictures seen at {height} x {width} pixels", why
        least = f"{100 * image.crop_scale[0]:g} %"
        yield "views", f"crops of at least {least} of the area", "tables tell sizes and proportions"
        if image.flip:
            yield "views", "mirrored at random", "pictures and their mirror images are alike"
        else:
            yield "views", "not mirrored", "mirror images are unlike the pictures"
    if "table" in config.encoders:
        columns = f"{data.incomplete} column{'s' if data.incomplete > 1 else ''}"
        holes = f"training rows lack values of {columns}; what stands for them is learned"
        why = holes if data.incomplete else "no training row lacks a value; what later rows lack is the mean"
        yield "inputs.table.missing", f"missing values: {config.inputs.table.missing}", why
    yield "batch_size", f"batches of {config.batch_size}", "at most a quarter of the rows"
    steps = max(1, data.rows // config.batch_size)
    budget, most = (SMALL_STEPS, SMALL_EPOCHS) if is_small(data) else (STEPS, EPOCHS)
    epochs = f"{config.epochs} epoch{'s' if config.epochs > 1 else ''}"
    yield "epochs", f"{epochs} of {steps} steps", f"about {budget:,} steps, but at most {most} epochs"
