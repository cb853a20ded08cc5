"""The report of a drawn study: sentences in varied wording, each with what it says about which finding."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmcl_jax.synthetic.chests import stock
from mmcl_jax.synthetic.chests.anatomy import SIDES
from mmcl_jax.synthetic.chests.findings import KINDS, Finding
from mmcl_jax.synthetic.chests.people import Study
from mmcl_jax.synthetic.chests.phrases import article, capital, noun, pick

UNMENTIONED = 0.04  # share of findings that the report leaves out
UNCERTAIN = 0.1  # share of findings that the report is not sure of, more often of small ones
FALSE_ALARM = 0.03  # share of absent kinds that the report does not exclude


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of a report.

    Attributes:
      text: of the sentence.
      state: "present", "uncertain" or "absent" of what it says about `names`, or what else it is about: "normal",
        "device", "prior", "lateral", "view" or "other".
      names: kind and side ("" for both or neither) of what it names, in the order of `KINDS`.
      labels: names of columns of CheXpert beside those of the kinds, each with its value.
    """

    text: str
    state: str
    names: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, float], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """A report: the `findings` and the `impression`, of which either may be empty; both are, if `missing`."""

    findings: tuple[Sentence, ...]
    impression: tuple[Sentence, ...]
    numbered: bool

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """All sentences in the order in which a reader of both sections numbers them, from 0."""
        return self.findings + self.impression

    @property
    def missing(self) -> bool:
        """Whether the report has neither section."""
        return not self.sentences


def report_of(study: Study, random: np.random.Generator) -> Report:
    """Return a random report of a study."""
    said = [_Said(group, _uncertain(group, random)) for group in _groups(study.findings, random)]
    said = [one for one in said if random.random() >= UNMENTIONED]
    brief = bool(random.random() < 0.12)  # an impression alone
    body = [_finding(one, study, random) for one in said]
    body += _gone(study, random)
    body += _negations(study, random)
    if "cardiomegaly" not in {one.kind for one in study.findings} and random.random() < 0.75:
        body.append(_sentence(random, stock.NORMAL_HEART, state="absent", names=(("cardiomegaly", ""),)))
    if not study.findings and random.random() < 0.5:
        body.append(_sentence(random, stock.CLEAR, state="normal"))
    for words, share, labels in stock.NORMAL:
        if random.random() < share:
            body.append(_sentence(random, words, state="normal", labels=labels))
    body += [_sentence(random, stock.DEVICES[one.kind], state="device", labels=stock.SUPPORT) for one in study.devices]
    if study.lateral and random.random() < 0.4:
        body.append(_sentence(random, stock.LATERAL, state="lateral"))
    body = [body[index] for index in _order(len(body), random)]
    start = []
    if random.random() < 0.5:
        view = study.views[0]
        words = stock.VIEWS["lateral"] if study.lateral else stock.VIEWS[view]
        start.append(_sentence(random, words, state="view"))
    if study.prior is not None and random.random() < 0.4:
        start.append(_sentence(random, stock.COMPARED, state="prior"))
    impression = _impression(said, study, random, brief=brief)
    if brief:
        return Report(findings=(), impression=tuple(impression), numbered=_numbered(impression, random))
    if random.random() < 0.1:
        impression = []
    return Report(findings=tuple(start + body), impression=tuple(impression), numbered=_numbered(impression, random))


def _numbered(impression: Sequence[Sentence], random: np.random.Generator) -> bool:
    return len(impression) > 1 and bool(random.random() < 0.4)


def _order(count: int, random: np.random.Generator) -> list[int]:
    """Return an order of the sentences: half of the reports keep about theirs, and half have any."""
    if random.random() < 0.5:
        return [int(index) for index in random.permutation(count)]
    return [int(index) for index in np.argsort(np.arange(count) + random.normal(0, 1.5, count))]


def _groups(findings: Sequence[Finding], random: np.random.Generator) -> list[tuple[Finding, ...]]:
    """Return the findings that one sentence names: those of a kind on both sides, often, and else those of a side."""
    groups = list[tuple[Finding, ...]]()
    for kind in KINDS:
        of_kind = [one for one in findings if one.kind == kind]
        together = kind == "edema" or random.random() < 0.7
        if together and len({one.side for one in of_kind}) > 1:
            groups.append(tuple(of_kind))
            continue
        for side in ("", *SIDES):
            of_side = tuple(one for one in of_kind if one.side == side)
            groups += [of_side] if of_side else []
    return groups


