"""The values and parts of ContIG's experiments: images of eyes against genetics, and baselines on the images alone."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

from ml_collections import ConfigDict

from mmcl_jax.config.experiment import encoder, input, schedule, term, view
from mmcl_jax.config.preset import Preset
from mmcl_jax.errors import check_name

# UK Biobank's retinal images at the published size, and drawn eyes at a size for two cores.
RetinaData = Literal["ukb", "fundus"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retina(Preset):
    """A preset with the parts that images of eyes and genetics add; `augmentation` is that of the baselines.

    Attributes:
      turned: options of the view `augment` of an image beside genetics.
      released_rate: whether the learning rate is that of the released code, practically constant; else it falls in a
        cosine.
      hidden: width of the genetics encoder.
    """

    turned: Mapping[str, Any]
    released_rate: bool = False
    hidden: int = 2048

    def experiment(self) -> ConfigDict:
        """Return a config with batch size, length, optimizer and schedule; inputs, views, models, terms are empty."""
        config = super().experiment()
        if self.released_rate:
            config.schedule = schedule("cosine_cycles", learning_rate=self.learning_rate, fall_epochs=None, per="epoch")
        return config

    def baseline(self) -> "Retina":
        """Return the preset of the baselines on images alone: two batches of 32 for every step, and 100 epochs."""
        return self if self.small else dataclasses.replace(self, group_size=32, epochs=100)

    def inputs(self, *names: str) -> dict[str, ConfigDict]:
        """Return the inputs: the image, and the vectors of these names, of which scores and covariates are z-scored."""
        options: dict[str, dict[str, Any]] = {
            "snp": {"missing": "mode", "scale": "none"},
            "pgs": {"missing": "mean", "scale": "std"},
            "burden": {"missing": "mean", "scale": "none"},
            "covariates": {"missing": "mean", "scale": "std"},
        }
        return {"image": input(), **{name: input(**options[name]) for name in names}}

    def views(self, *names: str) -> dict[str, ConfigDict]:
        """Return the views: the image turned and mirrored, the vectors as they are."""
        image = view("augment", **{**_PLAIN, **self.turned})
        return {"image": image, **{name: view("vector", modality=name) for name in names}}

    def encoders(self, *names: str, layers: int = 1) -> dict[str, ConfigDict]:
        """Return the image's encoder, and one for each vector: 0 layers are ContIG's `None`, 1 `H1`, and 2 `H12`."""
        genetics = {name: encoder("genetics_mlp", hidden=self.hidden, layers=layers) for name in names}
        return {"image": self.image_encoder(), **genetics}

    def projectors(self, *names: str) -> dict[str, ConfigDict]:
        """Return a projector of the image for each vector, and a projector of each vector."""
        return {key: self.projector() for name in names for key in (f"image:{name}", name)}

    def contrast(self, *names: str) -> tuple[ConfigDict, ...]:
        """Return a term for each vector: temperature 0.1, image to vector weighed by 0.75, each of weight 1 / M."""
        return tuple(
            term("clip", between=(f"image:{name}", name), temperature=0.1, balance=0.75, weight=1 / len(names))
            for name in names
        )


# An image as it is: what `turned` does not set is off.
_PLAIN = {"crop_scale": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "grayscale": 0.0, "blur": 0.0}
UKB = Retina(
    # SimCLR's augmentation as lightly has it, with 0.1 x 448 pixels for the blur's window, made odd.
    augmentation={
        "size": (448, 448),
        "brightness": 0.7,
        "contrast": 0.7,
        "saturation": 0.7,
        "hue": 0.2,
        "blur_kernel": 45,
    },
    turned={"size": (448, 448), "rotation": 20.0, "flip": 0.5},
    image_encoder=functools.partial(encoder, "resnet50", pixels="imagenet"),
    batch_size=64,
    group_size=None,
    epochs=101,
    warmup_epochs=0,
    learning_rate=1e-3,
    weight_decay=1e-6,
    queue=2**16,
    released_rate=True,
)
# Drawn eyes of some 1,500 people. The values were fixed before any result was known: the paper's where the size allows,
# and for two cores a narrow encoder and fewer epochs. With so few steps in an epoch the released rate would fall and
# rise several times, so the rate falls once, in the cosine that was meant.
FUNDUS = Retina(
    augmentation={
        "crop_scale": (0.3, 1.0),
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.05,
        "blur": 0.0,
    },
    turned={"rotation": 20.0, "flip": 0.5},
    image_encoder=functools.partial(encoder, "cnn", channels=(16, 32, 64, 128)),
    small=True,
    batch_size=64,
    group_size=32,
    epochs=40,
    warmup_epochs=0,
    checkpoint_every=200,
    learning_rate=1e-3,
    weight_decay=1e-6,
    queue=1024,
    hidden=256,
)
_PRESETS: Mapping[str, Retina] = {"ukb": UKB, "fundus": FUNDUS}


def retina(data: RetinaData) -> Retina:
    """Return the preset of a data set.

    Raises:
      UserError: there is no preset for the data set.
    """
    check_name(data, _PRESETS.keys(), "There is no preset for the data")
    return _PRESETS[data]
