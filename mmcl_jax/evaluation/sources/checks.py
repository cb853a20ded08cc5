"""What must hold before runs are evaluated: everything is said before anything is computed."""

from collections.abc import Sequence

from mmcl_jax.data.schema import LABEL_TAG
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.label_feature import columns_with_label
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.errors import check
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.tasks import Segmentation
from mmcl_jax.training.runs.run import Run


def check_choice(option: str, what: str, chosen: Sequence[str], known: Sequence[str], *, some: bool = True) -> None:
    """Raise `UserError` unless every name is known, none is given twice and, if `some` must be, one is."""
    check(len(chosen) > 0 or not some, f"{option}: name at least one of {', '.join(known)}.")
    for name in chosen:
        check(name in known, f"{option}: there is no {what} {name!r}; choose from {', '.join(known)}.")
        check(chosen.count(name) == 1, f"{option}: {name!r} is there twice.")


def check_distinct(runs: Sequence[Run]) -> None:
    """Raise `UserError` if there is no run, or two are of the same experiment and seed."""
    check(len(runs) > 0, "--run: name at least one run.")
    seen = set()
    for run in runs:
        name, seed, fold = run.config.name, run.config.seed, run.inputs.fold
        on = "" if fold is None else f" on the fold {fold}"
        check((name, seed, fold) not in seen, f"Two runs are of the experiment {name!r} with the seed {seed}{on}.")
        seen.add((name, seed, fold))
    whole = [run for run in runs if run.inputs.fold is None]
    check(
        len(whole) in (0, len(runs)),
        f"--run: {', '.join(str(run.directory) for run in whole[:1])} was trained on the splits of its store and "
        "others on folds, whose test rows are others; evaluate these in two commands.",
    )


def check_inputs(run: Run, data: LabelledStore, given: str) -> None:
    """Raise `UserError` unless the run has the encoders of this input, and the store rows for them.

    A run that has a label that shall be predicted as a feature has no table to predict it from.
    """
    store = data.store
    for modality in modalities_of(given):
        check(
            modality in run.config.encoders,
            f"--input {given}: {run.directory} has no {modality} encoder; it has {', '.join(run.config.encoders)}.",
        )
    inputs = [name for modality in modalities_of(given) for name in inputs_of(run.config.views, modality)]
    for name in dict.fromkeys(inputs):
        check(
            name in run.inputs.specs,
            f"--input {given}: {name!r} is no input of {run.directory}, whose features are its own; it reads "
            f"{', '.join(run.inputs.specs)}.",
        )
        check_rows(run, store, name)
    tables = any(run.inputs.specs[name].kind == "table" for name in inputs)
    for label in data.columns if tables else ():
        leaks = columns_with_label(run.schema, store, label.name)
        check(
            not leaks,
            f"--input {given}: {run.directory} was trained with the label {label.name!r} as a table column "
            f"({', '.join(map(repr, leaks))}), so its table encoder needs what it would have to predict; evaluate "
            "--input image, or train without that column (--ignore when preparing, "
            "config.inputs.table.label_as_feature=False).",
        )


def check_dense(data: LabelledStore, given: str, protocols: Sequence[str]) -> None:
    """Raise `UserError` if a mask is to be predicted by a protocol other than the probe, or not from one image."""
    if not isinstance(data.task, Segmentation):
        return
    mask, modalities = data.task.label, modalities_of(given)
    for protocol in protocols:
        check(
            protocol == "probe",
            f"--protocol {protocol}: the label {mask!r} is a mask, which a linear head on frozen feature maps is "
            "trained for; use --protocol probe.",
        )
    check(len(modalities) == 1, f"--input {given}: the mask {mask!r} is predicted from one image; name one.")


def check_rows(run: Run, store: Store, modality: str) -> None:
    """Raise `UserError` if the store has no such entry, or images or columns unlike those the run was trained with."""
    spec = run.inputs.including([modality]).specs[modality]
    trained, stored = run.schema.entries[spec.of], store.schema.entries.get(spec.of)
    there = stored is not None and stored.kind == trained.kind
    check(there, f"{run.directory} was trained with the {trained.kind} {spec.of!r}, which {store.directory} has not.")
    assert stored is not None
    if trained.kind != "table":
        what = {"image": "images", "volume": "volumes"}.get(trained.kind, f"{trained.kind}s")
        sentence = f"{run.directory} is of {what} of shape {trained.stored}, {store.directory} has {stored.stored}."
        check(trained.stored == stored.stored, sentence)
        return
    known = {column.name: column for column in stored.columns}
    for column in trained.columns:
        if LABEL_TAG in column.tags:
            continue
        where = f"{run.directory} was trained with the column {column.name!r}"
        check(column.name in known, f"{where}, which {store.directory} has not.")
        same = (known[column.name].kind, known[column.name].categories) == (column.kind, column.categories)
        check(same, f"{where} as {column.kind} with other categories or of another kind than {store.directory} has it.")
