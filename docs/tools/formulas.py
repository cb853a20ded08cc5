"""The site shows formulas as MathML, which browsers draw without a script: a hook of MkDocs."""

import html
import re
from typing import Any

from latex2mathml.converter import convert


def on_page_content(content: str, **_: Any) -> str:
    """Return a page with the formulas that `pymdownx.arithmatex` has marked, as MathML."""
    return re.sub(r'<(span|div) class="arithmatex">(.*?)</\1>', _mathml, content, flags=re.DOTALL)


def _mathml(formula: re.Match[str]) -> str:
    text = html.unescape(formula[2]).strip()[2:-2]  # without \( \) or \[ \]
    return convert(text, display="inline" if formula[1] == "span" else "block")
