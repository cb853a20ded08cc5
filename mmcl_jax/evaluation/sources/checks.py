"""What must hold before runs are evaluated: everything is said before anything is computed."""

from collections.abc import Sequence

from mmcl_jax.data.label_feature import columns_with_label
from mmcl_jax.data.schema import LABEL_TAG
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.reads import BOTH, modalities_of
from mmcl_jax.training.run import Run


def check_choice(option: str, what: str, chosen: Sequence[str], known: Sequence[str], *, some: bool = True) -> None:
    """Raises `UserError` unless every name is known, none is given twice and, if `some` must be, one is."""
    check(len(chosen) > 0 or not some, f"{option}: name at least one of {', '.join(known)}.")
    for name in chosen:
        check(name in known, f"{option}: there is no {what} {name!r}; choose from {', '.join(known)}.")
        check(chosen.count(name) == 1, f"{option}: {name!r} is there twice.")


def check_distinct(runs: Sequence[Run]) -> None:
    """Raises `UserError` if there is no run, or two are of the same experiment and seed."""
    check(len(runs) > 0, "--run: name at least one run.")
    seen = set()
    for run in runs:
        name, seed = run.config.name, run.config.seed
        check((name, seed) not in seen, f"Two runs are of the experiment {name!r} with the seed {seed}.")
        seen.add((name, seed))


def check_inputs(run: Run, data: LabelledStore, given: str) -> None:
    """Raises `UserError` unless the run has the encoders of this input, and the store rows for them.

    A run that has a label that shall be predicted as a feature has no table to predict it from.
    """
    store = data.store
    for modality in modalities_of(given):
        check(
            modality in run.config.encoders,
            f"--input {given}: {run.directory} has no {modality} encoder; it has {', '.join(run.config.encoders)}.",
        )
        check_rows(run, store, modality)
    for label in data.columns if "table" in modalities_of(given) else ():
        leaks = columns_with_label(run.schema, store, label.name)
        check(
            not leaks,
            f"--input {given}: {run.directory} was trained with the label {label.name!r} as a table column "
            f"({', '.join(map(repr, leaks))}), so its table encoder needs what it would have to predict; evaluate "
            "--input image, or train without that column (--ignore when preparing, config.inputs.table.label_as_feature=False).",
        )


def check_retrieval(run: Run, store: Store) -> None:
    """Raises `UserError` unless the run has encoder and projector of image and table, and the store rows for them."""
    for modality in BOTH:
        both = modality in run.config.encoders and modality in run.config.projectors
        check(both, f"--protocol retrieval: {run.directory} has no encoder and projector of the {modality}.")
        check_rows(run, store, modality)


def check_rows(run: Run, store: Store, modality: str) -> None:
    """Raises `UserError` if the store has other images or columns than the run was trained with."""
    if modality == "image":
        trained, stored = run.schema.image.stored, store.schema.image.stored
        sentence = f"{run.directory} is of images of shape {trained}, {store.directory} has {stored}."
        check(trained == stored, sentence)
        return
    known = {column.name: column for column in store.schema.columns}
    for column in run.schema.columns:
        if LABEL_TAG in column.tags:
            continue
        where = f"{run.directory} was trained with the column {column.name!r}"
        check(column.name in known, f"{where}, which {store.directory} has not.")
        same = (known[column.name].kind, known[column.name].categories) == (column.kind, column.categories)
        check(same, f"{where} as {column.kind} with other categories or of another kind than {store.directory} has it.")
