"""What an experiment reads of a store: its inputs by the names of `config.inputs`, which are its modalities."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What one input of an experiment is, for views, encoders and terms.

    Attributes:
      kind: of its entry, such as "image" or "table".
      shape: of one row in the batch.
      dtype: of the rows in the batch, such as "uint8".
      widths: one-hot widths of a table's columns.
      missing: what becomes of missing values.
      optional: whether rows may lack it; the batch then has `present/NAME`.
      of: the entry that it is read from.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    widths: tuple[int, ...] = ()
    missing: str = "refuse"
    optional: bool = False
    of: str = ""
