"""The photographs of UK Biobank's eyes: the files of each side, the quality lists, and the filter of brightness."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.prepare.images.circle import Crop, brightness
from mmcl_jax.prepare.recipe import Step

SIDES = ("left", "right")
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
SHARE = 0.005  # of the darkest and of the brightest photographs of a side


def photographs(
    root: Path, sides: Sequence[str], folder: str, dark_and_bright: float | None, crop: Crop
) -> tuple[pl.DataFrame, list[Step]]:
    """Return the photographs to prepare, one per row, and what was left out.

    The columns are `photograph` (such as left/1000001_21015_0_0), `person` (the file name up to its first
    underscore), `side`, and `file` (relative to `root`).

    Args:
      root: the folder with a folder per side.
      sides: "left", "right" or both.
      folder: of the files, below that of the side; "" finds it.
      dark_and_bright: the share of the darkest, and of the brightest, photographs of a side that are left out; None for
        0.005 where a side has no quality list, and 0 where it has one, which was made by this filter.
      crop: how photographs are cropped before their brightness is taken.

    Raises:
      UserError: a side has no folder or files, its list names a file that does not exist, or a file has no person.
    """
    rows, steps, before = [], list[Step](), 0
    for side in sides:
        base = _folder(root / side, folder)
        names = sorted(path.name for path in base.iterdir() if path.suffix.lower() in ENDINGS)
        check(bool(names), f"--root: {base} has no photographs; their names end in {', '.join(ENDINGS)}.")
        found, listed = len(names), root / side / f"qc_paths_{side}.txt"
        if listed.is_file():
            names = _listed(listed, names, base)
            steps.append(Step(f"{side} photographs in {listed.name}", found, len(names)))
        share = dark_and_bright if dark_and_bright is not None else 0.0 if listed.is_file() else SHARE
        if share:
            kept = _neither_dark_nor_bright(base, names, share, crop)
            words = f"{side} photographs without the darkest and the brightest {share:.2%}"
            steps.append(Step(words, len(names), len(kept)))
            names = kept
        before += found
        relative = base.relative_to(root)
        for name in names:
            person, underscore, _ = name.partition("_")
            check(
                bool(person and underscore),
                f"--root: the file {base / name} has no person; its name should be like 1000001_21015_0_0.jpg, with "
                "the person before the first underscore.",
            )
            stem = Path(name).stem
            rows.append((f"{side}/{stem}", person, side, str(relative / name)))
    table = pl.DataFrame(rows, schema=("photograph", "person", "side", "file"), orient="row")
    twice = table.filter(pl.col("photograph").is_duplicated())["file"]
    check(twice.is_empty(), f"--root: {', '.join(twice.head(2))} differ in their endings alone; keep one of them.")
    return table, [Step("photographs", before, len(rows)), *steps]


def _folder(side: Path, folder: str) -> Path:
    """Return the folder of the photographs of a side: the named one, the released `SIZE_SIDE/processed`, or the one."""
    check(
        side.is_dir(), f"--root: the folder {side} does not exist; it should hold the photographs of {side.name} eyes."
    )
    if folder:
        base = side / folder
        check(base.is_dir(), f"--dataset.folder: the folder {base} does not exist.")
        return base
    inside = [
        Path(path) for path, _, names in os.walk(side) if any(Path(name).suffix.lower() in ENDINGS for name in names)
    ]
    processed = [path for path in inside if path.name == "processed"]
    found = processed if len(processed) == 1 else inside
    words = ", ".join(sorted(str(path.relative_to(side)) for path in inside)) or "no folder"
    check(
        len(found) == 1,
        f"--root: {words} of {side} has photographs; name one folder with --dataset.folder."
        if found
        else f"--root: {side} has no photographs; their names end in {', '.join(ENDINGS)}.",
    )
    return found[0]


def _listed(path: Path, names: Sequence[str], base: Path) -> list[str]:
    """Return the file names in a quality list, in alphabetical order."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    listed = sorted({line for line in lines if line})
    check(bool(listed), f"--root: the quality list {path} is empty; remove it, or list the files to use, one per line.")
    absent = sorted(set(listed) - set(names))
    check(
        not absent,
        f"--root: {path} lists {(absent or [''])[0]}, which {base} does not have ({len(absent)} such files); take it "
        "off the list.",
    )
    return listed


def _neither_dark_nor_bright(base: Path, names: Sequence[str], share: float, crop: Crop) -> list[str]:
    """Return the names without those of the darkest and of the brightest share; files without a mean stay."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        means = list(pool.map(lambda name: brightness(base / name, crop=crop), names))
    ranked = sorted((mean, name) for mean, name in zip(means, names, strict=True) if mean is not None)
    kept = ranked[int(share * len(ranked)) : int((1 - share) * len(ranked))]
    unknown = [name for mean, name in zip(means, names, strict=True) if mean is None]
    return sorted([*(name for _, name in kept), *unknown])


def split_people(people: Sequence[str], families: Sequence[Sequence[str]] = ()) -> dict[str, list[str]]:
    """Return 70, 10 and 20 % of the people, by the released code's draw: a permutation of the sorted identifiers.

    Members of a family are in the split of its first member in the permutation.

    Args:
      people: their identifiers; whole numbers are sorted as numbers.
      families: groups of relatives.
    """
    unique = sorted(set(people), key=lambda iid: (0, int(iid), "") if iid.isdecimal() else (1, 0, iid))
    order = [unique[index] for index in np.random.RandomState(42).permutation(len(unique))]
    first, second = int(0.7 * len(order)), int(0.8 * len(order))
    place = {iid: index for index, iid in enumerate(order)}
    split_of = {iid: "train" if index < first else "val" if index < second else "test" for iid, index in place.items()}
    for family in families:
        members = sorted((iid for iid in family if iid in place), key=place.__getitem__)
        for iid in members[1:]:
            split_of[iid] = split_of[members[0]]
    return {split: [iid for iid in order if split_of[iid] == split] for split in ("train", "val", "test")}
