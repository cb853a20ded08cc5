"""Sections of a radiological report, whose headings are words in upper case before a colon."""

import re
from collections.abc import Sequence

# "FINDINGS:", "FINDINGS AND IMPRESSION:", "COMPARISON/TECHNIQUE:" at the beginning of a line.
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z ,/()&-]*[A-Z)]):", re.MULTILINE)
_BLANKS = re.compile(r"[ \t]+")


def sections_of(report: str) -> list[tuple[str, str]]:
    r"""Return the headings of a report in lower case, each with its text, in their order.

    Example:
      >>> sections_of("EXAM: Chest.\n FINDINGS:  Clear lungs. \n IMPRESSION: Normal.")
      [('exam', 'Chest.'), ('findings', 'Clear lungs.'), ('impression', 'Normal.')]
    """
    heads = list(_HEADING.finditer(report))
    ends = [*(head.start() for head in heads[1:]), len(report)]
    return [(head[1].lower(), _clean(report[head.end() : end])) for head, end in zip(heads, ends, strict=False)]


def findings_and_impression(report: str, headings: Sequence[str] = ("findings", "impression")) -> str | None:
    """Return the text of the named sections, in the order of the names; None if none of them has words.

    A heading counts if it begins with the name, so "FINDINGS AND IMPRESSION" is a section of findings.
    """
    found = sections_of(report)
    texts = [text for name in headings for heading, text in found if heading.startswith(name) and text]
    return "\n".join(texts) or None


def _clean(text: str) -> str:
    """Return a text whose lines are joined, one paragraph per line, without repeated blanks."""
    paragraphs = re.split(r"\n[ \t]*\n", text)
    lines = (_BLANKS.sub(" ", paragraph.replace("\n", " ")).strip() for paragraph in paragraphs)
    return "\n".join(line for line in lines if line)
