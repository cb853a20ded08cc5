"""Elements of a page. Whatever is not HTML already is escaped where it enters one, so no cell can become markup."""

import html
from collections.abc import Collection, Iterable, Sequence

from mmcl_jax.page.wording import clipped
from mmcl_jax.text import visible


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


Child = str | Iterable["Child"] | None
Attribute = str | int | float | bool | None

_VOID = frozenset({"img", "meta", "br"})


def element(tag: str, *children: Child, **attributes: Attribute) -> Html:
    """Return `<tag attributes>children</tag>`; `class_` and `aria_label` become `class` and `aria-label`.

    Args:
      tag: name of the element.
      *children: texts, escaped unless they are `Html`; sequences of such; None for nothing.
      **attributes: None and False leave the attribute out, True gives it without a value.
    """
    opened = "".join(
        f" {name}" if value is True else f' {name}="{html.escape(_shown(value))}"'
        for name, value in ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Html(f"<{tag}{opened}>")
    return Html(f"<{tag}{opened}>{fragment(*children)}</{tag}>")


def fragment(*children: Child) -> Html:
    """Return the children after one another, each escaped unless it is `Html`."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(html.escape(visible(child)))
        elif child is not None:
            parts.append(fragment(*child))
    return Html("".join(parts))


def name(text: object, most: int = 80) -> Html:
    """Return a name out of the user's data, set apart, in its own direction, in full on hover if it is clipped."""
    short, whole = clipped(text, most), visible(text)
    if not short.strip():
        short = f"“{short}”"  # an empty name, or one of spaces, would be invisible
    return element("bdi", short, class_="name", title=whole if "…" in short else None)


def section(key: str, heading: str, *children: Child) -> Html:
    """Return a section of the page with its heading, reachable as `#key`."""
    return element(
        "section",
        element("h2", heading, id=f"{key}-heading"),
        *children,
        id=key,
        class_="part",
        aria_labelledby=f"{key}-heading",
    )


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    numeric: Collection[int] = (),
    captioned: bool = False,
    narrow: bool = False,
) -> Html:
    """Return a table whose first column heads its rows; it scrolls by itself where the page is narrower.

    Args:
      caption: what the table shows.
      head: headings of the columns.
      rows: cells, row by row.
      numeric: places of the columns with numbers, which are set to the right.
      captioned: whether the caption is seen, and not only read aloud.
      narrow: whether to keep the columns close together, for a few short cells.
    """
    kinds = ["number" if place in numeric else None for place in range(len(head))]
    top = [element("th", text, scope="col", class_=kind) for text, kind in zip(head, kinds, strict=True)]
    body = [
        element(
            "tr",
            element("th", cells[0], scope="row", class_=kinds[0]),
            [element("td", cell, class_=kind) for cell, kind in zip(cells[1:], kinds[1:], strict=True)],
        )
        for cells in rows
    ]
    made = element(
        "table",
        element("caption", caption, class_=None if captioned else "aloud"),
        element("thead", element("tr", top)),
        element("tbody", body),
    )
    shape = "scroll narrow" if narrow else "scroll"
    return element("div", made, class_=shape, role="region", tabindex="0", aria_label=caption)


def folded(summary: Child, *children: Child) -> Html:
    """Return content that opens on a click, without a script."""
    return element("details", element("summary", summary), *children)


def _shown(value: Attribute) -> str:
    # Coordinates: two decimals are a tenth of a pixel or less, and a long tail of digits would be half of the page.
    return f"{round(value, 2):g}" if isinstance(value, float) else visible(value)
