"""The names of `--input`: the modalities that a label is predicted from."""

from collections.abc import Collection

from mmcl_jax.errors import check, check_name

BOTH = ("image", "table")
ENSEMBLE = "ensemble:"  # before inputs that each have a head of their own, whose outputs are averaged
STANDARD = ("image", "table", "both")


def modalities_of(input: str) -> tuple[str, ...]:
    """Return the modalities of an input, whose features are concatenated.

    Example:
      >>> modalities_of("image+pgs"), modalities_of("both"), modalities_of("ensemble:image+fusion")
      (('image', 'pgs'), ('image', 'table'), ('image', 'fusion'))
    """
    names = input.removeprefix(ENSEMBLE)
    return BOTH if names == "both" else tuple(names.split("+"))


def is_ensemble(input: str) -> bool:
    """Return whether every modality of an input has a head of its own (see `EnsembleHead`)."""
    return input.startswith(ENSEMBLE)


def input_name(input: str) -> str:
    """Return the name of an input in scores: "both" for image and table, however it was written."""
    if is_ensemble(input):
        return ENSEMBLE + "+".join(modalities_of(input))
    return "both" if modalities_of(input) == BOTH else input


def from_scratch(input: str) -> str:
    """Return the method of untrained encoders of an input that are fine-tuned: the supervised baseline."""
    return f"supervised {ENSEMBLE if is_ensemble(input) else ''}{'+'.join(modalities_of(input))}"


def pair_name(pair: tuple[str, str]) -> str:
    """Return the name of a pair in jobs of retrieval: "both" for image and table."""
    return input_name("+".join(pair))


def check_names(input: str, encoders: Collection[str]) -> None:
    """Raise `UserError` unless an input names modalities that have encoders or baselines, each once."""
    modalities = modalities_of(input)
    options = dict.fromkeys([*STANDARD, *encoders])
    for name in modalities:
        check_name(name, options.keys(), "--input: there is no input", end=", or join several by +.")
    alone = f"--input {input}: an ensemble has at least two members; join several by +, such as {ENSEMBLE}image+table."
    check(not is_ensemble(input) or len(modalities) > 1, alone)
    for name in modalities:
        joined = "--input: there is no input 'both' beside others; write image+table in its place."
        check(name != "both" or len(modalities) == 1, joined)
        check(modalities.count(name) == 1, f"--input {input}: {name!r} is named twice; name it once.")
