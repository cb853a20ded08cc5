"""The formats of `mmcl export`, a file each, and the contract between a format and the folder.

A format is a module with two functions:

    def check_release(release: Release) -> None:
        # Raise UserError, before anything is computed or written, if the format cannot hold this release (an encoder
        # without a form in it, an extra that is not installed).

    def write(release: Release, folder: Path) -> list[Written]:
        # Write files into the folder, which exists and is thrown away if this raises. Return them.

A new format is such a file and a line in `FORMATS`; its module is imported when the format is asked for, so it may
import its extra at the top of `write`. Every file that `write` returns is described in `card.json` (key "files", with
the file's `details`) and in `README.md` (its `about`, and `usage` as a section). `folder.write_release` writes the
card, the README and the checksums, and makes the whole folder appear at once.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from mmcl_jax.errors import check
from mmcl_jax.export.release import Release

FORMATS = {
    "safetensors": "mmcl_jax.export.weights",
    "orbax": "mmcl_jax.export.parameters",
    "stablehlo": "mmcl_jax.export.programs.stablehlo",
    "onnx": "mmcl_jax.export.programs.onnx_file",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """A file, or a folder of files, that a format wrote.

    Attributes:
      file: its path in the export's folder.
      about: a sentence on its content.
      usage: Markdown for the README: how to load it, with a block of code; "" for nothing.
      details: JSON values for the card, such as the versions that can read the file.
    """

    file: str
    about: str
    usage: str = ""
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Format(Protocol):
    """The functions of the module of a format."""

    def check_release(self, release: Release) -> None:
        """Raise `UserError` if the format cannot hold the release; compute and write nothing."""

    def write(self, release: Release, folder: Path) -> list[Written]:
        """Write the release's files into the folder, and return them."""


def format_of(name: str) -> Format:
    """Return the module of a format.

    Raises:
      UserError: there is no format of this name.
    """
    check(name in FORMATS, f"--format: there is no format {name!r}; choose from {', '.join(FORMATS)}.")
    return cast(Format, importlib.import_module(FORMATS[name]))