def _names(group: Sequence[Finding]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys((one.kind, one.side) for one in group))


def _extra(text: str, state: str) -> tuple[tuple[str, float], ...]:
    """Return further columns of CheXpert for a sentence that names an opacity, a nodule or pneumonia."""
    value = {"present": 1.0, "uncertain": -1.0}[state]
    labels = []
    if "opacity" in text:
        labels.append(("Lung Opacity", value))
    if "nodul" in text:
        labels.append(("Lung Lesion", value))
    if "pneumonia" in text:
        labels.append(("Pneumonia", -1.0))
    return tuple(labels)


class _Said(NamedTuple):
    """Findings of one kind that the report names, and whether it is not sure of them."""

    group: tuple[Finding, ...]
    uncertain: bool


def _uncertain(group: Sequence[Finding], random: np.random.Generator) -> bool:
    """Return whether the report is not sure of findings: more often of small ones."""
    largest = max(one.size for one in group)
    return bool(random.random() < UNCERTAIN * (1.6 if largest < 0.4 else 0.6))


def _change(group: Sequence[Finding], prior: Study | None) -> str:
    """Return how a finding differs from the prior study: "new", "larger", "smaller", "same", or "" without a prior."""
    if prior is None:
        return ""
    before = [one for one in prior.findings if (one.kind, one.side) in _names(group)]
    if not before:
        return "new"
    now, then = max(one.size for one in group), max(one.size for one in before)
    return "larger" if now > then + 0.12 else "smaller" if now < then - 0.12 else "same"


def _finding(said: _Said, study: Study, random: np.random.Generator) -> Sentence:
    """Return the sentence that names findings of one kind."""
    group = said.group
    phrase, plural = noun(group, random)
    named = phrase if plural else article(phrase)
    be, have = ("are", "have") if plural else ("is", "has")
    words: tuple[str, ...]
    if said.uncertain:
        words = (
            f"There may be {named}.",
            f"Possible {phrase}.",
            f"{capital(named)} cannot be excluded.",
            f"Findings are suggestive of {named}.",
            f"Questionable {phrase} is noted." if not plural else f"Questionable {phrase} are noted.",
        )
        text = pick(random, words)
        return Sentence(text=text, state="uncertain", names=_names(group), labels=_extra(text, "uncertain"))
    change = _change(group, study.prior)
    if change and random.random() < 0.65:
        words = {
            "new": (f"New {phrase}.", f"There {be} new {phrase}.", f"{capital(named)} {be} new since the prior study."),
            "larger": (
                f"{capital(named)} {have} increased compared to the prior study.",
                f"Interval worsening of {named}.",
                f"{capital(named)} {be} larger than on ___.",
            ),
            "smaller": (
                f"{capital(named)} {have} decreased compared to the prior study.",
                f"Interval improvement of {named}.",
                f"{capital(named)} {be} smaller than on the prior radiograph.",
            ),
            "same": (
                f"{capital(named)} {be} unchanged from prior.",
                f"Unchanged {phrase}.",
                f"Again seen {be} {named}.",
                f"{capital(named)} {be} stable compared to ___.",
            ),
        }[change]
    else:
        words = (
            f"There {be} {named}.",
            f"{capital(named)} {be} present.",
            f"{capital(named)} {be} seen.",
            f"{capital(phrase)}.",
            f"{capital(named)} {be} noted.",
        )
    text = pick(random, words)
    if group[0].kind == "consolidation" and random.random() < 0.3:
        text = text[:-1] + pick(random, (", concerning for pneumonia.", ", which may represent pneumonia."))
    return Sentence(text=text, state="present", names=_names(group), labels=_extra(text, "present"))


