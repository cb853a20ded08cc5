"""The main table: it gives rows their numbers, and its options are those of the simple command line."""

import dataclasses
from pathlib import Path

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.errors import check
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import COLUMNS, PICTURES, Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Main:
    """The main table of a request.

    Attributes:
      request: the request as the simple command line would say it, about this table alone.
      table: name of the entry that its columns make up; "" if they are none.
      image: name of the entry of its image columns; "" if it has none of its own.
    """

    request: Request
    table: str
    image: str

    @property
    def key(self) -> str:
        """The key column; "" where the image path is the key."""
        return self.request.key_column or ""


def main_table(request: Request) -> Main:
    """Return the main table: that of `table`, or else of the first entry that is one, or that comes from one.

    Where no entry comes from a table, `Main.request` has none, and keys alone are rows.

    Raises:
      UserError: the main table has no key, and others are to be joined to it.
    """
    sources = {**request.entries, **request.targets}
    if not sources:
        return Main(request=request, table="table", image="image")
    simple = dataclasses.replace(request, entries={}, targets={})
    image = "image" if request.images is not None else ""
    if request.table is not None:
        file = request.table if isinstance(request.table, Path) else None  # a data frame has none
        name, source, said = "table", Source(kind="table", file=file), request.schema
    else:
        check(not image, "--request: images without a table; name the table, or make the images an entry with files.")
        name, source = _first(request)
        said = source.schema if name else Declaration(others="ignore")
        simple = dataclasses.replace(
            simple, table=source.file, separator=source.separator, encoding=source.encoding, schema=said
        )
    if source.file is None and request.table is None:
        for option in ("label", "group_column", "split_column"):
            named = f"--request: {option} names a column, and no entry comes from a table; add the table as an entry."
            check(not getattr(request, option), named)
        return Main(request=simple, table="", image="")
    key = source.key or request.key_column or ""
    check(key != "", f"--request: say which column of {source.file or 'the table'} is the key, with key_column.")
    columns = dict(said.columns)
    used = [column for one in sources.values() if one.file and one.file == source.file for column in one.column]
    for column in used:
        twice = f"--request: column {column!r} of {source.file} is said to be a label, and to be of another entry, too."
        check(column not in request.label, twice)
        declared = columns.get(column, Declared())
        columns[column] = declared if declared.role else dataclasses.replace(declared, role="ignore")
    columns[key] = dataclasses.replace(columns.get(key, Declared()), role="identifier", verbatim=False)
    simple = dataclasses.replace(simple, key_column=key, schema=dataclasses.replace(said, columns=columns))
    return Main(request=simple, table=name, image=image)


def _first(request: Request) -> tuple[str, Source]:
    """Return the source whose table gives rows their numbers, and its name if its columns make up an entry."""
    for name, source in request.entries.items():
        if source.kind == "table":
            return name, source
    for source in (*request.entries.values(), *request.targets.values()):
        if source.file is not None and source.kind in (*PICTURES, *COLUMNS, "text"):
            return "", source
    return "", Source(kind="table")
