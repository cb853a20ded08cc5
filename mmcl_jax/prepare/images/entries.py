"""The entries of a request that hold pixels: images, volumes and masks."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from mmcl_jax.errors import check
from mmcl_jax.prepare.images.files import Fit, Reader
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.join.joined import Join, Joined
from mmcl_jax.prepare.join.tables import Keyed
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import PICTURES
from mmcl_jax.prepare.table.cells import text_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSource:
    """An entry of images, and how they are to be stored.

    Attributes:
      name: of the entry.
      where: what sentences call it; "" for the images of the simple command line.
      alone: whether it is all that rows have beside one table, so that a row without it is none.
      kind: "image", "volume" or "mask".
      root: the folder that names are relative to.
      names: of the files of every row; () for a row without.
      fit: how images are made to fit.
      size: to store; None for that of the files.
      default_size: of a recipe, for images that have no common smaller size.
      channels: to store; None for those of the files.
      bits: 8 or 16.
      stack: what several images of a row become.
      duplicates: whether rows with the very same pixels are kept.
      of: the image that a mask belongs to.
      values: pixel values of the classes of a mask.
      read: reads a file instead of the ordinary readers.
      memory: images in memory, which names are of, instead of files in a folder.
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
    stack: Literal["channels", "views"]
    duplicates: str
    of: str = ""
    values: tuple[int, ...] = ()
    read: Reader | None = None
    memory: ImageArrays | None = None

    @property
    def entry(self) -> str:
        """The entry of which the quarantine says that it is bad; "" where the row is."""
        return "" if self.alone else self.name

    @property
    def what(self) -> str:
        """The entry in a sentence."""
        return f"{self.name!r}" if self.where else "an image"

    @property
    def plural(self) -> str:
        """What a progress bar says."""
        return self.name if self.where else "images"

    @property
    def size_option(self) -> str:
        """How to say the size."""
        if not self.where:
            return "--image-size 128"
        return f'"size": {"[32, 64, 64]" if self.kind == "volume" else 128} in {self.where.removeprefix("--request: ")}'

    @property
    def keep_option(self) -> str:
        """How to keep duplicates."""
        return (
            f'"duplicates": "keep" in {self.where.removeprefix("--request: ")}' if self.where else "--duplicates keep"
        )


def image_sources(request: Request, recipe: Recipe | None, joined: Join) -> list[ImageSource]:
    """Return the entries that are images; masks behind the images that they belong to.

    Raises:
      UserError: a mask belongs to an entry with several images of a row.
    """
    found = []
    if "image" in joined.main:
        found.append(
            ImageSource(
                name="image",
                alone=not joined.entries,
                root=recipe.images if recipe else request.images if isinstance(request.images, Path) else None,
                memory=request.images if isinstance(request.images, ImageArrays) else None,
                names=joined.rows.images,
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
    others = [one for one in joined.entries.values() if one.source.kind in PICTURES]
    found += [_source(one, request, joined.rows.keys) for one in others if one.source.kind != "mask"]
    by_name = {one.name: one for one in found}
    for one in others:
        if one.source.kind == "mask":
            found.append(_mask(one, by_name, joined.rows.keys))
    return found


def _source(one: Joined, request: Request, keys: list[str]) -> ImageSource:
    source = one.source
    said: Mapping[str, Any] = {
        field.name: value
        for field in dataclasses.fields(Fit)
        if (value := getattr(source, field.name, None)) is not None
    }
    size = source.size or (request.image_size if source.kind == "image" else None)
    if size is not None and len(size) == 1:
        size = size * (2 if source.kind == "image" else 3)
    return ImageSource(
        name=one.name,
        where=one.where,
        kind=cast(Literal["image", "volume"], source.kind),
        root=source.folder,
        names=_names(one, keys),
        fit=dataclasses.replace(request.fit, **said),
        size=size,
        channels=source.channels or request.channels,
        bits=source.bits or request.bits,
        stack=cast(Literal["channels", "views"], source.stack or request.stack),
        duplicates=source.duplicates or request.duplicates,
    )


def _mask(one: Joined, images: Mapping[str, ImageSource], keys: list[str]) -> ImageSource:
    """Return the entry of a mask, which rows without its image lack."""
    image, limit = images[one.source.of], one.source.max_pixels
    per_row = max((len(names) for names in image.names), default=0)
    check(per_row <= 1, f"{one.where}: {image.name!r} has {per_row} images of a row; a mask belongs to one.")
    fit = image.fit if limit is None else dataclasses.replace(image.fit, max_pixels=limit)
    names = [mine if theirs else () for mine, theirs in zip(_names(one, keys), image.names, strict=True)]
    return dataclasses.replace(
        image,
        alone=False,
        name=one.name,
        where=one.where,
        kind="mask",
        root=one.source.folder,
        names=names,
        fit=fit,
        duplicates="keep",
        of=image.name,
        values=tuple(value for _, value in one.source.classes),
    )


def _names(one: Joined, keys: list[str]) -> list[tuple[str, ...]]:
    """Return the names of the files of every row."""
    if isinstance(one.content, Keyed):
        columns = [text_of(one.content.frame[name]).fill_null("").to_list() for name in one.source.column]
        return [() if row < 0 else tuple(column[row] for column in columns) for row in one.at]
    assert isinstance(one.content, dict)
    return [() if row < 0 else (one.content[key],) for row, key in zip(one.at, keys, strict=True)]
