"""TFDS data sets of images, by name or folder."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.files import atomic
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.text import words_of


def tfds_images(
    *, root: Path, cache: Path | None = None, data_dir: Path | None = None, image: str = "image", label: str = "label"
) -> Recipe:
    """Return the recipe of a prepared TFDS data set, and write its images as PNG files.

    Every scalar feature becomes a column, a class label with the names of its classes; a vector of numbers becomes one
    column per element. The data set must be on disk in a format that is read without TensorFlow (`array_record`), as
    `tfds build --file_format=array_record NAME` writes it.

    Args:
      root: a name such as `mnist` or `mnist:3.0.1`, or the folder of a prepared data set.
      cache: folder of the image files, by default `NAME_images` in the working directory; existing files stay.
      data_dir: folder in which TFDS stores data sets, if `root` is a name.
      image: name of the image feature: `[H, W, 1]` or `[H, W, 3]` uint8.
      label: name of the feature to predict; "" for none.

    Raises:
      UserError: the data set is not on disk, or has no such feature.
    """
    builder, source = opened(root, data_dir)
    features = builder.info.features
    for name in (image, label):
        if name:
            check_name(name, list(features), f"--dataset: {builder.name} has no feature", "it has")
    folder = cache or Path(f"{builder.name}_images")
    records: list[dict[str, Any]] = []
    for split, examples in source.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for row, example in enumerate(examples):
            path = f"{split}/{row:07d}.png"
            _write_once(folder / path, np.asarray(example[image]))
            columns = {
                k: v for name, value in example.items() if name != image for k, v in _columns(name, value).items()
            }
            records.append({"tfds_id": f"{split}/{row}", "tfds_split": split, "image_file": path, **columns})
    rows = pl.DataFrame(records, infer_schema_length=None)
    classes = getattr(features[label], "names", None) if label else None
    if classes:
        rows = rows.with_columns(rows[label].replace_strict(dict(enumerate(classes)), return_dtype=pl.String))
    declared = {"tfds_id": Declared(role="identifier"), "image_file": Declared(role="image")}
    declared["tfds_split"] = Declared(role="ignore")
    if label:
        declared[label] = Declared(role="label", present=tuple(filter(None, classes or ())))  # a class name may be None
    splits = {"train": "train", "validation": "val", "val": "val", "test": "test"}
    parts = {ours: rows.filter(pl.col("tfds_split") == theirs) for theirs, ours in splits.items()}
    split_ids = {split: part["tfds_id"].to_list() for split, part in parts.items() if part.height}
    return Recipe(
        name=f"{builder.name} {builder.version}",
        rows=rows,
        images=folder,
        image_columns=("image_file",),
        declaration=Declaration(columns=declared),
        splits=split_ids if len(split_ids) == 3 else None,  # `prepare` draws splits unless TFDS has all three
        steps=(Step(f"read {builder.name} {builder.version} ({', '.join(source)})", rows.height, rows.height),),
    )


def opened(root: Path, data_dir: Path | None = None) -> tuple[Any, Any]:
    """Return the builder of a prepared TFDS data set, by name or folder, and its data source by split.

    Raises:
      UserError: the data set is not on disk, or not in a format that is read without TensorFlow.
    """
    import tensorflow_datasets as tfds

    try:
        builder = (
            tfds.builder_from_directory(str(root)) if root.is_dir() else tfds.builder(str(root), data_dir=data_dir)
        )
        return builder, builder.as_data_source()
    except Exception as error:  # TFDS raises many kinds, down to AssertionError
        raise UserError(f"--root: the TFDS data set {str(root)!r} cannot be read: {words_of(error)}.") from error


def _columns(name: str, value: Any) -> dict[str, Any]:
    """Return a feature of one example as values by column; {} for a feature that cannot be a column."""
    array = np.asarray(value)
    if array.ndim == 0:
        item = array.item()
        return {name: item.decode("utf-8", "replace") if isinstance(item, bytes) else item}
    if array.ndim == 1 and array.dtype.kind in "fiub":
        return {f"{name}_{index}": item.item() for index, item in enumerate(array)}
    return {}


def _write_once(path: Path, image: np.ndarray) -> None:
    check(
        image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] in (1, 3),
        f"The TFDS image for {path} is {image.dtype} {image.shape}; only [H, W, 1] and [H, W, 3] uint8 can be used.",
    )
    if not path.is_file():
        pixels = image[..., 0] if image.shape[2] == 1 else image
        with atomic(path) as partial:
            Image.fromarray(pixels).save(partial, format="PNG", compress_level=1)
