"""What a run writes down while it trains: `metrics.jsonl` and TensorBoard events."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

import jax
from tensorboardX import SummaryWriter

from mmcl_jax.files import write_text, writing
from mmcl_jax.objectives import COLLAPSED
from mmcl_jax.training.runs.skips import SkippedSteps


class MetricLog:
    """Writes one line per logged step; process 0 alone writes.

    A run that is continued from step `start` first drops what was logged after it: those steps are done again. `began`
    is the time (`time.monotonic()`) that `seconds` in the log count from. Every line has `skipped`, the number of steps
    that were skipped until then; a number that is not finite is null.
    """

    def __init__(self, directory: Path, skips: SkippedSteps, *, start: int, began: float, writes: bool = True) -> None:
        self._began, self._writes, self._skips = began, writes, skips
        self._deferred: tuple[int, Mapping[str, jax.Array | float]] | None = None
        self.collapsed: tuple[str, ...] = ()  # views whose embeddings were one point when last logged
        if not writes:
            return
        path = directory / "metrics.jsonl"
        kept = [line for line in _lines(path) if _step(line) <= start]
        write_text(path, "".join(kept))
        self._file = path.open("a")
        self._events = SummaryWriter(str(directory / "events"), purge_step=start + 1 if start else None)

    def defer(self, step: int, metrics: Mapping[str, jax.Array | float]) -> None:
        """Keep a step's metrics, which may not be computed yet, for the next `flush`."""
        self._deferred = step, metrics

    def flush(self) -> str | None:
        """Fetch and write the deferred metrics; return a short text of them, None if there were none.

        Raises:
          UserError: too many steps in a row were skipped.
        """
        if self._deferred is None:
            return None
        (step, arrays), self._deferred = self._deferred, None
        metrics = {name: float(value) for name, value in jax.device_get(dict(arrays)).items()}
        skipped = self._skips.until(step).total
        metrics["skipped"] = float(skipped)
        if self._writes:
            numbers = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
            line = {"step": step, **numbers, "seconds": round(time.monotonic() - self._began, 3)}
            with writing(Path(self._file.name)):
                self._file.write(json.dumps(line, allow_nan=False) + "\n")
                self._file.flush()
            for name, value in metrics.items():
                self._events.add_scalar(name, value, step)
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
        return ", ".join(words)

    def close(self) -> None:
        """Close the log file and the TensorBoard writer."""
        if self._writes:
            self._file.close()
            self._events.close()


def read_metrics(directory: Path) -> list[dict[str, float]]:
    """Return the logged steps of a run; a number that was not finite is NaN."""
    lines = map(json.loads, _lines(directory / "metrics.jsonl"))
    return [{name: math.nan if value is None else value for name, value in line.items()} for line in lines]


def _lines(path: Path) -> list[str]:
    """Return the whole lines of a log; a line that a kill cut short is left out."""
    if not path.is_file():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _step(line: str) -> int:
    return int(json.loads(line)["step"])
