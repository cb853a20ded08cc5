"""The page of a report, from its head to its footer."""

from collections.abc import Callable, Sequence

from mmcl_jax.errors import UserError
from mmcl_jax.page.html import Html, document, element, section
from mmcl_jax.page.style import STYLE
from mmcl_jax.page.wording import clipped
from mmcl_jax.report.scored import Scored
from mmcl_jax.report.sections.configs import configs
from mmcl_jax.report.sections.curves import curves
from mmcl_jax.report.sections.data import data
from mmcl_jax.report.sections.explained import explained
from mmcl_jax.report.sections.map import embedding_map
from mmcl_jax.report.sections.meters import meters
from mmcl_jax.report.sections.predictions import predictions
from mmcl_jax.report.sections.results import results
from mmcl_jax.report.sections.retrieval import retrieval
from mmcl_jax.report.sections.summary import summary, title_of
from mmcl_jax.report.sections.timing import timing
from mmcl_jax.report.style import REPORT_STYLE
from mmcl_jax.report.subject import Group, Subject, paragraph


def render_report(
    subjects: Sequence[Subject],
    groups: Sequence[Group],
    found: Scored,
    *,
    colour: str | None = None,
    command: str = "",
    log: Callable[[str], None] = lambda line: None,
) -> str:
    """Return the report as one HTML page that needs no network and no script; write it as UTF-8.

    A part that cannot be made, since the store or the checkpoint is missing, is replaced by the reason.

    Args:
      subjects: the runs.
      groups: the same runs by experiment.
      found: their scores.
      colour: the label or column that colours the map.
      command: that makes the page, for its footer.
      log: is called with the heading of every section, before it is made.
    """
    sections: list[tuple[str, str, Callable[[], Html]]] = [
        ("results", "Results", lambda: results(groups, found)),
        ("curves", "Curves", lambda: curves(groups)),
        ("map", "Map of the embeddings", lambda: embedding_map(groups, colour)),
        ("retrieval", "Retrieval examples", lambda: retrieval(groups)),
        ("predictions", "Predictions", lambda: predictions(groups)),
        ("explained", "What mattered", lambda: explained(groups)),
        ("meters", "Collapse meters", lambda: meters(groups)),
        ("time", "Where the time went", lambda: timing(groups)),
        ("data", "Data", lambda: data(subjects)),
        ("config", "Config", lambda: configs(subjects, groups)),
    ]
    made = []
    for key, heading, build in sections:
        log(heading)
        made.append(_made(key, heading, build))
    links = [element("li", element("a", heading, href=f"#{key}")) for key, heading, _ in sections]
    body = element(
        "body",
        element(
            "header",
            summary(subjects, groups, found),
            element("nav", element("ul", links), aria_label="Sections"),
        ),
        element("main", made),
        element("footer", "Made by ", element("code", command or "mmcl report"), "."),
    )
    return document(f"{clipped(title_of(groups))}: report", STYLE + REPORT_STYLE, body, images=True)


def _made(key: str, heading: str, build: Callable[[], Html]) -> Html:
    try:
        return build()
    except UserError as error:
        return section(key, heading, paragraph(str(error)))
