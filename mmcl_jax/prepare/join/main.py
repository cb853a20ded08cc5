"""The main table of a request, whose row numbers count, and which the simple command line describes."""

import dataclasses
from pathlib import Path

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.errors import check
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import COLUMNS, PICTURES, Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Main:
    """The main table of a request.

    Attributes:
      request: a request for this table alone, with the options of the simple command line.
      table: name of the entry that its columns form; "" if they form no entry.
      image: name of the entry of its image columns; "" if it has no image columns.
    """

    request: Request
    table: str
    image: str

    @property
    def key(self) -> str:
        """The key column; "" if the image path is the key."""
        return self.request.key_column or ""


def main_table(request: Request, recipe: Recipe | None = None) -> Main:
    """Return the main table: `table` or, without it, the table of the first entry that is a table or read from one.

    The rows of a recipe are the main table. If no entry is read from a table, `Main.request` has no table, and rows are
    keys alone.

    Raises:
      UserError: the main table has no key by which other entries could be joined to it.
    """
    sources = {**request.entries, **request.targets}
    features = recipe is None or _has_features(request, recipe)
    if not sources:
        return Main(request=request, table="table" if features else "", image="image")
    if recipe is not None:
        return _of_recipe(request, recipe)
    simple = dataclasses.replace(request, entries={}, targets={})
    image = "image" if request.images is not None else ""
    if request.table is not None:
        file = request.table if isinstance(request.table, Path) else None  # a data frame has no file
        name, source, schema = "table", Source(kind="table", file=file), request.schema
    else:
        alone = "--request: images needs a table; set table, or make the images an entry with folder and files."
        check(not image, alone)
        name, source = _first(request)
        schema = source.schema if name else Declaration(others="ignore")
        simple = dataclasses.replace(
            simple, table=source.file, separator=source.separator, encoding=source.encoding, schema=schema
        )
    if source.file is None and request.table is None:
        for option in ("label", "group_column", "split_column"):
            named = f"--request: {option} names a column, but no entry is read from a table; set table to its file."
            check(not getattr(request, option), named)
        return Main(request=simple, table="", image="")
    key = source.key or request.key_column or ""
    check(key != "", f"--request: name the key column of {source.file or 'the table'} with key_column.")
    columns = dict(schema.columns)
    used = [column for other in sources.values() if other.file and other.file == source.file for column in other.column]
    for column in used:
        twice = f"--request: column {column!r} of {source.file} is a label and is in another entry; remove one."
        check(column not in request.label, twice)
        declared = columns.get(column, Declared())
        columns[column] = declared if declared.role else dataclasses.replace(declared, role="ignore")
    columns[key] = dataclasses.replace(columns.get(key, Declared()), role="identifier", verbatim=False)
    simple = dataclasses.replace(simple, key_column=key, schema=dataclasses.replace(schema, columns=columns))
    return Main(request=simple, table=name, image=image)


def _of_recipe(request: Request, recipe: Recipe) -> Main:
    """Return the rows of a recipe as the main table; its columns form an entry if any of them is a feature."""
    keys = request.declaration(recipe.declaration).named("identifier")
    check(bool(keys), f"--request: the data set {recipe.name} has no key column, so that no entry can be joined to it.")
    simple = dataclasses.replace(request, entries={}, targets={}, key_column=keys[0])
    table = "table" if _has_features(request, recipe) else ""
    return Main(request=simple, table=table, image="image" if recipe.image_columns else "")


def _has_features(request: Request, recipe: Recipe) -> bool:
    """Return whether any column of a recipe may be a feature."""
    declaration = request.declaration(recipe.declaration)
    return bool(declaration.named("feature")) or declaration.others != "ignore"


def _first(request: Request) -> tuple[str, Source]:
    """Return the source of the main table, and its name if the columns of the table form an entry."""
    for name, source in request.entries.items():
        if source.kind == "table":
            return name, source
    for source in (*request.entries.values(), *request.targets.values()):
        if source.file is not None and source.kind in (*PICTURES, *COLUMNS, "text"):
            return "", source
    return "", Source(kind="table")
