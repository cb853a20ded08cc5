"""`mj.similarity`: how alike the representations of modalities, layers, checkpoints and runs are."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mmcl_jax.api.analysed import Analysed
from mmcl_jax.api.given import AnyPath, command_of, path_of, several
from mmcl_jax.bucket.border import addressed
from mmcl_jax.compilation import use_cache
from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.similarity.compare import Comparing
from mmcl_jax.evaluation.similarity.kernels import FRACTION
from mmcl_jax.evaluation.similarity.layers import check_comparable, layers_of, with_checkpoints
from mmcl_jax.evaluation.similarity.measures import MEASURES, PUBLISHED
from mmcl_jax.evaluation.sources.checks import check_choice
from mmcl_jax.page.wording import counted
from mmcl_jax.report.similarity.make import PAGE, TABLE, check_comparison, names_of, write_comparison
from mmcl_jax.text import visible
from mmcl_jax.training.runs.run import Checkpoint, Run

_LINES = 12


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(Analysed):
    """A written comparison; in a notebook, its page.

    Attributes:
      directory: of the comparison.
      about: its representations, settings and matrices, as in `similarity.json`.
    """

    page_name = PAGE

    def to_frame(self) -> pl.DataFrame:
        """Return a data frame with a row per split, measure and pair."""
        return pl.read_csv(self.directory / TABLE, separator="\t")

    def describe(self) -> str:
        """Return the result in a few lines: the first pairs, each beside the mean over permutations."""
        about = self.about
        names = [one["name"] for one in about["representations"]]
        rows = {matrix["split"]: matrix["rows"] for matrix in about["matrices"]}
        on = ", ".join(f"{counted(number, 'row')} of {split}" for split, number in rows.items())
        lines = [f"{visible(self.directory)}: {counted(len(names), 'representation')}, {on}"]
        pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
        for i, j in pairs[:_LINES]:
            lines.append(f"{names[i]} and {names[j]}")
            for measure in about["settings"]["measures"]:
                cells = [_cell(one, i, j) for one in about["matrices"] if one["measure"] == measure]
                lines.append(f"  {measure:19} {'   '.join(cells)}")
        if len(pairs) > _LINES:
            lines.append(f"{counted(len(pairs) - _LINES, 'more pair')} in {visible(self.directory / TABLE)}")
        return "\n".join([*map(visible, lines), f"Open {visible(self.page.absolute().as_uri())}"])


def _cell(matrix: Mapping[str, Any], i: int, j: int) -> str:
    """Return the value of a pair on a split in a few words."""
    text = f"{matrix['split']} {matrix['value'][i][j]:.3f}"
    mean = matrix["mean"][i][j]
    if mean is None:
        return text
    return f"{text} (permuted {mean:.3f}, {matrix['at_or_above'][i][j]:.0%} at or above)"


@addressed(reads=("run", "store"), writes=("out",))
def similarity(
    run: Run | AnyPath | Sequence[Run | AnyPath],
    *,
    out: AnyPath,
    input: str | Iterable[str] = (),
    layer: str | Iterable[str] = ("pooled",),
    checkpoint: Checkpoint | str | Iterable[Checkpoint | str] = (),
    split: str | Iterable[str] = ("train", "test"),
    store: Store | AnyPath | None = None,
    measure: str | Iterable[str] = PUBLISHED,
    permutations: int = 100,
    kernel_width: float = FRACTION,
    rows: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare representations of the same rows: of modalities, layers, checkpoints, seeds and methods.

    The same from the command line: `mmcl similarity --run RUN --out OUT`, with the same options.

    Every input, layer and checkpoint of every run is a representation. Each pair is compared by each measure, as
    Fedorov et al. compare the modalities of a method. Beside a value stands what the measure gives when the rows of
    one side are permuted: unrelated features are far from 0 unless rows are many times the features.

    Args:
      run: one run or several, opened or their folders, trained on the same store and fold.
      out: the folder of the comparison; an earlier comparison in it is replaced.
      input: encoders, such as "image" or "table"; by default all of each run.
      layer: "pooled", "local" (the mean over the places) or "projection", or several.
      checkpoint: "latest", "best" (the lowest validation loss), a step, or "kept" for all that a run keeps, or several;
        by default that of an opened run, and else the latest.
      split: whose rows are compared; by default "train" and "test".
      store: with the rows; by default the one that the runs were trained on.
      measure: names of `mmcl_jax.evaluation.similarity.MEASURES`; by default those of Fedorov et al.
      permutations: of the rows, per pair; 0 for none.
      kernel_width: of the RBF kernel, as a fraction of the median distance between rows.
      rows: most rows of a split; of more, this many are drawn.
      seed: of the drawn rows and of the permutations.

    Returns:
      The comparison: `similarity.json`, `similarity.tsv` and `similarity.html` in its folder.

    Raises:
      UserError: runs are of different stores or folds, a name is unknown, an encoder has no such layer, or there are no
        more rows than features for canonical correlations; nothing is written.

    Example:
      >>> made = mj.similarity("runs/ads", layer=["pooled", "projection"], out="similarity")  # doctest: +SKIP
      >>> made.to_frame().filter(measure="cka")  # doctest: +SKIP
    """
    use_cache()
    arguments = dict(locals())
    folder = path_of(out, "--out")
    check_comparison(folder)
    given = [run] if isinstance(run, str | Path | Run) or not isinstance(run, Sequence) else list(run)
    check(len(given) > 0, "--run: name at least one run.")
    measures, splits = several(measure), several(split)
    check_choice("--measure", "measure", measures, MEASURES)
    check_choice("--split", "split", splits, SPLITS)
    check(0 < kernel_width < float("inf"), f"--kernel-width: must be above 0, not {kernel_width:g}.")
    settings = Comparing(measures=measures, permutations=permutations, fraction=kernel_width, rows=rows, seed=seed)
    runs = [one if isinstance(one, Run) else Run.open(path_of(one, "--run")) for one in given]
    known = store if store is None or isinstance(store, Store) else Store.open(path_of(store, "--store"))
    of = check_comparable(runs, known)
    at = with_checkpoints(runs, several(checkpoint))
    layers = layers_of(at, several(input), several(layer))
    names_of(layers)  # so that nothing is encoded for a comparison of one
    about = write_comparison(layers, of, splits, settings, folder, command=command_of(similarity, arguments))
    return Comparison(folder, about)
