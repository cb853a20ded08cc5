"""A classifier and a regressor in scikit-learn's manner: the table encoder of a run, fine-tuned on labelled rows."""

import abc
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from flax import nnx
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from mmcl_jax.api.given import AnyPath, path_of, several
from mmcl_jax.api.table_head import TableHead, check_label, columns_of, encoded_rows, rows_of, table_inputs
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.heads.batches import Examples
from mmcl_jax.evaluation.protocols.finetune import FinetuneSettings, finetune
from mmcl_jax.evaluation.protocols.kept import load_head
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.tasks import Class, Number, Task
from mmcl_jax.training.runs.run import Checkpoint, Run
from mmcl_jax.training.state.model import trained_model

_PARAMETERS = """

    `X` is a data frame of any library with Arrow's PyCapsule interface; its columns are matched by name, and other
    columns are not read. A run whose table has numbers alone also takes an array `[N, F]` of the columns in its order.
    Cells are read as those of the run's table were, and a missing value is what it is there.

    `fit` trains a linear head and the encoder, as `mmcl evaluate --protocol finetune` does. It holds rows out, which
    select the learning rate and the epoch. The estimator keeps its weights as NumPy arrays: after `fit` it needs no
    folder, and it can be pickled. (Load only pickles that you made yourself: a pickle can run any code.)

    Args:
      run: the run, or its folder, whose encoder is fine-tuned.
      checkpoint: of the run: "latest", "best" or a step; by default that of an opened run, and else the latest.
      input: the modality of the table, or several joined by "+", whose features are side by side.
      label: the column that `y` is, if the run's store has it; `fit` refuses it if the run's encoder reads it.
      pretrained: False trains the same encoder from scratch, from weights drawn by `random_state`.
      frozen: whether the encoder stays as it is, and only the head is trained.
      learning_rates: to select from; by default those of `mmcl evaluate`.
      schedule: of the learning rate: "constant", or "one_cycle".
      cycle_momentum: whether the momentum moves in "one_cycle"; by default it does.
      max_epochs: the longest training; 500 by default, with "one_cycle" its length, 100 by default.
      batch_size: most rows per step.
      held_out: the share of the rows that select settings, at least one.
      random_state: the seed of the rows that are held out, of initial weights, and of the order of rows.
      verbose: whether to print the progress of training.

    Attributes:
      head_: the head and its encoder as plain values.
      learning_rate_: that validation selected; NaN for a head without.
      epoch_: that validation selected, from 1.
      n_features_in_: the number of columns of `X`.
      feature_names_in_: the names of its columns.
"""


