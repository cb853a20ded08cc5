"""What an experiment reads of a store: its inputs by the names of `config.inputs`, which are its modalities."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.encoding import Encoding
from mmcl_jax.data.label_feature import append_label, raw_table
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.data.selection import select_columns
from mmcl_jax.data.statistics import Statistics
from mmcl_jax.data.store import Store
from mmcl_jax.data.vectors import VECTOR_POLICIES, CompleteRows, VectorScale
from mmcl_jax.errors import check

COHORTS = ("outer", "inner")
# Options of one input, `config.inputs.NAME`, and where they start.
TABLE_OPTIONS: dict[str, Any] = {"missing": "refuse", "outside": "keep", "columns": "all", "label_as_feature": False}
OPTIONS: dict[str, Any] = {"of": "", **TABLE_OPTIONS}
_OF_KIND = {"table": tuple(TABLE_OPTIONS), "vector": ("missing",)}

Options = Mapping[str, Mapping[str, Any]]  # `config.inputs`


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What one input of an experiment is, for views, encoders and terms.

    Attributes:
      kind: of its entry, such as "image" or "table".
      shape: of one row in the batch.
      dtype: of the rows in the batch, such as "uint8".
      widths: one-hot widths of a table's columns.
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
      vectors: the scales of inputs that are vectors.
    """

    specs: Mapping[str, InputSpec]
    encoding: Encoding
    tables: Mapping[str, Encoding]
    vectors: Mapping[str, VectorScale]

    @property
    def schema(self) -> Schema:
        """The store's schema, with the columns of the first table that are used."""
        return self.encoding.schema

    @classmethod
    def fit(cls, options: Options, store: Store, rows: np.ndarray | None = None) -> "Inputs":
        """Fit on training rows.

        Args:
          options: `config.inputs`.
          store: with the entries.
          rows: numbers of the training rows that take part; None for all.

        Raises:
          UserError: naming the key: there is no such entry, an option is none of its kind, the label is to be a feature
            and the store has none, or no column has the tag.
        """
        first = store.schema.first("table")
        tables, vectors = {}, {}
        for name, chosen in options.items():
            entry = entry_of(store.schema, name, chosen)
            if entry.kind == "table":
                tables[name] = _fit_table(name, chosen, store, rows)
            if entry.kind == "vector":
                values = read_entries(store, "train", [chosen["of"] or name])[chosen["of"] or name]
                vectors[name] = VectorScale.fit(values, _present_rows(values, rows))
        encoding = next((tables[name] for name in tables if (options[name]["of"] or name) == first), None)
        if encoding is None:
            encoding = Encoding(schema=store.schema, statistics=store.statistics, missing="refuse")
        return cls._of(options, store.schema, encoding, tables, vectors)

    @classmethod
    def _of(
        cls,
        options: Options,
        schema: Schema,
        encoding: Encoding,
        tables: Mapping[str, Encoding],
        vectors: Mapping[str, VectorScale],
    ) -> "Inputs":
        widths = {name: table.schema.widths for name, table in tables.items()}
        return cls(specs=specs_of(options, schema, widths), encoding=encoding, tables=tables, vectors=vectors)

    def including(self, names: Collection[str]) -> "Inputs":
        """Return the inputs with the store's entries of these names beside them, for baselines on what is stored."""
        others = {name: OPTIONS for name in names if name not in self.specs}
        tables = {name: self.encoding for name in others if name == self.schema.first("table")}
        widths = {name: table.schema.widths for name, table in tables.items()}
        specs = {**self.specs, **specs_of(others, self.schema, widths)}
        return dataclasses.replace(self, specs=specs, tables={**self.tables, **tables})

    def write(self, directory: Path) -> None:
        """Write the encoding, and into `inputs/NAME` other encodings and the scales."""
        self.encoding.write(directory)
        for name, table in self.tables.items():
            if table is not self.encoding:
                (directory / "inputs" / name).mkdir(parents=True)
                table.write(directory / "inputs" / name)
        for name, scale in self.vectors.items():
            (directory / "inputs" / name).mkdir(parents=True)
            scale.write(directory / "inputs" / name / "scale.npz")

    @classmethod
    def read(cls, directory: Path, options: Options) -> "Inputs":
        """Read what `write` wrote.

        Raises:
          UserError: a file is missing or damaged.
        """
        encoding = Encoding.read(directory)
        tables, vectors = {}, {}
        for name, chosen in options.items():
            kind, folder = entry_of(encoding.schema, name, chosen).kind, directory / "inputs" / name
            if kind == "table" and folder.is_dir():
                tables[name] = dataclasses.replace(Encoding.read(folder), input=name)
            elif kind == "table":
                tables[name] = encoding = dataclasses.replace(encoding, input=name)
            if kind == "vector":
                vectors[name] = VectorScale.read(folder / "scale.npz")
        return cls._of(options, encoding.schema, encoding, tables, vectors)


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
            has = f"config.inputs.{name}.{option}: the {entry.kind} {of!r} has no such option; leave it at {default!r}."
            check(chosen[option] == default, has)
    policies = VECTOR_POLICIES if entry.kind == "vector" else (chosen["missing"],)
    sentence = f"config.inputs.{name}.missing: {chosen['missing']!r} is not one of {', '.join(policies)} (a vector's)."
    check(chosen["missing"] in policies, sentence)
    return entry


