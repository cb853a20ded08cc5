"""`mj.report`: one page that shows runs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mmcl_jax.api.given import AnyPath, command_of, path_of, several
from mmcl_jax.bucket.border import addressed
from mmcl_jax.compilation import use_cache
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.files import write_text, writing
from mmcl_jax.page.html import Html, element
from mmcl_jax.report.page import render_report
from mmcl_jax.report.scored import scored
from mmcl_jax.report.sections.map import column_of
from mmcl_jax.report.subject import groups_of, subjects_of
from mmcl_jax.targets import check_apart, check_file
from mmcl_jax.text import visible
from mmcl_jax.training.runs.run import Checkpoint, Run


@dataclasses.dataclass(frozen=True, repr=False)
class Report:
    """A written report; in a notebook, the page itself.

    Attributes:
      path: of the page.
      runs: the folders of the runs that it shows.
      scores: the number of scores in it.
    """

    path: Path
    runs: tuple[Path, ...]
    scores: int

    @property
    def address(self) -> str:
        """The address to open in a browser."""
        return self.path.absolute().as_uri()

    def to_dict(self) -> dict[str, object]:
        """Return the page, its address, its runs and the number of scores."""
        return {"report": self.path, "address": self.address, "runs": list(self.runs), "scores": self.scores}

    def __repr__(self) -> str:
        return f"Open {visible(self.address)}"

    def _repr_html_(self) -> Html:
        page = self.path.read_text(encoding="utf-8")
        return element("iframe", srcdoc=page, sandbox="", width="100%", height=800, style="border:0")


@addressed(reads=("store", "results"), writes=("run", "out"))
def report(
    run: Run | AnyPath | Sequence[Run | AnyPath],
    *,
    out: AnyPath | None = None,
    checkpoint: Checkpoint | None = None,
    store: Store | AnyPath | None = None,
    results: AnyPath | Sequence[AnyPath] = (),
    colour: str | None = None,
    rows: int = 2000,
) -> Report:
    """Write one HTML page on a run, or on several side by side: results, curves, pictures, data and configs.

    The same from the command line: `mmcl report --run RUN`, with the same options. The page is one file that needs no
    network. What is missing, such as an evaluation, is named on the page with the command that adds it.

    Args:
      run: one run or several, opened or their folders; those of one experiment may differ by seed or fold.
      out: the page; by default `report.html` in the folder of a single run.
      checkpoint: of each run: "latest", "best" (the lowest validation loss) or a step; by default that of an opened
        run, and else the latest.
      store: whose rows are shown; by default the store that each run was trained on.
      results: results files of `mmcl evaluate --out`; by default each run's `evaluation.json`.
      colour: the label or column whose values colour the map; by default the first label.
      rows: the most rows that are encoded for the map, the examples and the predictions; of more, a fixed random
        sample is shown.

    Returns:
      The report.

    Raises:
      UserError: a folder is no run, a named file is missing or damaged, the store has no column `colour`, or several
        runs have no `out`.

    Example:
      >>> mj.report("runs/ads", colour="price")  # doctest: +SKIP
    """
    use_cache()
    arguments = dict(locals())
    given = [run] if isinstance(run, str | Path | Run) or not isinstance(run, Sequence) else list(run)
    check(len(given) > 0, "--run: name at least one run.")
    runs = [one if isinstance(one, Run) else Run.open(path_of(one, "--run")) for one in given]
    folders = [one.directory.absolute() for one in runs]
    for folder in folders:
        check(folders.count(folder) == 1, f"--run: {folder} is named twice; name it once.")
    check(rows > 0, f"--rows: give a positive whole number, not {rows}.")
    if checkpoint is not None:
        runs = [one.at(checkpoint) for one in runs]
        for one in runs:
            one.step()  # a checkpoint that was asked for must be there
    check(out is not None or len(runs) == 1, "Say where the report of several runs goes, with --out FILE.")
    path = runs[0].directory / "report.html" if out is None else path_of(out, "--out")
    check_file(path, "--out")
    for one in several(results):
        check_apart(path, {"--results": one}, "--out")
    shown = None
    if store is not None:
        shown = store if isinstance(store, Store) else Store.open(path_of(store, "--store"))
    subjects = subjects_of(runs, store=shown, most=rows)
    if colour is not None:
        column_of(subjects[0].store, colour)
    groups = groups_of(subjects)
    found = scored(groups, [path_of(one, "--results") for one in several(results)])
    page = render_report(subjects, groups, found, colour=colour, command=command_of(report, arguments))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
    return Report(path, tuple(one.directory for one in runs), len(found.scores))
