"""COVID Rural: radiographs of patients with COVID-19 and masks of opacities.

root/covid_rural_annot/jpgs/PATIENT_DATE-XR.jpg
                       pngs_masks/PATIENT_DATE-XR.png        0 and 1

or `root` is the folder `covid_rural_annot` itself.
"""

from pathlib import Path

from mmcl_jax.datasets.chest.downstream import read_grey, recipe
from mmcl_jax.errors import check
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.prepare.sources import Source


def covid_rural(*, root: Path, ids: Path | None = None, equalise: bool = True, pad: bool = True) -> Recipe:
    """Return COVID Rural: an image with the `mask` of its opacities per row; `group` is the patient.

    Images, which are stored in colour, become the mean of their colours. Those without a mask are left out and counted.

    Args:
      root: the folder of the data set.
      ids: the folder of the released train.csv, validation.csv and test.csv; by default 60/20/20 % are drawn, by
        patient.
      equalise: whether histograms are equalised.
      pad: whether images are padded to a square with black; if not, `--aspect` says how they are made to fit.

    Raises:
      UserError: a folder is missing, or no image has a mask.
    """
    base = root / "covid_rural_annot" if (root / "covid_rural_annot").is_dir() else root
    images, masks = base / "jpgs", base / "pngs_masks"
    for folder in (images, masks):
        check(folder.is_dir(), f"--root: the folder {folder} does not exist.")
    names = sorted(path.stem for path in images.glob("*.jpg"))
    masked = {path.stem for path in masks.glob("*.png")}
    kept = [name for name in names if name in masked]
    check(bool(kept), f"--root: no image NAME.jpg of {images} has a mask NAME.png in {masks}.")
    mask = Source(kind="mask", of="image", folder=masks, files="{key}.png", classes=(("none", 0), ("opacity", 1)))
    return recipe(
        "covid_rural",
        {name: f"{name}.jpg" for name in kept},
        images=images,
        targets={"mask": mask},
        patients={name: name.partition("_")[0] for name in kept},
        ids=ids,
        pad=pad,
        equalise=equalise,
        read=read_grey,
        steps=[Step("images with a mask", len(names), len(kept))],
    )
