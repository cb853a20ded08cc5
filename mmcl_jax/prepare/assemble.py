"""Assembling the content of the store from the rows that were read and the images that were decoded."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.format import flat
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.schema import Column, Entry
from mmcl_jax.page.wording import counted, share
from mmcl_jax.prepare.entries.boxes import RawBoxes
from mmcl_jax.prepare.entries.columns import features, is_table, schema_columns
from mmcl_jax.prepare.entries.matrix import Matrix
from mmcl_jax.prepare.entries.text import tokenise
from mmcl_jax.prepare.entries.variants import variants_file, write_variants
from mmcl_jax.prepare.gather import GatheredEntries
from mmcl_jax.prepare.images.pixels import Pixels
from mmcl_jax.prepare.inspection import Inspected, find_leaky, group_numbers
from mmcl_jax.prepare.join.joined import Joined
from mmcl_jax.prepare.join.keys import some
from mmcl_jax.prepare.like import Like
from mmcl_jax.prepare.reports.facts import text_facts
from mmcl_jax.prepare.reports.read import Report, Reports
from mmcl_jax.prepare.reports.vocabulary import lacking
from mmcl_jax.prepare.sources import VECTORS
from mmcl_jax.prepare.table.rows import matrix, readings, resolved


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assembled:
    """The content of the store, and what the card shows of it.

    Attributes:
      content: of the store.
      left_out: columns of further tables that are not used, as "entry.column", each with the reason.
      texts: the (key, text) of a few rows, by entry whose source asks to show texts.
      warnings: sentences that a user should read.
      facts: the findings on texts, by entry; see `reports.facts`.
    """

    content: Content
    left_out: dict[str, str]
    texts: dict[str, list[tuple[str, str]]]
    warnings: list[str]
    facts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


class Assembler:
    """The assembly of the content of the store from the rows that are kept."""

    def __init__(
        self,
        gathered: GatheredEntries,
        inspected: Inspected,
        pixels: Mapping[str, Pixels],
        boxes: Mapping[str, RawBoxes],
        folder: Path,
        like: Like | None = None,
    ) -> None:
        """Take the gathered rows, their inspection, the decoded images, the boxes, the store's folder, and `--like`."""
        self._like, self._limits = like, gathered.main.request.limits
        self._gathered, self._inspected = gathered, inspected
        self._pixels, self._boxes, self._folder = pixels, boxes, folder
        self._left_out: dict[str, str] = {}
        self._texts: dict[str, list[tuple[str, str]]] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._warnings: list[str] = []

    def content(self) -> Assembled:
        """Return the content of the store, with the texts and warnings of the card.

        Raises:
          UserError: a text entry has no text at all, or its vocabulary cannot be used.
        """
        gathered, inspected = self._gathered, self._inspected
        entries = gathered.join.entries
        parts: dict[str, Part] = {}
        for name in gathered.inputs:
            if name == gathered.main.table:
                part = self._table(name)
            else:
                part = self._part(entries[name]) if name in entries else self._image(name)
            if part is not None:
                parts[name] = part
        if inspected.schema.labels:
            parts["labels"] = Part(entry=Entry.table(inspected.schema.labels, role="target"), values=inspected.labels)
        for name, entry in entries.items():
            if entry.is_target and (part := self._part(entry)) is not None:
                parts[name] = part
        # The rows of the store are those of train, then val, then test.
        order = np.concatenate(list(inspected.splits.values()))
        kept = inspected.rows[order]
        number = np.full(len(inspected.rows), -1)
        number[order] = np.arange(len(order))
        content = Content(
            parts={name: _ordered(part, order) for name, part in parts.items()},
            id=gathered.rows.numbers[kept] - 1,
            keys=[gathered.rows.keys[row] for row in kept],
            splits={split: np.sort(number[members]) for split, members in inspected.splits.items()},
            subsets={name: np.sort(number[members]) for name, members in inspected.subsets.items()},
            folds=[np.sort(number[members]) for members in inspected.folds],
            group=group_numbers(gathered.rows, kept),
            declaration=resolved(gathered.rows),
            declarations={
                name: readings(parsed, entries[name].source.schema) for name, parsed in gathered.columns.items()
            },
        )
        return Assembled(
            content=content,
            left_out=self._left_out,
            texts=self._texts,
            facts=self._facts,
            warnings=self._warnings,
        )

    def _part(self, joined: Joined) -> Part | None:
        kind = joined.source.kind
        if joined.name in self._pixels:
            return self._image(joined.name)
        if is_table(joined):
            return self._further_table(joined)
        if kind in VECTORS:
            return self._vector(joined)
        if kind == "text":
            return self._text(joined)
        if kind == "boxes":
            return self._box(joined)
        return None  # a column of the labels

    def _table(self, name: str) -> Part | None:
        """Return the columns of the main table, for the rows that it has."""
        if not self._inspected.schema.columns:
            return None
        present = self._gathered.join.main[name][self._inspected.rows]
        return Part(
            entry=Entry.table(self._inspected.schema.columns),
            values=self._inspected.table[present],
            at=None if present.all() else _numbered(present),
        )

    def _further_table(self, joined: Joined) -> Part | None:
        inspected = self._inspected
        kept = inspected.rows
        parsed = list(self._gathered.columns[joined.name])
        if not joined.is_target:
            parsed = features(parsed)
        if self._like is None:
            columns = schema_columns(parsed, kept, self._limits)
        else:
            columns = self._like.columns_of(joined.name)
            parsed = self._like.ordered(parsed, columns)
        values, _ = matrix(parsed, columns, kept, unknown=math.nan if joined.is_target else -1.0)
        if self._like is not None:
            self._warnings += self._like.warn(parsed, columns, values, kept)
        elif not joined.is_target:
            out, warnings = find_leaky(
                parsed, values, inspected.labels, inspected.schema.labels, inspected.splits["train"], 0
            )
            self._warnings += [f"Column {name!r} of {joined.name!r} is left out: {why}." for name, why in out.items()]
            self._warnings += warnings
            self._left_out |= {f"{joined.name}.{name}": why for name, why in out.items()}
            used = [index for index, column in enumerate(columns) if column.name not in out]
            columns, values = tuple(columns[index] for index in used), values[:, used]
        if not columns:
            self._warnings.append(f"No column of {joined.name!r} is left, so that the store has no such entry.")
            return None
        present = joined.at[kept] >= 0
        entry = Entry.table(columns, role="target" if joined.is_target else "input")
        return Part(entry=entry, values=values[present], at=None if present.all() else _numbered(present))

    def _image(self, name: str) -> Part:
        pixels = self._pixels[name]
        values = np.load(pixels.array, mmap_mode="r", allow_pickle=False)
        at = pixels.at(self._inspected.rows)
        entry = pixels.entry
        if entry.pictures > 1:
            views = np.arange(entry.pictures)
            if pixels.source.stack == "varying":
                present = (at[:, None] >= 0) & (views < pixels.counts(self._inspected.rows)[:, None])
                at = np.where(present, at[:, None] + views, -1)
            else:
                at = np.where(at[:, None] < 0, -1, at[:, None] * entry.pictures + views)
        if entry.role == "target":
            entry = dataclasses.replace(entry, columns=(self._classes(pixels),))
        return Part(entry=entry, values=values, at=at)

    def _classes(self, pixels: Pixels) -> Column:
        """Return the classes of a mask; if none are declared, number its values 0, 1 and so on in ascending order."""
        name = pixels.source.name
        declared = self._gathered.join.entries[name].source.classes
        if declared:
            return Column(name=name, kind="categorical", categories=tuple(text for text, _ in declared))
        codes = np.load(pixels.array, mmap_mode="r+", allow_pickle=False)
        counts = np.zeros(256, np.int64)
        at = pixels.at(self._inspected.rows)
        for index in at[at >= 0]:
            counts += np.bincount(codes[index].ravel(), minlength=256)
        values = np.flatnonzero(counts)
        code_of = np.zeros(256, np.uint8)
        code_of[values] = np.arange(len(values))
        if len(values) and values[-1] != len(values) - 1:
            for index, mask in enumerate(codes):
                codes[index] = code_of[mask]
            codes.flush()
        return Column(name=name, kind="categorical", categories=tuple(map(str, values)))

    def _vector(self, joined: Joined) -> Part:
        assert isinstance(joined.content, Matrix)
        at = joined.at[self._inspected.rows]
        present = at >= 0
        rows, shared = np.unique(at[present], return_inverse=True)  # the eyes of a person share a row
        if len(rows) == len(shared):
            rows, index = at[present], _numbered(present)
        else:
            index = np.full(len(at), -1)
            index[present] = shared
        shape = (len(rows), len(joined.content.names))
        values = flat.allocate(self._folder, joined.name, shape, joined.content.dtype)
        joined.content.store(rows, values)
        values.flush()
        if joined.source.kind == "vector":
            self._warn_of_constants(joined.name, joined.content.names, values, index)
        if joined.content.variants is not None:
            write_variants(self._folder / variants_file(joined.name), joined.content.variants)
        entry = Entry(kind="vector", shape=shape[1:], dtype=joined.content.dtype)
        return Part(entry=entry, values=values, at=index, names=joined.content.names)

    def _warn_of_constants(self, name: str, names: Sequence[str], values: np.ndarray, at: np.ndarray) -> None:
        """Warn of features, such as covariates, that have one value in all training rows."""
        rows = at[self._inspected.splits["train"]]
        rows = np.unique(rows[rows >= 0])  # of distinct people
        if len(rows) < 2:
            return
        first, constant = values[rows[0]], np.ones(values.shape[1], bool)
        size = max(1, _CHUNK_BYTES // max(1, values[:1].nbytes))
        for start in range(0, len(rows), size):
            part = values[rows[start : start + size]]
            constant &= ((part == first) | ((part != part) & (first != first))).all(axis=0)
        same = [names[int(column)] for column in np.flatnonzero(constant)]
        if same:
            found = f"{counted(len(same), 'feature')} of {name!r} {'has' if len(same) == 1 else 'have'} a single value"
            self._warnings.append(f"{found} in all training rows: {some(same)}.")

    def _text(self, joined: Joined) -> Part:
        assert isinstance(joined.content, Reports)
        name, kept, source = joined.name, self._inspected.rows, joined.source
        reports = [joined.content.rows[row] if row >= 0 else Report() for row in joined.at[kept]]
        texts = [report.sentences for report in reports]
        length = None if self._like is None else self._like.schema.entries[name].shape[0]
        keys = [self._gathered.rows.keys[row] for row in kept]
        train = self._inspected.splits["train"]
        tokens = tokenise(texts, train, source, joined.where, length=length, limits=self._limits, keys=keys)
        (self._folder / f"tokenizer.{name}.json").write_text(tokens.tokenizer, encoding="utf-8")
        present = (tokens.values[:, 0, 0] >= 0) if tokens.values.shape[1] else np.zeros(len(kept), bool)
        of_keys = [joined.content.index[key] for key in keys if key in joined.content.index]  # also emptied reports
        self._facts[name] = text_facts(reports, [joined.content.rows[row] for row in of_keys], tokens, source)
        if len(tokens.cut):
            cut = f"{counted(len(tokens.cut), 'text')} of {name!r} had more than {tokens.values.shape[1]} tokens and"
            self._warnings.append(f"{cut} lost their last sentences: {some([keys[row] for row in tokens.cut])}.")
        if tokens.unknown > _MANY_UNKNOWN:
            self._warnings.append(f"{share(tokens.unknown, 1)} of the tokens of {name!r} are not in its vocabulary.")
        if lacks := lacking(tokens.vocabulary):
            self._warnings.append(
                f"The vocabulary of {name!r} has no {' and no '.join(lacks)}, which the view report adds to texts."
            )
        if source.show_text:
            shown = np.flatnonzero(present)[:_TEXTS]
            self._texts[name] = [(keys[row], " ".join(texts[row])) for row in shown]
        shape = tokens.values.shape[1:]
        entry = Entry(kind="text", shape=shape, dtype="int32", show_text=source.show_text)
        return Part(entry=entry, values=tokens.values[present], at=_numbered(present), names=tokens.vocabulary)

    def _box(self, joined: Joined) -> Part:
        boxes, kept = self._boxes[joined.name], self._inspected.rows
        present = boxes.present[kept]
        if boxes.lost:
            self._warnings.append(
                f"{counted(boxes.lost, 'box', 'boxes')} of {joined.name!r} lay in what cropping cut off their images."
            )
        column = Column(name=joined.name, kind="categorical", categories=boxes.categories)
        entry = Entry(
            kind="boxes",
            shape=boxes.values.shape[1:],
            dtype="float32",
            role="target",
            of=joined.source.of,
            columns=(column,),
        )
        return Part(entry=entry, values=boxes.values[kept][present], at=_numbered(present))


_TEXTS = 6  # on the card
_CHUNK_BYTES = 64 * 2**20
_MANY_UNKNOWN = 0.05


def _ordered(part: Part, order: np.ndarray) -> Part:
    """Return the part with its rows in the given order."""
    if part.at is None:
        return dataclasses.replace(part, values=part.values[order])
    return dataclasses.replace(part, at=part.at[order])


def _numbered(present: np.ndarray) -> np.ndarray:
    """Return 0, 1 and so on where `present`, bool `[N]`, is true, and -1 elsewhere."""
    return np.where(present, np.cumsum(present) - 1, -1)


def described(content: Content, where: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the findings on every entry: name, kind, role, shape, type, number of rows with it and without it."""
    total = len(content.id)
    findings = []
    for name, part in content.parts.items():
        first = part.at if part.at is None or part.at.ndim == 1 else part.at[:, 0]
        rows = total if first is None else int((first >= 0).sum())
        by_split = {
            split: len(members) if first is None else int((first[members] >= 0).sum())
            for split, members in content.splits.items()
        }
        entry = part.entry
        findings.append(
            {
                "name": name,
                "kind": entry.kind if not (entry.of and entry.kind in ("image", "volume")) else "mask",
                "role": entry.role,
                "stored": " x ".join(map(str, (*((entry.pictures,) if entry.pictures > 1 else ()), *entry.shape))),
                "dtype": entry.dtype,
                "source": where.get(name, ""),
                "rows": rows,
                "missing": total - rows,
                "splits": by_split,
                "of": entry.of,
                "names": list(part.names[:8]),
                "named": len(part.names),
            }
        )
    return findings
