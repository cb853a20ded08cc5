"""The inputs of an experiment: entries of a store under the names of `config.inputs`, which are the modalities."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.cohort import Taken
from mmcl_jax.data.complete import CompleteRows
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.kinds.intensity import IntensityFit, fit_intensities
from mmcl_jax.data.kinds.vector import VECTOR_POLICIES, VectorKind, filled
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.encoded import encoded_rows
from mmcl_jax.data.table.encoding import MISSING_POLICIES, Encoding
from mmcl_jax.data.table.label_feature import append_label, raw_table
from mmcl_jax.data.table.selection import select_columns
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.data.table.vocabulary import observed, recoded
from mmcl_jax.errors import check, check_name
from mmcl_jax.files import reading
from mmcl_jax.text import nearest

# Options of one input, `config.inputs.NAME`, with their defaults.
TABLE_OPTIONS: dict[str, Any] = {"missing": "refuse", "outside": "keep", "columns": "all", "label_as_feature": False}
OPTIONS: dict[str, Any] = {"of": "", **TABLE_OPTIONS, "scale": "std"}
SCALES = ("std", "none")
_OF_KIND = {"table": tuple(TABLE_OPTIONS), "vector": ("missing", "scale")}
_POLICIES = {"table": MISSING_POLICIES, "vector": VECTOR_POLICIES}
_FITTED = "fitted.npz"

Options = Mapping[str, Mapping[str, Any]]  # `config.inputs`


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The description of one input of an experiment, for views, encoders and terms.

    Attributes:
      kind: kind of its entry, such as "image" or "table".
      shape: shape of one row in the batch.
      dtype: type of the rows in the batch, such as "uint8".
      widths: one-hot width of every column of a table; for a text, one number, the size of its vocabulary.
      missing: policy for missing values.
      scale: how a vector is scaled.
      optional: whether rows may lack the input; the batch then has `present/NAME`.
      of: name of the entry that the input is read from.
      bin_edges: edges of the quantile bins of every column, if an encoder asks for bins; see `Encoding`.
      special_tokens: whether the vocabulary of a text has `[CLS]` and `[SEP]`.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    widths: tuple[int, ...] = ()
    missing: str = "refuse"
    scale: str = "std"
    optional: bool = False
    of: str = ""
    bin_edges: tuple[tuple[float, ...], ...] = ()
    special_tokens: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of an experiment, with the encodings and statistics that were fitted on its training rows.

    Attributes:
      specs: description of every input, by name.
      encoding: encoding of the store's first table, by the options of the first input that reads it; by the default
        options if no input reads it, for baselines on that table.
      tables: encodings of the inputs that are tables, by name.
      fitted: statistics of the training rows that views need, by input: `mean` and `std` `[F]` float32 of a vector (0
        and 1 if it is not scaled) and, unless it is the mean, `fill` `[F]`, which replaces missing values; for a text,
        `tokens` `[V]` (whether the training rows have each token), the token `unknown` and the `special_tokens`; for a
        volume whose view asks for them, `landmarks` and `mask` (see `data.kinds.intensity`).
      fold: fold of the store whose training rows they were fitted on; None for the store's own training split.
    """

    specs: Mapping[str, InputSpec]
    encoding: Encoding
    tables: Mapping[str, Encoding]
    fitted: Mapping[str, Mapping[str, np.ndarray]]
    fold: int | None = None

    @property
    def schema(self) -> Schema:
        """The store's schema, whose first table has the columns that are used."""
        return self.encoding.schema

    @classmethod
    def fit(
        cls,
        options: Options,
        store: Store,
        take: np.ndarray | None = None,
        *,
        fold: int | None = None,
        encoders: Mapping[str, Mapping[str, int]] | None = None,
        views: Mapping[str, IntensityFit] | None = None,
    ) -> "Inputs":
        """Fit encodings and statistics on the training rows.

        On a fold, the categories of tables and the classes of labels are those of the fold's training rows as well.

        Args:
          options: `config.inputs`.
          store: the store with the entries.
          take: indices of the training rows that take part; None for all.
          fold: fold of the store; None for its own splits.
          encoders: what encoders ask of the encoding of their table, `rare` and `bins` (see `Encoding.fit`), by name.
          views: what views ask to be fitted on training volumes, by name of their input.

        Raises:
          UserError: naming the key: the store has no such entry, the kind of the entry has no such option, the label is
            to be a feature and the store has none, or no column has the tag.
        """
        first, known = store.schema.first("table"), _known(store, take, fold)
        tables, fitted = {}, {}
        for name, chosen in options.items():
            entry, of = entry_of(store.schema, name, chosen), chosen["of"] or name
            present = store.read("train", [of], streamed=True, fold=fold)[of].present if entry.optional else None
            check(
                present is None or bool(present[slice(None) if take is None else take].any()),
                f"config.inputs.{name}: no training row of {store.directory} that takes part has {of!r}; leave it out.",
            )
            if entry.kind == "table":
                tables[name] = _fit_table(name, chosen, store, known, take, fold, (encoders or {}).get(name, {}))
            elif entry.kind in ("vector", "text"):
                rows = Taken(store.read("train", [of], fold=fold)[of], take)
                if entry.kind == "text":
                    fitted[name] = _arrays(KINDS[entry.kind].fit(rows, of, store.schema, store.names(of)))
                else:
                    moments = VectorKind().fit(rows, of, store.schema, store.names(of))
                    fitted[name] = filled(moments, rows, missing=chosen["missing"], scale=chosen["scale"])
            elif entry.kind == "volume" and name in (views or {}):
                rows = Taken(store.read("train", [of], fold=fold)[of], take)
                fitted[name] = fit_intensities(rows, (views or {})[name], name=name)
        encoding = next((tables[name] for name in tables if (options[name]["of"] or name) == first), None)
        if encoding is None and first is not None and fold is not None:
            encoding = _fit_table(first, OPTIONS, store, known, take, fold, {})
        if encoding is None:
            encoding = Encoding(schema=known, statistics=store.statistics, missing="refuse")
        return cls._of(options, encoding, tables, fitted, fold)

    @classmethod
    def _of(
        cls,
        options: Options,
        encoding: Encoding,
        tables: Mapping[str, Encoding],
        fitted: Mapping[str, Mapping[str, np.ndarray]],
        fold: int | None,
    ) -> "Inputs":
        widths = {name: table.schema.widths for name, table in tables.items()}
        widths |= {name: (len(arrays["tokens"]),) for name, arrays in fitted.items() if "tokens" in arrays}
        specs = specs_of(options, encoding.schema, widths)
        for name, table in tables.items():
            specs[name] = dataclasses.replace(specs[name], bin_edges=table.bin_edges)
        for name, arrays in fitted.items():
            if len(arrays.get("special_tokens", ())):
                specs[name] = dataclasses.replace(specs[name], special_tokens=True)
        return cls(specs=specs, encoding=encoding, tables=tables, fitted=fitted, fold=fold)

    def including(self, names: Collection[str]) -> "Inputs":
        """Return the inputs and, beside them, these entries of the store with default options, for baselines."""
        others = {name: OPTIONS for name in names if name not in self.specs}
        tables = {name: self.encoding for name in others if name == self.schema.first("table")}
        widths = {name: table.schema.widths for name, table in tables.items()}
        specs = {**self.specs, **specs_of(others, self.schema, widths)}
        return dataclasses.replace(self, specs=specs, tables={**self.tables, **tables})

    def write(self, directory: Path) -> None:
        """Write `encoding` into the folder, and further encodings and statistics into its folders `inputs/NAME`."""
        self.encoding.write(directory)
        for name, table in self.tables.items():
            if table is not self.encoding:
                _folder(directory, name).mkdir(parents=True)
                table.write(_folder(directory, name))
        for name, arrays in self.fitted.items():
            _folder(directory, name).mkdir(parents=True)
            np.savez(_folder(directory, name) / _FITTED, **dict[str, Any](arrays))

    @classmethod
    def read(cls, directory: Path, options: Options, *, fold: int | None = None) -> "Inputs":
        """Read the files that `write` wrote.

        Raises:
          UserError: a file is missing or damaged.
        """
        encoding = Encoding.read(directory)
        tables, fitted = {}, {}
        for name, chosen in options.items():
            kind, folder = entry_of(encoding.schema, name, chosen).kind, _folder(directory, name)
            if kind == "table" and folder.is_dir():
                tables[name] = dataclasses.replace(Encoding.read(folder), input=name)
            elif kind == "table":
                tables[name] = encoding = dataclasses.replace(encoding, input=name)
            elif kind in ("vector", "text") or (kind == "volume" and folder.is_dir()):
                path = folder / _FITTED
                with reading(path, "put a copy of the file back"), np.load(path, allow_pickle=False) as file:
                    fitted[name] = dict(file)
        return cls._of(options, encoding, tables, fitted, fold)


