"""The small real data set that ships with the package; see ATTRIBUTION.md beside this file."""

import json
import zipfile
from importlib.resources import files
from pathlib import Path

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.prepare.request import Request

# The groups of features as published, by how many there are. Only the morphological ones measure size and shape
# directly: counts of holes, of ends of strokes and of where they branch (1 to 3), and the size of the character and
# how it spreads (4 to 6). Zernike and Fourier coefficients describe the same characters, but no one of them is a size.
_GROUPS = {"morphology": 6, "zernike": 47, "fourier": 76}
_TAGS = {"morphology": ("morphometric",), "zernike": ("zernike",), "fourier": ("fourier",)}


def declaration() -> Declaration:
    """Return the tags of the 129 features: "morphometric" (6), "zernike" (47), "fourier" (76); the rest is inferred."""
    return Declaration(
        columns={
            f"{group}_{place}": Declared(tags=_TAGS[group])
            for group, number in _GROUPS.items()
            for place in range(1, number + 1)
        }
    )


def unpack(directory: Path) -> Request:
    """Unpack the digits into `directory` and return the request to prepare them.

    What lies there then is what a user would have: `digits.csv`, `images/*.png`, and `schema.json` with the columns'
    tags, for `mmcl prepare --schema`.
    """
    with zipfile.ZipFile(str(files(__package__) / "digits.zip")) as archive:
        archive.extractall(directory)
    said = declaration()
    (directory / "schema.json").write_text(json.dumps(said.to_json(), indent=2) + "\n")
    return Request(
        table=directory / "digits.csv",
        images=directory / "images",
        image_column=("file",),
        schema=said,
        label=("digit",),
        key_column="id",
        duplicates="keep",  # at 16 x 15 pixels of seven greys, six pairs of different scans are the same picture
        split=(0.6, 0.1, 0.3),
    )
