"""The presets of the data sets that the MMCL paper's tables are made for.

DVM-CAR has the hyper-parameters that MMCL's successors reproduce it with, at 128 pixels, and UK Biobank's hearts those
of the released code. Digits and cars are of a size that two cores train in minutes, and alike for all methods. The
values of the digits were fixed before any result was looked at, from the paper's (temperature, corruption, optimizer)
and from the time two cores need; those of the cars were chosen by online kNN on validation: at the digits' length no
method left the floor.
"""

import dataclasses
import functools

from mmcl_jax.config.experiment import encoder
from mmcl_jax.config.preset import Preset

# Views crop and blur the stored images and resize to 128 pixels afterwards, so a store may hold larger images, as that
# of DVM-CAR does (300). Smaller images are enlarged; `--config.views.image.size=None` keeps the stored size.
DVM = Preset(
    augmentation={"size": (128, 128), "probability": 0.95},
    image_encoder=functools.partial(encoder, "resnet50"),
)
CARDIAC = dataclasses.replace(
    DVM,
    augmentation={
        "size": (128, 128),
        "probability": 0.95,
        "rotation": 45.0,
        "jitter": 1.0,
        "brightness": 0.5,
        "contrast": 0.5,
        "saturation": 0.5,
        "grayscale": 0.0,
        "blur": 0.0,
        "crop_scale": (0.2, 1.0),
    },
    learning_rate=3e-3,
    weight_decay=1e-4,
    missing="iterative",
    background=0,  # healthy people
)
DIGITS = Preset(
    # Digits are not mirrored (flip), and their grey images have no colour; weak rotation stands in for slanted writing.
    augmentation={
        "crop_scale": (0.5, 1.0),
        "flip": 0.0,
        "brightness": 0.4,
        "contrast": 0.4,
        "grayscale": 0.0,
        "blur": 0.0,
        "rotation": 15.0,
    },
    image_encoder=functools.partial(encoder, "cnn"),
    small=True,
    batch_size=128,
    epochs=60,
    warmup_epochs=6,
    checkpoint_every=180,
    learning_rate=3e-3,
    weight_decay=1e-4,
    queue=512,
)
CARS = dataclasses.replace(
    DIGITS,
    # Proportions and paint tell the drawn models apart: weak crops keep proportions, and nothing turns grey. A blur of
    # 2 pixels would leave nothing of 32.
    augmentation={
        "crop_scale": (0.6, 1.0),
        "crop_ratio": (0.9, 1.1),
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "grayscale": 0.0,
        "blur": 0.0,
    },
    image_encoder=functools.partial(encoder, "cnn", channels=(32, 64, 128, 128)),
    epochs=80,
    warmup_epochs=8,
)