def entry_of(schema: Schema, name: str, chosen: Mapping[str, Any]) -> Entry:
    """Return the entry that an input reads.

    Raises:
      UserError: the store has no such entry, the entry is a target, or its kind has no such option.
    """
    of = chosen["of"] or name
    inputs = [entry_name for entry_name, entry in schema.entries.items() if entry.role == "input"]
    key = f"config.inputs.{name}.of: {of!r}" if chosen["of"] else f"config.inputs.{name}: {name!r}"
    known = f"{nearest(of, inputs)}; its inputs are {', '.join(inputs) or 'none'}" if of not in inputs else ""
    check(of in inputs, f"{key} is no input of the store{known}.")
    entry = schema.entries[of]
    for option, default in OPTIONS.items():
        if option not in ("of", *_OF_KIND.get(entry.kind, ())):
            problem = f"config.inputs.{name}.{option}: the {entry.kind} {of!r} has no such option"
            check(chosen[option] == default, f"{problem}; leave it at {default!r}.")
    if entry.kind in _POLICIES:
        policy = f"config.inputs.{name}.missing: a {entry.kind} has no policy"
        check_name(chosen["missing"], _POLICIES[entry.kind], policy)
    if entry.kind == "vector" and chosen["missing"] == "mode":
        whole = (
            f"config.inputs.{name}.missing: {of!r} is stored as {entry.dtype}, and mode, the most frequent value, is"
        )
        check(entry.dtype == "int8", f"{whole} for calls and counts in int8; set it to mean.")
    return entry


