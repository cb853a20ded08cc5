"""Which columns a table encoder uses: how far its output moves if a column is shuffled over the test rows.

This is permutation importance (Breiman 2001; Fisher et al., JMLR 2019) of the output in place of the loss, so it needs
no labels, and frozen features have it as well as predictions.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.kept import load_head
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.reproduce.spec import COLUMNS_USED
from mmcl_jax.training.runs.run import Run

NOISE = "noise"  # the tag of columns that mean nothing
_SHUFFLES = 3
_MODALITY = "table"

Outputs = Callable[[Mapping[str, Any]], np.ndarray]


def column_use(outputs: Outputs, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the use of every column `[F]`: 0 if shuffling it changes nothing, about 1 if it decides everything.

    The mean squared distance between the outputs of a row before and after the shuffle is divided by that between two
    rows; it is the mean of three shuffles.

    Args:
      outputs: of rows of the table, `[N, D]`.
      rows: `[N, F]`, as the encoder reads them.
      seed: of the shuffles.
    """
    before = np.asarray(outputs({_MODALITY: rows}), np.float64)
    apart = 2 * float(before.var(axis=0).sum())
    use = np.zeros(rows.shape[1])
    for shuffle in range(_SHUFFLES):
        random = np.random.default_rng((seed, shuffle))
        order = random.permutation(len(rows))
        for column in range(rows.shape[1]):
            changed = rows.copy()
            changed[:, column] = rows[order, column]
            moved = np.asarray(outputs({_MODALITY: changed}), np.float64) - before
            use[column] += float(np.square(moved).sum(axis=1).mean())
    return use / (_SHUFFLES * apart) if apart > 0 else use


def noise_below(use: np.ndarray, noise: np.ndarray) -> float:
    """Return the share of pairs of a column of noise and another column in which the noise is used less.

    Example:
      >>> noise_below(np.array([0.5, 0.2, 0.3, 0.1]), np.array([False, False, True, True]))
      0.75
    """
    return float(roc_auc_score(~noise, use))


def examine(run: Run, store: Store, options: EvaluationOptions, *, method: str) -> tuple[Score, dict[str, float]]:
    """Return the share of pairs (see `noise_below`) as a score, and the use of every column by name.

    Args:
      run: whose table encoder is examined.
      store: with the rows; columns of noise have the tag "noise".
      options: one protocol: "probe" examines the frozen features of the run, or of the untrained encoder if this is the
        only baseline; "finetune" trains the encoder first, and examines the predictions.
      method: the name of the method in the score.
    """
    (protocol,) = options.protocols
    source = Source("random" if options.only_baselines else "run", run)
    rows = np.asarray(source.inputs(store, "test", _MODALITY))
    columns = run.inputs.tables[_MODALITY].schema.columns
    noise = np.array([NOISE in column.tags for column in columns])
    check(
        bool(noise.any() and not noise.all()),
        f"{run.directory}: no column of its table, or every column, has the tag {NOISE!r}; choose others with "
        "--config.inputs.table.columns.",
    )
    if protocol == "finetune":
        with tempfile.TemporaryDirectory() as folder:
            evaluate_runs([run], store, dataclasses.replace(options, keep=Path(folder)), log=lambda line: None)
            outputs: list[Outputs] = [load_head(path, run).outputs for path in sorted(Path(folder).iterdir())]
    else:
        outputs = [source.encoder(_MODALITY, "pooled")]
    use = np.mean([column_use(one, rows, seed=run.config.seed) for one in outputs], axis=0)
    score = Score(
        method=method,
        seed=run.config.seed,
        protocol=protocol,
        input=_MODALITY,
        label=str(options.label),
        budget="all",
        draw=0,
        metrics={COLUMNS_USED: noise_below(use, noise)},
        chosen={},
        fold=run.inputs.fold,
    )
    return score, {column.name: float(value) for column, value in zip(columns, use, strict=True)}
