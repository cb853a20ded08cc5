"""The values and parts that a data set contributes to every experiment on it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.config.experiment import encoder, experiment, input, optimizer, projector, schedule, view


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """The values of a data set, and methods that return new parts of a config made of them.

    The defaults are the published values for DVM-CAR. Use `dataclasses.replace` to change some.

    Attributes:
      augmentation: options of the view `augment`.
      image_encoder: function that returns the encoder of images.
      small: whether encoders and projectors have a size for two cores.
      dtype: type of the computation.
      batch_size: samples per step.
      group_size: samples that are normalised together; None for the whole batch.
      epochs: passes over the training split.
      warmup_epochs: epochs at the beginning in which the learning rate rises.
      checkpoint_every: steps between checkpoints.
      learning_rate: peak learning rate.
      weight_decay: weight decay of the optimizer.
      missing: policy for missing values of the table, see `input`.
      corruption: share of the table's columns that the view `scarf` replaces.
      queue: size of NNCLR's queue, less than the number of training rows.
      background: class whose samples share no trait, such as "healthy", and so are no positives; None for none.
    """

    augmentation: Mapping[str, Any]
    image_encoder: Callable[[], ConfigDict]
    small: bool = False
    dtype: str = "float32"
    batch_size: int = 512
    group_size: int | None = 64
    epochs: int = 500
    warmup_epochs: int = 10
    checkpoint_every: int = 500
    learning_rate: float = 3e-4
    weight_decay: float = 1.5e-6
    missing: str = "refuse"
    corruption: float = 0.3
    queue: int = 16384
    background: int | None = None

    def experiment(self) -> ConfigDict:
        """Return a config with batch size, length, optimizer and schedule; inputs, views, models, terms are empty."""
        config = experiment()
        config.dtype = self.dtype
        config.batch_size = self.batch_size
        config.batch_norm.group_size = self.group_size
        config.epochs = self.epochs
        config.checkpoint_every = self.checkpoint_every
        config.optimizer = optimizer("adam_l2", weight_decay=self.weight_decay)
        config.schedule = schedule("warmup_cosine", learning_rate=self.learning_rate, warmup_epochs=self.warmup_epochs)
        return config

    def table_input(self, **options: Any) -> ConfigDict:
        """Return the input of the table; `options` are options of `input`, such as `label_as_feature=True`."""
        return input(**{"missing": self.missing, **options})

    def augment(self, **options: Any) -> ConfigDict:
        """Return the view of augmented images; `options` override the data set's."""
        return view("augment", **{**self.augmentation, **options})

    def augment_twice(self) -> dict[str, ConfigDict]:
        """Return the views `image_1` and `image_2` that methods on images alone compare.

        As in MMCL's code, the first view is always augmented, and the second with the data set's probability (0.95).
        """
        return {"image_1": self.augment(probability=1.0), "image_2": self.augment()}

    def corrupt(self) -> ConfigDict:
        """Return the view of the table with corrupted rows."""
        return view("scarf", rate=self.corruption)

    def table_encoder(self) -> ConfigDict:
        """Return the encoder of the table."""
        return encoder("table_mlp", hidden=256, features=128) if self.small else encoder("table_mlp")

    def table_resnet(self) -> ConfigDict:
        """Return the table encoder of MT-CMTM, a ResNet of 1-D convolutions over the columns."""
        return encoder("resnet1d_cbam", channels=32, depths=(1, 1)) if self.small else encoder("resnet1d_cbam")

    def image_resnet18(self) -> ConfigDict:
        """Return a ResNet-18, or, at a size for two cores, the encoder of images."""
        chosen = self.image_encoder()
        return chosen if self.small else encoder("resnet18", stem=chosen.stem)

    def table_transformer(self) -> ConfigDict:
        """Return TIP's encoder of the table, with a token per column."""
        return encoder("table_transformer", **self._transformer())

    def interaction(self) -> ConfigDict:
        """Return TIP's fusion: the columns attend to the image, and the class token is the pooled feature."""
        return encoder("cross_attention", pool="first", **self._transformer())

    def _transformer(self) -> dict[str, int]:
        """Return the size of TIP's transformers."""
        return {"width": 64, "heads": 4, "blocks": 2} if self.small else {"width": 512, "heads": 8, "blocks": 4}

    def projector(self, **options: Any) -> ConfigDict:
        """Return MMCL's projector, which images and tables share in form; `options` override its own."""
        return projector("mlp", **{**({"hidden": 128, "out": 64} if self.small else {}), **options})