def specs_of(
    options: Options, schema: Schema, widths: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, InputSpec]:
    """Return the description of every input, by name.

    Args:
      options: `config.inputs`.
      schema: schema of the store.
      widths: `InputSpec.widths` by name; by default, the one-hot widths of all columns of a table.

    Raises:
      UserError: an input has no entry, or an option that its kind does not have.
    """
    specs = {}
    for name, chosen in options.items():
        entry = entry_of(schema, name, chosen)
        is_table = entry.kind == "table"
        input_widths = (widths or {}).get(name, tuple(column.width for column in entry.columns))
        specs[name] = InputSpec(
            kind=entry.kind,
            shape=(len(input_widths),) if is_table else entry.stored,
            dtype="float32" if is_table else entry.dtype,
            widths=input_widths,
            missing=chosen["missing"],
            scale=chosen["scale"],
            optional=entry.optional,
            of=chosen["of"] or name,
        )
    return specs


def shared(specs: Mapping[str, InputSpec]) -> dict[str, str]:
    """Return, for every input, the first input with the same array: inputs of one entry with the same options.

    A batch holds the array once, under the name of that first input (see `with_shared`). A table shares its array with
    no other input, since each is encoded by its own options.
    """
    first: dict[tuple[str, str], str] = {}
    return {
        name: name if spec.kind == "table" else first.setdefault((spec.of, spec.missing), name)
        for name, spec in specs.items()
    }


def with_shared(batch: Mapping[str, Any], specs: Mapping[str, InputSpec]) -> dict[str, Any]:
    """Return the batch with an array under the name of every input; inputs that are `shared` have the same array."""
    return {**batch, **{name: batch[first] for name, first in shared(specs).items()}}


