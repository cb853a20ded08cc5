"""Elastic-net logistic regression on frozen features, whose penalty validation chooses among spread settings."""

import warnings
from collections.abc import Mapping

import numpy as np
from scipy.stats import qmc
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.rivals.base import metrics_of, outputs_of
from mmcl_jax.tasks import Class, Ordinal, Task

LOGISTIC = "logistic"
TRIALS = 32  # the released code of Fedorov et al. takes 500
ITERATIONS = 200  # of SAGA, as there
STRENGTHS = (1e-6, 1e3)  # of C, the inverse of the penalty


def settings_of(trials: int, seed: tuple[int, int]) -> list[dict[str, float]]:
    """Return the settings of the trials: `C` from 1e-6 to 1e3 with a uniform logarithm, and `l1_ratio` from 0 to 1.

    They are Halton's sequence, which fills the square evenly, shifted by the seed; more trials begin with those of
    fewer.

    Example:
      >>> [sorted(one) for one in settings_of(1, (0, 0))]
      [['C', 'l1_ratio']]
      >>> settings_of(8, (0, 0))[:3] == settings_of(3, (0, 0))
      True
    """
    shift = np.random.default_rng(list(seed)).random(2)
    low, high = np.log(STRENGTHS)
    points = (qmc.Halton(2, scramble=False).random(trials) + shift) % 1
    return [{"C": float(np.exp(low + (high - low) * c)), "l1_ratio": float(ratio)} for c, ratio in points]


def check_logistic(task: Task) -> None:
    """Raise `UserError` unless the task is one class or grade."""
    check(
        isinstance(task, Class | Ordinal),
        f"--protocol {LOGISTIC}: {task.label!r} is a task of kind {task.name}; this protocol predicts one class or "
        "grade, so use --protocol probe.",
    )


def logistic(
    features: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    rows: np.ndarray,
    *,
    task: Task,
    seed: tuple[int, int],
    trials: int = TRIALS,
    balanced: bool = False,
) -> tuple[dict[str, float], dict[str, float], np.ndarray]:
    """Fit a logistic regression by every trial, and measure the best on validation once on test.

    This is the protocol of the released code of Fedorov et al.: features are standardised by the drawn training rows,
    and the penalty is an elastic net, fitted by SAGA in at most 200 passes. The AUROC on validation chooses (of more
    than two classes, the mean over one class against the rest, where the released code takes pairs of classes), or the
    primary metric of a task that has none. The released code searches by Optuna; these trials are spread beforehand.

    Args:
      features: per split, `[N, D]`.
      targets: of these rows, per split, class codes `[N]`.
      rows: indices of the drawn training rows, `[n]`.
      task: to predict.
      seed: of the run, and number of the draw.
      trials: number of settings.
      balanced: whether every class has the same weight.

    Returns:
      The metrics of `task` on test, and "val_" + its primary metric on validation; the chosen `C` and `l1_ratio`, the
      number of `passes`, and the share of weights that are `zero`; and the shares of the classes on test,
      `[M, classes]`.

    Raises:
      UserError: the drawn rows have one class.
    """
    codes = targets["train"][rows]
    check(
        len(np.unique(codes)) > 1,
        f"--protocol {LOGISTIC}: the {len(rows)} drawn training rows have one class of {task.label!r}; draw more rows.",
    )
    scaler = StandardScaler().fit(features["train"][rows].astype(np.float64))
    train, val, test = (scaler.transform(features[split].astype(np.float64)) for split in ("train", "val", "test"))
    best: tuple[float, LogisticRegression, dict[str, float]] | None = None
    metric = _metric(task, targets["val"])
    for settings in settings_of(trials, seed):
        model = _fitted(train[rows], codes, settings, seed, balanced=balanced)
        shares = outputs_of(model.predict_proba(val), model.classes_, task)
        reached = task.metrics(shares, targets["val"], shares=True)
        if best is None or _better(task, metric, reached[metric], best[0]):
            zero = float((model.coef_ == 0).mean())
            chosen = {**settings, "passes": float(np.max(model.n_iter_)), "zero": zero}
            best = reached[metric], model, {**chosen, f"val_{task.primary}": reached[task.primary]}
    assert best is not None
    _, model, chosen = best
    reached_on_val = {name: chosen.pop(name) for name in [f"val_{task.primary}"]}
    outputs = outputs_of(model.predict_proba(test), model.classes_, task)
    return {**metrics_of(task, outputs, targets["test"]), **reached_on_val}, chosen, outputs


def _metric(task: Task, val: np.ndarray) -> str:
    """Return the metric that chooses: the AUROC where validation has one."""
    return "auroc" if isinstance(task, Class) and len(np.unique(val)) > 1 else task.primary


def _better(task: Task, metric: str, value: float, best: float) -> bool:
    return value > best if metric == "auroc" else task.better(value, best)


def _fitted(
    train: np.ndarray, codes: np.ndarray, settings: Mapping[str, float], seed: tuple[int, int], *, balanced: bool
) -> LogisticRegression:
    # From scikit-learn 1.8 on, `l1_ratio` alone says that the penalty is an elastic net.
    named = {"penalty": "elasticnet"} if LogisticRegression().penalty == "l2" else {}
    model = LogisticRegression(
        **named,
        solver="saga",
        max_iter=ITERATIONS,
        class_weight="balanced" if balanced else None,
        random_state=int(np.random.SeedSequence(seed).generate_state(1)[0] % 2**31),
        C=settings["C"],
        l1_ratio=settings["l1_ratio"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the protocol stops at 200 passes, which `chosen` tells
        return model.fit(train, codes)
