"""An analysis of alignment from its run to its folder: JSON, a table, a picture, and the page."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax import __version__
from mmcl_jax.border import to_json
from mmcl_jax.data.format.unchanged import Unchanged
from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.alignment.analyse import Analysing, Analysis, analyse
from mmcl_jax.evaluation.alignment.scores import Score
from mmcl_jax.export.folder import check_out
from mmcl_jax.files import atomic, write_checksums, write_text
from mmcl_jax.lock import locked
from mmcl_jax.report.alignment.page import Shown, render_page
from mmcl_jax.text import called
from mmcl_jax.training.runs.run import Run

ABOUT, TABLE, PAGE, REGIONS = "alignment.json", "alignment.tsv", "alignment.html", "regions.npy"


def check_alignment(out: Path) -> None:
    """Raise `UserError` unless an analysis can be written to a folder, which may hold an earlier one."""
    check_out(out, what="an analysis", card=ABOUT)


def write_alignment(
    run: Run, store: Store, settings: Analysing, out: Path, *, command: str, map_rows: int
) -> dict[str, Any]:
    """Analyse a run, write the folder of the analysis atomically, and return what its JSON says.

    A kill leaves no part of an analysis; the same call writes the same numbers again.

    Args:
      run: with the checkpoint that is analysed.
      store: with the rows.
      settings: of the analysis.
      out: the folder; an earlier analysis in it is replaced.
      command: that makes it.
      map_rows: most rows of the maps in two dimensions; 0 for no maps.

    Raises:
      UserError: as `analyse` and `check_alignment` do; nothing is written.
    """
    out, unchanged = Path(os.path.abspath(out)), Unchanged(store.directory)
    with contextlib.ExitStack() as resources:
        resources.enter_context(locked(out.with_name(f".{out.name}.lock"), what=f"writes the analysis {out}"))
        check_alignment(out)
        found = analyse(run, store, settings)
        unchanged.check("this analysis is not kept: run the command again")
        about = about_of(run, store, settings, found, command)
        partial = resources.enter_context(atomic(out))
        partial.mkdir(parents=True)
        _table(about["scores"]).write_csv(partial / TABLE, separator="\t")
        if found.weights is not None:
            np.save(partial / REGIONS, found.weights.reshape(found.sides[0].grid).astype(np.float32))
        write_text(partial / PAGE, render_page(Shown(about, found, map_rows, settings.seed)))
        write_text(partial / ABOUT, to_json(about, indent=1) + "\n")
        write_checksums(partial, [path for path in partial.rglob("*") if path.is_file()])
    return about


def about_of(run: Run, store: Store, settings: Analysing, found: Analysis, command: str) -> dict[str, Any]:
    """Return what `alignment.json` says; numbers that are not finite are null."""
    smooth = found.smoothness
    return {
        "mmcl_jax": __version__,
        "command": command,
        "run": called(run.directory),
        "step": run.step(),
        "store": called(store.directory),
        "split": settings.split,
        "rows": len(found.rows),
        "inputs": list(found.pairing.modalities),
        "aligned": bool(found.pairing.term),
        "settings": {
            "rows": settings.rows,
            "prompts": list(settings.prompts),
            "truth": None if settings.truth is None else called(settings.truth),
            "subgroups": list(settings.subgroups),
            "seed": settings.seed,
        },
        "scores": [_plain(score) for score in found.scores],
        "smoothness": None
        if smooth is None
        else {name: [float(value) for value in values] for name, values in smooth._asdict().items()},
        "region_weights": None
        if found.weights is None
        else [[float(value) for value in row] for row in found.weights.reshape(found.sides[0].grid[0], -1)],
        "notes": list(found.notes),
    }


def _plain(score: Score) -> dict[str, Any]:
    values = dataclasses.asdict(score)
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


def _table(scores: list[Mapping[str, Any]]) -> pl.DataFrame:
    texts = dict.fromkeys(("part", "of", "measure"), pl.String)
    numbers = dict.fromkeys(("value", "low", "high", "chance"), pl.Float64)
    last = {"rows": pl.Int64, "column": pl.String, "group": pl.String}
    return pl.DataFrame(scores, schema={**texts, **numbers, **last})
