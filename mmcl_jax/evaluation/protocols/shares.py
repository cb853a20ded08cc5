"""An evaluation by several processes: each scores a share of the parts on its own devices, and the first one writes."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.protocols.jobs import Job, JobSettings
from mmcl_jax.evaluation.protocols.scoring import score_job
from mmcl_jax.evaluation.results.file import Of, ResultRecords, identity
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.training.processes import is_primary, shared
from mmcl_jax.training.processes.watch import Watch

Part = tuple[Job, list[int]]  # a job, and the numbers of its draws that are computed and stored together


class SharedRecords:
    """The scores of all parts, in every process."""

    def __init__(self) -> None:
        self._scores: dict[str, Score] = {}

    def find(self, of: Of, draws: Iterable[int]) -> list[Score] | None:
        """Return the scores of these draws; None unless all are there."""
        scores = [self._scores.get(identity(of, draw)) for draw in draws]
        return None if None in scores else [score for score in scores if score is not None]

    def keep(self, of: Of, scores: Sequence[Score]) -> None:
        """Add scores to the records."""
        self._scores |= {identity(of, score.draw): score for score in scores}


def score_in_shares(
    parts: Sequence[Part],
    store: Store,
    settings: JobSettings,
    *,
    find: Callable[[Job, list[int]], list[Score] | None],
    records: ResultRecords,
    watch: Watch,
) -> SharedRecords:
    """Score the parts, every process those whose turn it is, and return the scores of all parts to every process.

    A score is that of a single process to the bit, since a part is computed as a single process computes it.

    Args:
      parts: of all jobs, in the order of the jobs.
      store: that is evaluated on.
      settings: of protocols that train.
      find: returns the scores of a part that `records` hold, which only the first process asks.
      records: to which the first process adds new scores, in the order of the parts.
      watch: carries the scores to the first process.
    """
    scores: list[list[Score] | None] = [find(*part) for part in parts] if is_primary() else [None] * len(parts)
    missing: list[int] = shared([index for index, found in enumerate(scores) if found is None])

    unwritten = deque(missing)

    def take(index: int, new: list[Score]) -> None:
        scores[index] = new
        while unwritten and (finished := scores[unwritten[0]]) is not None:  # in the order of a single process
            records.keep(parts[unwritten.popleft()][0].of(store, settings), finished)

    def accept(message: tuple[int, Any]) -> None:
        index, values = message[1]
        take(index, [Score.from_json(value) for value in values])

    before: Job | None = None
    for index in missing[jax.process_index() :: jax.process_count()]:
        job, numbers = parts[index]
        if before is not None and before.source is not job.source:
            before.source.forget()
        before = job
        new = score_job(job, store, numbers, settings)
        if not is_primary():
            watch.send([index, [score.to_json() for score in new]])
            continue
        take(index, new)
        for message in watch.received():
            accept(message)
    while is_primary() and None in scores:
        accept(watch.receive())
    every = shared([[score.to_json() for score in of_part or ()] for of_part in scores])
    known = SharedRecords()
    for (job, _), values in zip(parts, every, strict=True):
        known.keep(job.of(store, settings), [Score.from_json(value) for value in values])
    return known
