"""The one exception for bad input."""


class UserError(Exception):
    """Bad input: one sentence that names the file, row, column or config key, and says what to do.

    The command line prints it and exits with status 2; nothing is left half-written.
    """


def check(condition: bool, sentence: str) -> None:
    """Raises `UserError(sentence)` unless `condition` holds."""
    if not condition:
        raise UserError(sentence)
