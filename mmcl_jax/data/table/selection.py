"""Some of a table's columns, by their tags."""

from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import check


def select_columns(schema: Schema, columns: str, *, key: str = "columns") -> Schema:
    """Return the schema with "all" columns, those with a tag ("morphometric"), or those without ("not morphometric").

    Hager et al. (CVPR 2023), table 2. `key` names the option in errors.

    Raises:
      UserError: no column has the tag, or every one has.
    """
    if columns == "all":
        return schema
    tag = columns.removeprefix("not ")
    tags = sorted({tag for column in schema.columns for tag in column.tags})
    check(tag in tags, f"{key}: no column has the tag {tag!r}; there are {', '.join(tags) or 'no tags'}.")
    wanted = tuple(column for column in schema.columns if (tag in column.tags) == (tag == columns))
    check(len(wanted) > 0, f"{key}: every column has the tag {tag!r}.")
    return schema.with_columns(wanted)
