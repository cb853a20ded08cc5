"""From a chunk of rows to embeddings: the encoders of a run, or their projectors, and a kept head."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from mmcl_jax.encoders import parse_key
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import IDS, PRESENT
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.training.runs.run import Run

Output = Literal["features", "projection"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """What is embedded under one name, such as "image", "image+table" or "image:HEAD".

    Attributes:
      name: as it was asked for, which the column `modality` holds.
      parts: functions from rows by input to embeddings `[n, d]`, which are put side by side.
      spare: inputs that a row may lack.
      inputs: that all parts read.
    """

    name: str
    parts: tuple[tuple[tuple[str, ...], Callable[[Any], np.ndarray]], ...]
    spare: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of the run that are read."""
        return tuple(dict.fromkeys(name for inputs, _ in self.parts for name in inputs))

    def __call__(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the embeddings `[n, D]` float32 of rows, which have the spare inputs unless `present/NAME` says no."""
        parts = []
        for inputs, encode in self.parts:
            part = {name: rows[name] for name in (*inputs, IDS)}
            for name in set(self.spare) & set(inputs):
                part[PRESENT + name] = rows.get(PRESENT + name, np.ones(len(rows[name]), bool))
            parts.append(encode(part))
        return np.concatenate(parts, axis=1)


def inputs_of_reader(run: Run, name: str) -> tuple[str, ...]:
    """Return the inputs of the run that are read for a name such as "image+table:HEAD"."""
    return Source("run", run).inputs_of([parse_key(part).modality for part in name.split("+")])


def check_name(run: Run, name: str, output: Output) -> None:
    """Raise `UserError` unless the run has the encoders and projectors of a name, for this output."""
    encoders, projectors = run.config.encoders, run.config.projectors
    parts = name.split("+")
    for part in parts:
        key = parse_key(part, "--input")
        check(
            key.modality in encoders,
            f"--input {name}: {run.directory} has no {key.modality!r} encoder; it has {', '.join(encoders)}.",
        )
        check(parts.count(part) == 1, f"--input {name}: {part!r} is named twice; name it once.")
        check(not key.local, f"--input {name}: embeddings are of whole rows; leave out .local.")
        check(
            output == "projection" or not key.head,
            f"--input {name}: {key.head!r} names a projector; add --output projection, or leave it out.",
        )
        check(
            output == "features" or part in projectors,
            f"--input {name}: {run.directory} has no projector {part!r}; it has {', '.join(projectors) or 'none'}.",
        )


def readers(source: Source, names: Sequence[str], output: Output, devices: Sequence[jax.Device]) -> Iterator[Reader]:
    """Yield the readers of the names, which share the model of a source.

    Raises:
      UserError: the run has no such encoder or projector, no checkpoint, or weights that are not finite.
    """
    run = source.run
    for name in names:
        check_name(run, name, output)
        parts, modalities = [], [parse_key(part).modality for part in name.split("+")]
        for part in name.split("+"):
            key = parse_key(part)
            encode = frozen_encoder(
                source.model,
                config=run.config,
                modality=key.modality,
                what="pooled" if output == "features" else "projected",
                head=key.head,
                fitted=run.inputs.fitted,
                devices=devices,
            )
            parts.append((source.inputs_of([key.modality]), encode))
        yield Reader(name=name, parts=tuple(parts), spare=source.spare_inputs(modalities))


def check_head(head: KeptHead, directory: Any) -> None:
    """Raise `UserError` unless the head predicts a label of a row from the trained encoders of a run."""
    check(
        head.source.kind == "run",
        f"--head: {directory} is of the baseline {head.score.method!r}; choose a head of the run.",
    )
    check(
        head.trained.head.reads == "pooled",
        f"--head: {directory} predicts masks or boxes; mmcl embed writes what a whole row is predicted to be.",
    )
