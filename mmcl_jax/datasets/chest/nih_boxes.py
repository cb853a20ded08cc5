"""NIH ChestX-ray8's boxes: radiographs with boxes of eight findings.

root/BBox_List_2017.csv                Image Index, Finding Label, Bbox [x, y, w, h]
     images/images_NN/images/NAME.png  (or any folder below root)
     Data_Entry_2017_v2020.csv         Image Index, Finding Labels; may be missing, for images without a finding
"""

from pathlib import Path

from mmcl_jax.datasets.chest.downstream import Lesion, box_of, by_stem, read_grey, recipe, released
from mmcl_jax.datasets.chest.tables import read_csv
from mmcl_jax.errors import check, check_name
from mmcl_jax.prepare.recipe import Recipe, Step

FINDINGS = (
    "atelectasis", "cardiomegaly", "effusion", "infiltrate", "mass", "nodule", "pneumonia", "pneumothorax",
)  # fmt: skip
_SIDES = ("Bbox [x", "y", "w", "h]")
_NONE = "No Finding"


def nih_boxes(
    *,
    root: Path,
    ids: Path | None = None,
    classes: tuple[str, ...] = FINDINGS,
    no_finding: int = 0,
    equalise: bool = True,
    pad: bool = True,
) -> Recipe:
    """Return NIH's boxes: an image with its boxes `lesions`, and a mask per class, `mask_CLASS`, per row.

    Boxes of several classes overlap, so that every class has a mask of its own, the union of its boxes; a linear
    segmentation is trained on each by itself, with `--label mask_mass`. `group` is the patient.

    Args:
      root: the folder of the data set.
      ids: the folder of the released train.csv, validation.csv and test.csv, which name 100 images without a finding;
        by default 60/20/20 % are drawn by patient.
      classes: that are used; an image without a box of these classes is left out.
      no_finding: number of images without a finding to add, the first of `Data_Entry_2017_v2020.csv`. With `ids`,
        leave it out: those in the lists are added.
      equalise: whether histograms are equalised.
      pad: whether images are padded to a square with black; if not, `--aspect` says how they are made to fit.

    Raises:
      UserError: a file is missing, a class is unknown, or a row of the table is wrong.
    """
    for name in classes:
        check_name(name, FINDINGS, "--dataset.classes: there is no class")
    check(bool(classes), "--dataset.classes is empty; name a class.")
    check(no_finding >= 0, f"--dataset.no_finding={no_finding} is not a number from 0 on.")
    check(ids is None or not no_finding, "--dataset.no_finding: the lists of --dataset.ids choose them; leave it out.")
    path = root / "BBox_List_2017.csv"
    table = read_csv(path, ("Image Index", "Finding Label", *_SIDES))
    there = by_stem(root, "*.png")
    boxes: dict[str, list[Lesion]] = {}
    seen: dict[tuple[str, ...], int] = {}
    for row, cells in enumerate(table.iter_rows(named=True), start=1):
        where, key, finding = f"{path}, row {row}", Path(cells["Image Index"]).stem, cells["Finding Label"].lower()
        check_name(finding, FINDINGS, f"{where}: Finding Label: there is no class")
        check(key in there, f"{where}: there is no image {cells['Image Index']} below {root}.")
        twin = seen.setdefault(tuple(cells.values()), row)
        check(twin == row, f"{where}: it is the same as row {twin}; keep one.")
        lesion = box_of(cells, _SIDES, finding, where)
        if finding in classes:
            boxes.setdefault(key, []).append(lesion)
    steps = [Step(f"images with a box of {len(classes)} classes", len(there), len(boxes))]
    without = _without(root, there, no_finding, ids)
    steps += [Step("with images without a finding", len(boxes), len(boxes) + len(without))] if without else []
    boxes |= {key: [] for key in without}
    drawn = {
        f"mask_{name}": (
            "shapes",
            name,
            {key: "|".join(one.shape for one in found if one.name == name) for key, found in boxes.items()},
        )
        for name in classes
    }
    return recipe(
        "nih_boxes",
        {key: there[key] for key in boxes},
        images=root,
        boxes=boxes,
        classes=classes,
        drawn=drawn,
        positive={key: bool(found) for key, found in boxes.items()},
        patients={key: key.partition("_")[0] for key in boxes},
        ids=ids,
        pad=pad,
        equalise=equalise,
        read=read_grey,
        steps=steps,
    )


def _without(root: Path, there: dict[str, str], count: int, ids: Path | None) -> list[str]:
    """Return the keys of images without a finding that are added.

    Raises:
      UserError: the table of all images is needed and wrong, or has too few images.
    """
    path = root / "Data_Entry_2017_v2020.csv"
    if not count and (ids is None or not path.is_file()):
        return []
    table = read_csv(path, ("Image Index", "Finding Labels"))
    rows = table.select("Image Index", "Finding Labels").iter_rows()
    keys = [Path(name).stem for name, labels in rows if labels == _NONE and Path(name).stem in there]
    if ids is not None:
        listed = {key for members in released(ids).values() for key in members}
        return [key for key in keys if key in listed]
    check(len(keys) >= count, f"--dataset.no_finding={count}: {root} has {len(keys)} images without a finding.")
    return keys[:count]
