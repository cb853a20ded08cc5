"""The scores of the runs of a report, out of their results files."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.file import read_entries
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import ScoreCell, budgets_of, methods_of, shown, summarise
from mmcl_jax.report.subject import Group, Subject

_BASELINES = "raw", "random"
_FIELDS = frozenset(field.name for field in dataclasses.fields(Score))


@dataclasses.dataclass(frozen=True)
class Scored:
    """The scores of the runs and of the baselines beside them.

    Attributes:
      scores: of the checkpoints that the report shows.
      others: the number of scores of these runs at other checkpoints or on other stores.
      files: the results files that were read.
    """

    scores: tuple[Score, ...]
    others: int
    files: tuple[Path, ...]

    def part(self) -> list[Score]:
        """Return the scores of the headline: the first label's, of the first protocol and input that trained on it."""
        trained = [score for score in self.scores if score.protocol != "retrieval"]
        if not trained:
            return []
        first = trained[0]
        same = (first.label, first.protocol, first.input)
        return [score for score in trained if (score.label, score.protocol, score.input) == same]

    def headline(self) -> tuple[str, str, dict[str, ScoreCell]] | None:
        """Return a metric, a label budget (all labels if they were used), and the cell of every method; None without.

        Methods are in the order of the table.
        """
        part = self.part()
        if not part:
            return None
        metric, budgets = shown(part[0])[0], budgets_of(part)
        budget = "all" if "all" in budgets else budgets[-1]
        cells = {method: row[budget] for method, row in summarise(part, metric).items() if budget in row}
        return metric, budget, cells


def scored(subjects: Sequence[Subject], results: Sequence[Path]) -> Scored:
    """Read the scores of runs, and of the baselines that were evaluated with them, in the order of the runs.

    Args:
      subjects: the runs.
      results: results files of `mmcl evaluate --out`; without any, each run's own `evaluation.json`.

    Raises:
      UserError: a file that was named does not exist, or a file is damaged or is no results file.
    """
    own = [subject.run.directory / "evaluation.json" for subject in subjects]
    for path in results:
        if not path.is_file():
            raise UserError(f"--results: {path} does not exist; make it with mmcl evaluate --out {path}.")
    files = [*results] or [path for path in own if path.is_file()]
    states = {_state(subject) for subject in subjects}
    names = {(subject.run.config.name, subject.run.config.seed) for subject in subjects}
    kept: dict[str, Score] = {}
    others = 0
    for path in files:
        read_entries(path)  # which checks every entry
        raw = json.loads(path.read_text())
        for entry in raw["scores"]:
            of = entry.get("of") or {}
            baseline = of.get("source") in _BASELINES and any(
                str(of.get("run", "")).startswith(f"{name}, seed {seed}") for name, seed in names
            )
            if baseline or of.get("state") in states:
                score = Score.from_json({key: value for key, value in entry.items() if key in _FIELDS})
                kept[json.dumps([of, score.draw], sort_keys=True)] = score
            else:
                others += (entry["method"], entry["seed"]) in names
        others += sum((entry["method"], entry["seed"]) in names for entry in raw.get("others", ()))
    order = list(dict.fromkeys(subject.run.config.name for subject in subjects))
    ranked = sorted(kept.values(), key=lambda score: order.index(score.method) if score.method in order else -1)
    return Scored(tuple(ranked), others, tuple(files))


def baselines(scores: Sequence[Score], groups: Sequence[Group]) -> list[str]:
    """Return the methods of scores that are no run of the report."""
    names = {group.first.run.config.name for group in groups}
    return [method for method in methods_of(scores) if method not in names]


def _state(subject: Subject) -> str:
    """Return the identity of the weights in results files; "" for a run without a checkpoint."""
    try:
        return str(subject.source.of()["state"])
    except UserError:
        return ""
