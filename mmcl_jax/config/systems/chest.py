"""The values and parts of LoVT's experiments (Mueller et al., ECCV 2022): radiographs, with reports or alone."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ml_collections import ConfigDict

from mmcl_jax.config.experiment import encoder, input, optimizer, projector, schedule, term, view
from mmcl_jax.config.preset import Preset
from mmcl_jax.errors import check_name

# MIMIC-CXR at the published size, and drawn chests at a size for two cores.
ChestData = Literal["mimic", "chest"]
# CheXpert's labels of which the baseline learns, and which the online probes predict.
CHEXPERT_LABELS = ("cardiomegaly", "edema", "consolidation", "atelectasis", "pleural_effusion")
SEED = 12345


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chest(Preset):
    """A preset with the parts that radiographs and reports add; `augmentation` is that of the image-only baselines.

    `batch_size`, `learning_rate` and `weight_decay` are LoVT's, and `epochs` is the limit of all methods that stop
    early.

    Attributes:
      frontal: options of the view `frontal` of an image beside a report.
      report_encoder: function that returns the encoder of reports.
      max_tokens: the largest number of tokens of a report.
      slices: number of samples that are contrasted with each other, LoVT's batch on the accelerator.
      micro_batch: samples that are encoded at a time; None for the whole batch.
      monitor: values of `config.monitor`.
      image_epochs: epochs of the image-only baselines that do not stop early.
      hidden: width of the hidden layer of all projectors.
      out: width of LoVT's embeddings.
      patience: of early stopping, in epochs.
    """

    frontal: Mapping[str, Any]
    image_encoder: Callable[..., ConfigDict]
    report_encoder: Callable[..., ConfigDict]
    max_tokens: int
    slices: int = 32
    micro_batch: int | None = None
    monitor: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"epochs": 1, "rows": 2048})
    image_epochs: int = 100
    hidden: int = 2048
    out: int = 512
    patience: int = 10

    def experiment(self) -> ConfigDict:
        """Return a config with LoVT's optimizer and schedule: AdamW, at a rate that falls and rises in two epochs.

        After every epoch, a pass over the validation rows keeps the best checkpoint, and the training stops after 10
        passes without a better one; linear probes of the labels are measured. Inputs, views, models, terms are empty.
        """
        config = super().experiment()
        config.seed = SEED
        config.micro_batch = self.micro_batch
        config.optimizer = optimizer("adamw", weight_decay=self.weight_decay)
        config.schedule = schedule("cosine_cycles", learning_rate=self.learning_rate)
        config.validation.epochs = 1
        config.monitor.update(self.monitor)
        config.stop = {"patience": self.patience, "min_delta": 1e-5, "on": ()}
        return config

    def image_only(self, **options: Any) -> "Chest":
        """Return the preset of a baseline on images alone, whose published values are `options` at the published size.

        On drawn chests, all methods have the values of the preset.
        """
        published = {"batch_size": 64, "group_size": None, "micro_batch": None, **options}
        return self if self.small else dataclasses.replace(self, **published)

    def cosine(self, *, warmup_epochs: int) -> ConfigDict:
        """Return the config of a baseline on images alone: Adam, one cosine over all epochs, and no early stopping."""
        config = dataclasses.replace(self, epochs=self.image_epochs, warmup_epochs=warmup_epochs).experiment()
        config.optimizer = optimizer("adam_l2", weight_decay=self.weight_decay)
        config.schedule = schedule("warmup_cosine", learning_rate=self.learning_rate, warmup_epochs=warmup_epochs)
        config.stop.patience = None
        return config

    def plateau(self, *, patience: int, stop: int) -> ConfigDict:
        """Return a config with Adam, whose rate is halved where the validation loss stops falling."""
        config = self.experiment()
        config.optimizer = optimizer("adam_l2", weight_decay=self.weight_decay)
        config.schedule = schedule("plateau", learning_rate=self.learning_rate, factor=0.5, patience=patience)
        config.stop.patience = stop
        return config

    def inputs(self) -> dict[str, ConfigDict]:
        """Return the inputs: images and reports."""
        return {"image": input(), "report": input()}

    def views(self, *, sentences: str = "all") -> dict[str, ConfigDict]:
        """Return a view of the image and one of the report, of "all" its sentences or of "one"."""
        report = view("report", modality="report", max_tokens=self.max_tokens, sentences=sentences)
        return {"image": self.radiograph(), "report": report}

    def radiograph(self) -> ConfigDict:
        """Return LoVT's view of an image."""
        return view("frontal", **self.frontal)

    def augment_twice(self) -> dict[str, ConfigDict]:
        """Return the views `image_1` and `image_2` that methods on images alone compare."""
        return {name: view("frontal", **{**self.frontal, **self.augmentation}) for name in ("image_1", "image_2")}

    def encoders(self, *, image: str = "attention", report: str = "attention") -> dict[str, ConfigDict]:
        """Return the encoders, pooled by "attention", or by the mean over the image and the maximum over the report."""
        made = {"image": (self.image_encoder, image), "report": (self.report_encoder, report)}
        return {
            name: make(pooling=pooling) if pooling == "attention" else make() for name, (make, pooling) in made.items()
        }

    def project(self, *keys: str) -> dict[str, ConfigDict]:
        """Return LoVT's projectors."""
        return {key: projector("lovt_mlp", hidden=self.hidden, out=self.out) for key in keys}

    def probes(self, *views: str) -> tuple[ConfigDict, ...]:
        """Return a linear probe of CheXpert's labels beside the training, on the features of each of these views."""
        return tuple(
            term("multi_label", between=(view,), labels=CHEXPERT_LABELS, detached=True, dropout=0.2) for view in views
        )

    def pixelpro(self) -> ConfigDict:
        """Return the config of PixelPro: Adam at its own rate, and a target network of which 1 % is new per step."""
        config = self.image_only(learning_rate=1e-3, weight_decay=1e-5).cosine(warmup_epochs=0)
        config.target.decay = 0.99
        return config

    def pixelpro_head(self) -> ConfigDict:
        """Return a projector or predictor of PixelPro."""
        return projector("mlp_norm", hidden=(self.hidden,), out=self.out, out_bias=True)

    def pixelpro_terms(self, pixel: str) -> tuple[ConfigDict, ...]:
        """Return the term of pixels, such as ".local" behind the name of a view, and the instance term."""
        return (
            term("pixpro", between=(f"image_1{pixel}", f"image_2{pixel}"), gamma=2.0, threshold=0.7, weight=1.0),
            # BYOL's term is 2 - 2 cos of each direction, and the pixel term - cos of each: half of it has equal weight.
            term("byol", between=("image_1", "image_2"), weight=0.5),
        )

    def untrained(self) -> ConfigDict:
        """Return a config without a step; inputs, views, models, terms are empty, and the terms are not computed."""
        config = dataclasses.replace(self, epochs=0).experiment()
        config.schedule = schedule("constant", learning_rate=self.learning_rate)
        config.validation.epochs = config.stop.patience = None
        return config

    def imagenet(self) -> "Chest":
        """Return the preset whose image encoder begins with a file of ImageNet weights, ResNet-18 on drawn chests."""
        base = self
        if self.small:  # an encoder that torchvision has weights of
            base = dataclasses.replace(
                self,
                frontal={**self.frontal, "channels": 3},
                image_encoder=functools.partial(encoder, "resnet18", pixels="imagenet"),
            )
        weights = {"weights": f"{base.image_encoder().name}.pth", "weights_pixels": "imagenet"}
        return dataclasses.replace(base, image_encoder=functools.partial(base.image_encoder, **weights))

    def contrast(self) -> ConfigDict:
        """Return the global term within slices of the batch: temperature 0.1, image to report weighs 0.75.

        Other reports of the slice are negatives, also if they are equal or of the same person, as in the released code.
        """
        options: dict[str, Any] = {"between": ("image", "report"), "temperature": 0.1, "balance": 0.75}
        return term("clip", **options, within=self.slices)


