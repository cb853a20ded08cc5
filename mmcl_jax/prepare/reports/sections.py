"""The sections of a report, which begin with headings such as "FINDINGS:"."""

import re
from collections.abc import Sequence

FINDINGS = ("FINDINGS", "IMPRESSION")  # the default of LoVT, in this order

# A heading begins a line and ends with a colon that is not between digits, as in a time of day.
_HEADING = re.compile(r"^[ \t]*(?P<heading>[^\W\d_][^\n:：.;!?]{0,79})(?:[:：](?!\d)|(?<!\d)[:：])", re.MULTILINE)
_AND = re.compile(r"\s*(?:\bAND\b|\bUND\b|\bET\b|[&/,+])\s*")
_ASIDE = re.compile(r"\s*\([^)]*\)")


def sections(text: str, headings: Sequence[str] = FINDINGS) -> str | None:
    r"""Return the text of the sections with these headings, in the order of `headings`; None if the text has none.

    A section ends at the next heading: a line that begins with a text in capitals and a colon, or with one of
    `headings` as it is written here, and a colon. "FINDINGS AND IMPRESSION:", "IMPRESSION (PRELIMINARY):" and
    "FINDING:" are headings of these sections, too. Sections of one heading follow one another, with an empty line
    between sections. A heading without text counts as absent.

    Example:
      >>> sections("INDICATION: Cough.\nIMPRESSION: No pneumonia.\nFINDINGS: Clear lungs.")
      'Clear lungs.\n\nNo pneumonia.'
    """
    text = "\n".join(text.splitlines())  # one kind of line end
    matches = [
        match for match in _HEADING.finditer(text) if match["heading"].isupper() or match["heading"].strip() in headings
    ]
    ends = [*(match.start() for match in matches[1:]), len(text)][: len(matches)]
    bodies = [(_parts(match["heading"]), text[match.end() : end]) for match, end in zip(matches, ends, strict=True)]
    found, used = [], set()
    for heading in headings:
        for index, (parts, body) in enumerate(bodies):
            if index not in used and _single(heading) in parts and body.strip():
                found.append(body.strip())
                used.add(index)
    return "\n\n".join(found) or None


def _parts(heading: str) -> set[str]:
    """Return the headings that a heading joins, such as {"FINDING", "IMPRESSION"}."""
    return {_single(part) for part in [heading, *_AND.split(_ASIDE.sub("", heading))]}


def _single(heading: str) -> str:
    heading = " ".join(heading.upper().split())
    return heading.removesuffix("S")
