"""The score of one method on one draw of labels, with everything that identifies it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

from mmcl_jax.border import Real, as_type


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """The metrics that a method reached on test.

    Attributes:
      method: name of the experiment or of the baseline.
      seed: of pretraining.
      protocol: one of `options.PROTOCOLS`.
      input: the modalities, joined by "+" ("both" is image and table); for retrieval the pair, such as "image-table".
      label: the column that was predicted, or several columns, joined by "+"; empty for retrieval.
      budget: the labels used, as `str(Budget)`; "no labels" for retrieval.
      draw: number of the draw of labels and of the random start.
      metrics: on test, by name; "val_" + the primary metric is its value on validation at the chosen settings.
      chosen: the settings that validation chose, such as `{"learning_rate": 0.003}`.
      absent: per split, the classes without rows (for train: without rows in the draws).
      rows: the contribution of every test row, or of every person of a store with groups, to the primary metric,
        packed (see `per_row`); empty if the metric has none.
      fold: of the store, whose splits the run was trained and tested on; None for the store's own splits.
      task: the kind of task, such as "ordinal"; empty for retrieval, and for scores of earlier versions.
      missing: share of the table that was hidden in training, validation and test; 0 for whole rows.
      missing_by: strategy that chose what was hidden, of `missingness.STRATEGIES`; "" for whole rows.
      order: by table, the columns in the order in which a strategy hides columns; {} for other strategies.
      cost: of a rival: the "seconds" of all its trials, and the number of "parameters" or "leaves" of the chosen one.
      encoder: the identity of what was fine-tuned (`Source.encoder_of`); empty for other protocols, and for scores of
        earlier versions.
    """

    method: str
    seed: int
    protocol: str
    input: str
    label: str
    budget: str
    draw: int
    metrics: dict[str, Real]
    chosen: dict[str, Real]
    absent: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    rows: str = ""
    task: str = ""
    fold: int | None = None
    missing: float = 0.0
    missing_by: str = ""
    order: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    encoder: str = ""
    cost: dict[str, Real] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the score as a dict of JSON values; a metric that is NaN is None."""
        raw = dataclasses.asdict(self)
        return {**raw, "metrics": {name: None if math.isnan(v) else v for name, v in self.metrics.items()}}

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Return the inverse of `to_json`.

        Raises:
          ValueError: the value is no such dict; the message names the key.
        """
        if isinstance(raw, Mapping) and isinstance(raw.get("metrics"), Mapping):
            raw = {**raw, "metrics": {name: "NaN" if v is None else v for name, v in raw["metrics"].items()}}
        return as_type(cls, raw)
