"""The scores of the runs of a report, out of their results files."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.protocols.options import UNLABELLED
from mmcl_jax.evaluation.results.file import read_results
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import methods_of
from mmcl_jax.report.subject import Group, Subject

_BASELINES = "raw", "random"
_FIELDS = frozenset(field.name for field in dataclasses.fields(Score))


@dataclasses.dataclass(frozen=True)
class Scored:
    """The scores of the runs and of the baselines beside them.

    Attributes:
      scores: of the checkpoints that the report shows.
      others: the number of scores of these runs at other checkpoints, on other stores, or by other settings of what is
        shown.
      files: the results files that were read.
    """

    scores: tuple[Score, ...]
    others: int
    files: tuple[Path, ...]

    def part(self) -> list[Score]:
        """Return the scores of the headline: the first label's, of the first protocol and input that trained on it."""
        trained = [score for score in self.scores if score.protocol not in UNLABELLED]
        trained.sort(key=lambda score: score.missing > 0)  # whole rows first
        if not trained:
            return []
        first = trained[0]
        same = (first.label, first.task, first.protocol, first.input)
        alike = [score for score in trained if (score.label, score.task, score.protocol, score.input) == same]
        return [score for score in alike if (score.missing, score.missing_by) == (first.missing, first.missing_by)]


def scored(groups: Sequence[Group], results: Sequence[Path]) -> Scored:
    """Read the scores of runs, and of the baselines that were evaluated with them, in the order of the runs.

    The method of a score is the name of its group, which tells two experiments with one name apart. A baseline that
    several runs have is kept once.

    Args:
      groups: the runs.
      results: results files of `mmcl evaluate --out`; without any, each run's own `evaluation.json`.

    Raises:
      UserError: a file that was named does not exist, or a file is damaged or is no results file.
    """
    subjects = [subject for group in groups for subject in group.subjects]
    for path in results:
        check(path.is_file(), f"--results: {path} does not exist; make it with mmcl evaluate --out {path}.")
    own = [subject.run.directory / "evaluation.json" for subject in subjects]
    files = [*results] or [path for path in own if path.is_file()]
    methods = {_state(subject): group.name for group in groups for subject in group.subjects}
    names = {(subject.run.config.name, subject.run.config.seed) for subject in subjects}
    kept: dict[tuple[object, ...], Score] = {}
    settings: dict[tuple[object, ...], Mapping[str, Any]] = {}
    others = 0
    for path in files:
        content = read_results(path)
        for entry in content["scores"]:
            of = entry.get("of") or {}
            score = Score.from_json({key: value for key, value in entry.items() if key in _FIELDS})
            if of.get("source") in _BASELINES and any(_is_of(of, *name) for name in names):
                kept.setdefault(_identity(score, ""), score)
            elif of.get("state") in methods:
                state = str(of["state"])
                key = _identity(score, state)
                others += key in kept and settings[key] != of
                kept[key], settings[key] = dataclasses.replace(score, method=methods[state]), of
            else:
                others += (score.method, score.seed) in names
        others += sum((entry["method"], entry["seed"]) in names for entry in content["others"])
    order = [group.name for group in groups]
    ranked = sorted(kept.values(), key=lambda score: order.index(score.method) if score.method in order else -1)
    return Scored(tuple(ranked), others, tuple(files))


def _is_of(of: Mapping[str, Any], name: str, seed: int) -> bool:
    """Return whether a baseline was evaluated at the seed of a run."""
    run = str(of.get("run", ""))
    return run == f"{name}, seed {seed}" or run.startswith(f"{name}, seed {seed}, fold ")


def _identity(score: Score, state: str) -> tuple[object, ...]:
    told = (score.method, score.seed, score.fold, score.protocol, score.input, score.label, score.task, score.budget)
    return (*told, score.draw, score.missing, score.missing_by, state)


def baselines(scores: Sequence[Score], groups: Sequence[Group]) -> list[str]:
    """Return the methods of scores that are no run of the report."""
    names = {group.name for group in groups}
    return [method for method in methods_of(scores) if method not in names]


def _state(subject: Subject) -> str:
    """Return the identity of the weights in results files; "" for a run without a checkpoint."""
    try:
        return str(subject.source.of()["state"])
    except UserError:
        return ""
