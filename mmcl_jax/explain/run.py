"""The explanation of a run: the choice of inputs and rows, and a folder for every method and input."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from mmcl_jax.data.format.unchanged import Unchanged
from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.results.provenance import provenance
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain.base import (
    ATTENTIONS,
    BASELINES,
    COLUMN_KINDS,
    INTERPOLATIONS,
    LOSSES,
    METHODS,
    REPLACEMENTS,
    ExplainOptions,
    Method,
    Subject,
)
from mmcl_jax.explain.columns import Columns, check_groups, noise_columns, read_groups
from mmcl_jax.explain.pictures.regions import Atlas, read_atlas
from mmcl_jax.explain.result import Explanation, write
from mmcl_jax.files import atomic
from mmcl_jax.text import nearest
from mmcl_jax.training.runs.plain import from_plain, to_plain
from mmcl_jax.training.runs.run import Run


def explain_run(
    run: Run,
    store: Store,
    options: ExplainOptions,
    *,
    folder: Path,
    head: KeptHead | None = None,
    head_name: str = "",
    groups: Path | None = None,
    command: str = "",
    untrained: bool = False,
) -> list[Explanation]:
    """Explain a run, or a kept head of it, by every method and input; write a folder for each, and return them.

    A folder is written whole or not at all, and replaces an older one.

    Args:
      run: with the checkpoint that is explained.
      store: with the rows.
      options: of the command.
      folder: of the explanations.
      head: a kept head of the run; None for the embedding.
      head_name: the name of its folder.
      groups: a file with groups of columns; None for the tags of the store.
      command: that makes the explanations, for `explanation.json`.
      untrained: whether the run is explained as it was before its training; without a head.

    Raises:
      UserError: an option is unknown or out of range, the method does not take the input, or no row has the input.
    """
    _check_options(options)
    source = Source("random" if untrained else "run", run) if head is None else head.source
    source = dataclasses.replace(source, run=in_float32(source.run), _cache={})
    if head is not None:
        head = dataclasses.replace(head, source=source)
    check(
        source.kind != "raw",
        "--head: this head reads raw columns or pixels without an encoder, so its weights explain it; give a head of "
        "the run or of the random encoder.",
    )
    check(
        not options.individuals or bool({"loss", "sentences"} & set(options.methods)),
        "--individuals: rows are shown by the methods loss and sentences; add --method loss, or leave the option out.",
    )
    # Everything is checked before the first method computes for minutes.
    by_column, subjects = None if groups is None else read_groups(groups), []
    for name in dict.fromkeys(options.methods):
        method = METHODS.named(name)
        check(head is not None or method.head != "needed", f"--method {name}: it explains a kept head; give --head.")
        check(head is None or method.head != "refused", f"--method {name}: it explains no head; leave --head out.")
        inputs = _inputs(source, head, name, method, options.inputs)
        subjects += [
            (name, _subject(source, store, input, method, options, head, head_name, by_column)) for input in inputs
        ]
    check(
        options.atlas is None or any(subject.atlas is not None for _, subject in subjects),
        "--atlas: no chosen method writes a table of regions of a volume; take "
        f"{', '.join(sorted(name for name, method in METHODS.items() if method.regions))}, with an input that is one.",
    )
    if groups is not None and by_column is not None:
        explained = [subject.columns.names for _, subject in subjects if subject.columns is not None]
        check_groups(groups, by_column, list(dict.fromkeys(name for names in explained for name in names)))
    made_by, unchanged = provenance(command), Unchanged(store.directory)
    explanations = []
    for name, subject in subjects:
        path = folder / "-".join(filter(None, (name, _word(subject.input), _word(head_name))))
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial:
            partial.mkdir()
            with jax.default_matmul_precision("highest"):
                result = METHODS[name].explain(subject, partial)
            unchanged.check("this explanation is not kept: run the command again")
            write(subject, name, result, partial, made_by)
        explanations.append(Explanation.read(path))
    return explanations


def in_float32(run: Run) -> Run:
    """Return the run with the compute dtype float32: sums of bfloat16 gradients would not reach the tolerance."""
    config = from_plain(to_plain(run.config))
    config.dtype = "float32"
    return dataclasses.replace(run, config=config)


def _check_options(options: ExplainOptions) -> None:
    for name, value, choices in (
        ("baseline", options.baseline, BASELINES),
        ("replacement", options.replacement, REPLACEMENTS),
        ("interpolation", options.interpolation, INTERPOLATIONS),
        ("attention", options.attention, ATTENTIONS),
        ("loss", options.loss, LOSSES),
    ):
        check_name(value, choices, f"--{name}: there is no {name}")
    numbers = {"rows": options.rows, "max-steps": options.max_steps, "top": options.top, "reference": options.reference}
    numbers["directions"] = options.directions
    for name, number in (*numbers.items(), *(() if options.steps is None else (("steps", options.steps),))):
        check(number > 0, f"--{name}: give a positive whole number, not {number}.")
    check(options.tolerance > 0, f"--tolerance: give a number above 0, such as 0.01, not {options.tolerance:g}.")
    check(
        options.temperature is None or options.temperature > 0,
        f"--temperature: give a number above 0, not {options.temperature or 0:g}.",
    )
    check(
        options.balance is None or 0 <= options.balance <= 1,
        f"--balance: give a number from 0 to 1, not {options.balance or 0:g}.",
    )
    check(options.noise_samples >= 0, "--noise-samples: give 0 for no noise, or a number of draws, such as 5.")
    check(
        np.isfinite(options.noise_std) and options.noise_std > 0,
        f"--noise-std: give a number above 0, not {options.noise_std:g}.",
    )
    for names, others, sentence in (
        (options.partner is not None, ("canonical",), "--partner: it is of the method canonical"),
        (options.atlas_names is not None, (), "--atlas-names: they name the regions of an atlas; give --atlas"),
        (options.text is not None, ("sentences",), "--text: it is of the method sentences"),
        (options.show_text, ("sentences",), "--show-text: it is of the method sentences"),
        (bool(options.dimensions), ("saliency", "integrated_gradients"), "--dimension: it is of the method saliency"),
    ):
        given = options.atlas is not None if not others else bool(set(others) & set(options.methods))
        check(not names or given, f"{sentence}, or leave the option out.")
    check(len(options.methods) > 0, f"--method: name at least one of {', '.join(sorted(METHODS))}.")


def _inputs(
    source: Source, head: KeptHead | None, name: str, method: Method, asked: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the inputs that a method explains: those that were asked for, or all of the kinds that it takes."""
    specs = source.run.inputs.specs
    # The inputs of a head that reads a fusion are those behind the fusion.
    read = tuple(source.run.config.encoders) if head is None else source.inputs_of(head.trained.reads)
    options = [one for one in read if one in specs]
    for one in asked:
        check_name(one, options, "--input: there is no input")
        check(
            specs[one].kind in method.takes,
            f"--input {one}: the method {name!r} explains inputs of the kind {' or '.join(method.takes)}, and {one!r} "
            f"is of the kind {specs[one].kind}.",
        )
    chosen = asked or tuple(one for one in options if specs[one].kind in method.first)
    chosen = chosen or tuple(one for one in options if specs[one].kind in method.takes)
    check(
        len(chosen) > 0,
        f"--method {name}: it explains inputs of the kind {' or '.join(method.takes)}, and there is none among "
        f"{', '.join(options)}.",
    )
    return tuple(dict.fromkeys(chosen))


