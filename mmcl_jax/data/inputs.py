"""What an experiment reads of a store: its inputs by the names of `config.inputs`, which are its modalities."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.cohort import Taken
from mmcl_jax.data.complete import CompleteRows
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.encoded import encoded_rows
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.label_feature import append_label, raw_table
from mmcl_jax.data.table.selection import select_columns
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import check
from mmcl_jax.files import reading

# Options of one input, `config.inputs.NAME`, and where they start.
TABLE_OPTIONS: dict[str, Any] = {"missing": "refuse", "outside": "keep", "columns": "all", "label_as_feature": False}
OPTIONS: dict[str, Any] = {"of": "", **TABLE_OPTIONS}
VECTOR_POLICIES = ("refuse", "mean")
_OF_KIND = {"table": tuple(TABLE_OPTIONS), "vector": ("missing",)}
_FITTED = "fitted.npz"

Options = Mapping[str, Mapping[str, Any]]  # `config.inputs`


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What one input of an experiment is, for views, encoders and terms.

    Attributes:
      kind: of its entry, such as "image" or "table".
      shape: of one row in the batch.
      dtype: of the rows in the batch, such as "uint8".
      widths: one-hot widths of a table's columns; of a text, the size of its vocabulary alone.
      missing: what becomes of missing values.
      optional: whether rows may lack it; the batch then has `present/NAME`.
      of: the entry that it is read from.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    widths: tuple[int, ...] = ()
    missing: str = "refuse"
    optional: bool = False
    of: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of an experiment and what was fitted on its training rows: all that leads from a row to a batch.

    Attributes:
      specs: by input.
      encoding: of the store's first table, by the options of the first input that reads it; by the default ones if none
        does, for what else is measured on that table.
      tables: the encodings of inputs that are tables.
      fitted: what views are given of the training rows, by input: `mean` and `std` `[F]` float32 of a vector; of a
        text, which `tokens` `[V]` the training rows have, and the token `unknown`.
      fold: of the store, whose training rows they were fitted on; None for its own split.
    """

    specs: Mapping[str, InputSpec]
    encoding: Encoding
    tables: Mapping[str, Encoding]
    fitted: Mapping[str, Mapping[str, np.ndarray]]
    fold: int | None = None

    @property
    def schema(self) -> Schema:
        """The store's schema, with the columns of the first table that are used."""
        return self.encoding.schema

    @classmethod
    def fit(
        cls, options: Options, store: Store, take: np.ndarray | None = None, *, fold: int | None = None
    ) -> "Inputs":
        """Fit on training rows.

        Args:
          options: `config.inputs`.
          store: with the entries.
          take: numbers of the training rows that take part; None for all.
          fold: of the store; None for its own splits.

        Raises:
          UserError: naming the key: there is no such entry, an option is none of its kind, the label is to be a feature
            and the store has none, or no column has the tag.
        """
        first = store.schema.first("table")
        tables, fitted = {}, {}
        for name, chosen in options.items():
            entry, of = entry_of(store.schema, name, chosen), chosen["of"] or name
            if entry.kind == "table":
                tables[name] = _fit_table(name, chosen, store, take, fold)
            elif entry.kind in ("vector", "text"):
                rows = Taken(store.read("train", [of], fold=fold)[of], take)
                fitted[name] = _arrays(KINDS[entry.kind].fit(rows, of, store.schema, store.names(of)))
        encoding = next((tables[name] for name in tables if (options[name]["of"] or name) == first), None)
        if encoding is None:
            encoding = Encoding(schema=store.schema, statistics=store.statistics, missing="refuse")
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
        widths |= {name: (len(found["tokens"]),) for name, found in fitted.items() if "tokens" in found}
        specs = specs_of(options, encoding.schema, widths)
        return cls(specs=specs, encoding=encoding, tables=tables, fitted=fitted, fold=fold)

    def including(self, names: Collection[str]) -> "Inputs":
        """Return the inputs with the store's entries of these names beside them, for baselines on what is stored."""
        others = {name: OPTIONS for name in names if name not in self.specs}
        tables = {name: self.encoding for name in others if name == self.schema.first("table")}
        widths = {name: table.schema.widths for name, table in tables.items()}
        specs = {**self.specs, **specs_of(others, self.schema, widths)}
        return dataclasses.replace(self, specs=specs, tables={**self.tables, **tables})

    def write(self, directory: Path) -> None:
        """Write the encoding, and into `inputs/NAME` other encodings and what else was fitted."""
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
        """Read what `write` wrote.

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
            elif kind in ("vector", "text"):
                path = folder / _FITTED
                with reading(path, "put a copy of the file back"), np.load(path, allow_pickle=False) as file:
                    fitted[name] = dict(file)
        return cls._of(options, encoding, tables, fitted, fold)


def entry_of(schema: Schema, name: str, chosen: Mapping[str, Any]) -> Entry:
    """Return the entry that an input reads.

    Raises:
      UserError: the store has none of this name, it is a target, or an option is none of its kind.
    """
    of = chosen["of"] or name
    inputs = [other for other, entry in schema.entries.items() if entry.role == "input"]
    key = f"config.inputs.{name}.of: {of!r}" if chosen["of"] else f"config.inputs.{name}: {name!r}"
    check(of in inputs, f"{key} is no input of the store, which has {', '.join(inputs) or 'none'}.")
    entry = schema.entries[of]
    for option, default in TABLE_OPTIONS.items():
        if option not in _OF_KIND.get(entry.kind, ()):
            where = f"config.inputs.{name}.{option}: the {entry.kind} {of!r} has no such option"
            check(chosen[option] == default, f"{where}; leave it at {default!r}.")
    policies = ", ".join(VECTOR_POLICIES)
    sentence = f"config.inputs.{name}.missing: {chosen['missing']!r} is none of a vector's, which are {policies}."
    check(entry.kind != "vector" or chosen["missing"] in VECTOR_POLICIES, sentence)
    return entry


def specs_of(
    options: Options, schema: Schema, widths: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, InputSpec]:
    """Return what the inputs are, by name.

    Args:
      options: `config.inputs`.
      schema: of the store.
      widths: one-hot widths of the columns that are used, of inputs that are tables, by default of all columns; and the
        sizes of the vocabularies of texts.

    Raises:
      UserError: an input has no entry, or an option that is none of its kind.
    """
    specs = {}
    for name, chosen in options.items():
        entry = entry_of(schema, name, chosen)
        is_table = entry.kind == "table"
        of_input = (widths or {}).get(name, tuple(column.width for column in entry.columns))
        specs[name] = InputSpec(
            kind=entry.kind,
            shape=(len(of_input),) if is_table else entry.stored,
            dtype="float32" if is_table else entry.dtype,
            widths=of_input,
            missing=chosen["missing"],
            optional=entry.optional,
            of=chosen["of"] or name,
        )
    return specs


def shared(specs: Mapping[str, InputSpec]) -> dict[str, str]:
    """Return of every input the first that has the same array: of the same entry, read alike.

    A batch holds the array once, under the name of that first input (see `with_shared`). Inputs that are tables have
    arrays of their own: each is encoded by its own options.
    """
    first: dict[tuple[str, str], str] = {}
    return {
        name: name if spec.kind == "table" else first.setdefault((spec.of, spec.missing), name)
        for name, spec in specs.items()
    }


def with_shared(batch: Mapping[str, Any], specs: Mapping[str, InputSpec]) -> dict[str, Any]:
    """Return the batch with an array under the name of every input, which is another's where inputs share it."""
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
    """Return what training and evaluation read of a split, by the names of the batch; all rows of the split.

    `id` uint32 [N]; `group` int32 [N] where the store has groups; an array per input; `present/NAME` bool [N] for each
    that is optional; `target/LABEL` [N]: int32 codes of a class, -1 for none, or float32 numbers, NaN for none. Images,
    volumes, texts and vectors are what is stored, tables encoded float32 [N, F], large ones as they are read (see
    `encoded_rows`). Inputs that are `shared` have the same array.

    Args:
      store: to read.
      split: of it, or of the fold that the inputs were fitted on.
      inputs: fitted.
      names: of the inputs; all by default.
      targets: names of labels, and of entries such as masks, which are `target/ENTRY` then; all labels by default.
      streamed: whether images and volumes are read from the shards, not from the mapped array.

    Raises:
      UserError: there is no such split, or a value is missing and the policy is "refuse".
    """
    names = list(inputs.specs if names is None else names)
    labels = {column.name: place for place, column in enumerate(store.schema.labels)}
    wanted = list(labels if targets is None else targets)
    dense = [name for name in wanted if name not in labels and name in store.schema.entries]
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
            stored = _with_columns(store.schema, spec.of)
            arrays[name] = encoded_rows(entry, stored, inputs.tables[name], rows.get("label"))
        elif first[name] != name:
            arrays[name] = arrays[first[name]]
        elif spec.kind == "vector" and spec.missing == "refuse":
            arrays[name] = CompleteRows(entry, name)
        if spec.optional:
            arrays[f"present/{name}"] = np.ones(len(entry), bool) if entry.present is None else entry.present
    for name in wanted:
        if name in labels:
            values, column = rows["labels"][:, labels[name]], store.schema.labels[labels[name]]
            codes = np.nan_to_num(values, nan=-1).astype(np.int32) if column.coded else values.astype(np.float32)
            arrays[f"target/{name}"] = codes
    return {**arrays, **{f"target/{name}": entries[name] for name in dense}}


