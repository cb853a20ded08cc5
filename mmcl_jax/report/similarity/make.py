"""A comparison of representations from its runs to its folder: JSON, a table, and the page."""

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax import __version__
from mmcl_jax.border import to_json
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.similarity.compare import Comparing, Matrix, matrices
from mmcl_jax.evaluation.similarity.layers import Layer
from mmcl_jax.export.folder import check_out
from mmcl_jax.files import atomic, write_checksums, write_text
from mmcl_jax.lock import locked
from mmcl_jax.report.similarity.page import Comparison, render_page
from mmcl_jax.text import called

CELLS = ("value", "mean", "high", "at_or_above", "p_value")
ABOUT, TABLE, PAGE = "similarity.json", "similarity.tsv", "similarity.html"


def check_comparison(out: Path) -> None:
    """Raise `UserError` unless a comparison can be written to a folder, which may hold an earlier one."""
    check_out(out, what="a comparison", card=ABOUT)


def names_of(layers: Sequence[Layer]) -> list[str]:
    """Return a name for every representation, from what differs between them.

    Raises:
      UserError: there are fewer than two, or two are the same.
    """
    parts = [layer.parts for layer in layers]
    check(
        len(parts) > 1,
        "--run: there is one representation, and nothing to compare it with; name another --run, --input, --layer or "
        "--checkpoint.",
    )
    differing = [key for key in parts[0] if len({one[key] for one in parts}) > 1]
    runs = {one["run"] for one in parts}
    folders = {run: Path(run).name for run in runs}
    short = len(set(folders.values())) == len(runs)
    texts = []
    for one in parts:
        words = {**one, "run": folders[one["run"]] if short else one["run"], "step": f"step {one['step']}"}
        texts.append(", ".join(words[key] for key in differing))
    twice = next((text for text in texts if texts.count(text) > 1), None)
    check(twice is None, f"--run: two representations are the same ({twice or parts[0]['run']}); name each once.")
    return texts


def write_comparison(
    layers: Sequence[Layer], store: Store, splits: Sequence[str], settings: Comparing, out: Path, *, command: str
) -> dict[str, Any]:
    """Compare representations, write the folder of the comparison atomically, and return what its JSON says.

    A kill leaves no part of a comparison; the same call writes the same numbers again.

    Args:
      layers: the representations.
      store: with the rows.
      splits: names of splits.
      settings: of the comparison.
      out: the folder; an earlier comparison in it is replaced.
      command: that makes it.

    Raises:
      UserError: as `matrices`, `names_of` and `check_comparison` do; nothing is written.
    """
    names = names_of(layers)
    out = Path(os.path.abspath(out))
    with contextlib.ExitStack() as resources:
        resources.enter_context(locked(out.with_name(f".{out.name}.lock"), what=f"writes the comparison {out}"))
        check_comparison(out)
        found = matrices(layers, names, store, splits, settings)
        about: dict[str, Any] = {
            "mmcl_jax": __version__,
            "command": command,
            "store": called(store.directory),
            "settings": {**dataclasses.asdict(settings), "measures": list(settings.measures)},
            "representations": [
                {"name": name, **layer.parts, "step": layer.run.step()}
                for name, layer in zip(names, layers, strict=True)
            ],
            "matrices": [_plain(matrix) for matrix in found],
        }
        partial = resources.enter_context(atomic(out))
        partial.mkdir(parents=True)
        _table(names, found).write_csv(partial / TABLE, separator="\t")
        write_text(partial / PAGE, render_page(Comparison(names, found, settings, command)))
        write_text(partial / ABOUT, to_json(about, indent=1) + "\n")
        write_checksums(partial, [path for path in partial.rglob("*") if path.is_file()])
    return about


def _plain(matrix: Matrix) -> Mapping[str, Any]:
    """Return a matrix as JSON has it, with null where it has no value."""
    values = dataclasses.asdict(matrix)
    return {
        name: [[None if np.isnan(cell) else float(cell) for cell in row] for row in value]
        if isinstance(value, np.ndarray)
        else value
        for name, value in values.items()
    }


def _table(names: Sequence[str], found: Sequence[Matrix]) -> pl.DataFrame:
    """Return a row per split, measure and pair; both orders of a pair where the measure has two values."""
    rows: list[dict[str, Any]] = []
    for matrix in found:
        both = not np.array_equal(matrix.value, matrix.value.T)
        pairs = [(i, j) for i in range(len(names)) for j in range(len(names)) if i < j or (both and i > j)]
        for i, j in pairs:
            cells = {name: float(getattr(matrix, name)[i, j]) for name in CELLS}
            told = {name: None if np.isnan(cell) else cell for name, cell in cells.items()}
            of = {"split": matrix.split, "measure": matrix.measure, "first": names[i], "second": names[j]}
            rows.append({**of, "rows": matrix.rows, **told})
    strings = dict.fromkeys(("split", "measure", "first", "second"), pl.String)
    return pl.DataFrame(rows, schema={**strings, "rows": pl.Int64, **dict.fromkeys(CELLS, pl.Float64)})
