"""The small real data set that ships with the package; see ATTRIBUTION.md beside this file."""

import zipfile
from importlib.resources import files
from pathlib import Path

from mmcl_jax.data.request import Request


def unpack(directory: Path) -> Request:
    """Unpacks `digits.csv` and `images/*.png` into `directory` and says how to prepare them."""
    with zipfile.ZipFile(str(files(__package__) / "digits.zip")) as archive:
        archive.extractall(directory)
    return Request(
        table=directory / "digits.csv",
        images=directory / "images",
        image_column=("file",),
        label=("digit",),
        key_column="id",
        duplicates="keep",  # at 16 x 15 pixels of seven greys, six pairs of different scans are the same picture
        split=(0.6, 0.1, 0.3),
    )
