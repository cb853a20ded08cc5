"""The section with a map: the embeddings of some rows in two dimensions, coloured by a label or a column."""

import itertools
from collections.abc import Sequence

import numpy as np
from openTSNE import TSNE

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.page.charts import SERIES
from mmcl_jax.page.html import Html, drawing, element, name, section
from mmcl_jax.page.wording import clipped, count, number
from mmcl_jax.report.pictures import StoreRows
from mmcl_jax.report.subject import Group, Subject, paragraph

_SIDE, _MARGIN, _RADIUS = 480.0, 12.0, 3.2
_GROUPS = 2 * SERIES  # marks that differ: each colour as a disc and as a ring
_BINS = 5  # of a number
_FEWEST = 8  # rows that make a map
_MODALITIES = 3
_OTHERS = "all others"


def embedding_map(groups: Sequence[Group], colour: str | None) -> Html:
    """Return the section, with the first run of every experiment.

    Args:
      groups: the runs.
      colour: the label or column whose values colour the points; None for the first label.
    """
    parts = []
    for group in groups:
        subject = group.first
        for modality in subject.modalities()[:_MODALITIES]:
            heading = f"{clipped(group.name)}: {modality}" if len(groups) > 1 else f"By the encoder of {modality}"
            try:
                parts.append(_map(subject, modality, heading, colour))
            except UserError as error:
                parts.append(element("figure", element("h3", heading), paragraph(str(error))))
    lead = (
        "Each point is a row, at a place that t-SNE (openTSNE, fixed seed) gives its embedding: neighbours are alike, "
        "distances between clusters and the axes mean nothing."
    )
    return section(
        "map", "Map of the embeddings", element("p", lead, class_="lead"), element("div", parts, class_="charts maps")
    )


def _map(subject: Subject, modality: str, heading: str, colour: str | None) -> Html:
    rows = subject.rows([modality])
    check(
        len(rows) >= _FEWEST,
        f"A map needs at least {_FEWEST} rows, and only {len(rows)} of the {subject.split} rows with {modality} are "
        "shown; raise --rows, or prepare a larger store.",
    )
    places = in_two_dimensions(subject.features(modality, rows))
    title, texts, codes = grouped(subject, rows, colour)
    shown = StoreRows(subject.store, subject.split, subject.run.inputs.fold)
    low, high = places.min(axis=0), places.max(axis=0)
    scale = (_SIDE - 2 * _MARGIN) / float(max(np.max(high - low), 1e-12))
    offsets = _MARGIN + ((_SIDE - 2 * _MARGIN) - scale * (high - low)) / 2
    marks = []
    for row, (x, y), code in zip(rows, offsets + scale * (places - low), codes, strict=True):
        tip = element(
            "title", " · ".join(filter(None, [clipped(shown.key(int(row)), 40), clipped(_of(texts, code), 40)]))
        )
        marks.append(element("circle", tip, cx=float(x), cy=float(y), r=_RADIUS, class_=_mark(code, texts)))
    used = f"coloured by {clipped(title, 40)}" if title else "in one colour, since the store has no label and no column"
    words = f"{count(len(rows))} points, {used}"
    svg = drawing(
        f"Map of the {modality} embeddings of {clipped(subject.name)}: {words}", marks, _SIDE, _SIDE, class_="map"
    )
    present = [index for index in range(len(texts)) if (codes == index).any()]
    keys = [element("li", _sample(index, texts), element("span", name(texts[index], 30))) for index in present]
    if (codes < 0).any():
        keys.append(element("li", _sample(-1, texts), element("span", "missing")))
    return element(
        "figure",
        element("h3", heading),
        element("p", f"{subject.sampled(rows).capitalize()}, {used}.", class_="calm"),
        svg,
        element("ul", keys, class_="legend") if texts else None,
    )


