"""From what was read and decoded to the content of the store."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.schema import Column, Entry
from mmcl_jax.page.wording import counted, share
from mmcl_jax.prepare.entries.boxes import RawBoxes
from mmcl_jax.prepare.entries.columns import features, is_table, schema_columns
from mmcl_jax.prepare.entries.matrix import Matrix
from mmcl_jax.prepare.entries.text import tokenise
from mmcl_jax.prepare.gather import GatheredEntries
from mmcl_jax.prepare.images.pixels import Pixels
from mmcl_jax.prepare.inspection import Inspected, group_numbers, leaky
from mmcl_jax.prepare.join.joined import Joined
from mmcl_jax.prepare.join.tables import Keyed
from mmcl_jax.prepare.like import Like
from mmcl_jax.prepare.table.cells import nameless, text_of
from mmcl_jax.prepare.table.rows import matrix, readings, resolved


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assembled:
    """The content of the store; the columns of further tables that were left out, with the reason; texts for the card
    by entry; and sentences that a user should read.
    """

    content: Content
    left_out: dict[str, str]
    texts: dict[str, list[tuple[str, str]]]
    warnings: list[str]


class Assembler:
    """Makes the content of the store from the rows that are kept."""

    def __init__(
        self,
        gathered: GatheredEntries,
        found: Inspected,
        pixels: Mapping[str, Pixels],
        boxes: Mapping[str, RawBoxes],
        folder: Path,
        like: Like | None = None,
    ) -> None:
        """Take what was read, understood and decoded, the folder of the store, and what it is to be like."""
        self._like = like
        self._gathered, self._found, self._pixels, self._boxes, self._folder = gathered, found, pixels, boxes, folder
        self._left_out: dict[str, str] = {}
        self._texts: dict[str, list[tuple[str, str]]] = {}
        self._warnings: list[str] = []

    def content(self) -> Assembled:
        """Return all of it.

        Raises:
          UserError: a text has a token that its vocabulary does not have, or there is no text.
        """
        gathered, found = self._gathered, self._found
        entries = gathered.join.entries
        parts: dict[str, Part] = {}
        for name in gathered.inputs:
            if name == gathered.main.table:
                part = self._table(name)
            else:
                part = self._part(entries[name]) if name in entries else self._picture(name)
            if part is not None:
                parts[name] = part
        if found.schema.labels:
            parts["labels"] = Part(entry=Entry.table(found.schema.labels, role="target"), values=found.labels)
        for name, one in entries.items():
            if one.is_target and (part := self._part(one)) is not None:
                parts[name] = part
        # The rows of the store are those of train, then val, then test.
        order = np.concatenate(list(found.splits.values()))
        kept = found.rows[order]
        number = np.full(len(found.rows), -1)
        number[order] = np.arange(len(order))
        content = Content(
            parts={name: _ordered(part, order) for name, part in parts.items()},
            id=gathered.rows.numbers[kept] - 1,
            keys=[gathered.rows.keys[row] for row in kept],
            splits={split: np.sort(number[members]) for split, members in found.splits.items()},
            subsets={name: np.sort(number[members]) for name, members in found.subsets.items()},
            folds=[np.sort(number[members]) for members in found.folds],
            group=group_numbers(gathered.rows, kept),
            declaration=resolved(gathered.rows),
            declarations={
                name: readings(parsed, entries[name].source.schema) for name, parsed in gathered.columns.items()
            },
        )
        return Assembled(content=content, left_out=self._left_out, texts=self._texts, warnings=self._warnings)

    def _part(self, one: Joined) -> Part | None:
        kind = one.source.kind
        if one.name in self._pixels:
            return self._picture(one.name)
        if is_table(one):
            return self._further_table(one)
        if kind == "vector":
            return self._vector(one)
        if kind == "text":
            return self._text(one)
        if kind == "boxes":
            return self._box(one)
        return None  # a column of the labels

    def _table(self, name: str) -> Part | None:
        """Return the columns of the main table, for the rows that it has."""
        if not self._found.schema.columns:
            return None
        present = self._gathered.join.main[name][self._found.rows]
        return Part(
            entry=Entry.table(self._found.schema.columns),
            values=self._found.table[present],
            at=None if present.all() else _numbered(present),
        )

    def _further_table(self, one: Joined) -> Part | None:
        kept, found = self._found.rows, self._found
        parsed = list(self._gathered.columns[one.name])
        if not one.is_target:
            parsed = features(parsed)
        if self._like is None:
            columns = schema_columns(parsed, kept)
        else:
            columns = self._like.columns_of(one.name)
            parsed = self._like.ordered(parsed, columns)
        values, _ = matrix(parsed, columns, kept)
        if self._like is not None:
            self._warnings += self._like.warn(parsed, columns, values, kept)
        elif not one.is_target:
            out, used = leaky(parsed, values, found.labels, found.schema.labels, found.splits["train"], 0)
            self._warnings += [f"Column {name!r} of {one.name!r} is left out: {why}." for name, why in out.items()]
            self._warnings += used
            self._left_out |= {f"{one.name}.{name}": why for name, why in out.items()}
            places = [place for place, column in enumerate(columns) if column.name not in out]
            columns, values = tuple(columns[place] for place in places), values[:, places]
        if not columns:
            self._warnings.append(f"No column of {one.name!r} is left to use; it is no entry of the store.")
            return None
        present = one.at[kept] >= 0
        entry = Entry.table(columns, role="target" if one.is_target else "input")
        return Part(entry=entry, values=values[present], at=None if present.all() else _numbered(present))

    def _picture(self, name: str) -> Part:
        pixels = self._pixels[name]
        values = np.load(pixels.array, mmap_mode="r")
        at = pixels.at(self._found.rows)
        entry = pixels.entry
        if entry.pictures > 1:
            several = at[:, None] * entry.pictures + np.arange(entry.pictures)
            at = np.where(at[:, None] < 0, -1, several)
        if entry.role == "target":
            entry = dataclasses.replace(entry, columns=(self._classes(pixels),))
        return Part(entry=entry, values=values, at=at)

    def _classes(self, pixels: Pixels) -> Column:
        """Return the classes of a mask; if none were declared, the values in the mask become 0, 1 and so on."""
        name = pixels.source.name
        said = self._gathered.join.entries[name].source.classes
        if said:
            return Column(name=name, kind="categorical", categories=tuple(text for text, _ in said))
        codes = np.load(pixels.array, mmap_mode="r+")
        counts = np.zeros(256, np.int64)
        at = pixels.at(self._found.rows)
        for place in at[at >= 0]:
            counts += np.bincount(codes[place].ravel(), minlength=256)
        met = np.flatnonzero(counts)
        table = np.zeros(256, np.uint8)
        table[met] = np.arange(len(met))
        if len(met) and met[-1] != len(met) - 1:
            for place, mask in enumerate(codes):
                codes[place] = table[mask]
            codes.flush()
        return Column(name=name, kind="categorical", categories=tuple(map(str, met)))

    def _vector(self, one: Joined) -> Part:
        assert isinstance(one.content, Matrix)
        at = one.at[self._found.rows]
        there = at >= 0
        path = self._folder / "flat" / f"{one.name}.npy"
        shape = (int(there.sum()), len(one.content.names))
        values = open_memmap(path, mode="w+", dtype=one.content.dtype, shape=shape)
        one.content.store(at[there], values)
        values.flush()
        entry = Entry(kind="vector", shape=shape[1:], dtype=one.content.dtype)
        return Part(entry=entry, values=values, at=_numbered(there), names=one.content.names)

    def _text(self, one: Joined) -> Part:
        assert isinstance(one.content, Keyed)
        cells = text_of(nameless(one.content.frame[one.source.column[0]])).to_list()
        kept = self._found.rows
        texts = [cells[row] if row >= 0 else None for row in one.at[kept]]
        length = None if self._like is None else self._like.schema.entries[one.name].shape[0]
        tokens = tokenise(texts, self._found.splits["train"], one.source, one.where, length=length)
        (self._folder / f"tokenizer.{one.name}.json").write_text(tokens.tokenizer)
        there = (tokens.values[:, 0, 0] >= 0) if tokens.values.shape[1] else np.zeros(len(kept), bool)
        if tokens.cut:
            length = tokens.values.shape[1]
            self._warnings.append(
                f"{counted(tokens.cut, 'text')} of {one.name!r} had more than {length} tokens, and were cut."
            )
        if tokens.unknown > _MANY_UNKNOWN:
            self._warnings.append(
                f"{share(tokens.unknown, 1)} of the tokens of {one.name!r} are not in its vocabulary."
            )
        shown = np.flatnonzero(there)[:_TEXTS]
        self._texts[one.name] = [(self._gathered.rows.keys[kept[row]], str(texts[row])) for row in shown]
        entry = Entry(kind="text", shape=tokens.values.shape[1:], dtype="int32")
        return Part(entry=entry, values=tokens.values[there], at=_numbered(there), names=tokens.vocabulary)

    def _box(self, one: Joined) -> Part:
        boxes, kept = self._boxes[one.name], self._found.rows
        there = boxes.present[kept]
        if boxes.lost:
            self._warnings.append(
                f"{counted(boxes.lost, 'box', 'boxes')} of {one.name!r} lay in what cropping cut off."
            )
        column = Column(name=one.name, kind="categorical", categories=boxes.categories)
        entry = Entry(
            kind="boxes",
            shape=boxes.values.shape[1:],
            dtype="float32",
            role="target",
            of=one.source.of,
            columns=(column,),
        )
        return Part(entry=entry, values=boxes.values[kept][there], at=_numbered(there))


_TEXTS = 6  # on the card
_MANY_UNKNOWN = 0.05


def _ordered(part: Part, order: np.ndarray) -> Part:
    """Return the part with its rows in another order."""
    if part.at is None:
        return dataclasses.replace(part, values=part.values[order])
    return dataclasses.replace(part, at=part.at[order])


def _numbered(present: np.ndarray) -> np.ndarray:
    """Return 0, 1 and so on where bool `[N]` is true, else -1."""
    return np.where(present, np.cumsum(present) - 1, -1)


def described(content: Content, where: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what findings say of every entry: name, kind, role, shape, type, rows that have it and that lack it."""
    total = len(content.id)
    found = []
    for name, part in content.parts.items():
        first = part.at if part.at is None or part.at.ndim == 1 else part.at[:, 0]
        rows = total if first is None else int((first >= 0).sum())
        by_split = {
            split: len(members) if first is None else int((first[members] >= 0).sum())
            for split, members in content.splits.items()
        }
        entry = part.entry
        found.append(
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
    return found