def specs_of(
    options: Options, schema: Schema, widths: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, InputSpec]:
    """Return what the inputs are, by name.

    Args:
      options: `config.inputs`.
      schema: of the store.
      widths: one-hot widths of the columns that are used, of inputs that are tables; by default of all columns.

    Raises:
      UserError: an input has no entry, or an option that is none of its kind.
    """
    specs = {}
    for name, chosen in options.items():
        entry = entry_of(schema, name, chosen)
        is_table = entry.kind == "table"
        of_columns = (widths or {}).get(name, tuple(column.width for column in entry.columns)) if is_table else ()
        specs[name] = InputSpec(
            kind=entry.kind,
            shape=(len(of_columns),) if is_table else entry.stored,
            dtype="float32" if is_table else entry.dtype,
            widths=of_columns,
            missing=chosen["missing"],
            optional=entry.optional,
            of=chosen["of"] or name,
        )
    return specs


def read_entries(store: Store, split: str, names: Collection[str], *, streamed: bool = False) -> dict[str, Any]:
    """Return the rows of some entries of a split by name, each of which an array of row numbers can index."""
    arrays = store.arrays(split, streamed=streamed) if "image" in names else store.rows(split)
    return {name: arrays[name] for name in names}


def present_in(store: Store, split: str, of: str, *, streamed: bool = False) -> np.ndarray | None:
    """Return which rows of a split have an entry, bool [N]; None if all have it."""
    if not store.schema.entries[of].optional:
        return None
    return read_entries(store, split, [of], streamed=streamed)[of].present


def cohort_rows(
    options: Options, store: Store, split: str, *, cohort: str, streamed: bool = False
) -> np.ndarray | None:
    """Return the numbers of the rows of a split that take part, in order; None if all do.

    Args:
      options: `config.inputs`.
      store: with the entries.
      split: of it.
      cohort: "outer" keeps rows that have at least one of the inputs, "inner" those that have all.
      streamed: whether images and volumes are read from the shards.

    Raises:
      UserError: no row takes part, or an input has no entry.
    """
    every = [chosen["of"] or name for name, chosen in options.items() if entry_of(store.schema, name, chosen)]
    present = [present_in(store, split, of, streamed=streamed) for of in dict.fromkeys(every)]
    some = [array for array in present if array is not None]
    if not some or (cohort == "outer" and len(some) < len(present)):
        return None
    keep = np.flatnonzero(np.all(some, axis=0) if cohort == "inner" else np.any(some, axis=0))
    what = "every one" if cohort == "inner" else "any"
    remedy = "give config.cohort=outer, or leave one out" if cohort == "inner" else "prepare the store again"
    check(
        len(keep) > 0,
        f"config.cohort: no row of the split {split!r} of {store.directory} has {what} of the inputs "
        f"{', '.join(options)}; {remedy}.",
    )
    return None if len(keep) == store.sizes[split] else keep


