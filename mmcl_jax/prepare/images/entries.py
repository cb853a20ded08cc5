"""The entries of a request that hold pixels: images, volumes and masks."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.errors import check
from mmcl_jax.prepare.images.falff import Falff
from mmcl_jax.prepare.images.files import Fit, Reader, Stack
from mmcl_jax.prepare.images.grid import Orientation
from mmcl_jax.prepare.images.masks.drawn import Drawing
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.join.joined import Join, Joined
from mmcl_jax.prepare.join.tables import Keyed
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import PICTURES
from mmcl_jax.prepare.table.cells import text_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSource:
    """One entry of images: its files, and how they are stored.

    Attributes:
      name: of the entry.
      where: what messages call the entry; "" for the images of `--images`.
      alone: whether it is the only entry beside one table, so that a row without an image is left out.
      kind: "image", "volume" or "mask".
      root: the folder that `names` are relative to.
      names: the file names of every row; () for a row without an image.
      fit: how images are fitted to the stored shape.
      size: the stored size; None for the size of the files.
      default_size: the size that a recipe stores, unless all files share a size that is not larger.
      channels: the stored channels; None for the most that a sample of the files has.
      bits: 8 or 16.
      stack: whether several images of a row become "channels" of one image, or "views"; a row may have fewer views than
        others if they are "varying".
      duplicates: "keep" or "quarantine", for rows whose pixels equal those of an earlier row.
      of: the name of the image that a mask belongs to.
      values: the pixel values of the classes of a mask.
      draw: how a mask is drawn from its text, which `names` hold; "" if they are names of files.
      empty: whether a row with its image but without a mask, whose name is "", has a mask of the first class alone.
      read: the function that reads a file, in place of the readers of this package.
      memory: images in memory in place of files; `names` are their indices.
      orientation: of volumes, "ras" or "file"; see `Space`.
      grid: of volumes, "same", "resample" or the path of a NIfTI file; see `common_space`.
      brain_mask: the path of a NIfTI file; "" for none.
      dtype: "float16" for the values of a volume themselves; "" for a type by `bits` and the files.
      falff: whether a volume is fALFF of the series in its file, and how.
      earlier: the entry of the store that new rows are to be like; None without `--like`.
    """

    name: str
    where: str = ""
    alone: bool = False
    kind: Literal["image", "volume", "mask"] = "image"
    root: Path | None
    names: list[tuple[str, ...]]
    fit: Fit
    size: tuple[int, ...] | None
    default_size: tuple[int, int] | None = None
    channels: int | None
    bits: int
    stack: Stack
    duplicates: str
    of: str = ""
    values: tuple[int, ...] = ()
    empty: bool = False
    draw: Drawing | Literal[""] = ""
    read: Reader | None = None
    memory: ImageArrays | None = None
    orientation: Orientation = "ras"
    grid: str = "same"
    brain_mask: str = ""
    dtype: str = ""
    falff: Falff | None = None
    earlier: Entry | None = None

    @property
    def entry(self) -> str:
        """The name of the entry that a bad image takes from its row; "" if it takes the whole row."""
        return "" if self.alone else self.name

    @property
    def what(self) -> str:
        """The words for the entry in a message."""
        return f"{self.name!r}" if self.where else "an image"

    @property
    def plural(self) -> str:
        """The label of the progress bar."""
        return self.name if self.where else "images"

    @property
    def size_option(self) -> str:
        """The option that chooses the stored size, for messages."""
        if not self.where:
            return "--image-size 128"
        return f'"size": {"[32, 64, 64]" if self.kind == "volume" else 128} in {self.where.removeprefix("--request: ")}'

    @property
    def keep_option(self) -> str:
        """The option that keeps duplicates, for messages."""
        return (
            f'"duplicates": "keep" in {self.where.removeprefix("--request: ")}' if self.where else "--duplicates keep"
        )


def image_sources(
    request: Request, recipe: Recipe | None, joined: Join, earlier: Schema | None = None
) -> list[ImageSource]:
    """Return the image, volume and mask entries of a request; masks come after the images that they belong to.

    Volumes are put on the grid of the schema `earlier`, if there is one.

    Raises:
      UserError: a mask belongs to an entry with several images per row, or images of 16 bits are to be equalised.
    """
    sources = []
    if "image" in joined.main:
        sources.append(
            ImageSource(
                name="image",
                alone=not joined.entries,
                root=recipe.images if recipe else request.images if isinstance(request.images, Path) else None,
                memory=request.images if isinstance(request.images, ImageArrays) else None,
                names=_given(joined.rows.images, request.stack),
                fit=request.fit,
                size=request.image_size,
                default_size=recipe.image_size if recipe else None,
                channels=request.channels,
                bits=request.bits,
                stack=request.stack,
                duplicates=request.duplicates,
                read=recipe.read if recipe else None,
            )
        )
    entries = [entry for entry in joined.entries.values() if entry.source.kind in PICTURES]
    sources += [_source(entry, request, joined.rows.keys) for entry in entries if entry.source.kind != "mask"]
    if earlier is not None:
        sources = [dataclasses.replace(source, earlier=earlier.entries.get(source.name)) for source in sources]
    images = {source.name: source for source in sources}
    sources += [_mask(entry, images, joined.rows.keys) for entry in entries if entry.source.kind == "mask"]
    return sources


def _source(entry: Joined, request: Request, keys: list[str]) -> ImageSource:
    """Return the source of an image or volume; what the entry leaves open is as the request has it."""
    source = entry.source
    declared: Mapping[str, Any] = {
        field.name: value
        for field in dataclasses.fields(Fit)
        if (value := getattr(source, field.name, None)) is not None
    }
    size = source.size or (request.image_size if source.kind == "image" else None)
    if size is not None and len(size) == 1:
        size = size * (2 if source.kind == "image" else 3)
    fit, bits = dataclasses.replace(request.fit, **declared), source.bits or request.bits
    if source.kind == "volume":
        fit = dataclasses.replace(fit, equalise=False)  # which `--equalise` means for the images beside it
    eight = f"{entry.where}: equalise: a histogram of 8 bits is equalised; leave it out, or set bits to 8."
    check(not fit.equalise or bits == 8, eight)
    return ImageSource(
        name=entry.name,
        where=entry.where,
        kind=cast(Literal["image", "volume"], source.kind),
        root=source.folder,
        names=_given(_names(entry, keys), source.stack or request.stack),
        fit=fit,
        size=size,
        channels=source.channels or request.channels,
        bits=bits,
        stack=cast(Stack, source.stack or request.stack),
        duplicates=source.duplicates or request.duplicates,
        orientation=cast(Orientation, source.orientation),
        grid=source.grid,
        dtype=source.dtype,
        falff=Falff(tr=source.tr, band=source.band or Falff.band) if source.derive == "falff" else None,
        brain_mask="" if source.brain_mask is None else str(source.brain_mask),
    )


def _mask(entry: Joined, images: Mapping[str, ImageSource], keys: list[str]) -> ImageSource:
    """Return the source of a mask; rows without its image lack the mask, too."""
    image = images[entry.source.of]
    own = {name: limit for name in ("max_pixels", "max_voxels") if (limit := getattr(entry.source, name)) is not None}
    per_row = max((len(names) for names in image.names), default=0)
    check(
        per_row <= 1,
        f"{entry.where}: {image.name!r} has {per_row} images per row; a mask belongs to one image.",
    )
    fit = dataclasses.replace(image.fit, **own)
    names = [
        mask if images_of_row else () for mask, images_of_row in zip(_names(entry, keys), image.names, strict=True)
    ]
    return dataclasses.replace(
        image,
        alone=False,
        name=entry.name,
        where=entry.where,
        kind="mask",
        root=entry.source.folder,
        names=names,
        fit=fit,
        duplicates="keep",
        of=image.name,
        values=tuple(value for _, value in entry.source.classes),
        empty=entry.source.empty,
        draw=cast(Drawing | Literal[""], entry.source.draw),
    )


def _given(names: list[tuple[str, ...]], stack: str) -> list[tuple[str, ...]]:
    """Return the file names of every row, without empty cells if rows may have fewer images than others."""
    return [tuple(filter(None, row)) for row in names] if stack == "varying" else names


def _names(entry: Joined, keys: list[str]) -> list[tuple[str, ...]]:
    """Return the file names of every row; () for a row without an image."""
    if isinstance(entry.content, Keyed):
        columns = [text_of(entry.content.frame[name]).fill_null("").to_list() for name in entry.source.column]
        return [() if row < 0 else tuple(column[row] for column in columns) for row in entry.at]
    assert isinstance(entry.content, dict)
    # The name of an empty mask is "".
    return [() if row < 0 else (entry.content.get(key, ""),) for row, key in zip(entry.at, keys, strict=True)]
