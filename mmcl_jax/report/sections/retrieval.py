"""The section of retrieval: some test rows, each beside the rows that the model takes for nearest."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.encoders import parse_key
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.knn import nearest
from mmcl_jax.evaluation.protocols.retrieval import ranks
from mmcl_jax.evaluation.sources.pairs import compared
from mmcl_jax.page.html import Child, Html, element, name, section
from mmcl_jax.page.wording import clipped, count
from mmcl_jax.report.pictures import StoreRows, facts
from mmcl_jax.report.subject import Group, Subject, paragraph

_QUERIES, _NEAREST, _PAIRS = 4, 4, 3


def retrieval(groups: Sequence[Group]) -> Html:
    """Return the section, with the first run of every experiment."""
    parts: list[Child] = []
    for group in groups:
        if len(groups) > 1:
            parts.append(element("h3", name(group.name), f", {group.first.name}", class_="of"))
        try:
            parts += _examples(group.first, "h4" if len(groups) > 1 else "h3")
        except UserError as error:
            parts.append(paragraph(str(error)))
    lead = (
        "The rows that lie nearest to a query by cosine similarity, nearest first. The queries were drawn by a fixed "
        "seed, not chosen."
    )
    return section("retrieval", "Retrieval examples", element("p", lead, class_="lead"), *parts)


def _examples(subject: Subject, level: str) -> list[Html]:
    pairs = compared(subject.run.config, subject.run.inputs)[:_PAIRS]
    if not pairs:
        return [_within(subject, level)]
    parts = []
    for pair in pairs:
        rows = subject.rows([parse_key(key).modality for key in pair])
        first, second = (subject.features(key, rows, projected=True) for key in pair)
        for (query, queries), (candidate, candidates) in (
            ((pair[0], first), (pair[1], second)),
            ((pair[1], second), (pair[0], first)),
        ):
            heading = f"From {parse_key(query).modality} to {parse_key(candidate).modality}"
            parts.append(_shown(subject, rows, queries, candidates, heading, level, query, candidate))
    return parts


def _within(subject: Subject, level: str) -> Html:
    """Show neighbours among rows of one modality, for a run that compares no two inputs."""
    modality = subject.modalities()[0]
    rows = subject.rows([modality])
    features = subject.features(modality, rows)
    return _shown(subject, rows, features, features, f"Neighbours by {modality}", level, modality, modality)


def _shown(
    subject: Subject,
    rows: np.ndarray,
    queries: np.ndarray,
    candidates: np.ndarray,
    heading: str,
    level: str,
    query: str,
    candidate: str,
) -> Html:
    """Return the examples of one direction; `queries` and `candidates` `[n, d]` are of the same `rows`."""
    within = query == candidate
    asked, shown = (_rows_of(subject, key) for key in (query, candidate))
    chosen = np.sort(np.random.default_rng(1).permutation(len(rows))[:_QUERIES])
    wanted = min(_NEAREST + within, len(rows))
    cosines, indices = nearest(candidates, queries[chosen], wanted)
    own = None if within else ranks(queries, candidates)
    specs = subject.run.inputs.specs
    tables = [
        key for key in (query, candidate) if (one := parse_key(key).modality) in specs and specs[one].kind == "table"
    ]
    lines = []
    for at, position in enumerate(chosen):
        found = [
            (int(i), float(c)) for i, c in zip(indices[at], cosines[at], strict=True) if not within or i != position
        ]
        cells = [_row(asked, int(rows[position]), "query", "Query", query in tables)]
        for rank, (index, cosine) in enumerate(found[:_NEAREST], start=1):
            hit = index == position
            words = f"{rank}. {cosine:z.2f}" + (", own row" if hit else "")
            cells.append(_row(shown, int(rows[index]), "hit" if hit else "near", words, candidate in tables))
        note = "" if own is None else f"own row: rank {count(int(own[position]))} of {count(len(rows))}"
        lines.append(element("li", element("ul", cells, class_="strip-of"), element("p", note, class_="calm")))
    if own is None:
        words = f"A row itself is left out. Among {subject.sampled(rows)}."
    else:
        hits = f"{np.mean(own == 1):.1%} of {subject.sampled(rows)}"
        words = f"The own row is nearest for {hits} (chance {1 / len(rows):.1%})."
    if not shown.has_pictures:
        words += " The store has no images; rows are shown by their columns."
    return element(
        "div", element(level, heading), element("p", words, class_="calm"), element("ul", lines, class_="examples")
    )


def _rows_of(subject: Subject, key: str) -> StoreRows:
    """Return the rows as one side of a pair shows them: with the picture of its own input where that has pictures."""
    inputs = subject.source.inputs_of([parse_key(key).modality])
    prefer = [subject.source.spec(one).of for one in inputs]
    return StoreRows(subject.store, subject.split, subject.run.inputs.fold, prefer)


def _row(shown: StoreRows, row: int, kind: str, words: str, is_table: bool) -> Html:
    """Show a row by its picture and label; by its first columns too if its table is compared, or it has no picture."""
    label, key = shown.label(row), shown.key(row)
    what = clipped(label or key, 40)
    picture = shown.picture(row, f"{words.partition('.')[0]}: {what}")
    text = shown.words(row)
    return element(
        "li",
        element(
            "figure",
            picture or element("div", "no picture" if shown.has_pictures else what, class_="blank"),
            element(
                "figcaption",
                element("b", words),
                element("span", name(what, 40)),
                facts(dict(shown.cells(row))) if is_table or not picture else None,
                element("span", text) if text else None,
            ),
        ),
        class_=kind,
    )
