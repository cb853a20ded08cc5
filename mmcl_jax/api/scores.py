"""What `mj.evaluate` returns: the scores, which print as the tables of the command line."""

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import polars as pl
from rich.console import Console

from mmcl_jax.evaluation.results.confounding import confounding_grids
from mmcl_jax.evaluation.results.cost import cost_grids
from mmcl_jax.evaluation.results.improvement import improvement_grids, improvement_rows
from mmcl_jax.evaluation.results.ranks import rank_grids
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import Grid, detail_grids, grids, means, show
from mmcl_jax.page.html import Html, element, fragment, table


@dataclasses.dataclass(frozen=True, repr=False)
class Scores(Sequence[Score]):
    """A sequence of scores, those of baselines first; in a notebook, tables of means and spreads.

    Attributes:
      scores: all of them.
      path: the results file that has them, None for none.
      note: where they are, in a sentence.
      finished: False if a training that they need was asked to stop.
      beside: further tables, such as of a benchmark's published scores.
    """

    scores: tuple[Score, ...]
    path: Path | None = None
    note: str = ""
    finished: bool = True
    beside: tuple[Grid, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Score: ...
    @overload
    def __getitem__(self, index: slice) -> "Scores": ...
    def __getitem__(self, index: int | slice) -> "Score | Scores":
        """Return a score, or some of them."""
        return Scores(self.scores[index]) if isinstance(index, slice) else self.scores[index]

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    @property
    def grids(self) -> list[Grid]:
        """The tables: the two metrics of the task, and retrieval's; further metrics; improvements; ranks and cost."""
        of_rivals = [*rank_grids(self.scores), *cost_grids(self.scores)]
        improved = improvement_grids(self.scores)
        more = [*detail_grids(self.scores), *confounding_grids(self.scores), *improved, *of_rivals]
        return [*grids(self.scores), *more, *self.beside]

    def to_frame(self) -> pl.DataFrame:
        """Return a row per score: what was evaluated, a column per metric, and a column per setting that was chosen.

        A metric or setting that a score does not have is null.
        """
        said = ("method", "seed", "protocol", "input", "label", "task", "budget", "draw", "fold", "missing",
                "missing_by")  # fmt: skip
        rows = [
            {
                **{name: getattr(score, name) for name in said},
                **score.metrics,
                **{f"chosen_{name}": value for name, value in score.chosen.items()},
            }
            for score in self.scores
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the results file, the means and improvements that the tables show, and every score."""
        return {
            "path": self.path,
            "finished": self.finished,
            "means": means(self.scores),
            "improvements": improvement_rows(self.scores),
            "scores": [{name: v for name, v in score.to_json().items() if name != "rows"} for score in self.scores],
        }

    def __repr__(self) -> str:
        text = io.StringIO()
        show(self.grids, Console(file=text, width=120, color_system=None, force_jupyter=False))
        return "\n".join(filter(None, [text.getvalue().strip() or "no scores", self.note]))

    def _repr_html_(self) -> str:
        return fragment(*map(_html, self.grids), element("p", self.note) if self.note else None)


def _html(grid: Grid) -> Html:
    numbers = range(grid.labels, len(grid.head))
    note = element("p", grid.note) if grid.note else None
    return fragment(table(grid.title, grid.head, grid.rows, numeric=set(numbers), captioned=True), note)
