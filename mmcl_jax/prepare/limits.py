"""Limits on the size of what is read, so that a hostile or mistaken file costs a sentence and not the machine."""

import dataclasses

from mmcl_jax.errors import UserError, check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest sizes that `prepare` reads; the fields are options of the request and of the command.

    Attributes:
      max_columns: columns of a table.
      max_cell: characters of a cell of a table, or of a name in its header.
      max_categories: categories of a column, or classes of a label.
      max_features: columns of a vector.
      max_values: rows times columns of a table, or rows times tokens of a text, which are in memory.
      max_tokens: tokens of a text that is not cut by its `length`.
    """

    max_columns: int = 50_000
    max_cell: int = 4_000_000
    max_categories: int = 100_000
    max_features: int = 5_000_000
    max_values: int = 1_000_000_000
    max_tokens: int = 20_000

    def __post_init__(self) -> None:
        """Raise `UserError` for a limit that is not positive."""
        for name, limit in vars(self).items():
            check(limit > 0, f"{option(name)}: {limit} is not positive.")
        check(self.max_cell <= _LARGEST_CELL, f"--max-cell: {self.max_cell} is more than {_LARGEST_CELL:,}.")

    def refuse(self, name: str, size: int, what: str, otherwise: str = "") -> None:
        """Raise `UserError` if a size is above a limit.

        Args:
          name: of the limit.
          size: what is compared with it.
          what: the sentence that tells the size, without a full stop.
          otherwise: another remedy than the option, such as "or leave the column out with --ignore".
        """
        limit = getattr(self, name)
        if size > limit:
            remedy = f"allow more with {option(name)}{f', {otherwise}' if otherwise else ''}"
            raise UserError(f"{what}; the limit is {limit:,}; {remedy}.")


def option(name: str) -> str:
    """Return the option of the command that sets a limit."""
    return f"--{name.replace('_', '-')}"


_LARGEST_CELL = 2**31 - 1  # of the csv module
