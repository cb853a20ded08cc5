"""The analysis of a run's embeddings on one split: all scores, and what the page draws."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.data.schema import SPLITS, Column
from mmcl_jax.data.store import Store
from mmcl_jax.encoders.fusions import needed_inputs
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.alignment.agreement import Smoothness, smoothness
from mmcl_jax.evaluation.alignment.attend import Attended, attend
from mmcl_jax.evaluation.alignment.locate import Located, locate, plain_pictures, pointing_of
from mmcl_jax.evaluation.alignment.pairing import Pairing, pairing_of
from mmcl_jax.evaluation.alignment.phrases import labelled, read_prompts, rows_of
from mmcl_jax.evaluation.alignment.scores import (
    Rows,
    Score,
    agreement_of,
    attention_of,
    prompts_of,
    spread_of,
)
from mmcl_jax.evaluation.alignment.sides import Side, encode_side, taken_rows
from mmcl_jax.evaluation.alignment.spread import unit_length
from mmcl_jax.evaluation.alignment.subgroups import subgroups_of
from mmcl_jax.evaluation.alignment.truth import Truth, read_truth
from mmcl_jax.evaluation.sources.checks import check_rows
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.page.wording import counted
from mmcl_jax.progress import Bar
from mmcl_jax.training.runs.run import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysing:
    """How a run is analysed.

    Attributes:
      split: whose rows are read.
      rows: most rows; more are drawn from.
      inputs: encoders, one of an image and one of a text; () for the first of each.
      prompts: texts as `phrases.read_prompts` takes them; () for no labels.
      truth: the table of where findings are; None for no pointing.
      subgroups: columns whose subgroups have scores of their own.
      seed: of the drawn rows and of the intervals.

    Raises:
      UserError: a number is out of range, or there is no such split.
    """

    split: str
    rows: int
    inputs: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    truth: Path | None = None
    subgroups: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_name(self.split, SPLITS, "--split: there is no split")
        check(self.rows > 1, f"--rows: must be at least 2, not {self.rows}.")
        check(self.seed >= 0, f"--seed: must be 0 or above, not {self.seed}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """What was found.

    Attributes:
      pairing: the sides.
      rows: indices `[n]` of the rows in the split.
      scores: all numbers.
      sides: the embeddings, the image's first.
      attended: what the alignment reads; None for a run without.
      located: where sentences and phrases point; None without a truth.
      smoothness: of the regions; None without a grid.
      picture: the mean over the plain views of the images `[h, w, C]`; None without an image.
      weights: the mean weights of attention pooling over the regions, `[L]`; None without.
      notes: sentences about rows and sentences that have no part in the numbers.
    """

    pairing: Pairing
    rows: np.ndarray
    scores: Sequence[Score]
    sides: Sequence[Side]
    attended: Attended | None
    located: Located | None
    smoothness: Smoothness | None
    picture: np.ndarray | None
    weights: np.ndarray | None
    notes: Sequence[str]


def analyse(run: Run, store: Store, settings: Analysing) -> Analysis:
    """Return the analysis of a run.

    Raises:
      UserError: an encoder, label, column or split is unknown, the store has other rows than the run reads, fewer than
        two rows have everything, or the truth or the prompts are wrong.
    """
    pairing = pairing_of(run, settings.inputs)
    both = len(pairing.modalities) == 2
    check(both or not settings.prompts, "--prompts: they compare an image with texts, and this run encodes one alone.")
    check(both or settings.truth is None, "--truth: it needs an image and a text, and this run encodes one alone.")
    source, prompts = Source("run", run), read_prompts(settings.prompts)
    columns = labelled(store, [label for label, *_ in prompts])
    at, lacking = _rows(source, store, pairing, settings)
    fold, groups = run.inputs.fold, store.group(settings.split, run.inputs.fold)
    rows = Rows(
        None if groups is None else groups[at],
        subgroups_of(store, settings.subgroups, settings.split, at, fold),
        settings.seed,
    )
    keys = store.keys(settings.split, fold)
    truth: Truth | None = None
    located: Located | None = None
    if settings.truth is not None:
        entry = run.inputs.including([pairing.image]).specs[pairing.image].of
        counts = store.read(settings.split, [entry], fold=fold)[entry].counts
        truth = read_truth(
            settings.truth, store, entry, [keys[row] for row in at], None if counts is None else counts[at]
        )
    notes = [*_notes(lacking, pairing, settings.split), *(truth.notes if truth else ())]
    with Bar("alignment", 4) as bar:
        taken = {name: taken_rows(source, store, settings.split, name, at) for name in pairing.modalities}
        sides = [encode_side(source, pairing, name, taken[name]) for name in pairing.modalities]
        attended = attend(source, pairing, *sides) if both else None
        bar.advance(1)
        scores = [score for side in sides for score in spread_of(side)]
        scores += agreement_of(sides[0], sides[1], attended, rows) if both else []
        scores += attention_of(sides, attended, rows)
        bar.advance(1)
        if prompts:
            scores += _by_prompts(source, store, pairing, sides[0], prompts, columns, settings.split, at, rows)
        bar.advance(1)
        if truth is not None:
            located = locate(source, pairing, store, settings.split, at, truth.queries, "--truth")
            scores += pointing_of(located, rows)
            notes += _of_located(located)
        bar.advance(1)
    image = sides[0] if pairing.image else None
    picture = plain_pictures(source, image.modality, taken[image.modality])[0].mean(axis=0) if image else None
    return Analysis(
        pairing=pairing,
        rows=at,
        scores=scores,
        sides=sides,
        attended=attended,
        located=located,
        smoothness=smoothness(unit_length(image.local), image.grid) if image and image.local is not None else None,
        picture=picture,
        weights=image.weight.mean(axis=0) if image and image.weight is not None else None,
        notes=notes,
    )


def _rows(source: Source, store: Store, pairing: Pairing, settings: Analysing) -> tuple[np.ndarray, int]:
    """Return the indices of the rows that have both sides, at most as many as asked for, and how many lack a side."""
    run, split = source.run, settings.split
    fold = run.inputs.fold
    having = np.ones(len(store.rows_of(split, fold)), bool)
    for modality in pairing.modalities:
        for name in needed_inputs(run.config.views, modality):
            check_rows(run, store, name)
            present = store.read(split, [source.spec(name).of], fold=fold)[source.spec(name).of].present
            having &= True if present is None else present
    found = np.flatnonzero(having)
    names = " and ".join(pairing.modalities)
    check(
        len(found) > 1,
        f"--split {split}: {counted(len(found), 'row')} of {store.directory} {'has' if len(found) == 1 else 'have'} "
        f"{names}; choose another split, or one --input.",
    )
    lacking = int((~having).sum())
    if len(found) > settings.rows:
        random = np.random.default_rng([settings.seed, SPLITS.index(split)])
        found = np.sort(random.permutation(found)[: settings.rows])
    return found, lacking


def _by_prompts(
    source: Source, store: Store, pairing: Pairing, image: Side, prompts: Sequence[tuple[str, str, str]],
    columns: Sequence[Column], split: str, at: np.ndarray, rows: Rows,
) -> Iterator[Score]:  # fmt: skip
    texts = [text for _, *pair in prompts for text in pair]
    report = encode_side(source, pairing, pairing.report, rows_of(source.run, pairing.report, texts, "--prompts"))
    widths = {None if one.projected is None else one.projected.shape[1] for one in (image, report)}
    check(
        None not in widths and len(widths) == 1,
        f"--prompts: the pooled features of {image.modality!r} and {report.modality!r} of {source.run.directory} have "
        "no projectors into a common space; leave prompts out.",
    )
    assert image.projected is not None
    assert report.projected is not None
    vectors = unit_length(np.asarray(report.projected, np.float64)).reshape(len(prompts), 2, -1)
    entry = next(iter(name for name, one in store.schema.entries.items() if set(columns) <= set(one.columns)))
    values = np.asarray(store.read(split, [entry], fold=source.run.inputs.fold)[entry][at], np.float64)
    every = list(store.schema.entries[entry].columns)
    targets: Mapping[str, np.ndarray] = {
        label: values.T[every.index(column)] for (label, *_), column in zip(prompts, columns, strict=True)
    }
    pairs = {label: (two[0], two[1]) for (label, *_), two in zip(prompts, vectors, strict=True)}
    yield from prompts_of(unit_length(np.asarray(image.projected, np.float64)), pairs, targets, rows)


def _notes(lacking: int, pairing: Pairing, split: str) -> list[str]:
    notes = []
    if lacking:
        names = " or ".join(pairing.modalities)
        notes.append(f"{counted(lacking, 'row')} of {split} without {names} {_take(lacking)} no part.")
    if len(pairing.modalities) == 2 and not pairing.term:
        notes.append(
            "No term of the objective aligns regions with sentences, so there is no alignment error, and sentences "
            "point by the cosine alone."
        )
    return notes


def _of_located(located: Located) -> list[str]:
    if not located.unread:
        return []
    words = counted(located.unread, "sentence")
    return [f"{words} of the truth {_take(located.unread)} no part, since the encoder does not read that far."]


def _take(count: int) -> str:
    return "takes" if count == 1 else "take"