class _TableEstimator(BaseEstimator, abc.ABC):
    """The parameters of both estimators, and their training."""

    head_: TableHead

    def __init__(
        self,
        run: Run | AnyPath | None = None,
        *,
        checkpoint: Checkpoint | None = None,
        input: str = "table",
        label: str | None = None,
        pretrained: bool = True,
        frozen: bool = False,
        learning_rates: float | Sequence[float] | None = None,
        schedule: str = "constant",
        cycle_momentum: bool | None = None,
        max_epochs: int | None = None,
        batch_size: int = 512,
        held_out: float = 0.1,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.run = run
        self.checkpoint = checkpoint
        self.input = input
        self.label = label
        self.pretrained = pretrained
        self.frozen = frozen
        self.learning_rates = learning_rates
        self.schedule = schedule
        self.cycle_momentum = cycle_momentum
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.held_out = held_out
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Train the head and, unless it is frozen, the encoder.

        Args:
          X: N rows.
          y: `[N]` labels.

        Returns:
          The estimator.

        Raises:
          UserError: a row, column, label or parameter is wrong; it is named. No row is left out.
        """
        check(0 < self.held_out < 1, f"held_out: {self.held_out} is not between 0 and 1.")
        check(isinstance(self.random_state, int), f"random_state must be a whole number, not {self.random_state!r}.")
        options = EvaluationOptions(
            protocols=("finetune",),
            learning_rates=None if self.learning_rates is None else several(self.learning_rates),
            schedule=self.schedule,
            cycle_momentum=self.cycle_momentum,
            max_epochs=self.max_epochs,
        )
        run = self._opened()
        inputs = table_inputs(run, self.input)
        check_label(run, inputs, self.label)
        frame = rows_of(X, run, inputs)
        given = _labels(y, frame.height)
        task, targets, strata = self._task(given)
        held_out = _held_out(strata, self.held_out, self.random_state)
        every = Examples(encoded_rows(frame, run, inputs), targets)
        train, val = every.take(np.flatnonzero(~held_out)), every.take(np.flatnonzero(held_out))
        model = run.model()
        if not self.pretrained:
            model = trained_model(run.config, run.schema, run.inputs.specs, rngs=nnx.Rngs(self.random_state))
        settings = FinetuneSettings(
            task=task,
            modalities=modalities_of(self.input),
            frozen=self.frozen,
            learning_rates=options.rates,
            seeds=[(self.random_state, 0)],
            max_epochs=options.epochs,
            batch_size=self.batch_size,
            cycle=options.cycle,
        )
        splits = {"train": train, "val": val, "test": val}  # the metrics on test are not read
        report = print if self.verbose else None
        (tuned,) = finetune(model, run.config, splits, settings, fitted=run.inputs.fitted, report=report)
        self.head_ = TableHead.of(run, model, tuned.trained)
        self.learning_rate_, self.epoch_ = tuned.trained.rate, tuned.trained.round
        self.n_features_in_, self.feature_names_in_ = frame.width, np.array(frame.columns, dtype=object)
        return self

    @abc.abstractmethod
    def _task(self, given: np.ndarray) -> tuple[Task, np.ndarray, np.ndarray]:
        """Return the task, its targets `[N]`, and the codes `[N]` of the strata from which rows are held out."""

    def _opened(self) -> Run:
        check(self.run is not None, "run: name the run whose table encoder is to be trained.")
        run = self.run if isinstance(self.run, Run) else Run.open(path_of(self.run, "run"))
        return run if self.checkpoint is None else run.at(self.checkpoint)

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self.head_.outputs(X)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


class TableClassifier(ClassifierMixin, _TableEstimator):
    __doc__ = f"""Predict classes from rows of a table by the fine-tuned table encoder of a run.{_PARAMETERS}
      classes_: the classes, sorted.

    Example:
      >>> model = TableClassifier("runs/ads", schedule="one_cycle")
      >>> model.fit(ads, ads["model"]).predict_proba(new_ads)  # doctest: +SKIP
    """

    def _task(self, given: np.ndarray) -> tuple[Task, np.ndarray, np.ndarray]:
        numbers = np.issubdtype(given.dtype, np.floating)
        check(
            not numbers or bool((given == np.floor(given)).all()),
            "y has numbers that are no whole numbers, which are no classes; predict them with TableRegressor.",
        )
        try:
            self.classes_, codes = np.unique(given, return_inverse=True)
        except TypeError:
            raise UserError("y mixes texts and numbers; make them all texts.") from None
        check(len(self.classes_) > 1, f"y has one class, {str(self.classes_[0])!r}, so there is nothing to learn.")
        return Class(label=self.label or "y", classes=len(self.classes_)), codes, codes

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the log-odds of the second of two classes, `[N]`, or the logits of several, `[N, C]`."""
        logits = self._outputs(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of the probabilities of the classes, `[N, C]`, in the order of `classes_`."""
        return log_softmax(self._outputs(X), axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of the classes, `[N, C]` float64, in the order of `classes_`."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every row, `[N]`."""
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]


class TableRegressor(RegressorMixin, _TableEstimator):
    __doc__ = f"""Predict a number from rows of a table by the fine-tuned table encoder of a run.{_PARAMETERS}

    Example:
      >>> model = TableRegressor("runs/ads", schedule="one_cycle")
      >>> model.fit(ads, ads["price"]).predict(new_ads)  # doctest: +SKIP
    """

    def _task(self, given: np.ndarray) -> tuple[Task, np.ndarray, np.ndarray]:
        try:
            targets = given.astype(np.float64)
        except (TypeError, ValueError):
            raise UserError("y is not made of numbers; predict classes with TableClassifier.") from None
        check(bool(np.isfinite(targets).all()), "y has a number that is not finite.")
        check(bool(np.ptp(targets) > 0), f"y is {targets[0]:g} in every row, so there is nothing to learn.")
        return Number(label=self.label or "y"), targets, np.zeros(len(targets), int)

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted number of every row, `[N]` float64, in units of `y`."""
        return self._outputs(X)[:, 0]


def load_estimator(head: AnyPath, run: Run | AnyPath | None = None) -> TableClassifier | TableRegressor:
    """Return a head that `mmcl evaluate --keep` saved as a fitted estimator.

    Args:
      head: its folder.
      run: its run; needed only if the run was moved.

    Raises:
      UserError: the folder is no head or is damaged; or the head reads anything but tables, or predicts anything but
        one class or one number.

    Example:
      >>> model = mj.load_estimator("runs/ads/heads/NAME")  # doctest: +SKIP
      >>> model.predict_proba(new_ads)  # doctest: +SKIP
    """
    opened = run if run is None or isinstance(run, Run) else Run.open(path_of(run, "run"))
    kept = load_head(path_of(head, "head"), opened)
    task, source, input = kept.trained.task, kept.source, "+".join(kept.trained.reads)
    check(
        isinstance(task, Class | Number) and source.kind != "raw",
        f"{head} predicts {task.label!r} ({task.name}) from {'raw values' if source.kind == 'raw' else input}; an "
        "estimator predicts one class or one number from an encoder. load_head reads it.",
    )
    inputs = table_inputs(source.run, input)
    made = TableClassifier if isinstance(task, Class) else TableRegressor
    frozen = kept.trained.encoder is None
    model = made(source.run, input=input, label=task.label, pretrained=source.kind == "run", frozen=frozen)
    model.head_ = TableHead.of(source.run, source.model if frozen else None, kept.trained, kept.standard)
    names = [column.name for column in columns_of(source.run, inputs)]
    model.n_features_in_, model.feature_names_in_ = len(names), np.array(names, dtype=object)
    model.learning_rate_, model.epoch_ = kept.trained.rate, kept.trained.round
    if isinstance(model, TableClassifier):
        (classes,) = kept.labels.values()
        model.classes_ = np.array(classes)
    return model


def _labels(y: Any, rows: int) -> np.ndarray:
    """Return the labels `[N]`.

    Raises:
      UserError: they are not one per row, or one is missing.
    """
    check(y is not None, "y is missing; give a label for every row (this estimator requires y to be passed).")
    given = np.asarray(y)
    given = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
    check(given.ndim == 1, f"y has the shape {' x '.join(map(str, given.shape))}; give one label per row.")
    check(len(given) == rows, f"y has {len(given)} labels, and X has {rows} rows; give a label for every row.")
    missing = [row for row, label in enumerate(given.tolist()) if label is None or label != label]
    check(
        not missing,
        f"y has no label for row {missing[0] + 1 if missing else 0} ({len(missing)} in all); leave such rows out.",
    )
    return given.astype(str) if given.dtype == object and all(isinstance(one, str) for one in given) else given


def _held_out(strata: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a mask `[N]` of the rows that select settings: a share of every stratum, at least one row in all.

    Every stratum keeps a row to learn from.

    Raises:
      UserError: no stratum has two rows.
    """
    mask = np.zeros(len(strata), bool)
    order = np.random.default_rng(seed).permutation(len(strata))
    counts = np.bincount(strata)
    check(
        bool(counts.max() > 1),
        f"y has {len(strata)} rows, none of which can be held out to select settings: a class, or a number, needs two.",
    )
    wanted = np.round(counts * share).astype(int)
    if wanted.sum() == 0:
        wanted[counts.argmax()] = 1
    for stratum, count in enumerate(np.minimum(wanted, np.maximum(counts - 1, 0))):
        mask[order[strata[order] == stratum][:count]] = True
    return mask