def in_two_dimensions(features: np.ndarray) -> np.ndarray:
    """Return places `[n, 2]` of features `[n, D]` by t-SNE; equal features give equal places.

    Features are standardised to length 1 around their mean, so that neighbours are those by cosine similarity.
    """
    centred = np.asarray(features, np.float64) - features.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    if not lengths.max() > 1e-9 * max(float(np.abs(features).max()), 1e-30):
        return np.zeros((len(features), 2))  # collapsed: t-SNE has no neighbours to keep
    values = centred / np.maximum(lengths, 1e-12)
    if values.shape[1] == 1:
        values = np.concatenate([values, centred / np.abs(centred).max()], axis=1)
    perplexity = min(30.0, (len(values) - 1) / 3)
    tsne = TSNE(
        perplexity=perplexity,
        initialization=_start(values),
        # On the shipped digits 5 neighbours in the map classify as well as after the usual 250 and 500 iterations.
        early_exaggeration_iter=120,
        n_iter=300,
        # One thread and exact neighbours, so that a seed gives one picture.
        neighbors="exact",
        random_state=0,
        n_jobs=1,
    )
    return np.asarray(tsne.fit(values))


def _start(values: np.ndarray) -> np.ndarray:
    """Return the first two principal components `[n, 2]` with a standard deviation of 1e-4, as t-SNE starts from."""
    left, singular, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    start = np.zeros((len(values), 2))
    start[:, : min(2, left.shape[1])] = (left * singular)[:, :2]
    return start / max(float(start[:, 0].std()), 1e-12) * 1e-4


def grouped(subject: Subject, rows: np.ndarray, colour: str | None) -> tuple[str, list[str], np.ndarray]:
    """Return what colours the points: its name, the texts of its groups, and a group `[n]` per row, -1 for none.

    Of many categories the most frequent have a group each and all others one; a number has `_BINS` groups of equally
    many rows.

    Raises:
      UserError: the store has no label or column `colour`.
    """
    found = column_of(subject.store, colour)
    if found is None:
        return "", [], np.full(len(rows), -1)
    entry, index = found
    column = subject.store.schema.entries[entry].columns[index]
    part = subject.store.read(subject.split, [entry], fold=subject.run.inputs.fold)[entry]
    values = np.asarray(part[rows], np.float64)[:, index]
    missing = np.isnan(values)
    if column.coded:
        codes = np.where(missing, -1, np.nan_to_num(values)).astype(int)
        texts = list(column.categories)
        if len(texts) > _GROUPS:
            kept = np.argsort(-np.bincount(codes[codes >= 0], minlength=len(texts)), kind="stable")[: _GROUPS - 1]
            order = np.full(len(texts), _GROUPS - 1)
            order[kept] = np.arange(len(kept))
            codes = np.where(codes < 0, -1, order[codes])
            texts = [texts[code] for code in kept] + [_OTHERS]
        return column.name, texts, codes
    if missing.all():
        return column.name, [], np.full(len(rows), -1)
    edges = np.unique(np.nanquantile(values, np.linspace(0, 1, _BINS + 1)))
    inner = edges[1:-1]
    texts = [f"{number(low)} to {number(high)}" for low, high in itertools.pairwise(edges)]
    codes = np.where(missing, -1, np.searchsorted(inner, np.nan_to_num(values), side="right"))
    return column.name, texts or [number(edges[0])], codes


def column_of(store: Store, name: str | None) -> tuple[str, int] | None:
    """Return the entry and the index of a label or column; by default of the first label, else the first column.

    Raises:
      UserError: the store has none of this name.
    """
    tables = {key: entry for key, entry in store.schema.entries.items() if entry.kind == "table"}
    targets = [key for key, entry in tables.items() if entry.role == "target"]
    if name is None:
        if store.schema.label is not None:
            return targets[0], store.schema.labels.index(store.schema.label)
        first = next(iter([*targets, *tables]), None)
        return None if first is None else (first, 0)
    for key in [*targets, *(key for key in tables if key not in targets)]:
        for index, column in enumerate(tables[key].columns):
            if column.name == name:
                return key, index
    names = [column.name for entry in tables.values() for column in entry.columns]
    check_name(name, names, f"--colour: the store {store.directory} has no label or column", "it has")
    return None


def _mark(code: int, texts: Sequence[str]) -> str:
    if code < 0 or texts[code] == _OTHERS:
        return "dot other"
    return f"dot s{code % SERIES}" if code < SERIES else f"dot ring l{code % SERIES}"


def _sample(code: int, texts: Sequence[str]) -> Html:
    mark = element("circle", cx=6, cy=6, r=4, class_=_mark(code, texts))
    return element("svg", mark, class_="swatch", viewBox="0 0 12 12", aria_hidden="true")


def _of(texts: Sequence[str], code: int) -> str:
    return texts[code] if 0 <= code < len(texts) else ""
