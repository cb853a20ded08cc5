"""The typed reader of JSON: everything that a user, another program or a damaged disk may have changed passes it.

A file that a program wrote is read with `read_json`, whose type says what the fields are; `to_json` writes one, and
`read_written` reads one that the program wrote. Values that arrive as Python objects, such as a request from Python,
are read with `typed`.
"""

from mmcl_jax.border.parse import parse, to_json
from mmcl_jax.border.read import read_json, read_lines, read_summed, read_written, written
from mmcl_jax.border.typed import AtLeast, Between, Open, Real, as_type, shown, typed

__all__ = [
    "AtLeast",
    "Between",
    "Open",
    "Real",
    "as_type",
    "parse",
    "read_json",
    "read_lines",
    "read_summed",
    "read_written",
    "shown",
    "to_json",
    "typed",
    "written",
]
