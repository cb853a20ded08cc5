"""What a data set decides of every experiment on it, as the parts that configs are composed of."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.config.experiment import encoder, experiment, input, optimizer, projector, schedule, view


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """The values of a data set, and the parts made of them. Every method returns a new part.

    The defaults are the values that are published for DVM-CAR. `dataclasses.replace` changes some of them.

    Attributes:
      augmentation: options of the view `augment`.
      image_encoder: makes the encoder of images.
      small: whether encoders and projectors are of a size for two cores.
      dtype: of the computation.
      batch_size: examples per step.
      group_size: examples that are normalised together; None for the whole batch.
      epochs: passes over the training split.
      warmup_epochs: of these, with a rising learning rate.
      checkpoint_every: steps between checkpoints.
      learning_rate: the highest.
      weight_decay: of the optimizer.
      missing: what becomes of missing values of the table, see `input`.
      corruption: share of the table's columns that the view `scarf` replaces.
      queue: features that NNCLR's queue may hold; fewer than the training rows.
      background: class whose members have nothing in common that the others lack, and so do not attract; None for none.
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
        """Return a config with batch, length, optimizer and schedule; inputs, views, models and objective are empty."""
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
        """Return the input of the table; `options` are those of `input`, such as `label_as_feature=True`."""
        return input(**{"missing": self.missing, **options})

    def augment(self, **options: Any) -> ConfigDict:
        """Return the view of augmented images; `options` take the place of those of the data set."""
        return view("augment", **{**self.augmentation, **options})

    def augment_twice(self) -> dict[str, ConfigDict]:
        """Return the views `image_1` and `image_2` that methods on images alone compare.

        As in MMCL's code the first is always augmented, and the second with the data set's probability (0.95).
        """
        return {"image_1": self.augment(probability=1.0), "image_2": self.augment()}

    def corrupt(self) -> ConfigDict:
        """Return the view of corrupted rows of the table."""
        return view("scarf", rate=self.corruption)

    def table_encoder(self) -> ConfigDict:
        """Return the encoder of the table."""
        return encoder("table_mlp", hidden=256, features=128) if self.small else encoder("table_mlp")

    def projector(self) -> ConfigDict:
        """Return MMCL's projector, for images as for tables."""
        return projector("mlp", hidden=128, out=64) if self.small else projector("mlp")
