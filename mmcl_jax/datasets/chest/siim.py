"""SIIM-ACR pneumothorax segmentation: radiographs in DICOM with run lengths.

root/train-rle.csv                     ImageId, EncodedPixels (-1 for none; several rows of an image are joined)
     dicom-images-train/*/*/ID.dcm
"""

from pathlib import Path

from mmcl_jax.datasets.chest.downstream import by_stem, recipe
from mmcl_jax.datasets.chest.tables import read_csv
from mmcl_jax.errors import check
from mmcl_jax.prepare.images.masks.drawn import EMPTY
from mmcl_jax.prepare.recipe import Recipe, Step


def siim(*, root: Path, ids: Path | None = None, equalise: bool = True, pad: bool = True) -> Recipe:
    """Return SIIM: an image with the `mask` of its pneumothorax per row, empty where there is none.

    A pixel that any annotation of an image marks is marked. Images in the folder that the table does not have are not
    used. Splits are of images, as in LoVT, since the table does not name patients. Reading DICOM needs the extra
    `medical`.

    Args:
      root: the folder of the data set.
      ids: the folder of the released train.csv, validation.csv and test.csv; by default 60/20/20 % are drawn.
      equalise: whether histograms are equalised.
      pad: whether images are padded to a square with black; if not, `--aspect` says how they are made to fit.

    Raises:
      UserError: a file is missing, or a row of the table is wrong.
    """
    path = root / "train-rle.csv"
    table = read_csv(path, ("ImageId", "EncodedPixels"))
    images = root / "dicom-images-train"
    check(images.is_dir(), f"--root: the folder {images} does not exist.")
    files = by_stem(images, "*.dcm")
    texts: dict[str, list[str]] = {}
    for row, (key, text) in enumerate(table.select("ImageId", "EncodedPixels").iter_rows(), start=1):
        where = f"{path}, row {row}"
        check(key in files, f"{where}: {images} has no file {key}.dcm in its folders.")
        check(text != "", f"{where}: EncodedPixels is empty; {EMPTY} stands for no pneumothorax.")
        texts.setdefault(key, []).append(text)
    positive = {key: any(text != EMPTY for text in of) for key, of in texts.items()}
    return recipe(
        "siim",
        {key: files[key] for key in texts},
        images=images,
        drawn={"mask": ("runs", "pneumothorax", {key: "|".join(of) for key, of in texts.items()})},
        positive=positive,
        ids=ids,
        pad=pad,
        equalise=equalise,
        steps=[Step(f"images of the table, {sum(positive.values())} with pneumothorax", len(files), len(texts))],
    )
