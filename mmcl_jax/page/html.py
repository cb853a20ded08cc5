"""Elements of HTML pages. Every text that is not `Html` is escaped, so no cell of the data can become markup."""

import html
from collections.abc import Collection, Iterable, Sequence

from mmcl_jax.page.wording import clipped
from mmcl_jax.text import visible


class Html(str):
    """A text of HTML, which is not escaped again."""

    __slots__ = ()


Child = str | Iterable["Child"] | None
Attribute = str | int | float | bool | None

_VOID = frozenset({"img", "meta", "br"})


def element(tag: str, *children: Child, **attributes: Attribute) -> Html:
    """Return `<tag attributes>children</tag>`; `class_` and `aria_label` are written `class` and `aria-label`.

    Args:
      tag: the name of the element.
      *children: texts, escaped unless they are `Html`; sequences of these; None for nothing.
      **attributes: None and False leave the attribute out; True writes it without a value.
    """
    written = "".join(
        f" {name}" if value is True else f' {name}="{html.escape(_written(value))}"'
        for name, value in ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{fragment(*children)}</{tag}>")


def fragment(*children: Child) -> Html:
    """Return the children, joined; each is escaped unless it is `Html`."""
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
    """Return a name from the user's data, with its own text direction; if clipped, it is shown in full on hover."""
    short, full = clipped(text, most), visible(text)
    if not short.strip():
        short = f"“{short}”"  # an empty name, or one of spaces, would be invisible
    return element("bdi", short, class_="name", title=full if "…" in short else None)


def document(title: str, style: str, body: Html, *, images: bool) -> str:
    """Return a page that needs no network, for light and dark mode, wide screens and phones; write it as UTF-8.

    Even if a text became markup, a browser would fetch and run nothing.

    Args:
      title: of the window.
      style: the style sheet.
      body: the element `body`.
      images: whether the page holds images, as addresses that begin with `data:`.
    """
    policy = f"default-src 'none'; {'img-src data:; ' if images else ''}style-src 'unsafe-inline'; "
    policy += "base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(style)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def drawing(title: str, parts: Child, width: float, height: float, *, class_: str) -> Html:
    """Return an SVG image of the parts, whose title describes it to a screen reader."""
    view = f"0 0 {width:g} {height:g}"
    return element("svg", element("title", title), parts, class_=class_, viewBox=view, role="img")


def section(key: str, heading: str, *children: Child) -> Html:
    """Return a section of the page with its heading, which links reach as `#key`."""
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
    """Return a table whose first column heads its rows; it scrolls sideways if the page is narrower.

    Args:
      caption: the caption of the table.
      head: the headings of the columns.
      rows: the cells, row by row.
      numeric: indices of the columns with numbers, which are aligned to the right.
      captioned: whether the caption is visible; if not, only screen readers read it.
      narrow: whether to keep the columns close together, for a few short cells.
    """
    kinds = ["number" if index in numeric else None for index in range(len(head))]
    top = [element("th", text, scope="col", class_=kind) for text, kind in zip(head, kinds, strict=True)]
    body = [
        element(
            "tr",
            element("th", cells[0], scope="row", class_=kinds[0]),
            [element("td", cell, class_=kind) for cell, kind in zip(cells[1:], kinds[1:], strict=True)],
        )
        for cells in rows
    ]
    content = element(
        "table",
        element("caption", caption, class_=None if captioned else "aloud"),
        element("thead", element("tr", top)),
        element("tbody", body),
    )
    shape = "scroll narrow" if narrow else "scroll"
    return element("div", content, class_=shape, role="region", tabindex="0", aria_label=caption)


def folded(summary: Child, *children: Child) -> Html:
    """Return content that is folded under `summary` and opens on a click, without a script."""
    return element("details", element("summary", summary), *children)


def _written(value: Attribute) -> str:
    # Floats are coordinates, of which two decimals suffice; all digits would double the size of the page.
    return f"{round(value, 2):g}" if isinstance(value, float) else visible(value)
