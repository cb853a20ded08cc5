"""The checks of options, runs and stores, which run before anything is computed."""

from collections.abc import Sequence

from mmcl_jax.data.format.format3 import LIKE, names_file
from mmcl_jax.data.schema import LABEL_TAG
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.encoding import MISSING_POLICIES
from mmcl_jax.data.table.label_feature import columns_with_label
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.reads import ENSEMBLE, is_ensemble, modalities_of
from mmcl_jax.tasks import Detection, is_dense
from mmcl_jax.tasks.detection.anchors import Anchors
from mmcl_jax.training.runs.run import Run


def check_choice(
    option: str, kind: str, chosen: Sequence[str], options: Sequence[str], *, required: bool = True
) -> None:
    """Raise `UserError` unless all names are among the options and differ, and, if `required`, there is one."""
    check(len(chosen) > 0 or not required, f"{option}: name at least one of {', '.join(options)}.")
    for name in chosen:
        check_name(name, options, f"{option}: there is no {kind}")
        check(chosen.count(name) == 1, f"{option}: {name!r} is named twice; name it once.")


def check_distinct(runs: Sequence[Run]) -> None:
    """Raise `UserError` if there is no run, two have the same experiment, seed and fold, or only some have folds."""
    check(len(runs) > 0, "--run: name at least one run.")
    seen = set()
    for run in runs:
        name, seed, fold = run.config.name, run.config.seed, run.inputs.fold
        on = "" if fold is None else f" on the fold {fold}"
        check(
            (name, seed, fold) not in seen,
            f"--run: two runs have the experiment {name!r} and the seed {seed}{on}; name one of them.",
        )
        seen.add((name, seed, fold))
    without_fold = [run for run in runs if run.inputs.fold is None]
    check(
        len(without_fold) in (0, len(runs)),
        f"--run: {', '.join(str(run.directory) for run in without_fold[:1])} was trained on the splits of its store, "
        "and other runs on folds, which have other test rows; evaluate them in two commands.",
    )


def check_inputs(run: Run, data: LabelledStore, input: str) -> None:
    """Raise `UserError` unless the run has the encoders of this input, and the store has rows for them.

    A run that was trained with the label as a table column cannot predict the label from the table.
    """
    store = data.store
    for modality in modalities_of(input):
        check_name(
            modality,
            list(run.config.encoders),
            f"--input {input}: {run.directory} has no encoder of",
            "it has those of",
        )
    inputs = [name for modality in modalities_of(input) for name in inputs_of(run.config.views, modality)]
    for name in dict.fromkeys(inputs):
        check(
            name in run.inputs.specs,
            f"--input {input}: {run.directory} does not read {name!r}; it reads {', '.join(run.inputs.specs)}.",
        )
        check_rows(run, store, name)
    tables = any(run.inputs.specs[name].kind == "table" for name in inputs)
    for label in data.columns if tables else ():
        leaks = columns_with_label(run.schema, store, label.name)
        check(
            not leaks,
            f"--input {input}: {run.directory} was trained with the label {label.name!r} as a table column "
            f"({', '.join(map(repr, leaks))}), so its table encoder reads what it should predict; evaluate "
            "--input image, or train without that column (--ignore when preparing, "
            "config.inputs.table.label_as_feature=False).",
        )


def check_pictured(run: Run, data: LabelledStore, input: str) -> None:
    """Raise `UserError` if boxes are to be predicted from another image than the one that they lie in."""
    if isinstance(data.task, Detection) and input in run.inputs.specs:
        of, image = data.store.schema.entries[data.task.label].of, run.inputs.specs[input].of
        check(
            of == image,
            f"--input {input}: the boxes {data.task.label!r} lie in the image {of!r}, and {run.directory} reads "
            f"{image!r}; name the input of {of!r}.",
        )


def check_ensemble(input: str, protocols: Sequence[str]) -> None:
    """Raise `UserError` if an ensemble is to be evaluated by a protocol that trains no heads together with views."""
    for protocol in protocols if is_ensemble(input) else ():
        check(
            protocol in ("finetune", "augmented_probe"),
            f"--input {input}: the heads of an ensemble are trained by finetune and augmented_probe alone, not by "
            f"{protocol}; name the inputs without {ENSEMBLE!r}, or leave --protocol {protocol} out.",
        )


