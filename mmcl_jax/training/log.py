"""The log of a training: `metrics.jsonl`, and the sinks that `config.sinks` names."""

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
from ml_collections import ConfigDict

from mmcl_jax.border import to_json
from mmcl_jax.border.checksum import Sums
from mmcl_jax.files import write_text, writing
from mmcl_jax.objectives import COLLAPSED
from mmcl_jax.text import visible
from mmcl_jax.training.faults import COLUMNS, Faults
from mmcl_jax.training.processes import is_primary
from mmcl_jax.training.runs.logged import FILE, cut_log, read_lines, read_log
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.skips import SkippedSteps
from mmcl_jax.training.sinks import Session
from mmcl_jax.training.sinks.threads import Sinks
from mmcl_jax.training.speed.clock import Clock
from mmcl_jax.training.speed.meter import Speedometer
from mmcl_jax.training.speed.times import SPEED


class MetricLog:
    """The metrics of a training: one line per logged step, written by the first process.

    If the training starts from step `start`, lines of later steps are removed, since those steps are repeated.
    `seconds` in a line are those of `clock`; `skipped` is the number of steps skipped so far; a number that is not
    finite is the text "NaN", "Infinity" or "-Infinity". `speed/...` is the speed since the line before; see
    `speed.meter`.
    """

    def __init__(
        self,
        directory: Path,
        skips: SkippedSteps,
        faults: Faults,
        config: ConfigDict,
        *,
        start: int,
        clock: Clock,
        speed: Speedometer,
        log: Callable[[str], None],
    ) -> None:
        self._clock, self._speed, self._writes = clock, speed, is_primary()
        self._skips, self._faults = skips, faults
        self._deferred: tuple[int, Mapping[str, jax.Array | float]] | None = None
        self.collapsed: tuple[str, ...] = ()  # views whose embeddings were one point at the last logged step
        if not self._writes:
            return
        path = directory / FILE
        cut = cut_log(directory, start)
        if cut.fault:
            log(visible(cut.fault))
        write_text(path, cut.content)
        self._file, self._sums = path.open("a"), Sums()
        for line in cut.content.splitlines()[-1:]:
            self._sums.follow(line.encode())
        session = Session(directory=directory, config=to_plain(config), start=start, delivered=cut.reached)
        self._sinks = Sinks(config.sinks, session, log=log)

    def defer(self, step: int, metrics: Mapping[str, jax.Array | float]) -> None:
        """Store the metrics of a step, which may not be computed yet, for the next `flush`."""
        self._deferred = step, metrics

    def flush(self) -> str | None:
        """Fetch and write the deferred metrics; return them as a short text, or None if no metrics were deferred.

        Raises:
          UserError: too many steps in a row were skipped, or a number went wrong in a way that ends the training.
        """
        if self._deferred is None:
            return None
        (step, arrays), self._deferred = self._deferred, None
        values = jax.device_get(dict(arrays))
        columns = {name.removeprefix(COLUMNS): values.pop(name) for name in list(values) if name.startswith(COLUMNS)}
        metrics = {name: float(value) for name, value in values.items()}
        skipped = self._skips.until(step).total
        metrics["skipped"] = float(skipped)
        speed = self._speed.at(step)
        metrics |= {f"{SPEED}{name}": value for name, value in speed.items()}
        if self._writes:
            line = {"step": step, **metrics, "seconds": round(self._clock.seconds, 3)}
            with writing(Path(self._file.name)):
                self._file.write(self._sums.seal(to_json(line)) + "\n")
                self._file.flush()
            self._sinks.log(step, metrics)
        self._faults.at(step, metrics, columns)
        self.collapsed = tuple(
            name.removeprefix("deviation/")
            for name, value in metrics.items()
            if name.startswith("deviation/") and value < COLLAPSED
        )
        top1 = next((value for name, value in metrics.items() if name.endswith("/top1")), math.nan)
        words = [f"loss {metrics['loss']:.3f}"]
        words += [] if math.isnan(top1) else [f"in-batch top-1 {top1:.2f}"]
        words += [f"{' and '.join(self.collapsed)} collapsed"] if self.collapsed else []
        words += [f"{skipped} skipped"] if skipped else []
        words += [self._speed.work.describe(speed)] if speed else []
        return ", ".join(words)

    def close(self, *, finished: bool) -> None:
        """Close the log file and the sinks, which are told whether the training is complete."""
        if self._writes:
            self._file.close()
            self._sinks.close(finished=finished)


def read_metrics(directory: Path) -> list[dict[str, float]]:
    """Return the logged steps of a run; what is wrong with the log, and is read from a checkpoint, is printed.

    Raises:
      UserError: the log is damaged, and no checkpoint has a copy.
    """
    lines, fault = read_log(directory)
    if fault:
        print(visible(fault), file=sys.stderr)
    return list(read_lines(directory, lines))
