"""A run with all that its report reads: its log, its store, and the features of some rows."""

import dataclasses
import functools
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.border import to_json
from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import parse_key
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.sources.features import What, frozen_encoder
from mmcl_jax.evaluation.sources.masks import masks_of
from mmcl_jax.evaluation.sources.pairs import compared
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.page.html import Html, element, fragment
from mmcl_jax.page.wording import counted
from mmcl_jax.text import called
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run

_REPEATS = ("seed", "fold", "data", "own")  # keys in which runs of one group may differ


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run of the report.

    Attributes:
      run: the run, at the checkpoint to show.
      name: of the run on the page, which no other run has.
      given_store: the store that `--store` names; None for the run's own.
      most: the most rows that are encoded for pictures.
    """

    run: Run
    name: str
    given_store: Store | None
    most: int

    @functools.cached_property
    def metrics(self) -> list[dict[str, float]]:
        """The logged steps; see `Run.metrics`.

        Raises:
          UserError: the log is damaged.
        """
        return self.run.metrics()

    @functools.cached_property
    def store(self) -> Store:
        """The store that the rows of the page come from.

        Raises:
          UserError: the store of the run has moved or changed.
        """
        return self.given_store or self.run.store()

    @functools.cached_property
    def source(self) -> Source:
        """The run as a source of features."""
        return Source("run", self.run)

    @functools.cached_property
    def split(self) -> str:
        """The split whose rows are shown: test, or the next one that has rows.

        Raises:
          UserError: the store is missing, or lacks the fold.
        """
        fold = self.run.inputs.fold
        return next((split for split in reversed(SPLITS) if len(self.store.rows_of(split, fold))), "test")

    @functools.cached_property
    def total(self) -> int:
        """The number of rows of `split`."""
        return len(self.store.rows_of(self.split, self.run.inputs.fold))

    def modalities(self) -> list[str]:
        """Return the modalities that have encoders, images first."""
        specs = self.run.inputs.specs
        order = ("image", "volume", "fusion", "table", "vector", "text")
        kinds = {name: specs[name].kind if name in specs else "fusion" for name in self.run.config.encoders}
        return sorted(kinds, key=lambda name: order.index(kinds[name]) if kinds[name] in order else len(order))

    def rows(self, modalities: Sequence[str]) -> np.ndarray:
        """Return indices into `split`, ascending: a fixed random sample of `most` rows that have these modalities.

        Raises:
          UserError: no row has all of them.
        """
        present = np.ones(self.total, bool)
        for name in self.source.inputs_of(modalities):
            of = self.source.spec(name).of
            rows = self.store.read(self.split, [of], fold=self.run.inputs.fold)[of]
            present &= True if rows.present is None else rows.present
        candidates = np.flatnonzero(present)
        check(len(candidates) > 0, f"No {self.split} row of {self.store.directory} has {' and '.join(modalities)}.")
        return np.sort(np.random.default_rng(0).permutation(candidates)[: self.most])

    def features(self, key: str, rows: np.ndarray, *, projected: bool = False) -> np.ndarray:
        """Return the features `[n, D]` of rows of `split`, or their projections by the projector `MODALITY[:HEAD]`.

        Raises:
          UserError: the run has no checkpoint that can be used, or the features are not finite.
        """
        modality, _, head = parse_key(key)
        what: What = "projected" if projected and head != "none" else "pooled"
        encode = self._encoder(modality, what, "" if head == "none" else head)
        inputs = self.source.rows(self.store, self.split, [modality])
        features = encode({name: array[rows] for name, array in inputs.items()})
        check(
            bool(np.isfinite(features).all()),
            f"The features that {self.run.directory} gives for the {modality} are not finite; show an earlier "
            "checkpoint with --checkpoint.",
        )
        return features

    def _encoder(self, modality: str, what: What, head: str) -> Any:
        fitted = self.run.inputs.fitted
        return frozen_encoder(
            self.source.model, config=self.run.config, modality=modality, what=what, head=head, fitted=fitted
        )

    def sampled(self, rows: np.ndarray) -> str:
        """Return which rows these are, in words."""
        if len(rows) == self.total:
            return f"all {counted(self.total, f'{self.split} row')}"
        return f"{len(rows):,} of {counted(self.total, f'{self.split} row')}"


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one experiment, which differ by seed or fold; heavy pictures are made of the first."""

    name: str
    subjects: tuple[Subject, ...]

    @property
    def first(self) -> Subject:
        """The run that stands for the group."""
        return self.subjects[0]

    @property
    def repeats(self) -> str:
        """The seeds, or the folds, in words."""
        runs = [subject.run for subject in self.subjects]
        folds = [run.inputs.fold for run in runs]
        if any(fold is not None for fold in folds):
            return f"{'fold' if len(folds) == 1 else 'folds'} {', '.join(map(str, folds))}"
        seeds = [str(run.config.seed) for run in runs]
        return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}"


