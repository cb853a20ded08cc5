"""The request: everything that `prepare` is asked to do."""

import dataclasses
import functools
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mmcl_jax.border import read_json, typed
from mmcl_jax.bucket.address import is_address
from mmcl_jax.bucket.border import local
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.readings import DECIMALS, THOUSANDS
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.prepare.entries.values import LONGEST_SIDE, SIDES, check_separator, plain_json
from mmcl_jax.prepare.images.files import FILTERS, Fit, Stack
from mmcl_jax.prepare.images.levels import Intensity, Nan
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.sources import INPUTS, TARGETS, Source, read_sources


@dataclasses.dataclass(frozen=True)
class Ancestry:
    """A table of ancestry, such as GenoPred writes: people with a value of at least `minimum` are kept.

    Attributes:
      file: a text file with a header, separated by commas, tabs or blanks.
      column: of the share, such as EUR.
      minimum: the least share.
      key: column of the people.
    """

    file: Path
    column: str
    minimum: float = 0.99
    key: str = "IID"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `mmcl prepare`, one field per option; the command describes them.

    `table` and `images` are the entries `table` and `image` of the simple command line. A request file may name further
    `entries` and `targets` from other files (see `sources`), which are joined by their keys; their values are `Source`
    objects or the dicts of the file. `cohort` says whether a row may lack an entry. `keep`, `withdrawn`, `ancestry` and
    `relatives` are lists and tables of people (see `people`).

    From Python, `table` may be a data frame, and `images` pictures in memory, which the image column names by index.
    """

    table: Path | pl.DataFrame | None = None
    images: Path | ImageArrays | None = None
    image_column: tuple[str, ...] = ()
    stack: Stack = "channels"
    like: Path | None = None
    schema: Declaration = dataclasses.field(default_factory=Declaration)
    label: tuple[str, ...] = ()
    key_column: str | None = None
    group_column: str | None = None
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    separator: str | None = None
    encoding: str = "utf-8"
    decimal: str | None = None
    thousands: str | None = None
    missing: tuple[str, ...] | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    resize: str = "bilinear"
    antialias: bool = True
    aspect: Literal["stretch", "crop", "pad"] = "stretch"
    transparent: Literal["white", "black"] = "white"
    intensity: Intensity = "minmax"
    equalise: bool = False
    nan: Nan = "refuse"
    max_pixels: int = Fit.max_pixels
    max_voxels: int = Fit.max_voxels
    max_columns: int = Limits.max_columns
    max_cell: int = Limits.max_cell
    max_categories: int = Limits.max_categories
    max_features: int = Limits.max_features
    max_values: int = Limits.max_values
    max_tokens: int = Limits.max_tokens
    follow_links: Path | None = None
    duplicates: Literal["quarantine", "keep"] = "quarantine"
    split_column: str | None = None
    split_ids: tuple[Path, ...] = ()
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    group_near_duplicates: bool = False
    folds: int = 0
    subsets: tuple[float, ...] = (0.1, 0.01)
    seed: int = 0
    max_bad: float = 0.01
    bits: Literal[8, 16] = 8
    cohort: Literal["outer", "inner"] = "outer"
    keep: Path | None = None
    withdrawn: tuple[Path, ...] = ()
    ancestry: Ancestry | None = None
    relatives: Path | None = None
    kinship: float = 0.0442
    entries: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    targets: Mapping[str, Source] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check all options. Raises `UserError` that names the wrong option."""
        for key, kinds in (("entries", INPUTS), ("targets", TARGETS)):
            object.__setattr__(self, key, read_sources(getattr(self, key), f"--request: {key}", kinds))
        self._check_sources()
        check(self.bits in (8, 16), f"--bits: {self.bits} is neither 8 nor 16.")
        check(self.cohort in ("outer", "inner"), f"--cohort: {self.cohort!r} is neither outer nor inner.")
        check(0 <= self.max_bad <= 1, f"--max-bad: {self.max_bad} is not a share between 0 and 1.")
        check(0 <= self.kinship <= 0.5, f"--kinship: {self.kinship} is not between 0 and 0.5.")
        check(0 <= self.seed < 2**32, f"--seed: {self.seed} is not a number from 0 to 4294967295.")
        sides = self.image_size or (1,)
        check(all(0 < side <= LONGEST_SIDE for side in sides), f"--image-size: {self.image_size} {SIDES}.")
        check_separator(self.separator, "--separator")
        check(self.max_pixels > 0, f"--max-pixels: {self.max_pixels} is not positive.")
        check(self.resize in FILTERS, f"--resize: {self.resize!r} is not one of {', '.join(FILTERS)}.")
        check(self.channels in (None, 1, 3), f"--channels: {self.channels} is neither 1 nor 3.")
        check(all(0 < share < 1 for share in self.subsets), f"--subsets: {self.subsets} are not shares below 1.")
        check(
            self.folds == 0 or self.folds >= 3,
            f"--folds: {self.folds} is too few; one fold is for test, one for validation, and the others for training.",
        )
        check(len(self.split_ids) in (0, 3), "--split-ids takes three files: of train, val and test.")
        check(
            not (self.split_ids and self.split_column),
            "--split-ids and --split-column both define the splits; use one.",
        )
        for key, mark, marks in (("decimal", self.decimal, DECIMALS), ("thousands", self.thousands, THOUSANDS)):
            check(mark in (None, *marks), f"--{key}: {mark!r} is not one of {' '.join(map(repr, marks))}.")
        check(
            not (self.group_near_duplicates and (self.split_ids or self.split_column)),
            "--group-near-duplicates is for splits that are drawn; leave it out, or --split-ids and --split-column.",
        )
        check(self.nan in ("refuse", "background"), f"--nan: {self.nan!r} is neither refuse nor background.")
        check(self.max_voxels > 0, f"--max-voxels: {self.max_voxels} is not positive.")
        eight = "--equalise: a histogram of 8 bits is equalised; leave out --bits 16."
        check(not self.equalise or self.bits == 8, eight)
        _ = self.fit, self.limits  # which check their own options
        if isinstance(self.intensity, tuple):
            low, high = self.intensity
            check(low < high, f"--intensity: {low}:{high} is not a range; write the lower end first.")

    def _check_sources(self) -> None:
        """Raise `UserError` if two entries have one name, or a mask or boxes belong to no image."""
        simple = {"table": self.table, "image": self.images}
        names = [name for name, value in simple.items() if value is not None]
        for name in (*self.entries, *self.targets):
            check(name not in names, f"--request: two entries are called {name!r}; rename one.")
            alike = [other for other in names if other.lower() == name.lower()]
            case = f"--request: the entries {' and '.join(map(repr, [*alike, name]))} differ in case alone; rename one."
            check(not alike, case)  # some file systems would store both in the same file
            names.append(name)
        images = [name for name, entry in self.entries.items() if entry.kind in ("image", "volume")]
        images += ["image"] if self.images is not None else []
        for name, target in self.targets.items():
            where = f"--request: targets.{name}"
            if target.of:
                check_name(target.of, images, f"{where}: of: there is no image", "the images are")
            flat = target.kind != "boxes" or target.of not in self.entries or self.entries[target.of].kind == "image"
            check(flat, f"{where}: boxes must belong to an image, but {target.of!r} is a volume.")

    @property
    def fit(self) -> Fit:
        """How pictures are made to fit."""
        return Fit(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Fit)})

    @property
    def limits(self) -> Limits:
        """The largest sizes that are read."""
        return Limits(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Limits)})

    def requires(self, name: str) -> bool:
        """Return whether rows without this entry are left out in any cohort."""
        return name in self.entries and self.entries[name].required

    def quarantine(self, required: Collection[str] = ()) -> Quarantine:
        """Return an empty quarantine, which is told the entries that rows may lack; `required` are further ones."""
        several = bool(self.entries or self.targets)
        required = [*required, *(name for name in self.entries if self.requires(name))]
        return Quarantine(outer=several and self.cohort == "outer", required=required)

    def declaration(self, base: Declaration | None = None) -> Declaration:
        """Return the declarations of columns in `base`, or else in the schema, with those of the other options.

        Raises:
          UserError: a column is declared to have two roles, or two columns to have a role that only one can have.
        """
        base = base or self.schema
        declaration = base.for_all(decimal=self.decimal, thousands=self.thousands, missing=self.missing)
        single = {"identifier": self.key_column, "group": self.group_column, "split": self.split_column}
        roles = {"image": self.image_column, "label": self.label, "ignore": self.ignore}
        for role, names in {**roles, **{role: (name,) if name else () for role, name in single.items()}}.items():
            others = [name for name in declaration.named(role) if name not in names]
            if names and others and role in single:
                raise UserError(
                    f"Columns {names[0]!r} and {others[0]!r} are both declared to be the {role}; choose one."
                )
            declaration = declaration.adding(role, names)
        return declaration.adding("", self.categorical, kind="categorical")

    def with_pictures_of(self, other: "Request") -> "Request":
        """Return the request with the options of another for how pictures are stacked and made to fit."""
        names = ("stack", *(field.name for field in dataclasses.fields(Fit)))
        return dataclasses.replace(self, **{name: getattr(other, name) for name in names})

    @classmethod
    def read(cls, path: Path, over: Mapping[str, Any]) -> "Request":
        """Read the request in a JSON file, alone or under the key `request`, and replace the fields in `over`.

        Raises:
          UserError: the file is missing, is not JSON, or holds an unknown key.
        """
        check(path.exists(), f"--request: {path} does not exist.")
        raw = read_json(path, dict[str, Any], "correct the request", constants=True, by_hand=True)
        fields = typed(dict[str, Any], raw.get("request", raw), f"--request: {path}: request")
        return cls.from_json({**fields, **over}, str(path))

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], where: str = "the request") -> "Request":
        """Return the request of JSON values, which may also be Python values.

        Args:
          raw: the fields by name.
          where: how errors name the request.

        Raises:
          UserError: a key is unknown or wrong; the message names it.
        """
        keys = sorted(field.name for field in dataclasses.fields(cls))
        for name in typed(dict[Any, Any], raw, f"--request: {where}"):
            check_name(name, keys, f"--request: {where} has an unknown key", "the keys are")
        if isinstance(raw.get("ancestry"), Mapping):
            place = f"--request: {where}: ancestry"
            raw = {**raw, "ancestry": typed(Ancestry, raw["ancestry"], place)}
        return cls(**{name: _typed(name, value, f"--request: {where}: {name}") for name, value in raw.items()})

    def fetched(self) -> "Request":
        """Return the request with copies on this machine in place of files and folders in buckets.

        Raises:
          UserError: an address cannot be used.
        """
        given = {name: getattr(self, name) for name in _PATHS}
        paths: dict[str, Any] = {name: local(path, raw=True) for name, path in given.items() if is_address(path)}
        entries, targets = (
            {name: source.fetched() for name, source in sources.items()} for sources in (self.entries, self.targets)
        )
        for name in ("split_ids", "withdrawn"):
            paths[name] = tuple(local(path, raw=True) for path in getattr(self, name))
        if self.ancestry is not None:
            paths["ancestry"] = dataclasses.replace(self.ancestry, file=local(self.ancestry.file, raw=True))
        return dataclasses.replace(self, **paths, entries=entries, targets=targets)

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON values."""
        raw = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        raw |= {name: None for name in ("table", "images") if not isinstance(raw[name], Path)}  # objects in memory
        raw["schema"] = self.schema.to_json()
        raw["ancestry"] = None if self.ancestry is None else dataclasses.asdict(self.ancestry)
        for key in ("entries", "targets"):
            raw[key] = {name: source.to_json() for name, source in raw[key].items()}
        return plain_json(raw)


_IN_MEMORY = {"table": pl.DataFrame, "images": ImageArrays}
_PATHS = ("table", "images", "like", "follow_links", "keep", "relatives")
_TEXTS = ("image_column", "label", "ignore", "categorical", "missing", "split_ids", "withdrawn")


@functools.cache
def _kinds() -> dict[str, Any]:
    """Return the types of all fields as a file has them, which holds no object in memory."""
    return {**typing.get_type_hints(Request, include_extras=True), "table": Path | None, "images": Path | None}


def _typed(name: str, raw: Any, where: str) -> Any:
    """Return the value of a field in its Python type. Raises `UserError` for a value of another type."""
    if isinstance(raw, _IN_MEMORY.get(name, ())) or name in ("entries", "targets"):  # read when the request is made
        return raw
    if name == "schema":
        return raw if isinstance(raw, Declaration) else Declaration.from_json(raw, where)
    if name in _TEXTS and isinstance(raw, str):
        raw = (raw,)
    if name == "image_size" and isinstance(raw, int):
        raw = (raw, raw)
    return typed(_kinds()[name], raw, where)