def check_dense(
    data: LabelledStore, input: str, protocols: Sequence[str], head: str | None = None, anchors: Anchors = "released"
) -> None:
    """Raise `UserError` if a protocol, head or anchors do not fit a label, or a mask is predicted from many inputs."""
    mask, modalities = data.task.label, modalities_of(input)
    of_boxes = isinstance(data.task, Detection)
    check(of_boxes or anchors == "released", f"--anchors {anchors}: the label {mask!r} is no boxes; leave it out.")
    if not is_dense(data.task):
        check(
            "unet" not in protocols,
            f"--protocol unet: the label {mask!r} is no mask; use --protocol probe, augmented_probe or finetune.",
        )
        check(head is None, f"--head {head}: the label {mask!r} is no mask and no boxes; leave the option out.")
        return
    if of_boxes:
        for protocol in protocols:
            check(
                protocol in ("probe", "finetune"),
                f"--protocol {protocol}: the label {mask!r} is boxes, which a YOLO predicts; use --protocol probe "
                "(on a frozen encoder) or finetune.",
            )
        check(head in (None, "yolo"), f"--head {head}: the label {mask!r} is boxes; use --head yolo.")
        check(len(modalities) == 1, f"--input {input}: boxes {mask!r} are predicted from one image; name one input.")
        return
    check(head != "yolo", f"--head yolo: the label {mask!r} is a mask; use --head linear_segmentation or unet.")
    for protocol in protocols:
        check(
            protocol in ("probe", "finetune", "unet"),
            f"--protocol {protocol}: the label {mask!r} is a mask, which a linear head on frozen feature maps or a "
            "U-Net predicts; use --protocol probe, unet or finetune.",
        )
        check(
            (protocol, head) != ("probe", "unet"),
            "--head unet: the head of --protocol probe is linear; use --protocol unet for a U-Net on a frozen encoder.",
        )
        check(
            (protocol, head) != ("unet", "linear_segmentation"),
            "--head linear_segmentation: --protocol unet trains a U-Net; use --protocol probe for a linear head.",
        )
    check(len(modalities) == 1, f"--input {input}: the mask {mask!r} is predicted from one image; name one input.")


def check_rows(run: Run, store: Store, modality: str) -> None:
    """Raise `UserError` if the store lacks an entry of the run, or has it with another shape, vocabulary or columns."""
    spec = run.inputs.including([modality]).specs[modality]
    trained, stored = run.schema.entries[spec.of], store.schema.entries.get(spec.of)
    same = stored is not None and stored.kind == trained.kind
    check(same, f"{run.directory} was trained with the {trained.kind} {spec.of!r}, which {store.directory} lacks.")
    assert stored is not None
    if trained.kind != "table":
        check(
            trained.shape == stored.shape,  # of one image: rows may have several
            f"{run.directory} was trained on {trained.kind}s of shape {trained.shape}, and {store.directory} has the "
            f"shape {stored.shape}; prepare the store with the shape of the run.",
        )
        if trained.kind == "text" and run.fingerprint != store.fingerprint:
            _check_vocabulary(run, store, spec.of)
        return
    columns = {column.name: column for column in stored.columns}
    for column in trained.columns:
        if LABEL_TAG in column.tags:
            continue
        where = f"{run.directory} was trained with the column {column.name!r}"
        check(column.name in columns, f"{where}, which {store.directory} lacks.")
        there = columns[column.name]
        # A run on a fold has the categories of its training rows.
        of_fold = run.inputs.fold is not None and {*column.categories, ""} <= {*there.categories, ""}
        same = there.kind == column.kind and (there.categories == column.categories or of_fold)
        check(same, f"{where}, which has another kind or other categories in {store.directory}.")


def _check_vocabulary(run: Run, store: Store, name: str) -> None:
    path = run.directory / LIKE / names_file(name)
    check(
        not path.is_file() or tuple(path.read_text(encoding="utf-8").split("\n")[:-1]) == store.names(name),
        f"{run.directory} was trained with another vocabulary of {name!r} than that of {store.directory}, whose tokens "
        f"stand for other words; prepare the store with --like {run.directory}.",
    )


def check_reads_holes(run: Run, names: Sequence[str]) -> None:
    """Raise `UserError` unless a run can read rows of its inputs `names` whose tables have hidden cells."""
    inputs = run.inputs.including(names)
    for name in names:
        if inputs.specs[name].kind != "table":
            continue
        check(
            inputs.specs[name].missing != "refuse",
            f"--missing: {run.directory} was trained with config.inputs.{name}.missing='refuse', so it reads no row "
            f"with a hidden cell; train it with --config.inputs.{name}.missing={'|'.join(MISSING_POLICIES[1:])}.",
        )
        labels = [column.name for column in inputs.tables[name].schema.columns if LABEL_TAG in column.tags]
        check(
            not labels,
            f"--missing: {run.directory} reads the label as a column of {name!r} ({', '.join(labels)}), which is no "
            f"cell of the store and is not hidden; train it with --config.inputs.{name}.label_as_feature=False.",
        )
