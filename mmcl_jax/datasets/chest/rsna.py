"""RSNA's pneumonia detection challenge: radiographs in DICOM with boxes of opacities.

root/stage_2_train_labels.csv          patientId, x, y, width, height, Target
     stage_2_train_images/ID.dcm
"""

from pathlib import Path

from mmcl_jax.datasets.chest.downstream import Lesion, box_of, recipe
from mmcl_jax.datasets.chest.tables import read_csv
from mmcl_jax.errors import check
from mmcl_jax.prepare.recipe import Recipe, Step

_SIDES = ("x", "y", "width", "height")


def rsna(*, root: Path, ids: Path | None = None, validation_rows: int | None = None, pad: bool = True) -> Recipe:
    """Return RSNA: an image with its boxes `lesions` and the union of these, `mask`, per row.

    A patient of this data set has one image. Histograms are not equalised, as in LoVT. Reading DICOM needs the extra
    `medical`.

    Args:
      root: the folder of the data set.
      ids: the folder of the released train.csv, validation.csv and test.csv; by default 60/20/20 % are drawn.
      validation_rows: with `ids`, the number of first rows of validation.csv that are kept; 534 in all of LoVT's
        experiments. By default all are kept.
      pad: whether images are padded to a square with black; if not, `--aspect` says how they are made to fit.

    Raises:
      UserError: a file is missing, or a row of the table is wrong.
    """
    path = root / "stage_2_train_labels.csv"
    table = read_csv(path, ("patientId", *_SIDES, "Target"))
    images = root / "stage_2_train_images"
    check(images.is_dir(), f"--root: the folder {images} does not exist.")
    boxes: dict[str, list[Lesion]] = {}
    positive: dict[str, bool] = {}
    seen: dict[tuple[str, ...], int] = {}
    for row, cells in enumerate(table.iter_rows(named=True), start=1):
        where, key, target = f"{path}, row {row}", cells["patientId"], cells["Target"]
        check(key != "" and "/" not in key, f"{where}: patientId is {key!r}, which names no image.")
        check(target in ("0", "1"), f"{where}: Target is {target!r}; it must be 0 or 1.")
        twin = seen.setdefault(tuple(cells.values()), row)
        check(twin == row, f"{where}: it is the same as row {twin}; keep one.")
        sides = [cells[name] for name in _SIDES]
        check(any(sides) == (target == "1"), f"{where}: Target is {target}, and the box is {sides}; they disagree.")
        same = positive.setdefault(key, target == "1") == (target == "1")
        check(same, f"{where}: the image {key} has rows with the target 0 and with the target 1.")
        found = boxes.setdefault(key, [])
        if target == "1":
            found.append(box_of(cells, _SIDES, "opacity", where))
    count = sum(map(len, boxes.values()))
    return recipe(
        "rsna",
        {key: f"{key}.dcm" for key in boxes},
        images=images,
        boxes=boxes,
        classes=("opacity",),
        drawn={"mask": ("shapes", "opacity", {key: "|".join(box.shape for box in of) for key, of in boxes.items()})},
        positive=positive,
        ids=ids,
        validation_rows=validation_rows,
        pad=pad,
        steps=[Step(f"{count} boxes of {sum(positive.values())} images", len(boxes), len(boxes))],
    )
