"""The exception for bad input."""

from mmcl_jax.text import visible


class UserError(Exception):
    """The error for bad input: a sentence that names the file, row, column or config key, and a remedy.

    The command line prints the sentence and exits with status 2; no file is left half-written. Text from files and
    tables is made `visible`, so that the sentence is one line and holds no terminal command.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(visible(sentence))


def check(condition: bool, sentence: str) -> None:
    """Raise `UserError(sentence)` unless `condition` holds."""
    if not condition:
        raise UserError(sentence)
