"""The section of curves: losses, accuracies within the batch, neighbours, learning rate and gradients by step."""

import itertools
from collections.abc import Callable, Sequence

from mmcl_jax.page.html import Html, element, section
from mmcl_jax.page.lines import Line, line_chart
from mmcl_jax.report.subject import Group, Subject, paragraph
from mmcl_jax.training.speed.times import SPEED

# Charts: the heading, and whether a metric belongs to it. A metric is drawn in the first chart that takes it.
CHARTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("Loss", lambda key: key in ("loss", "validation/loss")),
    ("Nearest neighbours (online)", lambda key: key.startswith("online/knn")),
    ("Retrieval (online)", lambda key: key.startswith("online/retrieval")),
    ("Top-1 within the batch", lambda key: "/top1" in key and not key.startswith("online/")),
    ("Learning rate", lambda key: key == "learning_rate"),
    ("Norm of the gradient", lambda key: key == "gradient_norm"),
    ("Samples per second", lambda key: key == f"{SPEED}samples_per_second"),
    ("Use of the accelerator", lambda key: key in (f"{SPEED}mfu", f"{SPEED}bandwidth")),
    ("Share of the time waiting for input", lambda key: key == f"{SPEED}input_wait"),
)


def curves(groups: Sequence[Group]) -> Html:
    """Return the section; every chart has the runs side by side."""
    charts = [chart for heading, takes in CHARTS if (chart := _chart(heading, takes, groups)) is not None]
    terms = _chart("Terms of the objective", _is_term, groups) if _terms(groups) > 1 else None
    if not charts:
        words = "No step is logged yet; the mmcl pretrain command that began the run trains it."
        return section("curves", "Curves", paragraph(words))
    lead = "As logged during training. A number in the legend is the last of its line."
    if any(len(group.subjects) > 1 for group in groups):
        lead += " Runs of one experiment, which differ by seed or fold, have one colour."
    return section(
        "curves",
        "Curves",
        element("p", lead, class_="lead"),
        element("div", [*charts, terms], class_="charts"),
    )


def lines_of(key: str, groups: Sequence[Group], *, dash: int = 0, words: str = "") -> list[Line]:
    """Return a line of a metric for every run that logged it; `words` name the metric if a chart has several."""
    lines = []
    for colour, group in enumerate(groups):
        for subject in group.subjects:
            points = [(line["step"], line[key]) for line in subject.metrics if key in line]
            if points:
                steps, values = zip(*points, strict=True)
                # Colours tell runs apart or, on the page of one run, its metrics.
                lines.append(
                    Line(_named(subject, groups, words), steps, values, dash if alone(groups) else colour, dash)
                )
    return lines


def _named(subject: Subject, groups: Sequence[Group], words: str) -> str:
    return words or subject.name if alone(groups) else " · ".join(filter(None, [subject.name, words]))


def alone(groups: Sequence[Group]) -> bool:
    """Return whether the page shows a single run."""
    return sum(len(group.subjects) for group in groups) == 1


def _chart(heading: str, takes: Callable[[str], bool], groups: Sequence[Group]) -> Html | None:
    keys = [key for key in logged(groups) if takes(key)]
    single = len(keys) == 1
    lines = [lines_of(key, groups, dash=dash, words="" if single else _short(key)) for dash, key in enumerate(keys)]
    return line_chart(heading, list(itertools.chain.from_iterable(lines)), x="step")


def logged(groups: Sequence[Group]) -> list[str]:
    """Return the names of all metrics that a run logged, losses first."""
    names = {key: None for group in groups for subject in group.subjects for line in subject.metrics for key in line}
    return sorted(names, key=lambda key: (key != "loss", key))


def _short(key: str) -> str:
    return {"loss": "train", "validation/loss": "validation"}.get(key, key.removeprefix("online/").removeprefix(SPEED))


def _is_term(key: str) -> bool:
    """Return whether a metric is the loss of a term, `TERM/VIEWS`; its other metrics have a further name behind."""
    return key.count("/") == 1 and not key.startswith(("online/", "deviation/", "rank/", "validation/", SPEED))


def _terms(groups: Sequence[Group]) -> int:
    return max((len(group.first.run.config.objective) for group in groups), default=0)