def _subject(
    source: Source,
    store: Store,
    input: str,
    method: Method,
    options: ExplainOptions,
    head: KeptHead | None,
    head_name: str,
    groups: Mapping[str, str] | None,
) -> Subject:
    run, spec = source.run, source.run.inputs.specs[input]
    fold = run.inputs.fold
    names = method.reads(source, input, head, options)
    entries = list(dict.fromkeys(run.inputs.specs[name].of for name in names))
    for name, of in ((name, run.inputs.specs[name].of) for name in names):
        stored, read = store.schema.entries.get(of), run.inputs.specs[name]
        check(
            read.kind not in ("vector", "text")
            or stored is None
            or (stored.kind, stored.shape) == (read.kind, read.shape),
            f"--store: {of!r} of {store.directory} is no {read.kind} of {read.shape[0]}, as {run.directory} reads; "
            f"prepare the store with --like {run.directory}.",
        )
    if method.has is None:
        masks = [part.present for part in store.read(options.split, entries, fold=fold).values()]
        every = np.ones(len(store.rows_of(options.split, fold)), bool)
        explained = having = np.all([every, *(mask for mask in masks if mask is not None)], axis=0)
    else:
        explained, having = method.has(source, store, input, options)
    rows = np.flatnonzero(explained)
    check(
        bool(having.any()),
        f"--split: no row of the split {options.split!r} of {store.directory} has {' and '.join(names)}; choose "
        "another split.",
    )
    keys = store.keys(options.split, fold)
    if options.rows < len(rows):
        rows = np.sort(np.random.default_rng(0).choice(rows, options.rows, replace=False))
        check(
            bool(having[rows].any()),
            f"--rows: none of the {options.rows} drawn rows has {input}; explain more rows.",
        )
    if options.individuals and (method.has is not None or method.individuals):
        rows = np.union1d(rows, _individuals(options.individuals, keys, explained, options.split))
    noise = noise_columns(run.config, input)
    return Subject(
        source=source,
        store=store,
        input=input,
        spec=spec,
        head=head,
        head_name=head_name,
        rows=rows,
        keys=[keys[row] for row in rows],
        present=having[rows],
        columns=Columns.of(run.inputs, spec, input, store, groups, noise=noise) if spec.kind in COLUMN_KINDS else None,
        options=options,
        atlas=_atlas(store, spec, options) if method.regions and spec.kind == "volume" else None,
    )


def _atlas(store: Store, spec: InputSpec, options: ExplainOptions) -> Atlas | None:
    if options.atlas is None:
        return None
    return read_atlas(store.schema.entries[spec.of], spec.of, options.atlas, options.atlas_names)


def _individuals(names: tuple[str, ...], keys: Sequence[str], explained: np.ndarray, split: str) -> list[int]:
    """Return the indices of the rows with these keys; raise `UserError` if there is no such row to explain."""
    of = {key: row for row, key in enumerate(keys) if explained[row]}
    for name in names:
        check(
            name in of,
            f"--individuals: no explained row of the split {split!r} has the key {name!r}{nearest(name, list(of))}.",
        )
    return [of[name] for name in names]


def _word(text: str) -> str:
    """Return a text as a part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)
