"""Whether the features that the loss of people depends on the most are those that were planted."""

import base64
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.explain.planted import Truth, auroc_of_causal
from mmcl_jax.explain.result import Explanation
from mmcl_jax.explain.run import explain_run
from mmcl_jax.gwas.people.embeddings import PERSON, person_of
from mmcl_jax.reproduce.analyses.raw import Raw
from mmcl_jax.reproduce.plan import Evaluation
from mmcl_jax.reproduce.spec import GLOBAL, LOCAL
from mmcl_jax.training.runs.run import Run

_ROWS = 1000  # people who are explained, and people of the reference batch, as in the paper
_TRAIT = "tortuosity"  # the trait that the person of the paper's figure 4 shows


def attributed(evaluation: Evaluation, run: Run, store: Store, raw: Raw) -> tuple[Score, dict[str, Any]]:
    """Return how far causal features of an input have more attribution than noise.

    Test people are explained against validation people by integrated gradients of the loss (`mmcl explain --method
    loss`). The importance of a feature is its mean absolute attribution.

    Args:
      evaluation: of the row, whose untrained model is explained if it is a baseline.
      run: the pretraining.
      store: of the pretraining.
      raw: what was planted.

    Returns:
      The score, and for the record the importance of every feature by name, the planted ones, and a single person:
      the one with the most tortuous vessels. Of a model with the genetics of this input alone, the person's eye with
      the attributions over it is a PNG file.

    Raises:
      UserError: the truth is of other data.
    """
    assert raw.truth is not None
    untrained, input = bool(evaluation.row.baseline), evaluation.input
    with tempfile.TemporaryDirectory() as name:
        folder, key = Path(name), _person(store, run, input, raw)
        options = ExplainOptions(methods=("loss",), inputs=(input,), rows=_ROWS, reference=_ROWS, individuals=(key,))
        (explanation,) = explain_run(run, store, options, folder=folder, untrained=untrained)
        alone = not untrained and evaluation.row.key == input
        eye = _eye(run, store, key, folder) if alone else {}
        planted = sorted(raw.truth.causal.get(input, ()))
        person = next(one for one in explanation.about["details"]["individuals"] if one["key"] == key)
        metrics = {
            GLOBAL: auroc_of_causal(explanation.columns, raw.truth, input)["auroc"],
            LOCAL: auroc_in_people(explanation, raw.truth, input),
            "completeness_error": explanation.about["details"]["completeness"]["error"],
        }
        importance = {column["name"]: float(column["importance"]) for column in explanation.columns}
    score = Score(
        method=evaluation.row.key,
        seed=run.config.seed,
        protocol=evaluation.protocol,
        input=input,
        label="",
        budget="no labels",
        draw=0,
        metrics=metrics,
        chosen={},
        fold=run.inputs.fold,
    )
    return score, {"columns": importance, "details": {"planted": planted, "person": person, **eye}}


def auroc_in_people(explanation: Explanation, truth: Truth, modality: str) -> float:
    """Return the mean over people of the AUROC of causal against noise features by absolute attribution.

    Rows without the input have no attributions, and features in linkage with a causal one count as neither.
    """
    # Attributions are in the order of the columns of the input, which is not that of their ranks.
    names = [column["name"] for column in explanation.about["columns"]]
    causal, linked = (of.get(modality, frozenset()) for of in (truth.causal, truth.linked))
    kept = np.array([name not in linked for name in names], bool)
    planted = np.array([name in causal for name in names], bool)[kept]
    rows = explanation.attributions()["attributions"].drop_nulls().to_numpy()
    ranks = rankdata(np.abs(np.stack(list(rows)))[:, kept], axis=1)
    count, noise = int(planted.sum()), int((~planted).sum())
    return float(((ranks[:, planted].sum(axis=1) - count * (count + 1) / 2) / (count * noise)).mean())


def _person(store: Store, run: Run, input: str, raw: Raw) -> str:
    """Return the key of the first test row of the person with the most tortuous vessels who has the input."""
    fold = run.inputs.fold
    present = store.read("test", [run.inputs.specs[input].of], fold=fold)[run.inputs.specs[input].of].present
    keys = [
        key for row, key in enumerate(store.keys("test", fold)) if present is None or bool(np.asarray(present)[row])
    ]
    by_person: dict[str, str] = {}
    for key in keys:
        by_person.setdefault(person_of(key, PERSON), key)
    found = next((by_person[one] for one in raw.most(_TRAIT) if one in by_person), None)
    check(found is not None, f"--raw: no test row of {store.directory} is of a person of {raw.folder}.")
    return str(found)


def _eye(run: Run, store: Store, key: str, folder: Path) -> dict[str, Any]:
    """Return the picture of a person's eye with the attributions of its loss over it, as the text of a PNG file."""
    options = ExplainOptions(methods=("loss",), inputs=("image",), rows=1, reference=_ROWS, individuals=(key,), top=2)
    (explanation,) = explain_run(run, store, options, folder=folder)
    at = explanation.attributions()["key"].to_list().index(key)
    overlays = [path for path in explanation.pictures if path.name.startswith("overlay")]
    return {"eye": base64.b64encode(overlays[at].read_bytes()).decode()}
