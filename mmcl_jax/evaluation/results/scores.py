"""One measured number of one method, with everything that says what it is."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """What a method reached on test.

    Attributes:
      method: the experiment's name, or that of a baseline.
      seed: of pretraining.
      protocol: one of `protocol.PROTOCOLS`.
      input: the modalities, joined by "+" ("both" is image and table); for retrieval the two, "image-table".
      label: the column that was predicted, or several, joined by "+"; empty for retrieval.
      budget: the labels used, as `str(Budget)`; "no labels" for retrieval.
      draw: number of the draw of labels (and, where training is random beyond that, of its seed).
      metrics: on test, by name, and "val_" + the primary metric: that on validation of the settings chosen by it.
      chosen: these settings, such as `{"learning_rate": 0.003}`.
      absent: per split, the classes that it has no row of (for train: among the rows of the draws).
      rows: what every test row adds to the primary metric, packed (see `per_row`); empty where that is not known.
      fold: of the store that the run was trained on, whose test rows these are; None for the store's own splits.
      task: the kind of task, such as "ordinal"; empty for retrieval, and for scores of earlier versions.
    """

    method: str
    seed: int
    protocol: str
    input: str
    label: str
    budget: str
    draw: int
    metrics: dict[str, float]
    chosen: dict[str, float]
    absent: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    rows: str = ""
    task: str = ""
    fold: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the score as a dict of JSON values; NaN becomes None."""
        raw = dataclasses.asdict(self)
        return {**raw, "metrics": {name: None if math.isnan(v) else v for name, v in self.metrics.items()}}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Score":
        """Return the inverse of `to_json`."""
        metrics = {name: math.nan if value is None else value for name, value in raw["metrics"].items()}
        return cls(**{**raw, "metrics": metrics})
