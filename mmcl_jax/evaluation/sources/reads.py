"""What is predicted from: the modalities that `--input` names."""

from collections.abc import Collection

from mmcl_jax.errors import check

BOTH = ("image", "table")
STANDARD = ("image", "table", "both")


def modalities_of(given: str) -> tuple[str, ...]:
    """Return the modalities whose features are taken side by side.

    Example:
      >>> modalities_of("image+pgs"), modalities_of("both")
      (('image', 'pgs'), ('image', 'table'))
    """
    return BOTH if given == "both" else tuple(given.split("+"))


def input_name(given: str) -> str:
    """Return the name that scores have of an input: "both" is image and table, however it was written."""
    return "both" if modalities_of(given) == BOTH else given


def pair_name(pair: tuple[str, str]) -> str:
    """Return the name of what is retrieved from one another: "both" for image and table."""
    return input_name("+".join(pair))


def check_names(given: str, known: Collection[str]) -> None:
    """Raise `UserError` unless an input names modalities that are `known`, each once."""
    modalities = modalities_of(given)
    every = dict.fromkeys([*STANDARD, *known])
    for name in modalities:
        check(
            name in every and (name != "both" or len(modalities) == 1),
            f"--input: there is no input {name!r}; choose from {', '.join(every)}, or join several by +.",
        )
        check(modalities.count(name) == 1, f"--input {given}: {name!r} is there twice.")
