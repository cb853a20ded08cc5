"""The results file of `mmcl evaluate`, which grows as scores are computed.

{"scores": [...],   the scores on this store of the last evaluated checkpoint of every run
 "others": [...],   the scores of other checkpoints, and on other stores
 "store": ..., "runs": {directory: step}, "command": ..., ...  of the last command
 "sha256": ...}     the checksum of all this; a file without it is not compared

Every entry is a `Score` with a key `of`, which identifies what was evaluated and how. A new entry replaces the entry
with the same `of` and draw, and a command computes only scores without an entry, so an interrupted command continues.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired, Protocol, TypedDict

from mmcl_jax import __version__
from mmcl_jax.border import Open, as_type, to_json, written
from mmcl_jax.border.checksum import check_checksum, digest, with_checksum
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.files import write_text
from mmcl_jax.lock import locked
from mmcl_jax.page.wording import counted
from mmcl_jax.text import visible

FORMAT = 2
Of = Mapping[str, Any]
_ADDED = ("of", "mmcl_jax")


class OfSource(TypedDict):
    """What `of` of an entry says of the source of its features, among other values."""

    source: str
    run: str
    state: str
    store: NotRequired[str]


class _Added(TypedDict):
    of: NotRequired[Annotated[OfSource, Open] | None]
    mmcl_jax: NotRequired[str]


class Results(TypedDict):
    """The entries of a results file."""

    scores: list[dict[str, Any]]
    others: list[dict[str, Any]]


class _Content(TypedDict):
    scores: list[dict[str, Any]]
    others: NotRequired[list[dict[str, Any]]]


class ResultRecords(Protocol):
    """A store of finished scores."""

    def find(self, of: Of, draws: Iterable[int]) -> list[Score] | None:
        """Return the scores of these draws; None unless all are there."""

    def keep(self, of: Of, scores: Sequence[Score]) -> None:
        """Add scores to the records."""


class NoRecords:
    """Records that hold nothing and forget everything."""

    def find(self, of: Of, draws: Iterable[int]) -> list[Score] | None:
        """Return None."""
        return None

    def keep(self, of: Of, scores: Sequence[Score]) -> None:
        """Do nothing."""


class ResultsFile:
    """A results file on disk.

    Attributes:
      path: of the file.
      reused: number of scores that this command did not have to compute.
    """

    def __init__(
        self, path: Path, *, store: str, sources: Sequence[Of], head: Mapping[str, Any], again: bool = False
    ) -> None:
        """Read the file if it exists.

        Args:
          path: of the file.
          store: fingerprint of the store that runs are evaluated on.
          sources: `Source.of` of the runs and baselines.
          head: the keys before the scores, such as the command.
          again: whether to compute scores again that the file has.

        Raises:
          UserError: the file is damaged, or is no results file; it stays unchanged.
        """
        self.path, self.reused = path, 0
        self._store, self._head, self._again = store, head, again
        self._states = {(of["source"], of["run"]): of["state"] for of in sources}
        read_entries(path)

    def find(self, of: Of, draws: Iterable[int]) -> list[Score] | None:
        """Return the scores of these draws; None unless the file has all of them, from this version of the software."""
        keys = [identity(of, draw) for draw in draws]
        entries = {
            _identity(entry): entry
            for entry in read_entries(self.path)
            if not self._again and entry.get("mmcl_jax") == __version__
        }
        if any(key not in entries for key in keys):
            return None
        self.reused += len(keys)
        return [_score(entries[key]) for key in keys]

    def keep(self, of: Of, scores: Sequence[Score]) -> None:
        """Merge scores into the file, which is replaced atomically.

        Raises:
          UserError: the file cannot be written.
        """
        new = [{**score.to_json(), "of": dict(of), "mmcl_jax": __version__} for score in scores]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Another command may evaluate the same run by another protocol.
            with locked(self.path.with_name(f".{self.path.name}.lock"), what=f"writes {self.path}", wait=True):
                merged = {_identity(entry): entry for entry in [*read_entries(self.path), *new]}
                content = {**self._head, "format": FORMAT, **self._divided(merged.values())}
                write_text(self.path, to_json(with_checksum(content), indent=2) + "\n")
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written ({error.strerror}); scores before this are kept."
            ) from error

    def finish(self) -> str:
        """Write the head of this command, and return a sentence that names the file and what else it holds."""
        self.keep({}, [])
        others = len(self._divided(read_entries(self.path))["others"])
        kept = f'; it also keeps {others} of other checkpoints or stores, under "others"' if others else ""
        count = counted(self.reused, "score")
        reused = f"; found {count} of this command in it (--again computes anew)" if self.reused else ""
        return f"Written to {visible(self.path)}{reused}{kept}."

    def _divided(self, entries: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
        """Divide the entries into "scores", which are current, and "others"."""
        divided: dict[str, list[Mapping[str, Any]]] = {"scores": [], "others": []}
        for entry in entries:
            of = entry.get("of")
            current = False
            if of:  # entries of earlier versions have no such key
                state = self._states.get((of["source"], of["run"]), of["state"])
                current = (of["store"], of["state"]) == (self._store, state)
            divided["scores" if current else "others"].append(entry)
        return divided


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return all entries of a results file; [] if there is no file.

    Raises:
      UserError: the file is damaged, or is no results file.
    """
    results = read_results(path)
    return [*results["scores"], *results["others"]]


def read_results(path: Path) -> Results:
    """Return the entries of a results file; none if there is no file.

    Raises:
      UserError: the file is damaged, or is no results file.
    """
    if not path.exists():
        return Results(scores=[], others=[])
    try:
        return results_of(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else str(error)
        raise UserError(
            f"{path} is damaged, or no results of mmcl evaluate, and is left as it is ({reason}): move it away, or "
            "name another file with --out."
        ) from error


def results_of(content: bytes) -> Results:
    """Return the entries in the content of a results file.

    Raises:
      ValueError: the content is something else, and the message names the entry and the key; or it has changed since
        it was written.
    """
    whole: dict[str, Any] = written(dict[str, Any], content)
    raw: _Content = as_type(Annotated[_Content, Open], whole)
    check_checksum(whole)
    results = Results(scores=raw["scores"], others=raw.get("others", []))
    for number, entry in enumerate([*results["scores"], *results["others"]], start=1):
        try:
            _score(entry)
            as_type(_Added, {name: entry[name] for name in _ADDED if name in entry})
        except ValueError as error:
            raise ValueError(f"score {number}: {error}") from error
    return results


def _score(entry: Mapping[str, Any]) -> Score:
    return Score.from_json({name: value for name, value in entry.items() if name not in _ADDED})


def identity(of: Of, draw: int) -> str:
    """Return a hash of what was evaluated, how, and by which draw."""
    return digest({"of": dict(of), "draw": draw})


def _identity(entry: Mapping[str, Any]) -> str:
    """Return the identity of an entry; of an entry of earlier versions, which has no `of`, a hash of all its values."""
    return identity(entry["of"], entry["draw"]) if entry.get("of") else digest(entry)
