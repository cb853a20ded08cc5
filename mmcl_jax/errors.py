"""The one exception for bad input."""

from mmcl_jax.text import visible


class UserError(Exception):
    """Bad input: one sentence that names the file, row, column or config key, and says what to do.

    The command line prints it and exits with status 2; nothing is left half-written. What it quotes of files and tables
    is made `visible`, so that it is one line and no terminal command.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(visible(sentence))


def check(condition: bool, sentence: str) -> None:
    """Raise `UserError(sentence)` unless `condition` holds."""
    if not condition:
        raise UserError(sentence)
