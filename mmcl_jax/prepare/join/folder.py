"""Finding the file of every key by the file names."""

import glob
import re
from pathlib import Path

import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.prepare.join.keys import canonical, some
from mmcl_jax.prepare.sources import KEY


def files_by_key(folder: Path, pattern: str, where: str, *, folders: bool = False) -> dict[str, str]:
    """Return the names of the files in a folder by the key that their names hold.

    The key is the shortest text that matches: in `{key}_*.png` it is the text before the first underscore.

    Args:
      folder: the folder of the files.
      pattern: of the names, relative to the folder, with `{key}` and any number of `*`, neither of which matches `/`.
      where: how errors name the entry.
      folders: whether folders count as files, such as the folders of DICOM series.

    Raises:
      UserError: the folder is missing, no file has such a name, or two files have one key.
    """
    check(folder.is_dir(), f"{where}: the folder {folder} does not exist.")
    before, after = pattern.split(KEY)
    wild = [glob.escape(part) for part in re.split(r"(\*)", f"{before}*{after}")]
    parts = ["[^/]*".join(map(re.escape, part.split("*"))) for part in (before, after)]
    form = re.compile(f"{parts[0]}(?P<key>[^/]+?){parts[1]}")
    names: list[str] = []
    texts: list[str] = []
    for path in sorted(folder.glob("".join("*" if part == "[*]" else part for part in wild))):
        name = path.relative_to(folder).as_posix()
        match = form.fullmatch(name)
        if match and not path.name.startswith(".") and (folders or path.is_file()):
            names.append(name)
            texts.append(match["key"])
    check(bool(names), f"{where}: no file in {folder} has a name like {pattern}.")
    by_key: dict[str, str] = {}
    twice: dict[str, tuple[str, str]] = {}
    for key, name in zip(canonical(pl.Series(texts, dtype=pl.String)), names, strict=True):
        if by_key.setdefault(key, name) != name:
            twice.setdefault(key, (by_key[key], name))
    if twice:
        pair = " and ".join(next(iter(twice.values())))
        check(
            False,
            f"{where}: {folder} has two files of the key {some(list(twice))}: {pair}; write a pattern for files that "
            "matches only one of them.",
        )
    return by_key
