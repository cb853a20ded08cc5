"""The typed reader of JSON: everything that a user, another program or a damaged disk may have changed passes it.

A file that a program wrote is read with `read_json`, whose type says what the fields are; `to_json` writes one. Values
that arrive as Python objects, such as a request from Python, are read with `typed`.
"""

from mmcl_jax.border.parse import parse, to_json
from mmcl_jax.border.read import read_json, read_lines
from mmcl_jax.border.typed import AtLeast, Between, Real, shown, typed

__all__ = ["AtLeast", "Between", "Real", "parse", "read_json", "read_lines", "shown", "to_json", "typed"]
