"""Entries and targets of later data, which come from new files and are read as in an earlier store."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import check
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import Source

if TYPE_CHECKING:
    from mmcl_jax.prepare.like import Like

# Keys that say where values are, or which rows are kept; every other key says how values are read.
_WHERE = (
    *("file", "key", "separator", "encoding", "column", "folder", "files", "names", "keys", "dataset", "ignore"),
    *("required", "duplicates", "max_pixels", "max_voxels", "by", "genotypes", "variants"),
)


# Keys by which the sentences of a text are found, which later data may say again: phrases have no headings.
_SENTENCES = ("sections", "newlines", "min_words", "drop")


def sources_like(like: "Like", request: Request, main: Declaration) -> tuple[dict[str, Source], dict[str, Source]]:
    """Return the entries and targets of a request, completed by those of the earlier store.

    A target may be left out of the request; an entry may not. `main` is the declaration of the main table.

    Raises:
      UserError: an entry is missing or unknown, or one of its keys contradicts the earlier store.
    """
    sources: dict[str, dict[str, Source]] = {}
    for group in ("entries", "targets"):
        earlier: Mapping[str, Source] = getattr(like.request, group)
        later: Mapping[str, Source] = getattr(request, group)
        for name in later:
            unknown = f"--request: {group}.{name}: {like.directory} has no such {_WORDS[group]}; leave it out."
            check(name in earlier, unknown)
        for name in earlier if group == "entries" else ():
            check(name in later, f"--like: {like.directory} has the entry {name!r}; name its files with --request.")
        sources[group] = {
            name: _source(like, name, earlier[name], later[name], f"--request: {group}.{name}", main)
            for name in earlier
            if name in later
        }
    return sources["entries"], sources["targets"]


_WORDS = {"entries": "entry", "targets": "target"}


def _source(like: "Like", name: str, earlier: Source, later: Source, where: str, main: Declaration) -> Source:
    """Return the source of later data. Raises `UserError` if it is declared to be read differently."""
    kind = f"{where}: the kind must be {earlier.kind!r}, as in {like.directory}, and not {later.kind!r}."
    check(later.kind == earlier.kind, kind)
    keys = [field.name for field in dataclasses.fields(Source) if field.name not in (*_WHERE, "kind")]
    own = {key: getattr(earlier, key) for key in keys} | _stored(like, name, earlier, main)
    default = Source(kind=earlier.kind)
    for key in keys:
        if key in _SENTENCES and getattr(later, key) != getattr(default, key):
            own[key] = getattr(later, key)
        same = getattr(later, key) in (getattr(default, key), getattr(earlier, key), own[key])
        check(same, f"{where}: {key}: --like takes this from {like.directory}; leave it out.")
    if earlier.kind in ("multi-label", "numbers") and not earlier.between:
        others = f"{where}: column: --like needs exactly the columns {', '.join(earlier.column)}."
        check(set(later.column) == set(earlier.column), others)
        own["column"] = earlier.column
    return dataclasses.replace(later, **own)


def _stored(like: "Like", name: str, earlier: Source, main: Declaration) -> dict[str, Any]:
    """Return the values of keys that the earlier request left open and the earlier store settled."""
    if earlier.kind == "table":
        if name == like.main.table:
            return {"schema": main}
        declaration, _ = like.reading(name)
        columns = {
            column.name: dataclasses.replace(declaration.columns[column.name], unit=column.unit, tags=column.tags)
            for column in like.columns_of(name)
        }
        return {"schema": dataclasses.replace(declaration, columns=columns, others="ignore")}
    if earlier.kind not in ("image", "volume", "mask", "boxes", "text"):
        return {}
    entry = like.schema.entries[name]
    if earlier.kind in ("image", "volume"):
        size: dict[str, Any] = {"size": entry.shape[:-1]}
        if earlier.kind == "image":
            views = (earlier.stack or like.request.stack) != "channels"
            size["channels"] = entry.shape[-1] // (1 if views else max(1, len(earlier.column)))
        return size
    if earlier.kind == "mask":
        categories = entry.columns[0].categories
        return {"classes": earlier.classes or tuple((text, int(text)) for text in categories)}
    if earlier.kind == "boxes":
        return {"categories": entry.columns[0].categories}
    fitting = {name: getattr(Source(kind="text"), name) for name in ("tokenizer", "vocabulary_size", "lowercase")}
    vocabulary = like.files / f"tokenizer.{name}.json"  # says all of the tokenizer
    return {**fitting, "vocabulary": vocabulary, "length": entry.shape[0]}