# 512 samples are 16 steps of gradient accumulation over 32, within which samples are contrasted and normalised.
_GREY_TO_RGB = {"size": (224, 224), "channels": 3}
MIMIC = Chest(
    # Of the SSL baselines: the released code resizes to 512 pixels first, and crops, jitters and blurs less often.
    augmentation={
        "crop_scale": (0.08, 1.0),
        "rotation": 0.0,
        "shift": 0.0,
        "zoom": (1.0, 1.0),
        "jitter": 0.8,
        "brightness": 0.8,
        "contrast": 0.8,
        "blur": 0.5,
        "blur_sigma": (0.1, 2.0),
    },
    frontal=_GREY_TO_RGB,
    image_encoder=functools.partial(encoder, "resnet50", pixels="imagenet"),
    report_encoder=functools.partial(encoder, "bert"),
    max_tokens=512,
    dtype="bfloat16",
    batch_size=512,
    group_size=32,
    micro_batch=64,
    epochs=100,
    learning_rate=1e-4,
    weight_decay=1e-6,
)
# Drawn chests of some 6,400 training studies at 56 pixels, a quarter of the published side: a blur has a quarter of the
# width. The encoder has the published grid of 7 x 7, whose positions must see the whole image to learn (with one
# convolution for each size they see 15 pixels, and the AUROC of supervised training is .73 in place of .89). BERT is
# small and trained from the beginning (at the rate 1e-3, with which LoVT's schedule begins, its global term had learned
# nothing after two epochs). These values were chosen on the validation losses of `lovt` and `chexpert`, and fixed
# before any downstream result was known. Images beside reports are not mirrored, since reports name the sides.
CHEST = dataclasses.replace(
    MIMIC,
    augmentation={**MIMIC.augmentation, "flip": 0.5, "blur_kernel": 7, "blur_sigma": (0.1, 0.5)},
    frontal={"flip": 0.0, "blur_kernel": 7, "blur_sigma": (0.1, 0.75)},
    image_encoder=functools.partial(encoder, "cnn", channels=(32, 64, 128), depths=(1, 2, 3)),
    report_encoder=functools.partial(
        encoder, "bert", layers=2, width=128, heads=4, hidden=256, positions=64, frozen_layers=None, sentences=16
    ),
    max_tokens=64,
    small=True,
    dtype="float32",
    batch_size=32,
    micro_batch=None,
    monitor={"epochs": 3, "rows": 512},
    epochs=9,
    image_epochs=9,
    warmup_epochs=1,
    checkpoint_every=200,
    learning_rate=4e-4,
    hidden=256,
    out=128,
)
_PRESETS: Mapping[str, Chest] = {"mimic": MIMIC, "chest": CHEST}


def chest(data: ChestData) -> Chest:
    """Return the preset of a data set.

    Raises:
      UserError: there is no preset for the data set.
    """
    check_name(data, _PRESETS.keys(), "There is no preset for the data")
    return _PRESETS[data]