def input_arrays(
    store: Store,
    split: str,
    inputs: Inputs,
    names: Collection[str] | None = None,
    *,
    targets: Collection[str] | None = None,
    streamed: bool = False,
) -> dict[str, Any]:
    """Return the arrays of all rows of a split, by their names in a batch.

    `id` uint32 [N]; `group` int32 [N] where the store has groups; an array per input; `present/NAME` bool [N] for each
    optional input; `target/LABEL` [N]: int32 class codes, -1 for none and for a class that is not in the fold's
    training rows, or float32 numbers, NaN for none. Images,
    volumes, texts and vectors are as they are stored; tables are encoded, float32 [N, F], a large one when it is
    indexed (see `encoded_rows`). Inputs that are `shared` have the same array.

    Args:
      store: the store to read.
      split: a split of the store, or of the fold that the inputs were fitted on.
      inputs: the fitted inputs.
      names: names of the inputs to read; all by default.
      targets: names of labels, and of target entries such as masks (`target/ENTRY`); all labels by default.
      streamed: whether images and volumes are read from the shards, not from the mapped array.

    Raises:
      UserError: the store has no such split, or a value is missing and the policy is "refuse".
    """
    names = list(inputs.specs if names is None else names)
    labels = {column.name: index for index, column in enumerate(store.schema.labels)}
    targets = list(labels if targets is None else targets)
    known = {} if inputs.fold is None else {column.name: column for column in inputs.schema.labels}
    dense = [name for name in targets if name not in labels and name in store.schema.entries]
    rows, group = store.labels(split, fold=inputs.fold), store.group(split, inputs.fold)
    arrays: dict[str, Any] = {"id": rows["id"].astype(np.uint32)}
    if group is not None:
        arrays["group"] = group.astype(np.int32)
    of = [inputs.specs[name].of for name in names]
    entries = store.read(split, list(dict.fromkeys([*of, *dense])), streamed=streamed, fold=inputs.fold)
    first = shared({name: inputs.specs[name] for name in names})
    for name in names:
        spec = inputs.specs[name]
        entry = arrays[name] = entries[spec.of]
        if spec.kind == "table":
            stored = with_columns(store.schema, spec.of)
            arrays[name] = encoded_rows(entry, stored, inputs.tables[name], rows.get("label"))
        elif first[name] != name:
            arrays[name] = arrays[first[name]]
        elif spec.kind == "vector" and spec.missing == "refuse":
            arrays[name] = CompleteRows(entry, name)
        if spec.optional:
            arrays[f"present/{name}"] = np.ones(len(entry), bool) if entry.present is None else entry.present
    for name in targets:
        if name in labels:
            values, column = rows["labels"][:, labels[name]], store.schema.labels[labels[name]]
            values = recoded(values, column, known.get(name, column))
            codes = np.nan_to_num(values, nan=-1).astype(np.int32) if column.coded else values.astype(np.float32)
            arrays[f"target/{name}"] = codes
    return {**arrays, **{f"target/{name}": entries[name] for name in dense}}


def _known(store: Store, take: np.ndarray | None, fold: int | None) -> Schema:
    """Return the store's schema; for a fold, its tables have the categories and classes of the training rows alone."""
    if fold is None:
        return store.schema
    entries = dict(store.schema.entries)
    for name, entry in entries.items():
        if entry.kind == "table":
            rows = np.asarray(Taken(store.read("train", [name], fold=fold)[name], take)[:])
            entries[name] = dataclasses.replace(entry, columns=observed(entry.columns, rows))
    return Schema(entries)


def _fit_table(
    name: str,
    chosen: Mapping[str, Any],
    store: Store,
    known: Schema,
    take: np.ndarray | None,
    fold: int | None,
    asked: Mapping[str, int],
) -> Encoding:
    of = chosen["of"] or name
    stored = with_columns(store.schema, of)
    schema = select_columns(with_columns(known, of), chosen["columns"], key=f"config.inputs.{name}.columns")
    if chosen["label_as_feature"]:
        schema = append_label(schema, store, key=f"config.inputs.{name}.label_as_feature")
    stored_rows = store.read("train", [of], fold=fold)[of]
    rows = Taken(stored_rows, take).rows
    labels = store.labels("train", fold=fold)
    table = raw_table({key: array[rows] for key, array in {**labels, "table": stored_rows}.items()}, stored, schema)
    all_rows = len(rows) == len(stored_rows) and fold is None
    statistics = store.statistics if all_rows and schema == store.schema else Statistics.fit(table, schema)
    policies = {"missing": chosen["missing"], "outside": chosen["outside"], **asked}
    return Encoding.fit(table, schema, statistics, **policies, input=name)


def _arrays(fitted: Any) -> dict[str, np.ndarray]:
    """Return the statistics that a kind fitted as arrays of the accelerator's types."""
    values = {key: np.asarray(value) for key, value in dataclasses.asdict(fitted).items()}
    types = {"f": np.float32, "i": np.int32}
    return {key: value.astype(types.get(value.dtype.kind, value.dtype)) for key, value in values.items()}


def with_columns(schema: Schema, of: str) -> Schema:
    """Return the schema with the columns of the table `of` in place of the first table's."""
    return schema if of == schema.first("table") else schema.with_columns(schema.entries[of].columns)


def _folder(directory: Path, name: str) -> Path:
    return directory / "inputs" / name
