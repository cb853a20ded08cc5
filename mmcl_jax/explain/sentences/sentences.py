"""The method `sentences`: the regions of an image that each sentence of its report, or a phrase, points at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.kinds.text import words_by_sentence
from mmcl_jax.errors import check
from mmcl_jax.evaluation.alignment.locate import ALIGNMENT, COSINE, Located, locate, plain_pictures
from mmcl_jax.evaluation.alignment.pairing import Pairing, pairing_of
from mmcl_jax.evaluation.alignment.phrases import rows_of
from mmcl_jax.evaluation.alignment.sides import encode_side, taken_rows
from mmcl_jax.evaluation.alignment.spread import unit_length
from mmcl_jax.evaluation.alignment.truth import Query
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain.base import METHODS, ExplainOptions, Result, Subject
from mmcl_jax.explain.sentences.draw import Row, write_pictures
from mmcl_jax.page.wording import clipped, counted

MAPS = "sentences.npz"
_WORDS = {
    ALIGNMENT: "the attention of the sentence over the regions, by the term that aligns them, above equal weights",
    COSINE: "the cosine of the regions with the sentence, above the smallest",
}


def _reads(source: Source, input: str, head: KeptHead | None, options: ExplainOptions) -> Sequence[str]:
    del head, options
    return _pairing(source, input).modalities


def _pairing(source: Source, input: str) -> Pairing:
    images = [name for name in source.run.config.encoders if _kind(source, name) == "image"]
    check(
        bool(images),
        f"--method sentences: {source.run.directory} has no encoder of an image that the sentences of {input!r} could "
        "point at; leave the method out.",
    )
    return pairing_of(source.run, (images[0], input))


def _kind(source: Source, name: str) -> str:
    specs = source.run.inputs.specs
    return specs[name].kind if name in specs else ""


@METHODS.register("sentences", takes=("text",), head="refused", reads=_reads, individuals=True)
def sentences(subject: Subject, folder: Path) -> Result:
    """Show the sentences of reports beside their images, each with the regions that it points at.

    Sentences point by the attention of the run's local term, or, without such a term, by the cosine of the vectors of
    regions and sentences (see `evaluation.alignment.locate`). With `--text`, there is one map: of the phrase, as a
    report of one sentence, on the image that `--individuals` names, or on the one that is most like the phrase. The
    words of reports are shown with `--show-text` alone.

    `sentences.npz` has the `keys` `[n]` of the maps, the index of their `sentence` `[n]` (-1 for the phrase), and by
    the names of what they are, "alignment" and "cosine", the maps `[n, h, w]`. `sentences.html` is the page.

    Raises:
      UserError: regions and sentences lie in no common space, the phrase cannot be read, or pooled features lie in no
        common space in which an image could be the most like the phrase.
    """
    options, source = subject.options, subject.source
    pairing = _pairing(source, subject.input)
    chosen = _chosen(subject, pairing)
    rows = np.asarray(subject.rows)[chosen]
    split, text = options.split, options.text
    stored = taken_rows(source, subject.store, split, pairing.report, rows)[pairing.report]
    if text:
        queries = [Query(row, 0, "", -1, text, np.zeros((0, 4))) for row in range(len(rows))]
    else:
        counts = stored[..., 1].max(axis=1) + 1
        queries = [
            Query(row, 0, "", sentence, "", np.zeros((0, 4)))
            for row, count in enumerate(counts)
            for sentence in range(count)
        ]
    option = "--text" if text else "--method sentences"
    check(bool(queries), f"{option}: no report of the chosen rows has a sentence; explain other rows.")
    located = locate(source, pairing, subject.store, split, rows, queries, option)
    shown = ALIGNMENT if ALIGNMENT in located.maps else COSINE
    views, _ = plain_pictures(source, pairing.image, taken_rows(source, subject.store, split, pairing.image, rows))
    entry = source.spec(pairing.report).of
    drawn = []
    for index, at in enumerate(chosen):
        own = [number for number, query in enumerate(located.queries) if query.row == index]
        told = words_by_sentence(stored[index], subject.store.names(entry)) if options.show_text else []
        drawn.append(
            Row(
                key=subject.keys[at],
                view=views[index],
                maps=located.maps[shown][own].reshape(len(own), *located.grid),
                sentences=tuple(located.queries[number].sentence for number in own),
                texts=(text,) if text else tuple(told),
                cosine=shown == COSINE,
            )
        )
    pictures = write_pictures(folder, [row for row in drawn if len(row.maps)], _WORDS[shown], text or "")
    keys = [subject.keys[chosen[query.row]] for query in located.queries]
    arrays = {name: maps.reshape(-1, *located.grid).astype(np.float32) for name, maps in located.maps.items()}
    np.savez(
        folder / MAPS,
        keys=np.array(keys, dtype=str),
        sentence=np.array([query.sentence for query in located.queries]),
        **arrays,  # type: ignore[arg-type]
    )
    return Result(
        of=f"where {'a phrase points' if text else f'the sentences of {pairing.report} point'} in {pairing.image}",
        settings={"text": text, "show_text": options.show_text},
        pictures=pictures,
        details=_details(located, shown, keys),
        notes=_notes(located, shown, text or ""),
    )


def _chosen(subject: Subject, pairing: Pairing) -> list[int]:
    """Return the indices, among the rows of the subject, of those that are shown."""
    options, keys = subject.options, list(subject.keys)
    if options.individuals:
        return [keys.index(key) for key in options.individuals]
    if not options.text:
        return list(range(min(options.top, len(keys))))
    source, split = subject.source, options.split
    image = encode_side(
        source,
        pairing,
        pairing.image,
        taken_rows(source, subject.store, split, pairing.image, np.asarray(subject.rows)),
    )
    report = encode_side(source, pairing, pairing.report, rows_of(source.run, pairing.report, [options.text], "--text"))
    check(
        image.projected is not None
        and report.projected is not None
        and image.projected.shape[1] == report.projected.shape[1],
        f"--text: the pooled features of {pairing.image!r} and {pairing.report!r} of {source.run.directory} have no "
        "projectors into a common space, so no image is the most like a phrase; name one with --individuals KEY.",
    )
    assert image.projected is not None
    assert report.projected is not None
    return [int((unit_length(image.projected) @ unit_length(report.projected[0])).argmax())]


def _details(located: Located, shown: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return what `explanation.json` has of every map: its row, its sentence, and its strongest region from 1."""
    told = []
    for key, query, values in zip(keys, located.queries, located.maps[shown], strict=True):
        row, column = np.unravel_index(int(values.argmax()), located.grid)
        region = [int(row) + 1, int(column) + 1]
        told.append({"key": key, "sentence": query.sentence, "region": region, "value": float(values.max())})
    return {"by": shown, "grid": list(located.grid), "sentences": told, "files": [MAPS]}


def _notes(located: Located, shown: str, text: str) -> list[str]:
    notes = [f"Maps are {_WORDS[shown]}."]
    if text:
        notes.append(f"The phrase is {clipped(text)!r}.")
    if located.unread:
        lie = "lies" if located.unread == 1 else "lie"
        notes.append(f"{counted(located.unread, 'sentence')} {lie} behind the last that the encoder reads.")
    return notes