def _negations(study: Study, random: np.random.Generator) -> list[Sentence]:
    """Return sentences that exclude what is absent, and a few that do not quite."""
    there = {one.kind for one in study.findings}
    sentences, absent = list[Sentence](), list[str]()
    for kind, share in stock.COMMON.items():
        if kind in there:
            continue
        if random.random() < FALSE_ALARM:
            what = pick(random, stock.ABSENT[kind])
            text = pick(random, (f"{capital(article(what))} cannot be excluded.", f"Possible early {what}."))
            sentences.append(Sentence(text=text, state="uncertain", names=((kind, ""),)))
        elif random.random() < share:
            absent.append(kind)
    absent = [absent[index] for index in random.permutation(len(absent))]
    while absent:
        count = min(len(absent), int(random.choice((1, 2, 3), p=(0.3, 0.4, 0.3))))
        group, absent = absent[:count], absent[count:]
        names = [pick(random, stock.ABSENT[kind]) for kind in group]
        listed = names[0] if count == 1 else ", ".join(names[:-1]) + f" or {names[-1]}"
        words = (
            f"No {listed}.",
            f"There is no {listed}.",
            f"No evidence of {listed}.",
            f"No {listed} is seen.",
            f"There is no evidence of {listed}.",
        )
        text = pick(random, words[1:] if len(listed.split()) < 2 else words)
        sentences.append(Sentence(text=text, state="absent", names=tuple((kind, "") for kind in group)))
    sides = {one.side for one in study.findings if one.kind == "pleural_effusion"}
    if len(sides) == 1 and random.random() < 0.2:
        other = next(side for side in SIDES if side not in sides)
        text = f"There is no {other} pleural effusion."
        sentences.append(Sentence(text=text, state="absent", names=(("pleural_effusion", other),)))
    return sentences


def _gone(study: Study, random: np.random.Generator) -> list[Sentence]:
    """Return sentences about findings of the prior study that are gone."""
    if study.prior is None:
        return []
    now = {(one.kind, one.side) for one in study.findings}
    kinds = {one.kind for one in study.findings}
    sentences = list[Sentence]()
    for kind, side in dict.fromkeys((one.kind, one.side) for one in study.prior.findings):
        if kind not in stock.PLAIN or (kind, side) in now or random.random() < 0.5:
            continue
        if kind == "edema" and (side == "left" or kind in kinds):
            continue
        what = stock.PLAIN[kind] if kind == "edema" else f"{side} {stock.PLAIN[kind]}"
        words = (f"Previously seen {what} has resolved.", f"The {what} seen on the prior study is no longer present.")
        named = (kind, "" if kind == "edema" else side)
        sentences.append(Sentence(text=pick(random, words), state="absent", names=(named,)))
    return sentences


def _impression(said: Sequence[_Said], study: Study, random: np.random.Generator, *, brief: bool) -> list[Sentence]:
    """Return the impression: most of what was found, in other words, or that there is nothing."""
    sentences = list[Sentence]()
    for group, uncertain in said:
        if random.random() >= 0.8:
            continue
        phrase, _ = noun(group, random)
        if uncertain:
            text, state = pick(random, (f"Possible {phrase}.", f"Findings may represent {phrase}.")), "uncertain"
        else:
            change = {"same": "unchanged ", "new": "new "}.get(_change(group, study.prior), "")
            text, state = f"{capital(change + phrase if random.random() < 0.3 else phrase)}.", "present"
        sentences.append(Sentence(text=text, state=state, names=_names(group), labels=_extra(text, state)))
    sentences = [sentences[index] for index in random.permutation(len(sentences))]
    if not sentences and said:
        words = stock.LITTLE if study.prior else stock.AS_ABOVE
        if not brief:
            return [_sentence(random, words, state="prior" if study.prior else "other")]
        return [_finding(said[0], study, random)]
    if not sentences:
        sentences.append(_sentence(random, stock.NOTHING, state="normal"))
    elif "pneumothorax" not in {one.kind for one in study.findings} and random.random() < 0.12:
        text = pick(random, ("There is no pneumothorax.", "No evidence of pneumothorax."))
        sentences.append(Sentence(text=text, state="absent", names=(("pneumothorax", ""),)))
    if study.prior is not None and random.random() < 0.1:
        sentences.append(_sentence(random, stock.LITTLE, state="prior"))
    if random.random() < 0.05:
        sentences.append(_sentence(random, stock.NOTICE, state="other"))
    return sentences


def _sentence(
    random: np.random.Generator,
    words: Sequence[str],
    *,
    state: str,
    names: tuple[tuple[str, str], ...] = (),
    labels: tuple[tuple[str, float], ...] = (),
) -> Sentence:
    text = pick(random, words).format(cm=f"{random.uniform(2.5, 6.5):.1f}")
    return Sentence(text=text, state=state, names=names, labels=labels)
