"""Sentences that no model can see in one image: remarks on earlier examinations, and on lateral views.

A sentence that compares with an examination before ("unchanged", "compared to prior") says something of two images,
and a remark on the lateral view something of another image. The words below are English; they are matched as whole
words, in any case. They find most such sentences and some others: `docs/reports.md` says how many, on what.
"""

import re
from typing import Literal

Remark = Literal["priors", "lateral"]

PRIORS = (
    r"compar(?:ed|ison|ing)", r"unchanged", r"no (?:significant |interval |new |other )*change[sd]?",
    r"(?:again|re-?)\s?(?:seen|noted|demonstrated|identified|visuali[sz]ed)", r"since (?:the )?(?:prior|previous|last)",
    r"(?:prior|previous|earlier|recent|old(?:er)?|preceding)(?:ly)? (?:\S+ )?"
    r"(?:study|studies|exam|exams|examinations?|radiographs?|films?|images?|imaging|cts?|chest|x-?rays?|scans?|reports?)",
    r"interval(?:ly)?", r"(?:is|are|has|have|remains?|otherwise|essentially|grossly|relatively|overall) stable",
    r"stable (?:appearance|since|position|in|compared|from|cardiomegaly|size)", r"persist(?:s|ent|ently|ing|ed)?",
    r"(?:has|have) (?:been )?(?:(?:slight|mild|marked|significant|near|complete)ly |now |all |since )*"
    r"(?:improved|worsened|increased|decreased|resolved|progressed|removed|repositioned|advanced|retracted|cleared"
    r"|enlarged|developed)",
    r"(?:is|are) (?:\w+ly |now )?(?:improv|worsen|increas|decreas|resolv|progress)ing",
    r"(?:is|are) (?:\w+ly |now )?(?:improved|worsened|resolved)",
    r"(?:improvement|worsening|progression|resolution) (?:of|in)", r"new(?:ly)?", r"no longer",
    r"redemonstrat(?:ed|ion)", r"re-?demonstrat(?:ed|es|ion)", r"(?:as|than) (?:before|previously|prior)",
    r"(?:previously|formerly) (?:seen|noted|described|identified|questioned)", r"since ___", r"from ___",
    r"(?:study|radiograph|exam|examination|film|ct) (?:from|of|dated|on|performed) ___",
)  # fmt: skip
LATERAL = (
    r"lateral (?:view|views|radiograph|radiographs|film|films|projection|projections|image|images|chest)",
    r"on (?:the )?lateral", r"(?:pa|ap|frontal) and lateral", r"retrosternal",
    r"posterior costophrenic (?:angle|sulcus)",
)  # fmt: skip

_PATTERNS = {
    name: re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE)
    for name, words in {"priors": PRIORS, "lateral": LATERAL}.items()
}
REMARKS: tuple[Remark, ...] = ("priors", "lateral")


def remarks(sentence: str) -> frozenset[Remark]:
    """Return what a sentence remarks on: earlier examinations ("priors"), and lateral views ("lateral").

    Example:
      >>> sorted(remarks("Compared to ___, the effusion is unchanged on the lateral view."))
      ['lateral', 'priors']
      >>> remarks("The lungs are clear.")
      frozenset()
    """
    return frozenset(name for name in REMARKS if _PATTERNS[name].search(sentence))
