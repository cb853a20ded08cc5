"""A head on table encoders as plain values, which predicts new rows without the folder of its run."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import polars as pl

from mmcl_jax.api.frames import frame_of
from mmcl_jax.api.snapshot import Snapshot, check_encoders
from mmcl_jax.data.schema import LABEL_TAG, Column
from mmcl_jax.encoders import Model
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.heads.engine import Trained
from mmcl_jax.evaluation.heads.standard import Standard
from mmcl_jax.evaluation.protocols.kept import HeadOfSource
from mmcl_jax.evaluation.sources.new_rows import table_rows
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model


@dataclasses.dataclass(frozen=True)
class TableHead:
    """A trained head, its encoders, and what leads from a raw row to their input.

    Attributes:
      snapshot: of the run; without weights if the encoders were trained with the head.
      trained: the head, with NumPy arrays.
      standard: the standardisation of the features of a probe; None for a head of fine-tuning.
    """

    snapshot: Snapshot
    trained: Trained
    standard: Standard | None = None

    @classmethod
    def of(cls, run: Run, model: Model | None, trained: Trained, standard: Standard | None = None) -> "TableHead":
        """Return the head without JAX's arrays and the run's folder.

        Args:
          run: whose files describe how rows are read.
          model: whose encoders the head was trained on, if they were not trained with it.
          trained: the head.
          standard: the standardisation of the features of a probe.
        """
        plain = {"params": trained.params, "encoder": trained.encoder}
        values = {name: jax.tree.map(np.asarray, arrays) for name, arrays in plain.items()}
        weights = ({}, {}) if model is None or trained.encoder is not None else split_model(model)
        return cls(Snapshot.of(run, weights), dataclasses.replace(trained, **values), standard)

    def outputs(self, X: Any) -> np.ndarray:
        """Return logits, or numbers in units of the label, `[N, outputs]` float64 of N raw rows.

        Raises:
          UserError: a column is absent, or a cell is not of its column's kind.
        """
        source = self._head.source
        inputs = source.inputs_of(self.trained.reads)
        rows = encoded_rows(rows_of(X, source.run, inputs), source.run, inputs)
        return self._head.outputs(rows).astype(np.float64)

    @functools.cached_property
    def _head(self) -> HeadOfSource:
        source = Source("run", self.snapshot.run)
        if self.trained.encoder is None:
            source = Source("run", self.snapshot.run, {"model": self.snapshot.model})
        return HeadOfSource(source=source, trained=self.trained, standard=self.standard)

    def __getstate__(self) -> dict[str, Any]:
        """Keep the plain values alone, not what was compiled of them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def table_inputs(run: Run, input: str) -> tuple[str, ...]:
    """Return the inputs behind "table", or several modalities joined by "+".

    Raises:
      UserError: the run has no such encoder, or an input is no table.
    """
    check_encoders(run.config, input)
    inputs = Source("run", run).inputs_of(modalities_of(input))
    for name in inputs:
        kind = run.inputs.specs[name].kind
        check(
            kind == "table", f"input: {input!r} reads the {kind} {name!r}; the estimators of tables read tables alone."
        )
    return inputs


def columns_of(run: Run, inputs: Sequence[str]) -> list[Column]:
    """Return the columns that inputs read, without a label that is a feature."""
    columns = {column.name: column for name in inputs for column in run.inputs.tables[name].schema.columns}
    return [column for column in columns.values() if LABEL_TAG not in column.tags]


def rows_of(X: Any, run: Run, inputs: Sequence[str]) -> pl.DataFrame:
    """Return rows as a data frame.

    An array `[N, F]` has the columns of the run in their order, which must all be numbers.

    Raises:
      UserError: X is no table, has no rows, or is an array of other columns.
    """
    if hasattr(X, "__array__") and not hasattr(X, "__arrow_c_stream__") and not hasattr(X, "columns"):
        X = np.asarray(X)
        columns = columns_of(run, inputs)
        coded = next((column.name for column in columns if column.coded), None)
        check(X.ndim == 2, f"X has {X.ndim} axes; give a data frame, or an array [N, F] of the run's columns.")
        check(
            X.shape[1] == len(columns) and np.issubdtype(X.dtype, np.number) and coded is None,
            f"X is an array of {X.shape[1]} columns without names, and the run reads {len(columns)} columns"
            + (f", of which {coded!r} is no number" if coded else "")
            + "; give a data frame, whose columns are matched by name.",
        )
        X = pl.DataFrame(X, schema=[column.name for column in columns])
    frame = frame_of(X, "X")
    check(frame.height > 0, "X has no rows.")
    return frame


def encoded_rows(frame: pl.DataFrame, run: Run, inputs: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the rows by input in the form that the encoders read.

    Raises:
      UserError: a column is absent, or a cell is not of its column's kind.
    """
    return {name: table_rows(frame, run.inputs, run.declaration, name) for name in inputs}


def check_label(run: Run, inputs: Sequence[str], label: str | None) -> None:
    """Raise `UserError` if the run's table encoder reads the label."""
    for name in inputs:
        for column in run.inputs.tables[name].schema.columns:
            if column.name == label:
                raise UserError(
                    f"label: {run.directory} was trained with {label!r} as a column of {name!r}, so its encoder reads "
                    "what it should predict; train without that column."
                )
