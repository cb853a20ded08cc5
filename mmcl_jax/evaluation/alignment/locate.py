"""Where sentences and phrases point in an image, by the alignment and by cosines, against where findings are."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.alignment.attend import attend
from mmcl_jax.evaluation.alignment.pairing import Pairing
from mmcl_jax.evaluation.alignment.phrases import rows_of
from mmcl_jax.evaluation.alignment.pointing import pointing
from mmcl_jax.evaluation.alignment.scores import Rows, Score
from mmcl_jax.evaluation.alignment.sides import Side, encode_side, taken_rows
from mmcl_jax.evaluation.alignment.spread import unit_length
from mmcl_jax.evaluation.alignment.truth import Query, inside_of
from mmcl_jax.evaluation.heads.encoded import IDS, built, plain_spec
from mmcl_jax.evaluation.sources.blocks import padded
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.views.randomness import plain_keys

ALIGNMENT, COSINE = "alignment", "cosine"
_CHUNK = 64  # images whose views are made at a time
MEASURES = {"hit": "pointing accuracy", "inside": "weight inside", "contrast": "CNR", "iou": "mIoU"}


@dataclasses.dataclass(frozen=True)
class Located:
    """The maps of Q sentences and phrases, and the images that they are about.

    Attributes:
      queries: the Q that have a map; those whose sentence the encoder does not read have none.
      maps: by method ("alignment", "cosine"), `[Q, L]`.
      inside: `[Q, L]` bool, the regions of the finding; all False without boxes.
      grid: of the regions.
      unread: number of queries without a map.
    """

    queries: tuple[Query, ...]
    maps: Mapping[str, np.ndarray]
    inside: np.ndarray
    grid: tuple[int, int]
    unread: int


def locate(
    source: Source, pairing: Pairing, store: Store, split: str, rows: np.ndarray, queries: Sequence[Query], option: str
) -> Located:
    """Return where sentences and phrases point.

    The map of the alignment is the attention of the sentence over the regions; the cosine is that of the vectors of
    the regions with that of the sentence, behind the local projectors, or, of a model without, behind the projectors
    of pooled features.

    Args:
      source: with the model.
      pairing: the sides, both of which are needed.
      store: with the rows.
      split: of the rows.
      rows: indices `[n]` in the split, which `Query.row` counts.
      queries: the sentences and phrases.
      option: what errors call them.

    Raises:
      UserError: regions and sentences of this run lie in no common space, or the images have no grid of two axes.
    """
    at = sorted({(query.row, query.picture) for query in queries})
    phrases = sorted({query.phrase for query in queries if query.phrase})
    pairs = np.array(at)
    image_rows = taken_rows(source, store, split, pairing.image, rows[pairs[:, 0]], pairs[:, 1])
    texts = taken_rows(source, store, split, pairing.report, rows[pairs[:, 0]])
    if phrases:
        added = rows_of(source.run, pairing.report, phrases, option)
        texts = {name: np.concatenate([values, added[name]]) for name, values in texts.items()}
    image = encode_side(source, pairing, pairing.image, image_rows)
    report = encode_side(source, pairing, pairing.report, texts)
    check_common(source, image, report, option)
    grid = (image.grid[0], image.grid[1])
    image_of = {pair: index for index, pair in enumerate(at)}
    phrase_of = {phrase: index for index, phrase in enumerate(phrases)}
    kept, image_at, text_at, members = [], [], [], []
    for query in queries:
        index = image_of[query.row, query.picture]
        text = len(at) + phrase_of[query.phrase] if query.phrase else index
        own = _members(report, text, max(query.sentence, 0))
        if own.any():
            kept.append(query)
            image_at.append(index)
            text_at.append(text)
            members.append(own)
    check(
        bool(kept),
        f"{option}: the encoder of {pairing.report!r} reads none of these sentences: they lie behind the last that it "
        "keeps, or their reports are missing.",
    )
    regions, sentences = _taken(image, np.array(image_at)), _taken(report, np.array(text_at))
    own = np.stack(members)
    maps = {}
    aligned = attend(source, pairing, regions, sentences)
    if aligned is not None:
        maps[ALIGNMENT] = np.einsum("qml,qm->ql", aligned.over_regions, own) / own.sum(axis=1, keepdims=True)
    assert regions.compared is not None
    assert sentences.compared is not None
    vectors = np.einsum("qme,qm->qe", unit_length(sentences.compared), own)
    maps[COSINE] = np.einsum("qle,qe->ql", unit_length(regions.compared), unit_length(vectors))
    views, geometries = plain_pictures(source, pairing.image, image_rows)
    stored, size = image_rows[pairing.image].shape[1:3], views.shape[1:3]
    inside = np.zeros((len(kept), int(np.prod(grid))), bool)
    for index, (query, where) in enumerate(zip(kept, image_at, strict=True)):
        if len(query.boxes):
            inside[index] = inside_of(query, geometries[where], (size[0], size[1]), (stored[0], stored[1]), grid)
    return Located(tuple(kept), maps, inside, grid, len(queries) - len(kept))


def pointing_of(located: Located, rows: Rows) -> Iterator[Score]:
    """Yield pointing accuracy, weight inside, CNR and mIoU over all queries, each finding and each subgroup."""
    at = np.array([query.row for query in located.queries])
    findings = np.array([query.finding for query in located.queries])
    for method, maps in located.maps.items():
        scores = pointing(maps, located.inside)
        for finding in ("", *dict.fromkeys(findings)):
            mask = (findings == finding) if finding else np.ones(len(at), bool)
            own = rows if not finding else dataclasses.replace(rows, subgroups=())
            named = {"part": "pointing", "of": f"{method}: {finding}" if finding else method}
            for field, measure in MEASURES.items():
                values = getattr(scores, field)[mask]
                chance = scores.chance[mask] if field in ("hit", "inside") else 0.0 if field == "contrast" else np.nan
                yield from own.estimates(values, chance, at[mask], **named, measure=measure)
            above = (scores.hit - scores.chance)[mask]
            yield from own.estimates(above, 0.0, at[mask], **named, measure="pointing accuracy above chance")


def check_common(source: Source, image: Side, report: Side, option: str) -> None:
    """Raise `UserError` unless regions and sentences lie in a common space, and the regions on a grid of two axes."""
    check(
        len(image.grid) == 2,
        f"{option}: the local features of {image.modality!r} of {source.run.directory} lie on no grid of regions; use "
        "an encoder with maps, such as resnet50.",
    )
    both = [side.compared for side in (image, report)]
    check(
        all(side is not None for side in both) and len({side.shape[2] for side in both if side is not None}) == 1,
        f"{option}: regions and sentences of {source.run.directory} have no projectors into a common space; train with "
        f"config.projectors of '{image.modality}.local' and '{report.modality}.local', or of both pooled features.",
    )


def _members(report: Side, text: int, sentence: int) -> np.ndarray:
    """Return which local features `[M]` of a text are of a sentence."""
    assert report.mask is not None
    assert report.sentences is not None
    return report.mask[text] & (report.sentences[text] == sentence)


def _taken(side: Side, at: np.ndarray) -> Side:
    """Return rows of a side, which may repeat, without the wide features that no map reads."""
    side = dataclasses.replace(side, local=None, weight=None, projected=None)
    arrays = {
        field.name: values[at]
        for field in dataclasses.fields(side)
        if isinstance(values := getattr(side, field.name), np.ndarray)
    }
    return dataclasses.replace(side, **arrays)


def plain_pictures(source: Source, modality: str, rows: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the plain views `[n, h, w, C]` of images, and the affine maps `[n, 3, 3]` from them to stored images.

    Args:
      source: with the run.
      modality: the encoder of images.
      rows: single images, as `sides.taken_rows` returns them.
    """
    view = built(plain_spec(source.run.config, modality))
    fitted: Any = source.run.inputs.fitted.get(modality, {})

    @jax.jit
    def plain(values: jax.Array, ids: jax.Array) -> tuple[jax.Array, jax.Array]:
        viewed = view.plain(values, plain_keys(modality, ids), fitted)
        last = jnp.broadcast_to(jnp.eye(3)[2:], (len(values), 1, 3))
        if viewed.geometry is None:
            return viewed.values, jnp.broadcast_to(jnp.eye(3), (len(values), 3, 3))
        return viewed.values, jnp.concatenate([viewed.geometry, last], axis=1)

    parts = []
    for start in range(0, len(rows[modality]), _CHUNK):
        chunk = {name: padded(values[start : start + _CHUNK], _CHUNK) for name, values in rows.items()}
        ids = chunk.get(IDS, np.zeros(_CHUNK, np.uint32))
        parts.append(jax.device_get(plain(jnp.asarray(chunk[modality]), jnp.asarray(ids))))
    views, geometries = (np.concatenate(of)[: len(rows[modality])] for of in zip(*parts, strict=True))
    return views.astype(np.float32), geometries
