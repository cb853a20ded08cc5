"""The tables of the protocol `confounding`: covariates predicted from embeddings, and retrieval within their strata."""

from collections.abc import Sequence

from mmcl_jax.encoders import parse_key
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import (
    NAMES,
    Grid,
    methods_of,
    only,
    protocol_words,
    repeats_of,
    shown,
    summarise,
)
from mmcl_jax.text import visible

_CHANCE = {"r2": 0.0, "auroc": 0.5}


def confounding_grids(scores: Sequence[Score]) -> list[Grid]:
    """Return tables of the predicted covariates, of retrieval within strata, and of other scores beside covariates."""
    own = only(scores, protocol="confounding")
    inputs = list(dict.fromkeys(score.input for score in own))
    tables = []
    for input in inputs:
        part = only(own, input=input)
        tables.append(_predicted(part) if _main(part[0]) in _CHANCE else _within(part))
    return [*tables, *_beside(scores, own)]


def _beside(scores: Sequence[Score], own: Sequence[Score]) -> list[Grid]:
    """Return a table of the score of every label with a column per covariate, for every input that has both.

    Rows are of one method, protocol, input and label with its largest budget.
    """
    known: dict[str, list[Score]] = {}
    for score in own:
        if _main(score) in _CHANCE:
            known.setdefault(score.input, []).append(score)
    others = [score for score in scores if score.protocol not in ("confounding", "retrieval") and score.input in known]
    covariates = list(dict.fromkeys(score.label for part in known.values() for score in part))
    rows = []
    for label, protocol, input in dict.fromkeys((score.label, score.protocol, score.input) for score in others):
        part = [one for one in only(others, protocol=protocol, input=input) if one.label == label and not one.missing]
        for method in methods_of(part):
            metric = shown(part[0])[0]
            budgets = summarise(part, metric)[method]
            cells = [_known(known[input], covariate, method) for covariate in covariates]
            if budgets and any(cells):
                budget, cell = next(iter(budgets.items()))
                words = f"{protocol_words(protocol, input)}, {NAMES.get(metric, metric)}, {budget}"
                rows.append([visible(label), words, visible(method), str(cell), *(one or "–" for one in cells)])
    head = ["label", "measured by", "method", "score", *map(visible, covariates)]
    note = (
        "Covariates are predicted from the method's frozen features of the same input: R² of a number (chance 0), "
        "AUROC of a class (chance 0.5)."
    )
    title = "Scores, beside what the features know of covariates"
    return [Grid(title, head, rows, labels=3, note=note)] if rows else []


def _known(scores: Sequence[Score], covariate: str, method: str) -> str:
    """Return what a method's features know of a covariate; "" where it was not measured."""
    part = [score for score in scores if score.label == covariate]
    return _value(part, method, _main(part[0])) if method in methods_of(part) else ""


def _predicted(scores: Sequence[Score]) -> Grid:
    rows = []
    for label in dict.fromkeys(score.label for score in scores):
        part = [score for score in scores if score.label == label]
        metric = _main(part[0])
        people = f"{part[0].metrics['people']:.0f}"
        rows += [
            [
                visible(label),
                visible(method),
                NAMES[metric],
                _value(part, method, metric),
                f"{_CHANCE[metric]:g}",
                people,
            ]
            for method in methods_of(part)
        ]
    title = f"Covariates predicted from the test split's {visible(scores[0].input)}{_spread(scores)}"
    return Grid(title, ["covariate", "features", "metric", "value", "chance", "people"], rows, labels=3, note=_NOTE)


_NOTE = (
    "Five-fold cross-validation over people, by ridge regression and ridge classification. In brackets, 95 % of a "
    "thousand draws of people."
)


def _within(scores: Sequence[Score]) -> Grid:
    rows = []
    for label in dict.fromkeys(score.label for score in scores):
        part = [score for score in scores if score.label == label]
        directions = [name.removesuffix("_recall@1") for name in part[0].metrics if name.endswith("_recall@1")]
        rows += [
            [
                visible(label),
                visible(method),
                " to ".join(visible(parse_key(key).modality) for key in direction.split("_to_")),
                *(_recall(part, method, direction, among) for among in ("", "_all")),
            ]
            for method in methods_of(part)
            for direction in directions
            if direction != "chance"
        ]
    head = ["stratum", "projections", "from", "recall at 1 within (chance)", "among all (chance)"]
    note = (
        "Candidates are people of the query's own stratum (a class, or a quarter of a number); other rows of the "
        "query's own person are none. In brackets, 95 % of a thousand draws of people."
    )
    return Grid(
        f"Retrieval within strata, {visible(scores[0].input)}{_spread(scores)}", head, rows, labels=3, note=note
    )


def _recall(scores: Sequence[Score], method: str, direction: str, among: str) -> str:
    value, chance = (_value(scores, method, f"{who}_recall@1{among}") for who in (direction, "chance"))
    return f"{value} ({chance})"


def _main(score: Score) -> str:
    return next(iter(score.metrics))


def _spread(scores: Sequence[Score]) -> str:
    """Return what the spread of values is over, in words; "" for a single run."""
    over = {"seed": ", mean ± sd over pretraining seeds", "fold": ", mean ± sd over folds", "draw": ""}
    return over[repeats_of(scores)]


def _value(scores: Sequence[Score], method: str, metric: str) -> str:
    """Return the value of a single run with its interval, or the mean and the spread of several runs."""
    cell = summarise(scores, metric)[method][scores[0].budget]
    own = [score.metrics for score in scores if score.method == method]
    if len(own) > 1 or f"{metric}_low" not in own[0]:
        return str(cell)
    return f"{cell} [{own[0][f'{metric}_low']:.3f}, {own[0][f'{metric}_high']:.3f}]"
