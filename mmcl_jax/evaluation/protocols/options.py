"""What `mmcl evaluate` is asked for: protocols, inputs, labels, budgets, and how heads are trained."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.probe import LEARNING_RATES, MAX_EPOCHS
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.checks import check_choice
from mmcl_jax.evaluation.sources.source import BASELINES

PROTOCOLS = ("probe", "augmented_probe", "finetune", "knn", "retrieval")
TRAINING = PROTOCOLS[:3]  # those that train a head


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """The options of an evaluation; the defaults are those of the command line.

    Attributes:
      protocols: "probe", a linear head on frozen features (`probe.train_heads`); "knn", their nearest neighbours;
        "augmented_probe" and "finetune", Hager et al.'s own, with augmented images, of the head or of all weights (see
        `finetune`); "retrieval" between projections of two modalities that the run compares,
        of the test split.
      inputs: what is predicted from: names of modalities joined by "+", whose features are side by side (for kNN, each
        of length 1); "both" is "image+table". Retrieval is between the two of every `a+b` or, where no input joins
        two, between all pairs that the run's objective compares.
      budgets: how many labels.
      draws: of labels, per seed and budget. A budget of all labels, or of a named subset, is drawn once; the protocols
        that train from a random start then do so from so many.
      baselines: "random" (the runs' encoders before training; fine-tuned, it is the supervised baseline and is called
        so), "pixels" and "columns" (the input itself, where it is the image or the table, and frozen).
      only_baselines: of the runs, evaluate nothing but the baselines that they lend their encoders and inputs to.
      label: the column to predict, or several that are one task, joined by "+", or a sequence of such labels; by
        default the store's first that is a class, or its first. Rows without it are left out.
      task: what kind of task the labels are, where they can be several: an ordinal label is "ordinal" by default, or
        "class", which takes no notice of its order.
      learning_rates: to choose from on validation; None for the six of Hager et al.
      max_epochs: the longest training; None for 500.
      allow_overlap: whether test rows may be rows that a run has seen in pretraining.
      keep: whether heads are kept, in the folder `heads` of their run, or else the folder that they are kept in.

    Raises:
      UserError: a protocol or baseline is unknown or given twice, or nothing could be trained with the numbers.
    """

    protocols: Sequence[str] = ("probe",)
    inputs: Sequence[str] = ("image",)
    budgets: Sequence[Budget] = (Budget(),)
    draws: int = 5
    baselines: Sequence[str] = BASELINES
    only_baselines: bool = False
    label: str | Sequence[str] | None = None
    task: str | None = None
    learning_rates: Sequence[float] | None = None
    max_epochs: int | None = None
    allow_overlap: bool = False
    keep: bool | Path = False

    def __post_init__(self) -> None:
        check_choice("--protocol", "protocol", self.protocols, PROTOCOLS)
        check_choice("--baselines", "baseline", self.baselines, BASELINES, some=False)
        check(len(self.rates) > 0 and min(self.rates) > 0, "--learning-rates: give at least one, all above 0.")
        check(self.epochs > 0, f"--max-epochs: must be positive, not {self.max_epochs}.")
        check(
            not self.keep or any(name in TRAINING for name in self.protocols),
            f"--keep: no head is trained by {' and '.join(self.protocols)}; leave --keep, or add --protocol probe.",
        )
        check(self.draws > 0, f"--seeds: must be positive, not {self.draws}.")

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to choose from."""
        return tuple(LEARNING_RATES if self.learning_rates is None else self.learning_rates)

    @property
    def epochs(self) -> int:
        """The most epochs of a training."""
        return MAX_EPOCHS if self.max_epochs is None else self.max_epochs

    @property
    def predicting(self) -> list[str]:
        """The protocols that predict labels."""
        return [name for name in self.protocols if name != "retrieval"]

    @property
    def labels(self) -> list[str | None]:
        """The labels; None for the store's first.

        Raises:
          UserError: none is named.
        """
        if self.label is None or isinstance(self.label, str):
            return [self.label]
        check(len(self.label) > 0, "--label: name at least one label.")
        return list(self.label)
