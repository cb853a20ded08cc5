"""The small real data set that ships with the package; see ATTRIBUTION.md beside this file."""

import zipfile
from importlib.resources import files
from pathlib import Path

from mmcl_jax.border import to_json
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.prepare.request import Request

# The published groups of features, with their sizes. Only the morphological features measure size and shape directly:
# counts of holes, stroke ends and branch points (1 to 3), and size and spread of the character (4 to 6). Zernike and
# Fourier coefficients describe the same characters, but none of them is a size.
_GROUPS = {"morphology": 6, "zernike": 47, "fourier": 76}
_TAGS = {"morphology": ("morphometric",), "zernike": ("zernike",), "fourier": ("fourier",)}


def declaration() -> Declaration:
    """Return a declaration that tags the 129 features: "morphometric" (6), "zernike" (47), "fourier" (76)."""
    return Declaration(
        columns={
            f"{group}_{number}": Declared(tags=_TAGS[group])
            for group, count in _GROUPS.items()
            for number in range(1, count + 1)
        }
    )


def unpack(directory: Path) -> Request:
    """Unpack the digits into `directory` and return the request to prepare them.

    The folder then has the files of a typical user: `digits.csv`, `images/*.png`, and `schema.json` with the columns'
    tags, for `mmcl prepare --schema`.
    """
    with zipfile.ZipFile(str(files(__package__) / "digits.zip")) as archive:
        archive.extractall(directory)
    schema = declaration()
    (directory / "schema.json").write_text(to_json(schema.to_json(), indent=2) + "\n")
    return Request(
        table=directory / "digits.csv",
        images=directory / "images",
        image_column=("file",),
        schema=schema,
        label=("digit",),
        key_column="id",
        duplicates="keep",  # at 16 x 15 pixels of seven greys, six pairs of different scans are identical
        split=(0.6, 0.1, 0.3),
    )
