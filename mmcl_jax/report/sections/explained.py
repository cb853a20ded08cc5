"""The section of explanations: the columns and pixels that mattered, from the folders of `mmcl explain`."""

import shlex
from collections.abc import Sequence

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.kept import heads_of, name_of
from mmcl_jax.explain.base import COLUMN_KINDS
from mmcl_jax.explain.result import Explanation, explanations_of
from mmcl_jax.page import charts
from mmcl_jax.page.html import Child, Html, element, name, section, table
from mmcl_jax.page.inline import picture
from mmcl_jax.page.wording import clipped, count, counted, share
from mmcl_jax.report.sections.predictions import kept_heads
from mmcl_jax.report.subject import Group, Subject, paragraph
from mmcl_jax.text import called

_COLUMNS, _PICTURES = 20, 12
_LISTED = 500  # columns in the table, so that thousands of variants do not fill the page
_LARGEST = 2**20  # bytes of a picture
_NAMES = {
    "grad_cam": "Grad-CAM",
    "guided_grad_cam": "Guided Grad-CAM",
    "loss": "Integrated gradients",
    "canonical": "Saliency",
}


def explained(groups: Sequence[Group]) -> Html:
    """Return the section, with the first run of every experiment."""
    parts: list[Child] = []
    for group in groups:
        run = group.first.run
        if len(groups) > 1:
            parts.append(element("h3", name(group.name), f", {group.first.name}", class_="of"))
        level = "h4" if len(groups) > 1 else "h3"
        try:
            found = explanations_of(run)
            parts += [_modalities(found), *(_explanation(one, level, _is_old(one, group)) for one in found)]
            if not found:
                parts.append(paragraph("The run is not explained yet.", *_how(group.first)))
        except UserError as error:
            parts.append(paragraph(str(error)))
    return section("explained", "What mattered", *parts)


def _how(subject: Subject) -> tuple[str, str]:
    """Return a sentence and the command that explains a run: its columns, or else the pixels that a head looks at."""
    run = subject.run
    command = f"mmcl explain --run {shlex.quote(called(run.directory))}"
    if any(spec.kind in COLUMN_KINDS for spec in run.inputs.specs.values()):
        return "This command ranks its columns:", command
    kept, _ = kept_heads(subject)
    if not kept:
        sentence = (
            "It has no columns to rank. This command shows the pixels that its latent dimensions depend on; a head, "
        )
        return (
            f"{sentence}which mmcl evaluate --keep saves, says which matter for a label:",
            f"{command} --method saliency",
        )
    head = heads_of(run) / name_of(kept[0].of, kept[0].score.draw)
    return "This command shows the pixels that matter:", f"{command} --method grad_cam --head {shlex.quote(str(head))}"


def _is_old(explanation: Explanation, group: Group) -> bool:
    step = explanation.about["step"]
    return step is not None and step != group.first.run.step()


def _explanation(one: Explanation, level: str, old: bool) -> Html:
    about = one.about
    title = f"{_NAMES.get(one.method, one.method.replace('_', ' ').capitalize())} of {one.subject}"
    head = about["head"]["name"] if about["head"] else ""
    where = f"On {counted(about['rows'], about['split'] + ' row')}, step {about['step']}"
    where += f", by the head {clipped(head, 60)}." if head else "."
    if old:
        where += " The report shows another step of the run."
    return element(
        "div",
        element(level, clipped(title, 120)),
        element("p", where, class_="calm"),
        _columns(one, title),
        _attention(one, title),
        _pictures(one),
        element("ul", [element("li", note) for note in about["notes"]], class_="calm"),
        class_="explanation",
    )


