"""The options of `mmcl evaluate`: protocols, inputs, labels, budgets, and the training of heads."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.heads.adam import OPTIMIZERS, Optimizer
from mmcl_jax.evaluation.heads.cycle import EPOCHS, PEAK, SCHEDULES, OneCycle
from mmcl_jax.evaluation.heads.plateau import WATCHED, Plateau
from mmcl_jax.evaluation.protocols.boosting import TABULAR
from mmcl_jax.evaluation.protocols.logistic import LOGISTIC
from mmcl_jax.evaluation.protocols.probe import LEARNING_RATES, MAX_EPOCHS
from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.checks import check_choice
from mmcl_jax.evaluation.sources.missingness import STRATEGIES, Missingness, missingness_of
from mmcl_jax.evaluation.sources.source import BASELINES

UNLABELLED = ("retrieval", "confounding")  # the protocols that predict no label
PROTOCOLS = ("probe", "augmented_probe", "finetune", "unet", "knn", LOGISTIC, *UNLABELLED, *TABULAR, *RIVALS)
TRAINING = PROTOCOLS[:4]  # the protocols that train a head
TUNING = TRAINING[1:]  # those of them that read images in every step


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """The options of an evaluation; the defaults are those of the command line.

    Attributes:
      protocols: "probe", a linear head on frozen features (`probe.train_heads`); "knn", nearest neighbours of frozen
        features; "logistic", logistic regression with an elastic net on frozen features (see `logistic`);
        "augmented_probe" and "finetune", the protocols of Hager et al. on augmented images, which train the head alone
        or all weights (see `finetune`); "unet", a U-Net for masks on a frozen encoder; "retrieval" between projections
        of two modalities of test rows; "confounding", how well covariates are predicted from features of test rows, and
        retrieval within their strata; "features", gradient boosting on the columns of the table, on frozen features,
        and on both; "tabpfn", the same with TabPFN (see `boosting`); "forest", "boosting", "mlp", "lightgbm",
        "catboost", "realmlp" and "tabm", models on the columns alone, whatever the inputs (see `rivals`).
      inputs: to predict from: names of modalities joined by "+", whose features are concatenated (for kNN, each is
        scaled to length 1 first); "both" is "image+table". Retrieval is between the two of every `a+b` or, if no input
        joins two, between all pairs that the objective of the run compares.
      budgets: of training labels.
      draws: of labels, per seed and budget. A budget of all labels, or of a named subset, is drawn once, and protocols
        with random starts use as many starts.
      baselines: "random" (the encoders of the runs before training; fine-tuned, they are the supervised baseline),
        "pixels" and "columns" (the raw image or table as frozen features).
      only_baselines: evaluate the baselines and not the runs, which only lend them encoders and inputs.
      label: the column to predict, several columns that are one task, joined by "+", or a sequence of such labels; by
        default the store's first label that is a class, or else its first label. Rows without the label are left out.
      task: name of the task, for labels that can be several: an ordinal label is "ordinal" by default, and "class"
        ignores its order; "ordinal_logits" decodes it as ContIG does. A mask of one class is "segmentation" by default,
        and may be "masks".
      learning_rates: to choose from on validation; None for the six of Hager et al., or 0.01 for "one_cycle".
      max_epochs: the longest training; None for 500, or 100 for "one_cycle".
      schedule: "constant" rates; "plateau", rates that are halved while validation does not improve, by its loss, and
        "metric_plateau" by its primary metric (see `Plateau`); or "one_cycle", whose maxima are `learning_rates` and
        whose length is `max_epochs`:
        validation chooses an epoch, and ends no training.
      cycle_momentum: whether Adam's first decay moves with "one_cycle"; None for yes, as in PyTorch.
      tuning: how `finetune`, `augmented_probe` and `unet` train.
      trials: settings of each rival and of "logistic", of which validation chooses one; None for six (as many as there
        are rates), and for 32 of "logistic".
      optimizer: of heads: "adam", or "radam", rectified Adam with a second moment per weight, as of Fedorov et al.
      balanced: whether heads are trained on rows that are drawn so that every class is as frequent; in "logistic" every
        class has the same weight.
      allow_overlap: whether test rows may be rows that a run has seen in pretraining.
      keep: whether to save heads in the folder `heads` of their run; or another folder to save them in.
      missing: shares of the table that are hidden in the training, validation and test rows, each for scores of its
        own; 0 hides nothing.
      missing_by: the strategies that choose what is hidden, some of `missingness.STRATEGIES`.
      confounders: of "confounding": columns, features or entries of the store; by default its entry "covariates". Where
        they are named, "confounding" is among the protocols, so that its scores stand beside all others.

    Raises:
      UserError: a protocol or baseline is unknown or named twice, or a number is out of range.
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
    schedule: str = "constant"
    cycle_momentum: bool | None = None
    tuning: Tuning = dataclasses.field(default_factory=Tuning)
    trials: int | None = None
    optimizer: Optimizer = "adam"
    balanced: bool = False
    allow_overlap: bool = False
    keep: bool | Path = False
    missing: Sequence[float] = ()
    missing_by: Sequence[str] = STRATEGIES[:1]
    confounders: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.confounders and "confounding" not in self.protocols:
            object.__setattr__(self, "protocols", (*self.protocols, "confounding"))
        check_choice("--protocol", "protocol", self.protocols, PROTOCOLS)
        check_choice("--baselines", "baseline", self.baselines, BASELINES, required=False)
        check(len(self.rates) > 0 and min(self.rates) > 0, "--learning-rates: give at least one, all above 0.")
        check(self.epochs > 0, f"--max-epochs: must be positive, not {self.max_epochs}.")
        trains = any(name in TRAINING for name in self.protocols)
        check(
            not self.keep or trains,
            f"--keep: no head is trained by {' and '.join(self.protocols)}; leave --keep out, or add --protocol probe.",
        )
        check_name(self.schedule, SCHEDULES, "--schedule: there is no schedule")
        check(
            self.schedule == "constant" or trains,
            f"--schedule {self.schedule}: no head is trained by {' and '.join(self.protocols)}; leave --schedule out, "
            "or add --protocol finetune.",
        )
        check(
            self.schedule != "metric_plateau" or self.tuning.select == "metric",
            "--schedule metric_plateau: --select loss measures no metric on validation; use --schedule plateau, or "
            "leave --select out.",
        )
        check(
            self.schedule == "one_cycle" or self.cycle_momentum is None,
            "--cycle-momentum: constant rates have no cycle; add --schedule one_cycle, or leave it out.",
        )
        check_name(self.optimizer, OPTIMIZERS, "--optimizer: heads have no optimizer")
        check(
            self.optimizer == "adam" or trains,
            f"--optimizer {self.optimizer}: no head is trained by {' and '.join(self.protocols)}; leave it out, or add "
            "--protocol probe.",
        )
        check(
            not self.balanced or trains or LOGISTIC in self.protocols,
            f"--balanced: {' and '.join(self.protocols)} draws no rows to train on; leave it out, or add --protocol "
            "probe.",
        )
        check(
            self.tuning.normalisation == "frozen" or "augmented_probe" in self.protocols,
            "--normalisation adapts: encoders that a head alone is trained on adapt where they encode every batch; add "
            "--protocol augmented_probe, or leave it out.",
        )
        of_probe = ("batch_size", "head") if "probe" in self.protocols else ()
        changed = [name for name in self.tuning.changed if name not in of_probe]
        names = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        check(
            not names or self.tuning.head == "yolo" or any(name in TUNING for name in self.protocols),
            f"{names}: {' and '.join(self.protocols)} has no such setting; leave it out, or add --protocol finetune "
            "(or, for boxes, --head yolo).",
        )
        held = "--frozen-steps" if self.tuning.frozen_steps else "--frozen-epochs" if self.tuning.frozen_epochs else ""
        check(
            not held or self.cycle is None,
            f"{held}: a cycle of rates freezes nothing; leave --schedule or {held} out.",
        )
        check(
            not held or "finetune" in self.protocols,
            f"{held}: {' and '.join(self.protocols)} trains no encoder; leave it out, or add --protocol finetune.",
        )
        check(self.trials is None or self.trials > 0, f"--trials: must be positive, not {self.trials}.")
        check(
            self.trials is None or any(name in (LOGISTIC, *RIVALS) for name in self.protocols),
            f"--trials: {' and '.join(self.protocols)} has none; leave it out, or add --protocol boosting.",
        )
        check(self.draws > 0, f"--seeds: must be positive, not {self.draws}.")
        check_choice("--missing-by", "strategy", self.missing_by, STRATEGIES)
        check_choice("--missing", "rate", rates := [f"{rate:g}" for rate in self.missing], rates, required=False)
        if not any(missing.rate for missing in self.missingness):
            given = tuple(self.missing_by) != STRATEGIES[:1]
            check(not given, "--missing-by: nothing is hidden; also give rates, such as --missing 0,0.3,0.5.")
            return
        check(
            not self.keep,
            "--keep: a head that is trained on rows with hidden cells is no head for whole rows; leave --keep or "
            "--missing out.",
        )
        for name in self.protocols:
            check(
                name not in UNLABELLED,
                f"--protocol {name}: it compares whole rows; leave --missing out, or evaluate it in its own command.",
            )

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to choose from."""
        default = LEARNING_RATES if self.cycle is None else (PEAK,)
        return tuple(default if self.learning_rates is None else self.learning_rates)

    @property
    def cycle(self) -> OneCycle | None:
        """How the rates move; None for constant rates."""
        return OneCycle(self.cycle_momentum is not False) if self.schedule == "one_cycle" else None

    @property
    def plateau(self) -> Plateau | None:
        """How the rates fall while validation does not improve; None for rates that do not."""
        return Plateau(WATCHED[self.schedule]) if self.schedule in WATCHED else None

    @property
    def epochs(self) -> int:
        """The most epochs of a training."""
        default = MAX_EPOCHS if self.cycle is None else EPOCHS
        return default if self.max_epochs is None else self.max_epochs

    @property
    def missingness(self) -> list[Missingness]:
        """What is hidden in the tables, for scores of its own each.

        Raises:
          UserError: a rate is out of range.
        """
        return missingness_of(self.missing, self.missing_by)

    @property
    def predicting(self) -> list[str]:
        """The protocols that predict labels."""
        return [name for name in self.protocols if name not in UNLABELLED]

    @property
    def labels(self) -> list[str | None]:
        """The names of the labels; None for the default label of the store.

        Raises:
          UserError: the sequence of labels is empty.
        """
        if self.label is None or isinstance(self.label, str):
            return [self.label]
        check(len(self.label) > 0, "--label: name at least one label.")
        return list(self.label)
