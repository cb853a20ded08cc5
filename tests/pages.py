"""What tests of pages share: hostile texts, and the skeleton of a page, which no text may change."""

from html.parser import HTMLParser

HOSTILE = [
    "<script>alert(1)</script>", "<img src=//evil.example/x onerror=alert(1)>",
    "</style><style>@import '//evil.example'",
    "</title></head><base href=//evil.example>", "\" onmouseover=\"alert(1)", "' style='background:url(//evil.example)",
    "]]><svg onload=alert(1)>", "<!--", "-->", "&lt;script&gt;", "javascript:alert(1)", "</script", "<iframe srcdoc=x>",
    "\x00<b>\x1b[2J\u202e\u2028\n", "\ud800<b>", "{{7*7}}${7*7}", "https://me:secret@evil.example/?token=secret",
]  # fmt: skip
POLICY = ("default-src 'none'", "style-src 'unsafe-inline'", "base-uri 'none'", "form-action 'none'")


class Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes, and the attributes' values."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, ...]] = []
        self.values: list[tuple[str, str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.values += [(tag, name, value or "") for name, value in attrs]

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def is_closed(page: str) -> None:
    """Check that a page can fetch nothing and run nothing, and that its policy forbids both."""
    skeleton = Skeleton(page)
    tags = {tag for tag, *_ in skeleton.elements}
    assert not tags & {"script", "iframe", "object", "embed", "base", "form", "link", "input", "audio", "video"}
    (policy,) = (value for tag, name, value in skeleton.values if tag == "meta" and "default-src" in value)
    directives = set(policy.split("; "))
    assert directives - {"img-src data:"} == set(POLICY)
    for tag, name, value in skeleton.values:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value)
        assert name != "style" or "url" not in value
    assert page.isascii() or not set(page) & {"\x00", "\x1b", "\u202e", "\u2028", "\ud800"}
    assert "me:secret@" not in page
    page.encode()
