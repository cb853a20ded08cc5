"""The declaration of an entry or target in a request: its kind, where its values come from, and how they are read.

    "entries": {
      "image":  {"kind": "image", "folder": "photos/", "files": "{key}.png"},
      "pgs":    {"kind": "vector", "file": "pgs.tsv", "key": "IID"},
      "snp":    {"kind": "genotypes", "file": "ukb_chr{1..22}.bed", "every": 100, "by": "person"},
      "scores": {"kind": "scores", "folder": "sscore/", "by": "person"},
      "burden": {"kind": "burdens", "file": "burdens.h5", "keys": "iid.txt", "names": "genes.txt", "min_carriers": 1},
      "report": {"kind": "text", "folder": "reports/", "files": "{key}.txt", "sections": true}
    },
    "targets": {
      "grade":  {"kind": "ordinal", "file": "grades.csv", "key": "id", "column": "grade"},
      "disc":   {"kind": "mask", "of": "image", "folder": "discs/", "files": "{key}.png"}
    }

A key of `Source` that the kind does not take is an error.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcl_jax.border import shown, typed
from mmcl_jax.bucket.address import is_address
from mmcl_jax.bucket.border import local
from mmcl_jax.data.kinds import LONGEST_NAME
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import check, check_name
from mmcl_jax.prepare.entries.values import PATHS, check_separator, plain_json, value_of
from mmcl_jax.prepare.images.falff import check_falff
from mmcl_jax.prepare.images.masks.drawn import EMPTY
from mmcl_jax.prepare.reports.remarks import REMARKS
from mmcl_jax.text import called

INPUTS = ("image", "volume", "table", "vector", "text", "genotypes", "scores", "burdens")
TARGETS = ("class", "ordinal", "number", "multi-label", "numbers", "mask", "boxes")
COLUMNS = ("class", "ordinal", "number", "multi-label", "numbers")  # targets that are columns of a table
PICTURES = ("image", "volume", "mask")
KEY = "{key}"  # in a pattern of file names
MATRICES = (".csv", ".tsv", ".parquet", ".npy", ".h5", ".hdf5")

VECTORS = ("vector", "genotypes", "scores", "burdens")  # entries that are stored as vectors
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")  # in the name of a file of genotypes: chr{1..22}.bed

_TABLE = ("file", "key", "separator", "encoding")
_MATRIX = (*_TABLE, "ignore", "names", "keys", "dataset", "dtype", "required", "by")
_PICTURE = ("size", "channels", "bits", "resize", "antialias", "intensity", "nan", "max_pixels")
_FILES = ("folder", "files", "column", *_TABLE)
_TAKES = {
    "image": (*_FILES, *_PICTURE, "aspect", "transparent", "equalise", "stack", "duplicates", "required"),
    "volume": (
        *_FILES,
        "size",
        "bits",
        "antialias",
        "intensity",
        "nan",
        "max_pixels",
        "max_voxels",
        "duplicates",
        "required",
        "orientation",
        "grid",
        "brain_mask",
        "dtype",
        "derive",
        "tr",
        "band",
    ),
    "table": (*_TABLE, "schema", "required", "by"),
    "vector": _MATRIX,
    "text": (
        *_FILES,
        "sections",
        "newlines",
        "min_words",
        "drop",
        "tokenizer",
        "lowercase",
        "vocabulary",
        "vocabulary_size",
        "length",
        "show_text",
        "required",
    ),
    "genotypes": ("file", "every", "variants", "min_frequency", "max_missing", "dtype", "required", "by"),
    "scores": ("folder", "column", "dtype", "required", "by"),
    "burdens": (*_MATRIX, "min_carriers"),
    "class": (*_TABLE, "column", "categories"),
    "ordinal": (*_TABLE, "column", "categories"),
    "number": (*_TABLE, "column"),
    "multi-label": (*_TABLE, "column", "between"),
    "numbers": (*_TABLE, "column"),
    "mask": (*_FILES, "of", "classes", "empty", "draw", "max_pixels", "max_voxels"),
    "boxes": (*_TABLE, "of", "column", "categories"),
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TAKEN = ("id", "key", "group", "valid", "present", "target", "label", "labels", "flat", "store")  # by batch and store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """An entry or target of a request. Options of images that are None take the value of the request.

    Attributes:
      kind: one of `INPUTS` or `TARGETS`.
      file: a table with a key column; for images and texts, with a column of paths or texts; for a vector, the matrix.
        With a `folder`, the column of a text holds paths.
      key: the column of the table that holds the key; by default the request's `key_column`.
      separator: character between the cells of a text file.
      encoding: of a text file, and of the files of texts.
      column: the column of the paths (one per image of a row), of the text, or of the target's values.
      folder: of the image files, or of text files.
      files: pattern of the file names in the folder, such as `{key}_left.png`; a `*` matches anything.
      required: whether a row without this entry is left out, though the cohort is `outer`.
      of: the image that a mask or boxes belong to.
      schema: the declarations of the columns of a table.
      ignore: columns of a matrix that are not features.
      names: a file with the names of the columns of a matrix, one per line.
      keys: a file with the keys of the rows of a matrix without a key column, one per line.
      dataset: name of the matrix in an HDF5 file.
      dtype: in which the store holds a vector; by default float32, int8 for calls of genotypes, float16 for dosages.
        "float16" holds the values of a volume themselves, whatever the type of its file.
      by: the column of the main table whose value is looked up among the keys of a table or vector, such as the person
        of an image; by default the request's key column.
      genotypes: the files of genotypes, as they were given: names, in which `{1..22}` stands for these numbers.
      every: of how many variants of a chromosome the first is taken, and so on.
      variants: a file with the variants to take, an identifier per line; by default all.
      min_frequency: of the rarer allele, below which a variant is left out.
      max_missing: share of missing calls, above which a variant is left out.
      min_carriers: people with a burden other than 0 that a gene needs: a number, or a share below 1.
      size: (height, width), or (depth, height, width) of a volume.
      categories: of a class, of an ordinal target (lowest first), or of the class of boxes.
      between: the text between the labels in a cell of a multi-label target.
      classes: the pixel value of every class of a mask; by default every value that occurs is a class.
      draw: "runs" or "shapes" if the column of a mask holds no file names but masks as text; see `images.masks.drawn`.
      empty: whether a row without a file of the mask has a mask of the first class alone, rather than none.
      sections: headings of the sections that are kept of a text, in this order; true stands for FINDINGS, IMPRESSION.
        A row whose text has none of them has no text. By default, and with false, the whole text is kept.
      newlines: "break" ends a sentence at every line break, and "join" at empty lines and items of lists alone; by
        default "join" with `sections`, else "break".
      min_words: sentences of fewer words and punctuation marks are dropped.
      drop: remarks that are dropped, "priors" and "lateral"; see `reports.remarks`.
      tokenizer: what is fitted on training rows without a vocabulary, "byte_pairs" or BERT's "word_pieces".
      lowercase: whether texts become lower case, without accents; by default, unless a vocab.txt has capitals.
      vocabulary: a tokenizer.json, or a vocab.txt of word pieces; by default one is fitted on training rows.
      vocabulary_size: largest size of a fitted vocabulary.
      show_text: whether the data card, reports and explanations may show texts.
      orientation: "ras" turns NIfTI volumes by their affine to right, front and top; "file" leaves them as they lie.
      grid: "same" refuses volumes of several grids, unless they have a size; "resample" resamples them to the grid of
        the first; and the path of a NIfTI file to its grid.
      brain_mask: a NIfTI file on the grid of the volumes; voxels where it is 0 are stored as 0.
      derive: "falff" stores fALFF of the series in a 4-D NIfTI file, not its volumes; see `falff`.
      tr: the repetition time of the series, in seconds; by default that of the header of each file.
      band: lowest and highest frequency of fALFF, in Hz; by default 0.01 and 0.1.
      length: largest number of tokens that are kept of a text; by default all of them.
    """

    kind: str
    file: Path | None = None
    key: str = ""
    separator: str | None = None
    encoding: str = "utf-8"
    column: tuple[str, ...] = ()
    folder: Path | None = None
    files: str = ""
    required: bool = False
    of: str = ""
    schema: Declaration = dataclasses.field(default_factory=Declaration)
    ignore: tuple[str, ...] = ()
    names: Path | None = None
    keys: Path | None = None
    dataset: str = ""
    dtype: str = ""
    by: str = ""
    genotypes: tuple[str, ...] = ()
    every: int = 1
    variants: Path | None = None
    min_frequency: float = 0.0
    max_missing: float = 1.0
    min_carriers: float = 0.0
    size: tuple[int, ...] | None = None
    channels: int | None = None
    bits: int | None = None
    resize: str | None = None
    antialias: bool | None = None
    aspect: str | None = None
    transparent: str | None = None
    intensity: str | tuple[float, float] | None = None
    equalise: bool | None = None
    nan: str | None = None
    max_pixels: int | None = None
    max_voxels: int | None = None
    stack: str | None = None
    duplicates: str | None = None
    orientation: str = "ras"
    grid: str = "same"
    brain_mask: Path | None = None
    derive: str = ""
    tr: float | None = None
    band: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    between: str = ""
    classes: tuple[tuple[str, int], ...] = ()
    empty: bool = False
    draw: str = ""
    sections: tuple[str, ...] | None = None
    newlines: str = ""
    min_words: int | None = None
    drop: tuple[str, ...] | None = None
    tokenizer: str = "byte_pairs"
    lowercase: bool | None = None
    show_text: bool = False
    vocabulary: Path | None = None
    vocabulary_size: int = 8000
    length: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the source as JSON values, without defaults."""
        values: dict[str, Any] = {"kind": self.kind}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _TAKES[self.kind] and value != _DEFAULT[field.name]:
                special = {"schema": lambda: self.schema.to_json(), "classes": lambda: dict(self.classes)}
                values[field.name] = special.get(field.name, lambda value=value: value)()
        if self.genotypes:
            values["file"] = self.genotypes[0] if len(self.genotypes) == 1 else self.genotypes
        return plain_json(values)

    def genotype_files(self) -> list[Path]:
        """Return the files of genotypes, in order: a name with a range stands for one file per number."""
        files = []
        for text in self.genotypes:
            found = _RANGE.search(text)
            if found is None:
                files.append(Path(text))
            else:
                first, last = map(int, found.groups())
                files += [Path(f"{text[: found.start()]}{n}{text[found.end() :]}") for n in range(first, last + 1)]
        return files

    def read_files(self) -> list[Path]:
        """Return the files that the source names, of which a change changes the store; images notice theirs."""
        named = [
            path
            for path in (self.file, self.names, self.keys, self.vocabulary, self.variants, self.brain_mask)
            if path is not None
        ]
        named += [Path(self.grid)] if self.grid not in ("same", "resample") else []
        if self.kind == "scores" and self.folder is not None:
            named += sorted(self.folder.glob("*.sscore"))
        beside = {".bed": (".bim", ".fam"), ".pgen": (".pvar", ".psam"), ".bgen": (".sample",)}
        for path in self.genotype_files():
            others = [path.with_suffix(suffix) for suffix in beside.get(path.suffix, ())]
            named += [path, *(other for other in others if other.is_file())]
        return named

    def fetched(self) -> "Source":
        """Return the source with copies on this machine in place of files and folders in buckets.

        Raises:
          UserError: an address cannot be used.
        """
        given = {name: getattr(self, name) for name in PATHS}
        paths: dict[str, Any] = {name: local(path, raw=True) for name, path in given.items() if is_address(path)}
        return dataclasses.replace(self, **paths)

    @classmethod
    def from_json(cls, raw: Any, where: str, kinds: tuple[str, ...]) -> "Source":
        """Return the source of JSON values, as `to_json` writes them.

        Args:
          raw: the JSON value.
          where: how errors name it.
          kinds: the permitted kinds.

        Raises:
          UserError: a key is unknown, missing or wrong; the message names it.
        """
        check(isinstance(raw, Mapping), f"{where} must be an object, not {shown(raw)}.")
        kind = raw.get("kind")
        check("kind" in raw, f"{where} has no kind; set kind to one of {', '.join(kinds)}.")
        elsewhere = "targets" if kind in TARGETS else "entries"
        moved = f"{where}: the kind {shown(kind)} belongs in {elsewhere!r}; move it there."
        check(kind in kinds or kind not in (*INPUTS, *TARGETS), moved)
        check_name(typed(str, kind, f"{where}: kind"), kinds, f"{where}: there is no kind", "the kinds are")
        for name in raw.keys() - {"kind"}:
            check_name(name, _TAKES[kind], f"{where}: the kind {kind} has no key", "its keys are")
        given = {"genotypes" if (kind, name) == ("genotypes", "file") else name: name for name in raw if name != "kind"}
        values = {field: value_of(field, raw[name], f"{where}: {name}") for field, name in given.items()}
        made = cls(kind=kind, **values)
        made.check(where)
        return made

    def check(self, where: str) -> None:
        """Raise `UserError` if a key is missing, or two keys contradict each other."""
        kind = self.kind
        check_separator(self.separator, f"{where}: separator")
        if self.draw:
            table = f"{where}: draw needs file and column, the table and its column of masks, and no folder or files."
            check(self.file is not None and len(self.column) == 1 and not (self.folder or self.files), table)
            check(
                not self.empty, f"{where}: empty is for files; the text of an empty mask is {EMPTY}, so leave it out."
            )
        elif kind in PICTURES:
            check(self.folder is not None, f"{where}: name the folder of the files with folder.")
            self._check_files(where)
            single = f"{where}: column must name a single column for a {kind}."
            check(kind == "image" or len(self.column) <= 1, single)
        elif kind == "text":
            self._check_text(where)
        elif kind == "scores":
            check(self.folder is not None, f"{where}: name the folder of the .sscore files with folder.")
            check(len(self.column) <= 1, f"{where}: column must name a single column.")
            check(self.dtype != "int8", f"{where}: dtype: scores have fractions; leave it out, or set it to float16.")
        elif kind == "genotypes":
            self._check_genotypes(where)
        else:
            check(self.file is not None, f"{where}: name its file with file.")
        if kind in ("mask", "boxes"):
            check(bool(self.of), f"{where}: name the image that it belongs to with of.")
        if kind in COLUMNS:
            check(bool(self.column), f"{where}: name its column with column.")
            several = kind in ("multi-label", "numbers") and not self.between
            check(several or len(self.column) == 1, f"{where}: column must name a single column.")
        if kind == "boxes" and self.column:
            needed = f"{where}: column must name five columns: left, top, right, bottom and class."
            check(len(self.column) == 5, needed)
        if kind in ("image", "volume") and self.size is not None:
            dimensions = 2 if kind == "image" else 3
            sized = f"{where}: size must be one number or {dimensions} numbers, not {list(self.size)}."
            check(len(self.size) in (1, dimensions), sized)
        if kind == "volume":
            check(self.dtype in ("", "float16"), f"{where}: dtype: a volume is stored as float16, or by its bits.")
            alone = f"{where}: tr and band are of fALFF; leave them out, or set derive to falff."
            check(bool(self.derive) or (self.tr is None and self.band is None), alone)
            check_falff(self.tr, self.band, where)
        if kind in ("vector", "burdens"):
            self._check_matrix(where)

    def _check_files(self, where: str) -> None:
        """Raise `UserError` unless either a pattern names the files of a folder, or the column of a table does."""
        both = f"{where}: set either files, with {KEY} in it, or column, with the table as file."
        check(bool(self.files) != bool(self.column), both)
        check(not self.files or self.files.count(KEY) == 1, f"{where}: files must contain {KEY} exactly once.")
        check(not self.files or self.file is None, both)
        inside = not self.files.startswith("/") and ".." not in self.files.split("/")
        check(inside, f"{where}: files must be relative to the folder and stay in it, not {self.files!r}.")

    def _check_text(self, where: str) -> None:
        """Raise `UserError` unless a text has one source, and a vocabulary either a file or the means to be fitted."""
        check(self.folder is not None or self.file is not None, f"{where}: name its file with file, or its folder.")
        check(self.folder is not None or not self.files, f"{where}: name the folder of the files with folder.")
        if self.folder is not None:
            self._check_files(where)
        else:
            check(bool(self.column), f"{where}: name its column with column.")
        check(self.files != "" or self.file is not None, f"{where}: name the table of the column with file.")
        check(len(self.column) <= 1, f"{where}: column must name a single column.")
        for remark in self.drop or ():
            check(remark in REMARKS, f"{where}: drop: {shown(remark)} is not one of {', '.join(REMARKS)}.")
        for heading in self.sections or ():
            check(":" not in heading and heading.strip() != "", f"{where}: sections: {shown(heading)} is no heading.")
        for name in ("tokenizer", "vocabulary_size") if self.vocabulary else ():
            given = f"{where}: {name}: {called(self.vocabulary)} is the vocabulary"
            check(getattr(self, name) == _DEFAULT[name], f"{given}; leave {name} out.")
        has_case = self.vocabulary is None or self.vocabulary.suffix.lower() != ".json"
        check(has_case or self.lowercase is None, f"{where}: lowercase: a tokenizer.json says so itself; leave it out.")

    def _check_genotypes(self, where: str) -> None:
        """Raise `UserError` if no file is named, or one that is not on this machine."""
        check(bool(self.genotypes), f"{where}: name its file, or several in a list, with file.")
        for text in self.genotypes:
            check(not is_address(text), f"{where}: {text} lies in a bucket; copy the files to this machine first.")
            found = _RANGE.search(text)
            ordered = found is None or int(found[1]) <= int(found[2])
            check(ordered, f"{where}: file: the range in {text!r} ends before it begins.")
        check(self.dtype != "float32", f"{where}: dtype: genotypes are stored as int8, or dosages as float16.")

    def _check_matrix(self, where: str) -> None:
        """Raise `UserError` if a key does not fit the type of the matrix's file."""
        suffix = self.file.suffix.lower() if self.file else ""
        check(suffix in MATRICES, f"{where}: the matrix {self.file} must end in {', '.join(MATRICES)}.")
        bare = suffix in (".npy", ".h5", ".hdf5")
        only = f"{where}: keys and dataset are for .npy and HDF5 files; leave them out."
        check(bare or not (self.keys or self.dataset), only)
        keyless = f"{where}: {self.file} has no key column; name a text file of its rows' keys with keys."
        check(not bare or self.keys is not None, keyless)
        check(not (bare and self.ignore), f"{where}: ignore is for matrices in tables; leave it out.")
        check(not (bare and self.key), f"{where}: {self.file} has no key column; leave key out.")
        check(suffix != ".npy" or not self.dataset, f"{where}: dataset is for HDF5 files; leave it out.")
        hdf5 = f"{where}: name the data set of {self.file} that holds the matrix with dataset."
        check(suffix in (".csv", ".tsv", ".parquet", ".npy") or bool(self.dataset), hdf5)


_DEFAULT = {field.name: getattr(Source(kind=""), field.name) for field in dataclasses.fields(Source)}


def read_sources(raw: Any, where: str, kinds: tuple[str, ...]) -> dict[str, Source]:
    """Return the entries or targets of a request by name, from JSON values or `Source` objects.

    Raises:
      UserError: an entry or key is wrong; the message names it.
    """
    check(isinstance(raw, Mapping), f"{where} must be an object of names, not {shown(raw)}.")
    sources = {}
    for name, value in raw.items():
        letters = (
            f"{where}: {shown(name)} cannot name an entry; use at most {LONGEST_NAME} letters, digits and underscores, "
            "a letter first."
        )
        check(isinstance(name, str) and bool(_NAME.fullmatch(name)) and len(name) <= LONGEST_NAME, letters)
        check(name.lower() not in _TAKEN, f"{where}: the name {name!r} is reserved; rename the entry.")
        if isinstance(value, Source):
            check(value.kind in kinds, f"{where}.{name}: the kind {value.kind!r} is not one of {', '.join(kinds)}.")
            sources[name] = Source.from_json(value.to_json(), f"{where}.{name}", kinds)
        else:
            sources[name] = Source.from_json(value, f"{where}.{name}", kinds)
    return sources
