"""One command per table: plan, do what is missing, write."""

import dataclasses
import json
import os
from pathlib import Path

import jax

from mmcl_jax.config import OwnData, explain
from mmcl_jax.data.schema import Column
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import write_text, writing
from mmcl_jax.lock import locked
from mmcl_jax.reproduce.checks import check_evaluations
from mmcl_jax.reproduce.configure import check_configs, configure
from mmcl_jax.reproduce.outcome import gather
from mmcl_jax.reproduce.page.page import render_page
from mmcl_jax.reproduce.page.text import render_text
from mmcl_jax.reproduce.plan import How, Plan, choose_rows, make_plan
from mmcl_jax.reproduce.results import to_json
from mmcl_jax.reproduce.tables.spec import PaperTable
from mmcl_jax.reproduce.tables.tables import VARIANTS, find
from mmcl_jax.reproduce.work import Log, work
from mmcl_jax.targets import check_folder
from mmcl_jax.text import visible


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What to reproduce, and on what.

    Attributes:
      table: name of a table.
      data: store.
      out: folder of all tables of this store; runs and evaluations in it are shared by them.
      variant: of the configs: "digits", "cars", "dvm" or "cardiac", or "own", chosen from the store and the devices.
      seeds: of pretraining.
      methods: rows to restrict the table to; the reference row always stays. Empty for all.
      epochs: of every pretraining, instead of the configs' own.
      overrides: texts `key.path=value`, on the config of every pretraining that has the key.
      label: to predict; the store's first that is a class by default.
      draws, learning_rates, max_epochs: see `plan.How`.
      title: of the page.
      command: that was typed, to be written down.
    """

    table: str
    data: Path
    out: Path
    variant: str = "digits"
    seeds: int = 5
    methods: tuple[str, ...] = ()
    epochs: int | None = None
    overrides: tuple[str, ...] = ()
    label: str | None = None
    draws: int | None = None
    learning_rates: tuple[float, ...] | None = None
    max_epochs: int | None = None
    title: str = ""
    command: str = ""


def reproduce(request: Reproduction, *, log: Log = print) -> bool:
    """Reproduce a table and write it under `out`; started again, continue.

    Returns:
      False if a training was asked to stop before its end: nothing is lost, and the same request continues.

    Raises:
      UserError: bad input, found before anything is trained.
    """
    table = find(request.table)
    check(request.variant in VARIANTS, f"--variant: {request.variant!r} is none of {', '.join(VARIANTS)}.")
    check_folder(request.out, "--out")
    store = Store.open(request.data)
    label = _label(store, request.label)
    _check_tag(store, table)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # Seeds share one compiled program per method. A cache is trusted code, so it lies in a folder of our own.
        jax.config.update("jax_compilation_cache_dir", str((request.out / ".jax_cache").absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    rows = choose_rows(table, request.methods)
    configs, notes = configure(
        [row for row in rows if row.config],
        variant=request.variant,
        store=store,
        epochs=request.epochs,
        overrides=request.overrides,
        described=_described(request) if request.variant == "own" else None,
    )
    if request.variant == "own":
        length = [f"epochs={request.epochs}"] if request.epochs else []
        notes = [*explain(configs[table.reference], [*request.overrides, *length]), *notes]
    how = How(
        label=label.name,
        draws=request.draws,
        learning_rates=request.learning_rates,
        max_epochs=request.max_epochs,
    )
    balanced = request.variant == "cardiac"
    plan = make_plan(
        table, rows, configs, store=store, out=request.out, seeds=request.seeds, how=how, balanced=balanced
    )
    remarks = check_evaluations(plan, configs)
    new = {one.row.key for one in plan.trainings if not one.done}
    check_configs({key: config for key, config in configs.items() if key in new}, store)
    for line in (
        f"{table.name} on {visible(store.directory)}, label {visible(label.name)}",
        plan.describe(),
        *notes,
        *remarks,
    ):
        log(line)
    with locked(request.out / "lock.json", what=f"works in {request.out}"), writing(request.out):
        if not work(plan, log):
            return False
        _write(plan, request, log)
    return True


def _write(plan: Plan, request: Reproduction, log: Log) -> None:
    """Write the three files; each call makes them anew, from records only."""
    folder = request.out / plan.table.name
    title = request.title or f"{plan.table.title}: {plan.store.directory.name}"
    outcome = gather(plan, variant=request.variant, title=title)
    text = render_text(outcome)
    contents = {
        "table.txt": text,
        "table.html": render_page(outcome, request.command),
        "results.json": json.dumps(to_json(outcome, request.command), indent=2) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_text(folder / name, content)
    log(f"\n{text}")
    log(f"Written to {visible(folder)}:")
    log("  table.html    to look at; needs no network")
    log("  table.txt     the same as text")
    log("  results.json  every score, config and version")
    log(f"Runs are in {request.out / 'runs'}, evaluations in {request.out / 'evaluations'}; other tables use them too.")


def _described(request: Reproduction) -> OwnData | None:
    """Return the data that existing runs were chosen from, so that all runs of a table agree; None at first."""
    kept = (OwnData.of_run(run) for run in sorted((request.out / "runs").glob("*")))
    return next((one for one in kept if one is not None), None)


def _label(store: Store, name: str | None) -> Column:
    """Return the label to predict. Raises `UserError` if there is none, or it is no class."""
    labels = {column.name: column for column in store.schema.labels}
    if name is None:
        if store.schema.label is None:
            raise UserError(
                f"The store {store.directory} has no label that is a class; prepare it with --label COLUMN."
            )
        return store.schema.label
    check(
        name in labels,
        f"--label: the store {store.directory} has no label {name!r}; it has {', '.join(labels) or 'none'}.",
    )
    check(labels[name].coded, f"--label: {name!r} is {labels[name].kind}; the paper's tables are of classes.")
    return labels[name]


def _check_tag(store: Store, table: PaperTable) -> None:
    """Raise `UserError` if the table is about some columns, and the store does not say which."""
    if not table.needs_tag:
        return
    tagged = [table.needs_tag in column.tags for column in store.schema.columns]
    sentence = (
        f"{table.name} compares columns with the tag {table.needs_tag!r} with those without it, and in the store "
        f"{store.directory} {{}} column has it; tag columns in a --schema file of mmcl prepare."
    )
    check(any(tagged), sentence.format("no"))
    check(not all(tagged), sentence.format("every"))
