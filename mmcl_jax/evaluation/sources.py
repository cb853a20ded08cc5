"""What is evaluated: runs, and the baselines beside them, each with what a protocol needs of it."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.input import training_arrays
from mmcl_jax.data.splits import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.errors import check
from mmcl_jax.evaluation.features import column_features, frozen_encoder, pixel_features
from mmcl_jax.evaluation.labelled import LabelledStore
from mmcl_jax.training.run import Run

BASELINES = ("random", "pixels", "columns")
INPUTS: dict[str, tuple[str, ...]] = {"image": ("image",), "table": ("table",), "both": ("image", "table")}
RAW = {"image": "pixels", "table": "columns", "both": "pixels and columns"}
SUPERVISED = {"image": "supervised image", "table": "supervised table", "both": "supervised image+table"}


@dataclasses.dataclass(frozen=True)
class Source:
    """A run with its trained model; the same before training ("random"); or the run's raw inputs ("raw").

    `run` says how rows become inputs. Features are kept, once computed.
    """

    kind: str
    run: Run
    model: Model | None
    _kept: dict[str, Any] = dataclasses.field(default_factory=dict)

    def method(self, protocol: str, given: str) -> str:
        """The name that scores have. An untrained model that is fine-tuned is the supervised baseline."""
        if self.kind == "raw":
            return RAW[given]
        if self.kind == "random":
            return SUPERVISED[given] if protocol == "finetune" else "random encoder"
        return self.run.config.name

    def inputs(self, store: Store, split: str, modality: str) -> Any:
        """All rows of a split, as the encoder takes them."""
        return self._once(
            f"inputs {split} {modality}",
            lambda: training_arrays(store, split, (modality,), self.run.encoding)[modality],
        )

    def features(self, data: LabelledStore, modality: str) -> Mapping[str, np.ndarray]:
        """Frozen features `[N, D]` of the rows that have the label, per split.

        Raises:
          UserError: they are not finite.
        """

        def compute() -> dict[str, np.ndarray]:
            encode = self._encoder(modality)
            found = {}
            for split in SPLITS:
                rows, every = data.rows[split], self.inputs(data.store, split, modality)
                found[split] = encode(every if len(rows) == len(every) else every[rows])
                sentence = f"The features that {self.run.directory} gives for the {modality} are not finite."
                check(bool(np.isfinite(found[split]).all()), sentence)
            return found

        return self._once(f"features {modality}", compute)

    def projections(self, store: Store, split: str, modality: str) -> np.ndarray:
        """Projections `[N, d]` of all rows of a split."""
        assert self.model is not None
        project = frozen_encoder(self.model, config=self.run.config, modality=modality, projected=True)
        return project(self.inputs(store, split, modality))

    def _encoder(self, modality: str) -> Any:
        config = self.run.config
        if self.model is not None:
            return frozen_encoder(self.model, config=config, modality=modality)
        if modality == "image":
            return pixel_features
        return lambda rows: column_features(rows, self.run.schema.widths, missing=config.missing)

    def _once(self, key: str, compute: Any) -> Any:
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]


def sources(runs: Sequence[Run], baselines: Sequence[str], *, only_baselines: bool = False) -> Iterator[Source]:
    """The baselines at every seed that occurs and, unless `only_baselines`, the runs.

    One at a time, so that one model is in memory.
    """
    by_seed = {run.config.seed: run for run in reversed(runs)}  # the first run of a seed lends its encoder
    for _, run in sorted(by_seed.items()):
        if set(baselines) & {"pixels", "columns"}:
            yield Source("raw", run, None)
        if "random" in baselines:
            yield Source("random", run, run.untrained_model())
    for run in [] if only_baselines else runs:
        yield Source("run", run, run.model())
