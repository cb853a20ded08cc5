"""Pairs of modalities whose features a run compares, between which retrieval makes sense."""

import itertools
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import parse_key
from mmcl_jax.encoders.fusions import inputs_of, parts_of_views
from mmcl_jax.errors import check
from mmcl_jax.evaluation.sources.checks import check_rows
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.objectives import build_objective
from mmcl_jax.page.wording import counted
from mmcl_jax.training.runs.run import Run

Pair = tuple[str, str]  # keys of the features that are compared, `MODALITY` or `MODALITY:HEAD`, in alphabetical order


def compared(config: ConfigDict, inputs: Inputs) -> list[Pair]:
    """Return the pairs of modalities whose pooled features a term of the objective compares, behind which projectors.

    Two views of one modality are no pair, and neither are a fusion and what it is made of: a row would find itself.
    """
    modalities = {name: view.modality for name, view in config.views.items()}
    parts = parts_of_views(config.views)
    objective = build_objective(config.objective, modalities, parts=parts, schema=inputs.schema, inputs=inputs.specs)
    pairs = dict[Pair, None]()
    for term in objective.terms.values():
        texts = [text for text, read in zip(term.between, term.reads, strict=True) if term.outputs and not read.local]
        for keys in itertools.combinations(map(objective.key, texts), 2):
            first, second = (set(inputs_of(config.views, parse_key(key).modality)) for key in keys)
            if not first & second:
                pairs[min(keys), max(keys)] = None
    return list(pairs)


def pairs_of(run: Run, store: Store, inputs: Sequence[str]) -> list[Pair]:
    """Return the pairs that a run is evaluated on: those of the `inputs` that join two names, or else all.

    Raises:
      UserError: the run compares no two modalities, or not those of an input; or the store lacks one.
    """
    every = compared(run.config, run.inputs)
    check(
        len(every) > 0,
        f"--protocol retrieval: {run.directory} compares no two inputs (no term of its objective is between features "
        "of two modalities); leave retrieval out.",
    )
    named = [given for given in inputs if len(modalities_of(given)) == 2]
    pairs = every
    if named:
        wanted = [set(modalities_of(given)) for given in named]
        for given, two in zip(named, wanted, strict=True):
            check(
                any(_modalities(pair) == two for pair in every),
                f"--input {given}: {run.directory} does not compare these two, between which retrieval would be; it "
                f"compares {', '.join('+'.join(pair) for pair in every)}.",
            )
        pairs = [pair for pair in every if _modalities(pair) in wanted]
    for pair in pairs:
        for name in _inputs(run, pair):
            check_rows(run, store, name)
    return pairs


def with_both(run: Run, store: Store, pair: Pair) -> np.ndarray:
    """Return which test rows of the run's fold have both sides of a pair, bool `[N]`.

    Raises:
      UserError: none has.
    """
    fold = run.inputs.fold
    keep = np.ones(len(store.rows_of("test", fold)), bool)
    for name in _inputs(run, pair):
        of = run.inputs.including([name]).specs[name].of
        present = store.read("test", [of], fold=fold)[of].present
        keep &= True if present is None else present
    check(bool(keep.any()), f"--protocol retrieval: no test row of {store.directory} has both {' and '.join(pair)}.")
    return keep


def lacking(run: Run, store: Store, pair: Pair) -> list[str]:
    """Return a sentence on test rows that take no part in the retrieval of a pair, if there are any."""
    keep = with_both(run, store, pair)
    without = int((~keep).sum())
    if without == 0:
        return []
    rows, names = counted(len(keep), "test row"), " or ".join(pair)
    return [f"--protocol retrieval: of {rows}, {without} without {names} take no part."]


def _modalities(pair: Pair) -> set[str]:
    return {parse_key(key).modality for key in pair}


def _inputs(run: Run, pair: Pair) -> list[str]:
    """Return the inputs behind a pair."""
    views = run.config.views
    return list(dict.fromkeys(name for key in pair for name in inputs_of(views, parse_key(key).modality)))
