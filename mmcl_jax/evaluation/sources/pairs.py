"""The pairs of modalities whose features a run compares, for retrieval between them."""

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
    """Return the pairs of modalities whose pooled features a term of the objective compares, with their projectors.

    Two views of one modality are no pair, nor are a fusion and one of its parts: every row would retrieve itself.
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
    """Return the pairs to evaluate a run on: the `inputs` that join two names, or all pairs if no input does.

    Raises:
      UserError: the run compares no two modalities, or not the two of an input; or the store lacks one of them.
    """
    every = compared(run.config, run.inputs)
    check(
        len(every) > 0,
        f"--protocol retrieval: {run.directory} compares no two inputs (no term of its objective is between features "
        "of two modalities); leave retrieval out.",
    )
    named = [input for input in inputs if len(modalities_of(input)) == 2]
    pairs = every
    if named:
        chosen = [set(modalities_of(input)) for input in named]
        for input, two in zip(named, chosen, strict=True):
            check(
                any(_modalities(pair) == two for pair in every),
                f"--input {input}: {run.directory} does not compare these two, so neither retrieves the other; it "
                f"compares {', '.join('+'.join(pair) for pair in every)}.",
            )
        pairs = [pair for pair in every if _modalities(pair) in chosen]
    for pair in pairs:
        for name in _inputs(run, pair):
            check_rows(run, store, name)
    return pairs


def with_both(run: Run, store: Store, pair: Pair) -> np.ndarray:
    """Return a mask, bool `[N]`, of the test rows of the run's fold that have both sides of a pair.

    Raises:
      UserError: no test row has both.
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
    """Return a remark on the test rows that lack a side of a pair and take no part in retrieval; [] if none does."""
    keep = with_both(run, store, pair)
    without = int((~keep).sum())
    if without == 0:
        return []
    rows, names = counted(len(keep), "test row"), " or ".join(pair)
    return [f"--protocol retrieval: of {rows}, {without} without {names} take no part."]


def _modalities(pair: Pair) -> set[str]:
    return {parse_key(key).modality for key in pair}


def _inputs(run: Run, pair: Pair) -> list[str]:
    """Return the inputs that the features of a pair are computed from."""
    views = run.config.views
    return list(dict.fromkeys(name for key in pair for name in inputs_of(views, parse_key(key).modality)))
