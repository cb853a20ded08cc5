"""The names of chromosomes."""

from collections.abc import Iterable

_LETTERS = {"23": "X", "24": "Y", "25": "XY", "26": "MT", "M": "MT"}  # PLINK writes numbers for human ones
_BEHIND = {"X": 1001, "XY": 1002, "Y": 1003, "MT": 1004}


def plain_chromosome(name: str) -> str:
    """Return a chromosome without the prefix `chr`, with a letter where PLINK writes 23 to 26.

    Example:
      >>> plain_chromosome("chr7"), plain_chromosome("23"), plain_chromosome("MT"), plain_chromosome("07")
      ('7', 'X', 'MT', '7')
    """
    bare = name[3:] if name[:3].lower() == "chr" else name
    bare = bare.lstrip("0") or "0" if bare.isdigit() else bare.upper()
    return _LETTERS.get(bare, bare)


def in_order(names: Iterable[str]) -> list[str]:
    """Return the different names of chromosomes in their natural order: numbers, then letters.

    Example:
      >>> in_order(["X", "10", "chr2", "MT", "10"])
      ['chr2', '10', 'X', 'MT']
    """

    def key(name: str) -> tuple[int, str]:
        plain = plain_chromosome(name)
        return int(plain) if plain.isdigit() else _BEHIND.get(plain, 2000), plain

    return sorted(set(names), key=key)
