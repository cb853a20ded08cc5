"""`mj.prepare`: raw data to store."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from mmcl_jax import datasets as recipes
from mmcl_jax.api.frames import frame_of, is_frame
from mmcl_jax.api.given import AnyPath, overriding, path_of, several
from mmcl_jax.api.images import beside, folder_of, is_folder
from mmcl_jax.border import to_json
from mmcl_jax.bucket.border import addressed
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import check as require
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.images.levels import Intensity, Nan
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.made import preview_made, write_made
from mmcl_jax.prepare.make import prepare as make
from mmcl_jax.prepare.make import preview
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.table import Tables
from mmcl_jax.targets import check_file, check_folder
from mmcl_jax.text import visible

_DEFAULT = Request()


@addressed(
    raw=("table", "images", "follow_links", "root", "request", "schema", "split_ids", "keep", "withdrawn", "relatives"),
    reads=("like",),
    writes=("out", "write_schema"),
)
def prepare(
    table: AnyPath | Any | None = None,
    images: AnyPath | Any | None = None,
    *,
    follow_links: AnyPath | None = None,
    image_column: str | Iterable[str] = (),
    dataset: str | None = None,
    root: AnyPath | None = None,
    options: Mapping[str, Any] | Sequence[str] = (),
    separator: str | None = None,
    encoding: str = _DEFAULT.encoding,
    decimal: str | None = None,
    thousands: str | None = None,
    missing: str | Iterable[str] | None = None,
    request: AnyPath | Mapping[str, Any] | None = None,
    cohort: Literal["outer", "inner"] = _DEFAULT.cohort,
    schema: AnyPath | Mapping[str, Any] | None = None,
    like: Any | None = None,
    label: str | Iterable[str] = (),
    key_column: str | None = None,
    group_column: str | None = None,
    ignore: str | Iterable[str] = (),
    categorical: str | Iterable[str] = (),
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    bits: Literal[8, 16] = _DEFAULT.bits,
    stack: Literal["channels", "views", "varying"] = _DEFAULT.stack,
    resize: str = _DEFAULT.resize,
    antialias: bool = _DEFAULT.antialias,
    equalise: bool = _DEFAULT.equalise,
    aspect: Literal["stretch", "crop", "pad"] = _DEFAULT.aspect,
    transparent: Literal["white", "black"] = _DEFAULT.transparent,
    intensity: Intensity = _DEFAULT.intensity,
    nan: Nan = _DEFAULT.nan,
    max_pixels: int = _DEFAULT.max_pixels,
    max_voxels: int = _DEFAULT.max_voxels,
    max_columns: int = _DEFAULT.max_columns,
    max_cell: int = _DEFAULT.max_cell,
    max_categories: int = _DEFAULT.max_categories,
    max_features: int = _DEFAULT.max_features,
    max_values: int = _DEFAULT.max_values,
    max_tokens: int = _DEFAULT.max_tokens,
    duplicates: Literal["quarantine", "keep"] = _DEFAULT.duplicates,
    keep: AnyPath | None = None,
    withdrawn: AnyPath | Iterable[AnyPath] = (),
    relatives: AnyPath | None = None,
    kinship: float = _DEFAULT.kinship,
    split_column: str | None = None,
    split_ids: Sequence[AnyPath] = (),
    split: tuple[float, float, float] = _DEFAULT.split,
    group_near_duplicates: bool = _DEFAULT.group_near_duplicates,
    folds: int = _DEFAULT.folds,
    subsets: float | Iterable[float] = _DEFAULT.subsets,
    seed: int = _DEFAULT.seed,
    max_bad: float = _DEFAULT.max_bad,
    out: AnyPath | None = None,
    workers: int = 1,
    beam: str | Iterable[str] = (),
    check: bool = False,
    write_schema: AnyPath | None = None,
) -> Store | Any:
    """Make a store of a table and images.

    The same from the command line: `mmcl prepare --table TABLE --images IMAGES --out OUT`, with the same options. A
    call that was stopped continues with the images that are not decoded yet. A store from a data frame and arrays holds
    the same as one from the same table and images in files.

    Args:
      table: a CSV, TSV or Parquet file with a header; or a data frame of polars, pandas, pyarrow or any other library
        with Arrow's PyCapsule interface; or a dict of columns. The index of a pandas data frame is no column.
      images: the folder that paths in `image_column` are relative to; or an image per row of the table, as a uint8
        array `[N, H, W, C]` or `[N, H, W]`, or a list of arrays, PIL images or paths (None for a row without).
      follow_links: another folder that links in `images` may lead into.
      image_column: the column with the image path, or several.
      dataset: a named data set instead of a table.
      root: the folder of the named data set.
      options: of the named data set, by name.
      separator: between the cells of a text file; by default a comma, or a tab in .tsv.
      encoding: of a text file.
      decimal: the mark before the fraction of numbers in text files; by default a point.
      thousands: the mark between groups of three digits; none by default.
      missing: words for no value; by default NA, NaN, null and so on.
      request: a JSON file (or a dict) of these options, and of any number of entries and targets.
      cohort: of several entries, whether a row needs any or all of them.
      schema: a JSON file (or a dict) that declares columns.
      like: a run or store; columns, categories, classes and images are read as there.
      label: columns to predict, which are not used as features.
      key_column: the column that identifies a row; by default the image path.
      group_column: the column of the subject; a subject is never in two splits.
      ignore: columns to leave out.
      categorical: columns of numbers that are categories.
      image_size: a side, or (height, width), to store; by default as the images are.
      channels: 1 or 3; by default as the images are.
      bits: 16 keeps deep pixels without loss.
      stack: whether several image columns become channels of one image, or views; with "varying" views an empty cell is
        no image, and a row may have fewer than others.
      resize: the filter.
      antialias: whether shrinking averages over what it leaves out.
      equalise: whether the histogram of each image is equalised.
      aspect: what is done where the aspect ratio differs.
      transparent: the colour of transparent pixels.
      intensity: the range of deep pixels: "minmax", "full" or (low, high).
      nan: what becomes of images with values that are not finite.
      max_pixels: larger images are bad.
      max_voxels: larger volumes are bad.
      max_columns: a table of more columns is refused.
      max_cell: a row with a cell of more characters is bad.
      max_categories: a column of more categories is refused.
      max_features: a vector of more columns is refused.
      max_values: a table of more rows times columns is refused, and texts of more rows times tokens.
      max_tokens: a longer text is refused, unless its `length` cuts it.
      duplicates: whether rows with the very same pixels are kept.
      keep: a list of the people to keep: an identifier per line, or FID and IID as PLINK writes them. The person of a
        row is its group or, without groups, its key.
      withdrawn: lists of people who withdrew; the store has no row of them.
      relatives: a table of KING or PLINK 2 (`--make-king-table`); a family is never in two splits.
      kinship: the least kinship of relatives; 0.0442 is the third degree.
      split_column: the column that holds train, val or test.
      split_ids: three files of identifiers, of train, val and test.
      split: shares of train, val and test.
      group_near_duplicates: whether nearly equal images are never in two splits.
      folds: also divide all rows into so many folds, for cross-validation; 0 for none.
      subsets: nested shares of train that keep labels.
      seed: of the draws.
      max_bad: the share of rows that may be quarantined.
      out: the store to make.
      workers: processes that decode files. With more than one, call it under `if __name__ == "__main__":`; the command
        line takes all cores.
      beam: options of a pipeline of Apache Beam that decodes the images and writes the shards, such as
        `("runner=DirectRunner", "direct_num_workers=4")`; by default `workers` processes of this machine do.
      check: whether only to say what is understood, and what a random forest gets; nothing is made.
      write_schema: with or instead of `check`: a file to write what is understood into, as a `schema` to edit.

    Returns:
      The store; with `check` or `write_schema` the `Findings`.

    Raises:
      UserError: anything wrong with the input, naming the file, row or column; nothing is left behind.

    Example:
      >>> import numpy as np, polars as pl, tempfile
      >>> table = pl.DataFrame({"price": range(40), "model": ["a", "b"] * 20})
      >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     store = prepare(table, images, label="model", out=f"{folder}/store")
      >>> store.sizes
      {'train': 28, 'val': 4, 'test': 8}
    """
    given = dict(locals())
    asked = _request(given)
    recipe: recipes.Recipe | recipes.Made | None = None
    if dataset is not None:
        recipe = recipes.make(dataset, None if root is None else path_of(root, "--root"), overriding(options))
    targets_alone = bool(asked.targets) and not asked.entries and asked.table is None
    require(not targets_alone, "--request: targets need entries.")
    if recipe is None and not asked.entries:
        require(asked.table is not None, "Give --table and --images, or a named data set with --dataset and --root.")
        require(asked.images is not None, "Give the image folder with --images.")
    if check or write_schema is not None:
        return _checked(asked, recipe, None if write_schema is None else path_of(write_schema, "--write-schema"))
    if out is None:
        require(False, "Say where the store goes with --out, or look first with --check.")
    folder = path_of(out, "--out")
    if not folder.exists():
        check_folder(folder, "--out")
    if isinstance(recipe, recipes.Made):
        require(not beam, f"--beam: the data set {recipe.name} has no image to decode; leave the option out.")
        return write_made(asked, recipe, folder, workers=workers, progress=True)
    return make(asked, folder, recipe=recipe, workers=workers, beam=several(beam), progress=True)


def _checked(request: Request, recipe: recipes.Recipe | recipes.Made | None, path: Path | None) -> Findings:
    if isinstance(recipe, recipes.Made):
        require(path is None, f"--write-schema: the data set {recipe.name} has no table to declare; leave it out.")
        return preview_made(request, recipe)
    if path is not None:
        require(not path.is_file(), f"--write-schema: {path} exists already.")
        check_file(path, "--write-schema")
    findings, declared = preview(request, recipe=recipe)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(declared.to_json(), indent=2) + "\n")
        print(f"Written to {visible(path)}; edit it and give it with --schema.")
    return findings


def _request(given: Mapping[str, Any]) -> Request:
    """Return the request: of the file or dict, with the arguments that are not as by default over it."""
    said = {
        field.name: given[field.name]
        for field in dataclasses.fields(Request)
        if field.name in given and given[field.name] is not None
    }
    if is_frame(said.get("table")):
        said["table"] = frame_of(said["table"], "table")
    elif "table" in said:
        said["table"] = path_of(said["table"], "table (a file or a data frame)")
    if "images" in said:
        if is_folder(said["images"]):
            said["images"] = folder_of(said["images"])
        else:
            require(not several(given["image_column"]), "image_column: images in memory are named by their index.")
            if "table" not in said:
                said["table"] = None
            elif not is_frame(said["table"]):
                limits = Limits(**{field.name: given[field.name] for field in dataclasses.fields(Limits)})
                read = Tables(limits).read(
                    Path(said["table"]), separator=given["separator"], encoding=given["encoding"]
                )
                require(not read.bad, f"The table {said['table']} has rows that cannot be parsed: {read.bad[:1]}.")
                said["table"] = read.frame
            said["table"], said["images"], said["image_column"] = beside(said["table"], said["images"])
    if "like" in said:
        said["like"] = path_of(said["like"], "--like")
    if "schema" in said:
        schema = said["schema"]
        is_path = isinstance(schema, str | PathLike)
        said["schema"] = Declaration.read(Path(schema)) if is_path else Declaration.from_json(schema, "--schema")
    default = Request()
    for name, value in list(said.items()):
        if isinstance(getattr(default, name), tuple) and name != "split":
            said[name] = several(value)
    request = given["request"]
    if request is None:
        return Request.from_json(said, "mj.prepare").fetched()
    over = {
        name: value for name, value in said.items() if name in ("table", "images") or value != getattr(default, name)
    }
    if isinstance(request, Mapping):
        return Request.from_json({**request, **over}, "request").fetched()
    return Request.read(path_of(request, "--request"), over).fetched()
