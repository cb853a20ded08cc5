"""The kinds of entries of a store, one file each.

A new kind is a file here and a line in `KINDS`; a kind that only your program needs is made known by `register_kind`.
"""

import re
from collections.abc import Mapping, Sequence

from mmcl_jax.data.kinds.boxes import BoxesKind
from mmcl_jax.data.kinds.image import ImageKind
from mmcl_jax.data.kinds.kind import Kind
from mmcl_jax.data.kinds.table import TableKind
from mmcl_jax.data.kinds.text import TextKind
from mmcl_jax.data.kinds.vector import VectorKind
from mmcl_jax.data.kinds.volume import VolumeKind
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.errors import check, check_name

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (ImageKind(), VolumeKind(), TableKind(), VectorKind(), TextKind(), BoxesKind())
}
LONGEST_NAME = 100  # characters; file systems take 255 bytes, of which a shard's ending needs some 50
_RESERVED = ("id", "key", "group", "label", "flat", "store", "valid", "present", "target")  # in the store or the batch


def register_kind(kind: Kind) -> None:
    """Make a kind of your own known by its name, in this process.

    Every program that opens a store with such entries registers the kind first, and names a view and an encoder that
    take it in its config; `examples/new_kind.py` is a whole program.

    Raises:
      ValueError: a kind of this name exists.
    """
    if kind.name in KINDS:
        raise ValueError(f"the kind {kind.name!r} is registered twice")
    KINDS[kind.name] = kind


def kind_of(entry: Entry, name: str) -> Kind:
    """Return the kind of the entry `name`.

    Raises:
      UserError: the kind of the entry does not exist.
    """
    check_name(entry.kind, KINDS.keys(), f"The entry {name!r} has the unknown kind")
    return KINDS[entry.kind]


def check_schema(schema: Schema, names: Mapping[str, Sequence[str]]) -> None:
    """Raise `UserError` unless all entries can be stored; `names` are those of features or tokens, by entry."""
    check(len(schema.entries) > 0, "The store has no entry; give it at least one.")
    for name, entry in schema.entries.items():
        _check_name(name)
        kind_of(entry, name).check(name, schema, names.get(name, ()))


def check_read(schema: Schema) -> None:
    """Raise `UserError` unless the kinds can store all entries of a schema, whose features or tokens are not read."""
    for name, entry in schema.entries.items():
        _check_name(name)
        kind = kind_of(entry, name)
        if kind.named:
            kind.check_rows(name, entry)
        else:
            kind.check(name, schema, ())


def _check_name(name: str) -> None:
    check(
        re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None
        and len(name) <= LONGEST_NAME
        and name.lower() not in _RESERVED,
        f"The entry {name!r} needs another name: letters, digits and _, beginning with a letter, at most "
        f"{LONGEST_NAME}, and none of {', '.join(_RESERVED)}.",
    )
