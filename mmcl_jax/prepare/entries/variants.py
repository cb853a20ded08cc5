"""Which variants of genotype files an entry has, and how those of later files are brought to them.

A store keeps chromosome, position and both alleles of every variant, and which of the alleles is counted, in
`NAME.variants.tsv`. PLINK 1 calls the rarer allele of a file A1, so a later file may count the other allele.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.genotypes import Variants
from mmcl_jax.genotypes.variants import texts
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.join.keys import some

_COLUMNS = ("chromosome", "position", "id", "counted", "other")
_UNKNOWN = ("0", ".")  # the allele that nobody in a PLINK file has


class Aligned(NamedTuple):
    """The variants of a file in the order of a store.

    `rows` int64 `[V]` are their indices in the file, and `flipped` bool `[V]` says where the file counts the other
    allele. `moved` is the number of variants with another position.
    """

    rows: np.ndarray
    flipped: np.ndarray
    moved: int


def variants_file(name: str) -> str:
    """Return the name of the file with the variants of an entry of genotypes."""
    return f"{name}.variants.tsv"


def write_variants(path: Path, variants: Variants) -> None:
    """Write variants as a table with a header."""
    rows = zip(*(getattr(variants, column) for column in _COLUMNS), strict=True)
    lines = ["\t".join(_COLUMNS), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_variants(path: Path, remedy: str) -> Variants:
    """Return the variants that `write_variants` wrote.

    Raises:
      UserError: the file is damaged.
    """
    header, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()] or [[]]
    whole = tuple(header) == _COLUMNS and all(len(row) == len(_COLUMNS) and _whole(row[1]) for row in rows)
    check(whole, f"{path} is damaged; {remedy}.")
    columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    chromosome, position, name, counts, other = columns
    return Variants(texts(chromosome), np.array(list(map(int, position)), np.int64), *map(texts, (name, counts, other)))


def every_nth(variants: Variants, chosen: np.ndarray, every: int) -> np.ndarray:
    """Return of the indices `chosen` the first of every chromosome, and every n-th that follows it on the chromosome.

    Example:
      >>> chromosome = texts(["1", "1", "1", "2", "2", "2"])
      >>> six = Variants(chromosome, np.arange(6), texts("abcdef"), texts("AAAAAA"), texts("CCCCCC"))
      >>> every_nth(six, np.arange(6), 2).tolist()
      [0, 2, 3, 5]
    """
    if every == 1:
        return chosen
    _, chromosome = np.unique(variants.chromosome[chosen].astype(str), return_inverse=True)
    kept = np.zeros(len(chosen), bool)
    for number in range(chromosome.max(initial=-1) + 1):
        kept[np.flatnonzero(chromosome == number)[::every]] = True
    return chosen[kept]


def listed_variants(variants: Variants, names: Sequence[str], path: Path, where: str) -> tuple[np.ndarray, list[str]]:
    """Return the indices, in the order of the files, of the variants that a list names, and the names without any.

    Raises:
      UserError: no variant is on the list.
    """
    wanted = set(names)
    chosen = np.array([index for index, name in enumerate(variants.id) if name in wanted], np.int64)
    check(
        len(chosen) > 0, f"{where}: variants: none of the {counted(len(wanted), 'variant')} of {path} is in the files."
    )
    return chosen, sorted(wanted - set(variants.id[chosen]))


def refuse_repeated(variants: Variants, where: str) -> None:
    """Raise `UserError` unless every variant has an identifier of its own."""
    seen: set[str] = set()
    twice = [name for name in variants.id if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    several = f"{where}: {some(list(dict.fromkeys(twice)))} name more than one variant each"
    remedy = "give every variant an identifier of its own with plink2 --set-all-var-ids '@:#:$r:$a'"
    check(not twice, f"{several}; {remedy}.")


def aligned(variants: Variants, store: Variants, where: str, like: Path) -> Aligned:
    """Return where the variants of a store are in a file, by their identifiers, and which count the other allele.

    Strand and build are not touched: alleles must be those of the store, in either order. An allele that nobody has in
    a file is 0 there, and fits any.

    Raises:
      UserError: the file lacks a variant, has its identifier twice, or has other alleles.
    """
    rows: dict[str, list[int]] = {name: [] for name in store.id}
    for row, name in enumerate(variants.id):
        if name in rows:
            rows[name].append(row)
    absent = [name for name, found in rows.items() if not found]
    check(
        not absent,
        f"{where}: the files lack {counted(len(absent), 'variant')} that {like} has: {some(absent)}.",
    )
    index = np.array([found[0] for found in rows.values()], np.int64)
    refuse_repeated(variants[np.sort(np.concatenate([np.array(found) for found in rows.values()]))], where)
    flipped, moved = np.zeros(len(store), bool), 0
    for at, row in enumerate(index):
        ours, theirs = (store.counted[at], store.other[at]), (variants.counted[row], variants.other[row])
        fits = _fits(ours, theirs)
        flipped[at] = not fits and _fits(ours, theirs[::-1])
        check(
            fits or bool(flipped[at]),
            f"{where}: the variant {store.id[at]!r} has the alleles {theirs[0]} and {theirs[1]}, but {ours[0]} and "
            f"{ours[1]} in {like}; bring the files to the strand and build of the store, or leave them out.",
        )
        moved += variants.position[row] != store.position[at]
    return Aligned(index, flipped, int(moved))


def _fits(ours: tuple[str, str], theirs: tuple[str, str]) -> bool:
    return all(one == other or one in _UNKNOWN or other in _UNKNOWN for one, other in zip(ours, theirs, strict=True))


def _whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