def _fit_table(
    name: str, chosen: Mapping[str, Any], store: Store, take: np.ndarray | None, fold: int | None
) -> Encoding:
    of = chosen["of"] or name
    stored = _with_columns(store.schema, of)
    schema = select_columns(stored, chosen["columns"], key=f"config.inputs.{name}.columns")
    if chosen["label_as_feature"]:
        schema = append_label(schema, store, key=f"config.inputs.{name}.label_as_feature")
    every = store.read("train", [of], fold=fold)[of]
    there = Taken(every, take).there
    labels = store.labels("train", fold=fold)
    table = raw_table({key: rows[there] for key, rows in {**labels, "table": every}.items()}, stored, schema)
    whole = len(there) == len(every) and fold is None
    statistics = store.statistics if whole and schema == store.schema else Statistics.fit(table, schema)
    return Encoding.fit(table, schema, statistics, missing=chosen["missing"], outside=chosen["outside"], input=name)


def _arrays(fitted: Any) -> dict[str, np.ndarray]:
    """Return the arrays that a kind fitted, for the accelerator."""
    values = {key: np.asarray(value) for key, value in dataclasses.asdict(fitted).items()}
    types = {"f": np.float32, "i": np.int32}
    return {key: value.astype(types.get(value.dtype.kind, value.dtype)) for key, value in values.items()}


def _with_columns(schema: Schema, of: str) -> Schema:
    """Return the schema with this table as the first one."""
    return schema if of == schema.first("table") else schema.with_columns(schema.entries[of].columns)


def _folder(directory: Path, name: str) -> Path:
    return directory / "inputs" / name
