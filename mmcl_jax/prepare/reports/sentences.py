"""Sentences of a text, and their clean-up.

Rules and not a library: on radiology reports, pysbd 0.3.4 (of 2021), sentencex 1.0.32 and nupunkt 0.8.0 each split
some list number, abbreviation or unit; `docs/reports.md` shows on which sentences.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal

Newlines = Literal["break", "join"]
NEWLINES: tuple[Newlines, ...] = ("break", "join")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Abbreviations, without their last full stop. The first never end a sentence.
_INSIDE = _words(
    "dr drs mr mrs ms prof st vs e.g i.e eg ie cf ca approx incl excl resp min max med pt pts hx dx tx fx sx rx "
    "www z.b d.h u.a o.g bzw ggf inkl evtl dipl sog vgl m.e p.ex env mme mlle sr sra dra ud p.ej"
)
_NUMBERED = _words("no nos nr fig figs vol p pp sec art abb im ser acc tel ext")  # do not end it before a number
_OFTEN = _words("a.m p.m am pm etc al jr inc ltd usw")  # end it before a capital alone
_UNITS = _words("mm cm m ml l g kg mg s h hr hrs")

# Marks in a row are tried once, from the first: the time of a line of dots would grow with the square of its length.
_TERMINATOR = re.compile(
    r"(?P<mark>(?<![.!?…])[.!?…]+)(?P<close>[\"'”’»)\]]*)(?P<gap>\s+|(?=[^\W\d_]))"  # Latin: a blank follows, mostly
    r"|[。！？｡।॥؟۔։።]+[”’」』）)]*\s*"
)
_LIST_NUMBER = re.compile(r"\(?(?:\d{1,3}|[A-Za-z])[.)]")
_NEXT_LIST_NUMBER = re.compile(r"\d{1,3}[.)]\s")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«]+$")
_ITEM = re.compile(r"(?:\(?\d{1,3}[.)]|[-*•·‣])\s")
_EMPTY = re.compile(r"[\s_\-*=.•·‣]*")  # a sentence that says nothing
_RULE = re.compile(r"(?:[_\-*=] ?){5,}|")  # a line that separates paragraphs
_JOINERS = "\u200c\u200d"  # are letters' business in some scripts
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
_LONGEST_WORD = 30


def split_sentences(text: str, *, newlines: Newlines = "break") -> list[str]:
    """Return the sentences of a text, with single blanks, without control characters and sentences that say nothing.

    Full stops in decimals, after abbreviations such as "Dr.", and after the number of an item of a list do not end a
    sentence; nor do the blanks "___" in reports of MIMIC. Marks of other scripts, such as "。" and "।", end sentences
    without a blank.

    Args:
      text: in any language.
      newlines: "break" ends a sentence at every line break; "join" ends it only at empty lines and before items of a
        list, for texts whose lines were wrapped.

    Example:
      >>> split_sentences("1. Dr. ___ saw a 1.5 cm nodule. 2. No effusion.")
      ['1. Dr. ___ saw a 1.5 cm nodule.', '2. No effusion.']
    """
    lines = [" ".join(line.split()) for line in _cleaned(text).split("\n")]
    paragraphs = _joined(lines) if newlines == "join" else lines
    found = (sentence.strip() for paragraph in paragraphs for sentence in _split(paragraph))
    return [sentence for sentence in found if not _EMPTY.fullmatch(sentence)]


def _joined(lines: Sequence[str]) -> list[str]:
    """Return wrapped lines as paragraphs, which begin after empty and ruled lines, and with items of lists."""
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if _RULE.fullmatch(line):
            paragraphs.append([])
        elif _ITEM.match(line):
            paragraphs.append([line])
        else:
            paragraphs[-1].append(line)
    return [" ".join(paragraph) for paragraph in paragraphs]


def _cleaned(text: str) -> str:
    """Return the text with one kind of line end, blanks for other control characters, and no invisible ones."""
    text = _LINE_ENDS.sub("\n", text)
    if text.isascii() and text.isprintable():
        return text
    replaced: dict[int, str] = {}
    for character in set(text):
        category = unicodedata.category(character)
        if character in "\n\t" or character in _JOINERS or category not in ("Cc", "Cf", "Co", "Cs"):
            continue
        replaced[ord(character)] = " " if category == "Cc" else ""
    return text.translate(replaced)


def _split(text: str) -> Iterator[str]:
    """Yield the sentences of one paragraph."""
    start = 0
    for match in _TERMINATOR.finditer(text):
        if match["mark"] is None or _ends(text, start, match):
            yield text[start : match.end()]
            start = match.end()
    yield text[start:]


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Return whether a mark ends the sentence that began at `start`."""
    at, following = match.start(), text[match.end() : match.end() + 8]
    first = following[:1]
    # Enough of the sentence for the last two words; a word without an end is not searched through.
    words = text[max(start, at - 2 * _LONGEST_WORD) : at].split()[-2:]
    last = _LAST_WORD.search(words[-1]) if words else None
    word = last[0] if last else ""
    known = word.lower().rstrip(",;")
    if not match["gap"]:  # "clear.Heart", a blank is missing; not "Dr.Smith", "U.S.A" or "x.py"
        capital = first.isupper() and following[1:2].islower()
        plain = word.isalpha() and len(word) > 2 and word[-2:].islower()
        return capital and plain and known not in _INSIDE | _OFTEN
    if match["mark"] != ".":
        return match["mark"][-1] in "!?" or not first.islower()
    if _LIST_NUMBER.fullmatch(text, start, at + 1):
        return False
    if known in _INSIDE:
        return False
    if known in _NUMBERED:
        return not (first.isdigit() or first == "_")
    if word[-1:].isdigit() and first.isdigit():  # "1. 5 cm", but not the "2." of a list
        return bool(_NEXT_LIST_NUMBER.match(following))
    initial = len(word) == 1 and word.isupper()
    if initial and len(words) == 2 and (words[0].endswith(".") or words[0].lower().rstrip(".") in _INSIDE):
        return False  # "Dr. J. Smith"
    if first.islower():  # an abbreviation that is not known, or a text that has no capitals
        return (len(known) > 3 and known.isalpha()) or known in _UNITS or bool(match["close"]) or word[-1:].isdigit()
    return True
