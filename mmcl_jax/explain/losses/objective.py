"""The terms of a run's objective that are explained, and the rows that have what they read."""

from collections.abc import Iterable, Mapping

import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.encoders.fusions import parts_of_views
from mmcl_jax.errors import check, check_name
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.objectives import Execution, Objective, Read, Term, build_objective
from mmcl_jax.training.runs.plain import from_plain, to_plain
from mmcl_jax.training.runs.run import Run

RELEASED = {"temperature": 1.0, "balance": 0.5}


def objective_of(run: Run, options: ExplainOptions) -> Objective:
    """Return the objective that is explained: that of the run, or one of its terms, as the options change it.

    By default (`loss="released"`) terms have the temperature 1 and weigh both directions alike, where they have these
    options: so does the released explainer of ContIG, whose training has 0.1 and 0.75.

    Raises:
      UserError: there is no such term, a term lacks an option that was given, or it reads what neither the model nor a
        plain view has.
    """
    config = run.config
    specs = tuple(from_plain(to_plain(spec)) for spec in config.objective)
    given = {"temperature": options.temperature, "balance": options.balance}
    values = {name: RELEASED[name] if options.loss == "released" else None for name in given}
    values |= {name: value for name, value in given.items() if value is not None}
    for spec in specs:
        for name, value in values.items():
            if value is not None and name in spec:
                spec[name] = value
        if values["temperature"] is not None and "learn_temperature" in spec:
            spec.learn_temperature = False
    modalities = {name: view.modality for name, view in sorted(config.views.items())}
    parts = parts_of_views(config.views)
    whole = build_objective(specs, modalities, parts=parts, schema=run.schema, inputs=run.inputs.specs)
    names = {name: key for key, name in whole.names.items()}
    if options.term is not None:
        check_name(options.term, names, "--term: the objective has no term")
    terms = whole.terms if options.term is None else {names[options.term]: whole.terms[names[options.term]]}
    for key, term in terms.items():
        read = "a target network" if "teacher" in term.outputs else "a queue" if term.queue else term.unexplained
        check(
            not read,
            f"--method loss: the term {whole.names[key]!r} reads {read}, which neither the model nor a plain view has; "
            "name another term with --term.",
        )
        spec = specs[int(key.removeprefix("term_"))]
        check(
            options.temperature is None or ("temperature" in spec and "log_scale" not in term.learned),
            f"--temperature: the term {whole.names[key]!r} has no fixed temperature; leave the option out, or name "
            "another term with --term.",
        )
        check(
            options.balance is None or "balance" in spec,
            f"--balance: the term {whole.names[key]!r} has no balance of its directions; leave the option out, or name "
            "another term with --term.",
        )
    return _with_terms(whole, terms, normalise=config.normalise_terms)


def reading(objective: Objective, input: str) -> Objective:
    """Return the objective without the terms that do not read an input, whose losses its values do not change.

    A mean over the terms that are present keeps all terms, which it divides by.
    """
    if objective.normalise is not None:
        return objective
    return _with_terms(objective, {key: objective.terms[key] for key in terms_reading(objective, input)})


def terms_reading(objective: Objective, input: str) -> list[str]:
    """Return the keys of the terms that read an input, by a view or by a part of a fused view."""
    return [key for key, term in objective.terms.items() if input in _modalities(objective, term)]


def presence(objective: Objective, run: Run, store: Store, split: str) -> dict[str, np.ndarray]:
    """Return, per term, which rows `[N]` of a split have everything that it reads."""
    specs, fold = run.inputs.specs, run.inputs.fold
    names = sorted({name for term in objective.terms.values() for name in _modalities(objective, term)} & set(specs))
    entries = store.read(split, list(dict.fromkeys(specs[name].of for name in names)), fold=fold)
    every = np.ones(len(store.rows_of(split, fold)), bool)
    masks = {name: entries[specs[name].of].present for name in names}
    present = {name: every if mask is None else np.asarray(mask, bool) for name, mask in masks.items()}
    return {
        key: np.all([every, *(present[name] for name in _modalities(objective, term) if name in present)], axis=0)
        for key, term in objective.terms.items()
    }


def _modalities(objective: Objective, term: Term) -> set[str]:
    return {objective.modalities[view] for view in _views(objective.parts, [read.view for read in term.reads])}


def _views(parts: Mapping[str, tuple[str, ...]], views: Iterable[str]) -> set[str]:
    """Return the views and, of those that are fused, the views that they are made of."""
    views = set(views)
    return views | {Read.parse(part).view for view in views for part in parts.get(view, ())}


def _with_terms(whole: Objective, terms: Mapping[str, Term], *, normalise: object = None) -> Objective:
    views = _views(whole.parts, (read.view for term in terms.values() for read in term.reads))
    return Objective(
        terms,
        {name: modality for name, modality in whole.modalities.items() if name in views},
        parts={name: texts for name, texts in whole.parts.items() if name in views},
        execution=Execution(name="dense"),
        normalise="present" if normalise == "present" else None,
    )
