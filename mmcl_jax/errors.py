"""The exception for bad input."""

from collections.abc import Collection

from mmcl_jax.text import brief, nearest, visible


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


def check_name(name: object, options: Collection[str], start: str, lead: str = "choose from", end: str = ".") -> None:
    """Raise a `UserError` that suggests the nearest option unless `name` is among the options.

    Args:
      name: a name that the user gave.
      options: the names that exist.
      start: the sentence up to the unknown name, such as "--task: there is no task".
      lead: the words before the list of options.
      end: the end of the sentence behind the list.
    """
    if name not in options:
        raise UserError(f"{start} {brief(name)}{nearest(name, options)}; {lead} {', '.join(options) or 'none'}{end}")
