"""The folder of an export: the files of its formats, `card.json`, `README.md` and `checksums.json`.

The layout is that which model hubs show: weights and a README with metadata at the top.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcl_jax.border import read_written
from mmcl_jax.errors import check
from mmcl_jax.export.card import CARD, card_of, dumped
from mmcl_jax.export.formats import Written, format_of
from mmcl_jax.export.preprocessing import write_features
from mmcl_jax.export.readme import README, readme_of
from mmcl_jax.export.release import Release
from mmcl_jax.files import CHECKSUMS, atomic, damage, write_checksums
from mmcl_jax.lock import locked
from mmcl_jax.targets import check_folder


def check_formats(names: Sequence[str]) -> None:
    """Raise `UserError` unless there is a format of each name, and at least one is named."""
    check(len(names) > 0, "--format: name at least one format, such as safetensors.")
    for name in names:
        format_of(name)


def check_out(out: Path, *, what: str = "an export", card: str = CARD) -> None:
    """Check that an export can be written to a folder, which may hold an earlier export that nobody has changed.

    Args:
      out: the folder.
      what: what is written there with its article, for sentences.
      card: a file that each of its kind has.

    Raises:
      UserError: the folder holds anything else, or cannot be written.
    """
    check_folder(out, "--out")
    if not out.exists() or not any(out.iterdir()):
        return
    noun = what.partition(" ")[2]
    other = f"--out: {out} is not empty and holds no {noun}; name another folder."
    check((out / card).is_file() and (out / CHECKSUMS).is_file(), other)
    fault = damage(out)
    check(fault is None, f"--out: {out} holds {what} that was changed ({fault}); name another folder, or move it.")
    known = {CHECKSUMS, *read_written(out / CHECKSUMS, dict[str, Any], "name another folder")}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name not in known and path.parent.name != "__pycache__":  # which importing makes
            check(False, f"--out: {out} holds {what} and {name}, which is not part of it; name another folder.")


def write_release(
    release: Release, formats: Sequence[str], out: Path, *, command: str, license: str | None = None
) -> dict[str, Any]:
    """Write an export atomically, and return its card.

    Args:
      release: what is exported.
      formats: names of formats, as in `formats.FORMATS`.
      out: the folder, which is complete or as before at any moment; an earlier export in it is replaced.
      command: that makes the export, for the card.
      license: of the weights, as hubs write it; None states none.

    Raises:
      UserError: a format cannot hold the release, the folder cannot be written, or another process is exporting to it;
        nothing is written.
    """
    modules = [format_of(name) for name in formats]
    for module in modules:
        module.check_release(release)
    out = Path(os.path.abspath(out))
    with contextlib.ExitStack() as resources:
        resources.enter_context(locked(out.with_name(f".{out.name}.lock"), what=f"exports to {out}"))
        check_out(out)
        partial = resources.enter_context(atomic(out))
        partial.mkdir(parents=True)
        files: dict[str, list[Written]] = {
            name: module.write(release, partial) for name, module in zip(formats, modules, strict=True)
        }
        features = write_features(release, partial)
        card = card_of(release, files, command=command)
        (partial / CARD).write_text(dumped(card), encoding="utf-8")
        written = [*(one for several in files.values() for one in several), *features]
        (partial / README).write_text(readme_of(card, written, license=license), encoding="utf-8")
        write_checksums(partial, [path for path in partial.rglob("*") if path.is_file()])
    return card