def _columns(one: Explanation, title: str) -> Html | None:
    if not one.columns:
        return None
    groups, unit = [group["name"] for group in one.groups], one.about["details"].get("unit", "column")
    most = max((abs(float(column["importance"] or 0)) for column in one.columns), default=0.0)
    lines = []
    for column in one.columns[:_COLUMNS]:
        series = f"s{groups.index(column['group']) % charts.SERIES}" if column["group"] in groups else "s0"
        part = float(column["share"] or 0)
        bar = charts.bar(abs(float(column["importance"] or 0)), most, series)
        label = element(
            "span", name(column["name"], 40), f" · {clipped(column['group'], 24)}" if len(groups) > 1 else ""
        )
        lines.append(element("li", label, element("span", share(part, 1), class_="number"), bar))
    every = [
        [
            str(column["rank"]),
            name(column["name"], 60),
            name(column["group"], 30),
            share(float(column["share"] or 0), 1),
        ]
        for column in one.columns[:_LISTED]
    ]
    hidden = len(one.columns) - _COLUMNS
    keys = [[name(group["name"], 30), f" {share(float(group['share'] or 0), 1)}"] for group in one.groups]
    return element(
        "div",
        charts.legend(keys) if len(groups) > 1 else None,
        element("ul", lines, class_="bars"),
        element(
            "details",
            element("summary", _listed(len(one.columns), unit)),
            table(
                f"{unit.capitalize()}s: {clipped(title)}",
                ["Rank", unit.capitalize(), "Group", "Share"],
                every,
                numeric={0, 3},
            ),
        )
        if hidden > 0
        else None,
        class_="single",
    )


def _listed(columns: int, unit: str) -> str:
    every = counted(columns, unit)
    return f"All {every}" if columns <= _LISTED else f"The first {_LISTED} of {every}; explanation.json has all"


def _modalities(found: Sequence[Explanation]) -> Html | None:
    """Return the attribution of the loss to every modality that was explained, in the unit of the loss."""
    losses = [one for one in found if one.method == "loss" and "modality" in one.about["details"]]
    if not losses:
        return None
    rows = []
    for one in losses:
        modality, absent = one.about["details"]["modality"], one.about["details"].get("absent", 0)
        rows.append(
            [
                name(one.about["input"], 40),
                count(one.about["rows"] - absent),
                count(absent) if absent else "none",
                *("–" if modality[key] is None else f"{modality[key]:.3g}" for key in ("summed", "mean")),
            ]
        )
    heads = ["Modality", "Rows", "Rows without it", "Sum of |attribution|", "Mean of |attribution|"]
    return table(
        "Attribution of the loss by modality: means over the rows that have it", heads, rows, numeric={1, 2, 3, 4}
    )


def _attention(one: Explanation, title: str) -> Html | None:
    """Return the region that each column looks at most, of an attention; the pictures show all regions."""
    if one.method != "attention":
        return None
    tokens = sorted(one.about["details"]["tokens"], key=lambda token: -(token["focus"] or 0))
    height, width = one.about["details"]["grid"]
    rows = [
        [
            name(token["name"], 60),
            count(token["rows"]),
            "row {}, column {}".format(*token["region"]) if token["region"] else "",
            share(token["share"], 1) if token["region"] else "",
            f"{token['focus']:.2f}" if token["region"] else "",
        ]
        for token in tokens
    ]
    heads = ["Column", "Rows", f"Looks most at, of {height} x {width}", "Weight there", "Focus"]
    every = table(f"Attention: {clipped(title)}", heads, rows, numeric={1, 3, 4})
    if len(rows) <= _COLUMNS:
        return every
    return element("details", element("summary", f"All {counted(len(rows), 'column')}"), every)


def _pictures(one: Explanation) -> Html | None:
    """Embed the pictures that are small enough, and name the folder of the others; the page draws rankings itself."""
    shown: list[Html] = []
    left = 0
    for path, alternative in one.pictures.items():
        if one.columns and path.stem == "ranking":
            continue
        if len(shown) < _PICTURES and path.suffix == ".png" and path.stat().st_size <= _LARGEST:
            caption = element("figcaption", clipped(alternative, 120))
            shown.append(element("li", element("figure", picture(path.read_bytes(), alternative), caption)))
        else:
            left += 1
    sheet = "overlays large" if one.about["kind"] == "volume" else "overlays"
    more = f"{counted(left, 'more picture')} in {one.directory}." if left else ""
    return element(
        "div",
        element("ul", shown, class_=sheet) if shown else None,
        element("p", more, class_="calm") if more else None,
    )
