"""What a request for a table gives beside settings: the label, the stores of columns, folds and tagged columns."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mmcl_jax.data.schema import Column
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.reproduce.analyses.raw import Raw
from mmcl_jax.reproduce.spec import ALIGNMENT, PaperTable
from mmcl_jax.training.runs.seen import SEEN, Seen


def label_of(store: Store, name: str | None, table: PaperTable) -> str:
    """Return the label to predict; "" for a table whose columns have labels of their own.

    Raises:
      UserError: the store has no such label, or the label is no class and the table predicts classes; or the table has
        labels of its own, and another was named.
    """
    if table.analyses:
        check(name is None, f"--label: {table.name} predicts no label; leave it out.")
        return ""
    if table.own_labels:
        labels = ", ".join(dict.fromkeys(column.label for column in table.columns))
        check(name is None, f"--label: the columns of {table.name} have labels of their own ({labels}); leave it out.")
        return ""
    return _label_column(store, name, table).name


def _label_column(store: Store, name: str | None, table: PaperTable) -> Column:
    labels = {column.name: column for column in store.schema.labels}
    if name is None and table.task is None and labels:
        return store.schema.label or store.schema.labels[0]
    if name is None:
        if store.schema.label is None:
            raise UserError(
                f"The store {store.directory} has no label that is a class; prepare it with --label COLUMN."
            )
        return store.schema.label
    check_name(name, labels.keys(), f"--label: the store {store.directory} has no label", "it has")
    kind = labels[name].kind
    check(
        labels[name].coded or table.task is None,
        f"--label: {name!r} is {kind}, and the paper's tables predict classes; name a class.",
    )
    return labels[name]


def downstream_of(
    store: Store, table: PaperTable, named: Mapping[str, Path], *, folds: int
) -> tuple[PaperTable, dict[str, Store], list[str]]:
    """Return the table without the columns whose store was not named, the stores by name, and a line on each column.

    Raises:
      UserError: the table has no such store, or it has folds, and such columns have none; a store has other images than
        the store of the pretraining, or test rows of it.
    """
    for name in named:
        check(bool(table.downstream), f"--downstream {name}: all columns of {table.name} are of --data; leave it out.")
        check_name(name, table.downstream, f"--downstream: {table.name} has no store", "it has")
    stores = {name: Store.open(path) for name, path in named.items()}
    check(
        not (stores and folds),
        "--folds: the stores of --downstream have splits of their own; leave one of the two out.",
    )
    for name, other in stores.items():
        _check_fits(store, other, f"--downstream {name}")
    columns = tuple(column for column in table.columns if not column.store or column.store in stores)
    lines = [
        f"{column.heading} is left out: name its store with --downstream {column.store}=STORE"
        for column in table.columns
        if column not in columns
    ]
    check(
        bool(columns),
        f"--downstream: all columns of {table.name} are of a store of its own; name it with --downstream "
        f"{' and '.join(f'{name}=STORE' for name in table.downstream)}.",
    )
    return dataclasses.replace(table, columns=columns), stores, lines


def raw_of(table: PaperTable, folder: Path | None) -> tuple[PaperTable, Raw | None, list[str]]:
    """Return the table, without the columns that need a truth if there is none, the folder, and a line on each column.

    Raises:
      UserError: the folder lacks a file, is not named, or is named for a table that reads no such folder.
    """
    if not table.analyses:
        check(folder is None, f"--raw: {table.name} reads stores alone; leave it out.")
        return table, None, []
    if folder is None and all(column.protocol == ALIGNMENT for column in table.columns):
        columns = tuple(column for column in table.columns if not column.truth)
        lines = [
            f"{column.heading} is left out: name the folder that mmcl generate chest wrote with --raw"
            for column in table.columns
            if column.truth
        ]
        return dataclasses.replace(table, columns=columns), None, lines
    check(
        folder is not None,
        f"--raw: {table.name} reads files beside the store{' of --downstream' if table.downstream else ''}; name the "
        "folder that mmcl prepare --root was given.",
    )
    assert folder is not None
    raw = Raw.open(folder, table)
    known = raw.truth is not None or raw.findings is not None
    columns = tuple(column for column in table.columns if known or not column.truth)
    lines = [
        f"{column.heading} is left out: {folder} has no folder 'truth' with what was planted"
        for column in table.columns
        if column not in columns
    ]
    return dataclasses.replace(table, columns=columns), raw, lines


def _check_fits(store: Store, other: Store, option: str) -> None:
    """Raise `UserError` unless a run on `store` can be evaluated on `other`: like images, and test rows of its own."""
    ours, theirs = (one.schema.entries.get("image") for one in (store, other))
    shape = ours.shape if ours else None  # of one image: either may have several in a row
    check(
        theirs is not None and theirs.shape == shape,
        f"{option}: {other.directory} has images of the shape {theirs.shape if theirs else None}, and "
        f"{store.directory} of {shape}; prepare it again with the --image-size of the latter.",
    )
    seen, tested = Seen.of(store), Seen.of(other, ("test",))
    common = sum(seen.common(split, tested, "test") for split in SEEN)
    check(
        common == 0,
        f"{option}: {common} of the {other.sizes['test']} test rows of {other.directory} are rows that the pretraining "
        f"on {store.directory} sees (by key or image); evaluate on other rows.",
    )


def check_folds(store: Store, folds: int) -> None:
    """Raise `UserError` unless the store has so many folds."""
    number = len(store.folds)
    has = f"it has {number}; name at most as many, or" if number else "it has none;"
    check(
        folds <= number,
        f"--folds {folds}: the store {store.directory} has too few folds: {has} prepare it with --folds "
        f"{max(folds, 3)}.",
    )


def check_tag(store: Store, table: PaperTable) -> None:
    """Raise `UserError` if the table compares tagged columns with the rest, and the store tags no or all columns."""
    if not table.needs_tag:
        return
    tagged = [table.needs_tag in column.tags for column in store.schema.columns]
    sentence = (
        f"{table.name} compares columns with the tag {table.needs_tag!r} with those without it, and in the store "
        f"{store.directory} {{}} column has it; tag columns in a --schema file of mmcl prepare."
    )
    check(any(tagged), sentence.format("no"))
    check(not all(tagged), sentence.format("every"))
