"""Entries and targets of later rows: where they come from is new, and how they are read is as in an earlier store."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import check
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import Source

if TYPE_CHECKING:
    from mmcl_jax.prepare.like import Like

# What says where values are, or which rows are kept; every other key says how values are read.
_WHERE = (
    *("file", "key", "separator", "encoding", "column", "folder", "files", "names", "keys", "dataset", "ignore"),
    *("required", "duplicates", "max_pixels"),
)


def sources_like(like: "Like", request: Request, main: Declaration) -> tuple[dict[str, Source], dict[str, Source]]:
    """Return the entries and targets of a request with everything that is as it was there.

    A target may be left out of the request; an entry may not. `main` is what is said about the main table.

    Raises:
      UserError: an entry is missing or unknown, or a key of it says otherwise than the store does.
    """
    made: dict[str, dict[str, Source]] = {}
    for group in ("entries", "targets"):
        theirs: Mapping[str, Source] = getattr(like.request, group)
        mine: Mapping[str, Source] = getattr(request, group)
        for name in mine:
            unknown = f"--request: {group}.{name}: {like.directory} has no such {_WORDS[group]}; leave it out."
            check(name in theirs, unknown)
        for name in theirs if group == "entries" else ():
            check(name in mine, f"--like: {like.directory} has the entry {name!r}; say where it is, with --request.")
        made[group] = {
            name: _source(like, name, theirs[name], mine[name], f"--request: {group}.{name}", main)
            for name in theirs
            if name in mine
        }
    return made["entries"], made["targets"]


_WORDS = {"entries": "entry", "targets": "target"}


def _source(like: "Like", name: str, theirs: Source, mine: Source, where: str, main: Declaration) -> Source:
    """Return the source of later rows. Raises `UserError` if it is said to be read otherwise."""
    kind = f"{where}: its kind is {theirs.kind!r} in {like.directory}, and {mine.kind!r} is asked for."
    check(mine.kind == theirs.kind, kind)
    keys = [field.name for field in dataclasses.fields(Source) if field.name not in (*_WHERE, "kind")]
    own = {key: getattr(theirs, key) for key in keys} | _stored(like, name, theirs, main)
    default = Source(kind=theirs.kind)
    for key in keys:
        said = getattr(mine, key)
        as_there = said in (getattr(default, key), getattr(theirs, key), own[key])
        check(as_there, f"{where}: {key}: with --like this is as in {like.directory}; leave it out.")
    if theirs.kind in ("multi-label", "numbers") and not theirs.between:
        others = f"{where}: column: with --like the columns are {', '.join(theirs.column)}."
        check(set(mine.column) == set(theirs.column), others)
        own["column"] = theirs.column
    return dataclasses.replace(mine, **own)


def _stored(like: "Like", name: str, theirs: Source, main: Declaration) -> dict[str, Any]:
    """Return what was not said there and is known from the store."""
    if theirs.kind == "table":
        if name == like.main.table:
            return {"schema": main}
        said, _ = like.reading(name)
        columns = {
            column.name: dataclasses.replace(said.columns[column.name], unit=column.unit, tags=column.tags)
            for column in like.columns_of(name)
        }
        return {"schema": dataclasses.replace(said, columns=columns, others="ignore")}
    if theirs.kind not in ("image", "volume", "mask", "boxes", "text"):
        return {}
    entry = like.schema.entries[name]
    if theirs.kind in ("image", "volume"):
        size: dict[str, Any] = {"size": entry.shape[:-1]}
        if theirs.kind == "image":
            views = (theirs.stack or like.request.stack) == "views"
            size["channels"] = entry.shape[-1] // (1 if views else max(1, len(theirs.column)))
        return size
    if theirs.kind == "mask":
        categories = entry.columns[0].categories
        return {"classes": theirs.classes or tuple((text, int(text)) for text in categories)}
    if theirs.kind == "boxes":
        return {"categories": entry.columns[0].categories}
    return {"vocabulary": like.directory / f"tokenizer.{name}.json", "length": entry.shape[0]}