def input_arrays(
    store: Store,
    split: str,
    inputs: Inputs,
    names: Collection[str] | None = None,
    *,
    targets: Collection[str] = (),
    streamed: bool = False,
) -> dict[str, Any]:
    """Return what training and evaluation read of a split, by the names of the batch; all rows of the split.

    `id` uint32 [N]; an array per input; `present/NAME` bool [N] for each that is optional; `target/LABEL` [N] for each
    label: int32 codes of a class, -1 for none, or float32 numbers, NaN for none. Images, volumes, texts and vectors are
    what is stored, tables encoded float32 [N, F]; inputs of one entry share an array. `label` int32 [N] is the first
    label that is a class, where a row without one has a number of its own below 0.

    Args:
      store: to read.
      split: of it.
      inputs: fitted.
      names: of the inputs; all by default.
      targets: entries such as masks, which are `target/ENTRY` then.
      streamed: whether images and volumes are read from the shards, not from the mapped array.

    Raises:
      UserError: there is no such split, or a table value is missing and the policy is "refuse".
    """
    names = list(inputs.specs if names is None else names)
    rows = store.rows(split)
    arrays: dict[str, Any] = {"id": rows["id"].astype(np.uint32)}
    entries = read_entries(store, split, {*(inputs.specs[name].of for name in names), *targets}, streamed=streamed)
    for name in names:
        spec = inputs.specs[name]
        arrays[name], present = entries[spec.of], getattr(entries[spec.of], "present", None)
        if spec.kind == "table":
            table = raw_rows(store, split, spec.of, inputs.tables[name].schema)
            arrays[name] = _encoded(inputs.tables[name], table, present)
        if spec.kind == "vector" and spec.missing == "refuse":
            arrays[name] = CompleteRows(entries[spec.of], name)
        if spec.optional:
            arrays[f"present/{name}"] = np.ones(len(rows["id"]), bool) if present is None else present
    arrays.update({f"target/{name}": entries[name] for name in targets})
    for place, column in enumerate(store.schema.labels):
        values = np.asarray(rows["labels"][:, place])
        codes = np.nan_to_num(values, nan=-1).astype(np.int32) if column.coded else values.astype(np.float32)
        arrays[f"target/{column.name}"] = codes
    if "label" in rows:
        alone = -1 - np.arange(len(rows["label"]))
        arrays["label"] = np.where(rows["label"] < 0, alone, rows["label"]).astype(np.int32)
    return arrays


def raw_rows(store: Store, split: str, of: str, wanted: Schema) -> np.ndarray:
    """Return the raw rows `[N, F]` of the wanted columns of a table of the store, some or all, with the label or not.

    Raises:
      UserError: a column is not stored.
    """
    arrays = {**store.rows(split), "table": read_entries(store, split, [of])[of]}
    return raw_table(arrays, _with_columns(store.schema, of), wanted)


def _fit_table(name: str, chosen: Mapping[str, Any], store: Store, rows: np.ndarray | None) -> Encoding:
    of = chosen["of"] or name
    stored = _with_columns(store.schema, of)
    schema = select_columns(stored, chosen["columns"], key=f"config.inputs.{name}.columns")
    if chosen["label_as_feature"]:
        schema = append_label(schema, store, key=f"config.inputs.{name}.label_as_feature")
    table, present = raw_rows(store, "train", of, schema), present_in(store, "train", of)
    if rows is not None or present is not None:
        table = table[_present_rows(table, rows, present)]
        statistics = Statistics.fit(table, schema)
    else:
        statistics = store.statistics if schema == store.schema else Statistics.fit(table, schema)
    return Encoding.fit(table, schema, statistics, missing=chosen["missing"], outside=chosen["outside"], input=name)


def _with_columns(schema: Schema, of: str) -> Schema:
    """The schema in which this table is the first one."""
    return schema if of == schema.first("table") else dataclasses.replace(schema, columns=schema.entries[of].columns)


def _present_rows(values: Any, rows: np.ndarray | None, present: np.ndarray | None = None) -> np.ndarray:
    """The numbers of the rows that take part and are present."""
    present = getattr(values, "present", None) if present is None else present
    rows = np.arange(len(values)) if rows is None else rows
    return rows if present is None else rows[present[rows]]


def _encoded(encoding: Encoding, table: np.ndarray, present: np.ndarray | None) -> np.ndarray:
    if present is None:
        return encoding.encode(table)
    rows = np.full(table.shape, np.nan, np.float32)
    rows[present] = encoding.encode(table[present])
    return rows
