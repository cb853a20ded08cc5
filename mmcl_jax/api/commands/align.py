"""`mj.align`: how images and reports, and their regions and sentences, agree, and where sentences point."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from mmcl_jax.api.analysed import Analysed
from mmcl_jax.api.given import AnyPath, command_of, path_of, several
from mmcl_jax.bucket.border import addressed
from mmcl_jax.compilation import use_cache
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.alignment.analyse import Analysing
from mmcl_jax.page.wording import counted
from mmcl_jax.report.alignment.make import PAGE, TABLE, check_alignment, write_alignment
from mmcl_jax.text import visible
from mmcl_jax.training.runs.run import Checkpoint, Run

_FIRST = (("agreement", "distance"), ("retrieval", "top-1"), ("prompts", "AUROC of the pair"),
          ("pointing", "pointing accuracy"))  # fmt: skip


@dataclasses.dataclass(frozen=True, repr=False)
class Alignment(Analysed):
    """A written analysis; in a notebook, its page.

    Attributes:
      directory: of the analysis.
      about: its scores and settings, as in `alignment.json`.
    """

    page_name = PAGE

    def to_frame(self) -> pl.DataFrame:
        """Return a data frame with a row per score."""
        return pl.read_csv(self.directory / TABLE, separator="\t")

    def describe(self) -> str:
        """Return the most telling scores in a few lines, each with its interval and its value by chance."""
        about = self.about
        on = f"{counted(about['rows'], 'row')} of {about['split']}"
        lines = [f"{visible(self.directory)}: {on}, {visible(' and '.join(about['inputs']))}"]
        for score in about["scores"]:
            if score["column"] or not _told(score):
                continue
            interval = "" if score["low"] is None else f" ({score['low']:.3f} to {score['high']:.3f})"
            chance = "" if score["chance"] is None else f", by chance {score['chance']:.3f}"
            value = "none" if score["value"] is None else f"{score['value']:.3f}"
            lines.append(f"{visible(score['of'])}, {score['measure']}: {value}{interval}{chance}")
        return "\n".join([*lines, *about["notes"], f"Open {visible(self.page.absolute().as_uri())}"])


def _told(score: Mapping[str, Any]) -> bool:
    if score["part"] == "spread":
        return score["measure"] in ("std x sqrt(D)", "centroids over within")
    return (score["part"], score["measure"]) in _FIRST and not score["of"].startswith(("alignment:", "cosine:"))


@addressed(raw=("truth",), reads=("run", "store"), writes=("out",))
def align(
    run: Run | AnyPath,
    *,
    out: AnyPath,
    input: str | Iterable[str] = (),
    checkpoint: Checkpoint | None = None,
    store: Store | AnyPath | None = None,
    split: str = "test",
    rows: int = 1000,
    prompts: str | Iterable[str] = (),
    truth: AnyPath | None = None,
    subgroup: str | Iterable[str] = (),
    map_rows: int = 100,
    seed: int = 0,
) -> Alignment:
    """Analyse how the images and the reports of a run are embedded, how they agree, and where sentences point.

    The same from the command line: `mmcl align --run RUN --out OUT`, with the same options.

    These are the analyses of Mueller et al. (ECCV 2022): deviations of channels, uniformity, distances and alignment
    errors, retrieval between rows and within them, entropy of attention, weights over the mean image, smoothness over
    the grid, and maps in two dimensions. With prompts, labels are told without training; with a truth, the regions that
    sentences attend to, or are most like, are compared with the boxes of the findings that they name. A run without
    a text encoder has the analyses of its images alone. Intervals (95 %) come from a bootstrap over groups, such as
    patients.

    Args:
      run: the run, opened or its folder.
      out: the folder of the analysis; an earlier analysis in it is replaced.
      input: encoders, one of an image, one of a text, or one of each; by default the first of each.
      checkpoint: "latest", "best" (the lowest validation loss) or a step; by default that of an opened run, and else
        the latest.
      store: with the rows; by default the one that the run was trained on.
      split: whose rows are read.
      rows: most rows; of more, this many are drawn.
      prompts: labels that are yes or no, each "LABEL", "LABEL=PROMPT" or "LABEL=PROMPT|PROMPT OF ABSENCE"; by default
        the prompt is the label, and that of its absence "no" and the prompt.
      truth: a CSV file with a row per box, which `mmcl_jax.evaluation.alignment.truth.read_truth` describes, such as
        the `truth/findings.csv` of `mmcl generate chest`.
      subgroup: columns of the store, such as sex, age and view, whose classes or quarters have scores of their own.
      map_rows: most rows of the maps in two dimensions; 0 for no maps.
      seed: of drawn rows, intervals and maps.

    Returns:
      The analysis: `alignment.json`, `alignment.tsv` and `alignment.html` in its folder, and `regions.npy`, the mean
      weights of the regions, for encoders with attention pooling.

    Raises:
      UserError: a name is unknown, a file is wrong, or the run has neither an image nor a text; nothing is written.

    Example:
      >>> found = mj.align("runs/chest", truth="raw/chest/truth/findings.csv", out="aligned")  # doctest: +SKIP
      >>> found.to_frame().filter(part="pointing")  # doctest: +SKIP
    """
    use_cache()
    arguments = dict(locals())
    folder = path_of(out, "--out")
    check_alignment(folder)
    check(map_rows >= 0, f"--map-rows: must be 0 (none) or above, not {map_rows}.")
    settings = Analysing(
        split=split,
        rows=rows,
        inputs=several(input),
        prompts=several(prompts),
        truth=None if truth is None else path_of(truth, "--truth"),
        subgroups=several(subgroup),
        seed=seed,
    )
    opened = run if isinstance(run, Run) else Run.open(path_of(run, "--run"))
    opened = opened if checkpoint is None else opened.at(checkpoint)
    if not isinstance(store, Store):
        store = Store.open(path_of(store, "--store")) if store is not None else opened.store()
    about = write_alignment(opened, store, settings, folder, command=command_of(align, arguments), map_rows=map_rows)
    return Alignment(folder, about)
