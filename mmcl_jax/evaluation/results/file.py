"""The results file of `mmcl evaluate`: every score with what was evaluated, merged by it, written as scores come.

{"scores": [...],   the scores of this store, and of the checkpoint of every run that was evaluated last
 "others": [...],   those of other checkpoints and stores
 "store": ..., "runs": {directory: step}, "command": ..., ...}  of the last command

Every entry is a `Score` with `of`, which says what was evaluated and how. An entry replaces one that has the same `of`
and the same draw, and a command computes only what has no entry yet: so one that was interrupted continues.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mmcl_jax import __version__
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.files import write_text
from mmcl_jax.page.wording import counted

FORMAT = 2
Of = Mapping[str, Any]
_ADDED = ("of", "mmcl_jax")


class ResultRecords(Protocol):
    """Where scores are found that are there already, and kept as they come."""

    def find(self, of: Of, draws: Iterable[int]) -> list[Score] | None:
        """Return the scores of these draws; None unless all are there."""

    def keep(self, of: Of, scores: Sequence[Score]) -> None:
        """Keep scores."""


class NoRecords:
    """Nothing is found and nothing is kept."""

    def find(self, of: Of, draws: Iterable[int]) -> list[Score] | None:
        """Return None."""
        return None

    def keep(self, of: Of, scores: Sequence[Score]) -> None:
        """Do nothing."""


class ResultsFile:
    """A results file on disk.

    Attributes:
      path: of the file.
      found: how many scores of this command were there already.
    """

    def __init__(
        self, path: Path, *, store: str, sources: Sequence[Of], head: Mapping[str, Any], again: bool = False
    ) -> None:
        """Read the file if it is there.

        Args:
          path: of the file.
          store: fingerprint of the store that is evaluated on.
          sources: the runs and baselines that are evaluated, as `Source.of` says them.
          head: what is written at the head of the file.
          again: whether scores that are there already are computed again.

        Raises:
          UserError: the file is damaged, or is no results file; it is left as it is.
        """
        self.path, self.found = path, 0
        self._store, self._head, self._again = store, head, again
        self._states = {(of["source"], of["run"]): of["state"] for of in sources}
        read_entries(path)

    def find(self, of: Of, draws: Iterable[int]) -> list[Score] | None:
        """Return the scores of these draws; None unless all are there and of this version of the software."""
        wanted = [identity(of, draw) for draw in draws]
        here = {
            _identity(entry): entry
            for entry in read_entries(self.path)
            if not self._again and entry.get("mmcl_jax") == __version__
        }
        if any(key not in here for key in wanted):
            return None
        self.found += len(wanted)
        return [_score(here[key]) for key in wanted]

    def keep(self, of: Of, scores: Sequence[Score]) -> None:
        """Merge scores into the file, and write it in one piece.

        Raises:
          UserError: it cannot be written.
        """
        new = [{**score.to_json(), "of": dict(of), "mmcl_jax": __version__} for score in scores]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # another command may evaluate the same run by another protocol
                merged = {_identity(entry): entry for entry in [*read_entries(self.path), *new]}
                content = {**self._head, "format": FORMAT, **self._parted(merged.values())}
                write_text(self.path, json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written ({error.strerror}); scores before this are kept."
            ) from error

    def finish(self) -> str:
        """Write the head of this command, and return a sentence on where its scores are."""
        self.keep({}, [])
        others = len(self._parted(read_entries(self.path))["others"])
        kept = f'; it also keeps {others} of other checkpoints or stores, under "others"' if others else ""
        found = counted(self.found, "score")
        there = f"; found {found} of this command in it (--again computes anew)" if self.found else ""
        return f"Written to {self.path}{there}{kept}."

    def _parted(self, entries: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
        """Divide the entries into the current ones and the others."""
        parted: dict[str, list[Mapping[str, Any]]] = {"scores": [], "others": []}
        for entry in entries:
            of = entry.get("of")
            current = False
            if of:  # entries of earlier versions do not say what was evaluated
                state = self._states.get((of["source"], of["run"]), of["state"])
                current = (of["store"], of["state"]) == (self._store, state)
            parted["scores" if current else "others"].append(entry)
        return parted


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return all entries of a results file, none if there is no file.

    Raises:
      UserError: the file is damaged, or is no results file.
    """
    if not path.exists():
        return []
    try:
        raw = json.loads(path.read_text())
        entries = [*raw["scores"], *raw.get("others", [])]
        for entry in entries:
            _score(entry)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged, or no results of mmcl evaluate, and is left as it is: move it away, or name another "
            "file with --out."
        ) from error
    return entries


def _score(entry: Mapping[str, Any]) -> Score:
    return Score.from_json({name: value for name, value in entry.items() if name not in _ADDED})


def identity(of: Of, draw: int) -> str:
    """Return a hash that tells what was evaluated, how, and by which draw, from everything else."""
    return _hash({"of": dict(of), "draw": draw})


def _identity(entry: Mapping[str, Any]) -> str:
    """Return what tells an entry from others; of earlier versions, whose entries do not say it, everything does."""
    return identity(entry["of"], entry["draw"]) if entry.get("of") else _hash(entry)


def _hash(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
