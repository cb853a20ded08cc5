"""A trained run as plain values: the texts that describe it, and its weights as NumPy arrays."""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.api.images import Located
from mmcl_jax.encoders import Model
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.heads.encoded import IDS
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.evaluation.sources.new_rows import ImageRows, image_job, table_rows
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import Arrays, split_model

_MADE = ("checkpoints", "events", "explanations", "heads", "report.html")  # folders of a run that describe nothing


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What of a run leads from a raw row to an embedding, without its folder and its store.

    Attributes:
      files: the files that describe the run, by name: config, schema, statistics, encodings, how images fit.
      weights: parameters and normalisation statistics, nested by name.
    """

    files: Mapping[str, bytes]
    weights: tuple[Mapping[str, Any], Mapping[str, Any]]

    @classmethod
    def of(cls, run: Run, weights: tuple[Arrays, Arrays] | None = None) -> "Snapshot":
        """Take these weights, by default those of the run's checkpoint.

        Raises:
          UserError: the run has no checkpoint that can be used.
        """
        paths = [path for path in sorted(run.directory.rglob("*")) if path.is_file()]
        names = [path.relative_to(run.directory) for path in paths]
        files = {str(name): (run.directory / name).read_bytes() for name in names if name.parts[0] not in _MADE}
        return cls(files, jax.tree.map(np.asarray, split_model(run.model()) if weights is None else weights))

    @functools.cached_property
    def run(self) -> Run:
        """The run, whose folder is gone."""
        return self._opened[0]

    @functools.cached_property
    def _opened(self) -> tuple[Run, Request]:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self.files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return Run.open(Path(folder)), Request.read(Path(folder) / "store.json", {})

    @functools.cached_property
    def _encoders(self) -> dict[str, Callable[[Any], np.ndarray]]:
        return {}

    @functools.cached_property
    def model(self) -> Model:
        """The model with these weights."""
        abstract = nnx.eval_shape(self.run.untrained_model)
        return nnx.merge(nnx.graphdef(abstract), *jax.tree.map(jax.numpy.asarray, self.weights))

    def _encoder(self, modality: str) -> Callable[[Any], np.ndarray]:
        run = self.run
        if modality not in self._encoders:
            self._encoders[modality] = frozen_encoder(
                self.model, config=run.config, modality=modality, fitted=run.inputs.fitted
            )
        return self._encoders[modality]

    def embed(self, frame: pl.DataFrame, located: Callable[[], Located], given: str) -> np.ndarray:
        """Return the features `[N, D]` float32 of new rows: those that `mmcl evaluate` measures.

        Args:
          frame: the rows.
          located: gives the names of their images and where these are; called if the input has images.
          given: names of modalities joined by "+", whose features are side by side.

        Raises:
          UserError: the run has no such encoder; or see `table_rows` and `ImageRows`.
        """
        run, request = self._opened
        check_encoders(run.config, given)
        parts = []
        for modality in modalities_of(given):
            spec = run.inputs.specs.get(modality)
            kind = "fusion" if spec is None else spec.kind
            check(kind in ("image", "table"), f"input: {modality!r} is a {kind}; new rows have images and tables.")
            rows: Any
            if kind == "table":
                rows = table_rows(frame, run.inputs, run.declaration, modality)
            else:
                found = located()
                images = len(found.names[0])
                job = image_job(run.inputs, request, modality, images=images, root=found.root, memory=found.memory)
                rows = ImageRows(found.names, job)
            parts.append(self._encoder(modality)({modality: rows, IDS: np.arange(len(rows), dtype=np.uint32)}))
        return np.concatenate(parts, axis=1)

    def __getstate__(self) -> dict[str, Any]:
        """Keep the plain values alone, not what was compiled of them."""
        return {"files": dict(self.files), "weights": self.weights}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def check_encoders(config: ConfigDict, given: str) -> None:
    """Raise `UserError` unless the experiment has the encoders of an input, such as "image+table"."""
    for modality in modalities_of(given):
        check_name(modality, list(config.encoders), f"input: {config.name} has no encoder of", "it has those of")


@contextlib.contextmanager
def folder_for(workdir: Path | None) -> Iterator[Path]:
    """Give a new folder in `workdir`: `fit-1`, `fit-2` and so on; without, one that is removed afterwards."""
    if workdir is None:
        with tempfile.TemporaryDirectory(prefix="mmcl-") as folder:
            yield Path(folder)
        return
    number = 1
    while True:
        try:
            (workdir / f"fit-{number}").mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
    yield workdir / f"fit-{number}"
