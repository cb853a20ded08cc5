"""Selection of a table's columns by their tags."""

from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import check, check_name


def select_columns(schema: Schema, columns: str, *, key: str = "columns") -> Schema:
    """Return the schema with "all" columns, those with a tag ("morphometric"), or all others ("not morphometric").

    Hager et al. (CVPR 2023), table 2. `key` is the name of the option in messages.

    Raises:
      UserError: no column has the tag, or all columns have it.
    """
    if columns == "all":
        return schema
    tag = columns.removeprefix("not ")
    tags = sorted({tag for column in schema.columns for tag in column.tags})
    check_name(tag, tags, f"{key}: no column has the tag", "the tags are")
    selected = tuple(column for column in schema.columns if (tag in column.tags) == (tag == columns))
    check(len(selected) > 0, f"{key}: every column has the tag {tag!r}, so {columns!r} leaves none; use another.")
    return schema.with_columns(selected)
