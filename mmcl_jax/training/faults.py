"""Numbers that go wrong in training: found at logged steps, told once, recorded, and the end of the run where asked.

collapse      the embeddings of a view are nearly one point: their `deviation` is below `COLLAPSED`
columns       no gradient reached a column of a table in the last five logged steps
norm          the norm of the gradient or of the parameters exceeds 100 times its median over the logged steps before,
              for which the first parameters count as five steps
temperature   a learned temperature is at its bound, where it gets no gradient
"""

import bisect
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from mmcl_jax.border.checksum import Sums
from mmcl_jax.border.parse import to_json
from mmcl_jax.border.read import read_lines
from mmcl_jax.border.typed import AtLeast, Real
from mmcl_jax.errors import UserError
from mmcl_jax.files import write_text, writing
from mmcl_jax.objectives import COLLAPSED
from mmcl_jax.text import first_few
from mmcl_jax.training.processes import is_primary

FILE = "faults.jsonl"
Kind = Literal["collapse", "columns", "norm", "temperature"]
KINDS: tuple[Kind, ...] = ("collapse", "columns", "norm", "temperature")
COLUMNS = "columns/"  # the start of the names of metrics that are the gradient norms `[F]` of a table's columns
_NORMS = ("gradient_norm", "parameter_norm")
_EXPLODED, _FEWEST = 100, 5  # times the median, of at least so many values
_DEAD = 1e-7  # a share of the largest gradient norm of a column
_PATIENCE = 5  # logged steps without a gradient, since a batch may hold no value of a rare column


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """A line of `faults.jsonl`: a fault that began at a logged step, or ended at one.

    Attributes:
      step: the logged step.
      kind: see the module.
      name: of the view, of the column (`INPUT: COLUMN`), of the norm or of the term.
      value: the number that went wrong.
      ended: whether the number is right again.
    """

    step: Annotated[int, AtLeast(0)]
    kind: Kind
    name: str
    value: Real
    ended: bool = False


def describe(kind: Kind, names: Sequence[str], value: float) -> str:
    """Return what is wrong, in words that follow a step or precede one.

    Example:
      >>> describe("collapse", ["image", "table"], 0.01)
      'the embeddings of image, table have collapsed to one point (deviation 0.01)'
    """
    shown = first_few(names)
    return {
        "collapse": f"the embeddings of {shown} have collapsed to one point (deviation {value:.2g})",
        "columns": f"no gradient reaches {'a column' if len(names) == 1 else 'columns'} ({shown})",
        "norm": f"{shown} has exploded to {value:.3g}, more than {_EXPLODED} times its median",
        "temperature": f"the temperature of {shown} is at its bound, {math.exp(-value):.2g}, and no longer trained",
    }[kind]


class Faults:
    """The faults of a training, with a record in `faults.jsonl`.

    All processes find the same faults; the first process tells and writes them.

    Args:
      directory: the run.
      columns: names of the columns, by input.
      bounds: the bounds of learned scalars, by metric (see `Term.bounds`).
      on: kinds that end the training (`config.stop.on`).
      start: step that the training starts from; records of later steps are removed, since those steps are repeated.
      log: prints a line.
      norm: of the parameters before the first step; None if it is not known.
    """

    def __init__(
        self,
        directory: Path,
        *,
        columns: Mapping[str, Sequence[str]],
        bounds: Mapping[str, float],
        on: Sequence[str],
        start: int,
        log: Callable[[str], None],
        norm: float | None = None,
    ) -> None:
        self._path, self._columns, self._bounds, self._on, self._log = directory / FILE, columns, bounds, on, log
        self._values: dict[str, list[float]] = {name: [] for name in _NORMS}  # sorted
        if norm is not None and math.isfinite(norm):
            self._values["parameter_norm"] = [norm] * _FEWEST
        self._without: Counter[str] = Counter()  # logged steps in a row without a gradient, by column
        self._present: set[tuple[Kind, str]] = set()
        self._writes, self._sums = is_primary(), Sums()
        if self._writes and self._path.exists():
            kept = [fault for fault in read_faults(directory) if fault.step <= start]
            write_text(self._path, "".join(map(self._line, kept)))
            for fault in kept:
                (self._present.discard if fault.ended else self._present.add)((fault.kind, fault.name))

    def at(self, step: int, metrics: Mapping[str, float], gradients: Mapping[str, np.ndarray]) -> None:
        """Find the faults of a logged step.

        Args:
          step: the step.
          metrics: its metrics.
          gradients: the gradient norms `[F]` of columns, by input.

        Raises:
          UserError: a fault of a kind that ends the training.
        """
        found = dict([*self._found(metrics), *self._dead(gradients)])
        new = {key: value for key, value in found.items() if key not in self._present}
        ended = self._present - found.keys()
        self._present = set(found)
        lines = [Fault(step=step, kind=kind, name=name, value=value) for (kind, name), value in new.items()]
        lines += [Fault(step=step, kind=kind, name=name, value=math.nan, ended=True) for kind, name in sorted(ended)]
        if self._writes and lines:
            with writing(self._path), self._path.open("a") as file:
                file.writelines(map(self._line, lines))
        for kind, names in _by_kind(new).items():
            self._log(f"step {step}: WARNING: {describe(kind, names, new[kind, names[0]])}")
        for kind, names in _by_kind(found).items():
            if kind in self._on:
                raise UserError(
                    f"Step {step}: {describe(kind, names, found[kind, names[0]])}, and config.stop.on has {kind!r}. "
                    f"Continue with a --config.stop.on without it, or train anew with other settings in another "
                    f"--workdir."
                )

    def _line(self, fault: Fault) -> str:
        return self._sums.seal(to_json(dataclasses.asdict(fault))) + "\n"

    def _found(self, metrics: Mapping[str, float]) -> Iterator[tuple[tuple[Kind, str], float]]:
        for name, value in metrics.items():
            if name.startswith("deviation/") and value < COLLAPSED:
                yield ("collapse", name.removeprefix("deviation/")), value
            if name in self._bounds and value >= self._bounds[name]:
                yield ("temperature", name.rpartition("/")[0]), self._bounds[name]
            if name in _NORMS and math.isfinite(value):
                before = self._values[name]
                median = before[len(before) // 2] if len(before) >= _FEWEST else math.inf
                if 0 < _EXPLODED * median < value:
                    yield ("norm", name), value
                else:  # a number that exploded is no standard for later numbers
                    bisect.insort(before, value)

    def _dead(self, gradients: Mapping[str, np.ndarray]) -> Iterator[tuple[tuple[Kind, str], float]]:
        for name, norms in gradients.items():
            largest = norms.max(initial=0.0)
            if not 0 < largest < math.inf:  # an input that no row of the batch has
                continue
            for column, norm in zip(self._columns[name], norms.tolist(), strict=True):
                key = f"{name}: {column}"
                self._without[key] = self._without[key] + 1 if norm <= _DEAD * largest else 0
                if self._without[key] >= _PATIENCE:
                    yield ("columns", key), norm


def read_faults(directory: Path) -> list[Fault]:
    """Return the faults of a run in the order of their steps; [] for a run of a version that did not record them.

    Raises:
      UserError: the file is damaged.
    """
    path = directory / FILE
    remedy = "remove the file: the run is complete without it"
    return list(read_lines(path, Fault, remedy)) if path.exists() else []


def _by_kind(keys: Mapping[tuple[Kind, str], float]) -> dict[Kind, list[str]]:
    return {kind: names for kind in KINDS if (names := [name for other, name in keys if other == kind])}
