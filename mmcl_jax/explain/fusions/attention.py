"""The method `attention`: in a fusion by attention, which region of an image each column of a table looks at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain.base import METHODS, ExplainOptions, Picture, Result, Subject
from mmcl_jax.explain.fusions.looks import AttendingFusion, blocks_of, fusion_of, token_names
from mmcl_jax.explain.fusions.pictures import draw_columns, draw_regions, draw_row
from mmcl_jax.page.wording import clipped, counted, share
from mmcl_jax.progress import Bar
from mmcl_jax.text import first_few

MAPS = "attention.npz"
_TOLD = 5  # columns in notes, and maps of a single row


def _reads(source: Source, input: str, head: KeptHead | None, options: ExplainOptions) -> Sequence[str]:
    del head, options
    return source.inputs_of([fusion_of(source, input).name])


@METHODS.register("attention", takes=("image",), head="refused", reads=_reads)
def attention(subject: Subject, folder: Path) -> Result:
    """Show where the columns of a table look in an image, by the weights of a fusion's cross-attention.

    The map of a column is the mean over heads, and over all blocks or of the last (`--attention mean|last`), of the
    weights that the column's token gives to the regions of the image; with no other part in the fusion it sums to 1.
    Averages are over the rows that have all inputs of the fusion; a cell that is missing (NaN in the view) enters no
    average, and is NaN in the maps of its row. `attention.npz` has the names of the `tokens` and their `columns` (-1
    for the class token), the `mean` maps `[K, h, w]`, the number of `rows` `[K]` in each, and for the rows of the
    overlays their `keys` and `maps` `[n, K, h, w]`.

    Raises:
      UserError: no fusion attends to the image, or its rows have several images.
    """
    options, fusion = subject.options, fusion_of(subject.source, subject.input)
    sums: np.ndarray | None = None
    rows = np.zeros(0, int)
    pixels: Any = 0.0
    shown: list[dict[str, np.ndarray]] = []
    with Bar("Attention: rows", len(subject.rows)) as bar:
        for block, found in blocks_of(subject, fusion):
            maps = found["maps"].astype(np.float64)
            if sums is None:
                names, columns = token_names(subject, fusion, maps.shape[1])
                sums, rows = np.zeros(maps.shape[1:]), np.zeros(len(names), int)
            if "missing" in found:
                maps[:, columns >= 0] = np.where(
                    found["missing"][:, columns[columns >= 0], None, None], np.nan, maps[:, columns >= 0]
                )
            there = ~np.isnan(maps).any(axis=(2, 3))
            sums, rows = sums + np.nansum(maps, axis=0), rows + there.sum(axis=0)
            pixels = pixels + found["view"].sum(axis=0)
            few = range(min(len(maps), options.top - len(shown)))
            shown.extend({"view": found["view"][index], "maps": maps[index]} for index in few)
            bar.advance(block.stop - block.start)
    assert sums is not None  # there is at least one row
    mean = np.where(rows[:, None, None] > 0, sums / np.maximum(rows, 1)[:, None, None], np.nan)
    told = _told(names, mean, rows)
    keys = list(subject.keys)[: len(shown)]
    np.savez(
        folder / MAPS,
        tokens=np.array(names, dtype=str),
        columns=columns,
        mean=mean.astype(np.float32),
        rows=rows,
        keys=np.array(keys, dtype=str),
        maps=np.stack([row["maps"] for row in shown]).astype(np.float32),
    )
    order = [index for index in np.argsort([-(entry["focus"] or 0) for entry in told], kind="stable") if rows[index]]
    chosen = order[: options.top]
    pictures = [
        draw_regions(folder, [names[index] for index in chosen], mean[chosen]),
        draw_columns(folder, pixels / len(subject.rows), [names[index] for index in chosen], mean[chosen]),
    ]
    for number, (row, key) in enumerate(zip(shown, keys, strict=True), 1):
        own = [index for index in order if not np.isnan(row["maps"][index]).any()][:_TOLD]
        file = f"overlay-{number:0{len(str(len(shown)))}d}.png"
        own_names = [names[index] for index in own]
        draw_row(folder / file, row["view"], own_names, row["maps"][own])
        words = f"Row {key}: the image, then where {', '.join(clipped(name) for name in own_names)} look in it."
        pictures.append(Picture(file, words))
    return Result(
        of=f"{'the columns of ' if fusion.is_local else 'the whole '}{fusion.input} in {fusion.name}",
        settings={"attention": options.attention},
        pictures=pictures,
        details={
            "fusion": fusion.name,
            "parts": list(fusion.of),
            "grid": list(mean.shape[1:]),
            "tokens": told,
            "files": [MAPS],
        },
        notes=_notes(subject, fusion, [told[index] for index in order], rows),
    )


def _told(names: Sequence[str], mean: np.ndarray, rows: np.ndarray) -> list[dict[str, Any]]:
    """Return what `explanation.json` has of every token.

    `region` is the row and the column, from 1, of the region with the largest weight, and `share` its part of the
    weights of all regions. `focus` is half the sum of absolute differences from even weights: 0 for these, and near 1
    for a single region.
    """
    told = []
    for name, weights, count in zip(names, mean, rows, strict=True):
        entry: dict[str, Any] = {"name": name, "rows": int(count), "focus": None, "region": None, "share": None}
        total = weights.sum()
        if count and total > 0:
            part = weights / total
            most = np.unravel_index(part.argmax(), part.shape)
            focus = float(np.abs(part - 1 / part.size).sum() / 2)
            entry |= {"focus": focus, "region": [int(at) + 1 for at in most], "share": float(part.max())}
        told.append({**entry, "regions": weights.ravel().tolist()})
    return told


def _notes(subject: Subject, fusion: AttendingFusion, told: Sequence[dict[str, Any]], rows: np.ndarray) -> list[str]:
    notes = [
        f"{clipped(entry['name'])} looks most at row {entry['region'][0]}, column {entry['region'][1]} of the grid: "
        f"{share(entry['share'], 1)} of its weights."
        for entry in told[:_TOLD]
        if entry["region"]
    ]
    fold, split = subject.source.run.inputs.fold, subject.options.split
    inputs = subject.source.inputs_of([fusion.name])
    entries = list(dict.fromkeys(subject.source.run.inputs.specs[name].of for name in inputs))
    read = subject.store.read(split, entries, fold=fold).values()
    count = len(subject.store.rows_of(split, fold))
    lacking = count - int(np.all([np.ones(count, bool), *(p.present for p in read if p.present is not None)], 0).sum())
    if lacking:
        notes.append(f"{counted(lacking, 'row')} of {split} lack {' or '.join(inputs)}, and are left out.")
    if (rows < len(subject.rows)).any():
        notes.append(
            f"Missing cells enter no average: the fewest rows of a column are {rows.min()} of {len(subject.rows)}."
        )
    if fusion.others:
        notes.append(f"The fusion {fusion.name} is explained; {first_few(fusion.others)} attend to the image, too.")
    return notes