def subjects_of(runs: Sequence[Run], *, store: Store | None, most: int) -> list[Subject]:
    """Return the runs with names of their own: the ends of their paths, as long as it takes to tell them apart."""
    paths = [Path(run.directory).absolute() for run in runs]
    names = [_shortest(path, paths) for path in paths]
    return [Subject(run, name, store, most) for run, name in zip(runs, names, strict=True)]


def groups_of(subjects: Sequence[Subject]) -> list[Group]:
    """Return the runs by experiment and data, in order of appearance; groups of one name are named by their folders."""
    by_config: dict[str, list[Subject]] = {}
    for subject in subjects:
        plain = {key: value for key, value in to_plain(subject.run.config).items() if key not in _REPEATS}
        key = to_json([plain, subject.run.fingerprint], sort_keys=True)
        by_config.setdefault(key, []).append(subject)
    names = [members[0].run.config.name for members in by_config.values()]
    return [
        Group(name if names.count(name) == 1 else members[0].name, tuple(members))
        for name, members in zip(names, by_config.values(), strict=True)
    ]


def _shortest(path: Path, paths: Sequence[Path]) -> str:
    for length in range(1, len(path.parts) + 1):
        end = path.parts[-length:]
        if sum(other.parts[-length:] == end for other in paths) == 1:
            break
    return "/".join(end)


def how_to_evaluate(group: Group) -> tuple[str, str]:
    """Return a sentence and a command that give the first run of a group scores and kept heads.

    Without a label to predict the sentence names the remedy, and the command is "".
    """
    subject = group.first
    run = shlex.quote(called(subject.run.directory))
    modality = subject.modalities()[0]
    try:
        schema = subject.store.schema
    except UserError as error:
        return f"{error} Then evaluate the run with mmcl evaluate --keep.", ""
    masks = masks_of(schema)
    if not schema.labels and not masks:
        if compared(subject.run.config, subject.run.inputs):
            return (
                "The store has no label to predict; retrieval needs none:",
                f"mmcl evaluate --run {run} --protocol retrieval",
            )
        words = (
            "The store has no label to predict; prepare it again with --label COLUMN, and evaluate with --store on it."
        )
        return words, ""
    options = ["" if modality == "image" else f"--input {shlex.quote(modality)}"]
    options += [] if schema.labels else [f"--label {shlex.quote(masks[0])}"]
    return "This command evaluates it:", " ".join(filter(None, [f"mmcl evaluate --run {run} --keep", *options]))


def paragraph(text: str, more: str = "", command: str = "", *, kind: str = "absent") -> Html:
    """Return a sentence on something that the page lacks, with `more` on the remedy, and the command that adds it."""
    sentence = re.sub(r"\s+", " ", f"{text} {more}").strip()
    return element("p", sentence, fragment(" ", element("code", command)) if command else None, class_=kind)
