"""The trials of a rival: validation chooses among its default settings and drawn ones, and test is measured once."""

import dataclasses
import time
from collections.abc import Mapping

import numpy as np
from threadpoolctl import threadpool_limits

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.protocols.rivals.base import FittedRival, RivalData, Settings, columns_with_values, metrics_of
from mmcl_jax.tasks import Task

TRIALS = 6  # as many as the probe has learning rates


@dataclasses.dataclass(frozen=True)
class RivalResult:
    """What a rival reached.

    Attributes:
      metrics: of the task on test, and "val_" + the primary metric on validation.
      chosen: the number of the chosen trial (from 0, the defaults), its settings, and what was chosen within the fit.
      outputs: on test, `[M, outputs]`.
      cost: the "seconds" of all trials, and the number of "parameters" or "leaves" of the chosen model.
    """

    metrics: dict[str, float]
    chosen: dict[str, float]
    outputs: np.ndarray
    cost: dict[str, float]


def settings_of(protocol: str, trials: int, seed: tuple[int, int]) -> list[Settings]:
    """Return the settings of the trials: the defaults, then drawn ones; more trials begin with those of fewer."""
    random = np.random.default_rng([*seed, list(RIVALS).index(protocol)])
    return [{}, *(RIVALS[protocol].draw(random) for _ in range(trials - 1))]


def compete(
    columns: Mapping[str, np.ndarray],
    categorical: np.ndarray,
    targets: Mapping[str, np.ndarray],
    rows: np.ndarray,
    *,
    protocol: str,
    task: Task,
    seed: tuple[int, int],
    trials: int = TRIALS,
) -> RivalResult:
    """Fit a rival to the drawn training rows by every trial, and measure the best on test.

    Args:
      columns: per split, `[N, F]` float64 with NaN for missing values and codes for categories.
      categorical: whether a column holds categories `[F]`.
      targets: of these rows, per split.
      rows: indices of the training rows `[n]` that were drawn.
      protocol: the name of the rival.
      task: to predict: a class, a grade or a number.
      seed: of the run, and number of the draw; it decides the trials and the random numbers of the fits.
      trials: number of settings to choose from.

    Raises:
      UserError: no column has a value in the drawn rows, or every fit diverged.
    """
    known = columns_with_values(columns["train"][rows], protocol)
    by_split = {split: values[:, known] for split, values in columns.items()}
    data = RivalData(
        task=task,
        train=by_split["train"][rows],
        labels=targets["train"][rows],
        val=by_split["val"],
        val_labels=targets["val"],
        categorical=categorical[known],
        seed=int(np.random.SeedSequence(seed).generate_state(1)[0]),
    )
    best: tuple[float, dict[str, float], FittedRival] | None = None
    start = time.monotonic()
    with threadpool_limits(data.threads):
        for number, settings in enumerate(settings_of(protocol, trials, seed)):
            fitted = RIVALS[protocol].fit(data, settings)
            value = data.value(fitted.outputs(data.val))
            if best is None or task.better(value, best[0]):
                best = value, {"trial": float(number), **settings, **fitted.chosen}, fitted
    seconds = time.monotonic() - start
    assert best is not None
    reached, chosen, model = best
    if np.isnan(reached):
        raise UserError(f"--protocol {protocol}: every fit of {task.label!r} diverged; use another protocol.")
    outputs = model.outputs(by_split["test"])
    metrics = {**metrics_of(task, outputs, targets["test"]), f"val_{task.primary}": reached}
    return RivalResult(metrics, chosen, outputs, {"seconds": seconds, **model.size})
