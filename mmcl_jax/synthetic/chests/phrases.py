"""Names of findings in reports: noun phrases with their size, side and zone, in varied wording."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.synthetic.chests.findings import Finding, nodule_radius

_CM = 20.0  # half of the picture
_LOBES = {
    ("right", "upper"): ("right upper lobe", "right upper lung zone", "right upper lung"),
    ("right", "mid"): ("right middle lobe", "right mid lung", "right mid lung zone"),
    ("right", "lower"): ("right lower lobe", "right lower lung", "right lung base"),
    ("left", "upper"): ("left upper lobe", "left upper lung zone", "left upper lung"),
    ("left", "mid"): ("lingula", "left mid lung", "left mid lung zone"),
    ("left", "lower"): ("left lower lobe", "left lower lung", "left lung base"),
}


def pick(random: np.random.Generator, words: Sequence[str]) -> str:
    """Return one of the words."""
    return words[int(random.integers(len(words)))]


def degree(size: float, words: tuple[str, ...]) -> str:
    """Return the word for a size from 0 to 1 among words for growing sizes."""
    return words[min(int(size * len(words)), len(words) - 1)]


def noun(findings: Sequence[Finding], random: np.random.Generator) -> tuple[str, bool]:
    """Return a noun phrase without an article for findings of one kind, and whether it is in the plural.

    Args:
      findings: one, or those of both sides.
      random: chooses the wording.
    """
    first = findings[0]
    size = max(one.size for one in findings)
    both = len({one.side for one in findings}) > 1
    return _NOUNS[first.kind](findings, size, both, random)


def _cardiomegaly(
    findings: Sequence[Finding], size: float, both: bool, random: np.random.Generator
) -> tuple[str, bool]:
    much = degree(size, ("mild", "moderate", "severe"))
    return pick(random, (f"{much} cardiomegaly", f"{much} enlargement of the cardiac silhouette")), False


def _edema(findings: Sequence[Finding], size: float, both: bool, random: np.random.Generator) -> tuple[str, bool]:
    much = degree(size, ("mild", "moderate", "severe"))
    words = (
        f"{much} pulmonary edema",
        f"{much} interstitial pulmonary edema" if size < 0.6 else f"{much} alveolar pulmonary edema",
        f"{much} bilateral perihilar edema",
        f"pulmonary vascular congestion with {much} edema",
    )
    return pick(random, words), False


def _effusion(findings: Sequence[Finding], size: float, both: bool, random: np.random.Generator) -> tuple[str, bool]:
    much = pick(random, (("small", "trace") if size < 0.35 else ("moderate",) if size < 0.7 else ("large",)))
    if both:
        return pick(random, (f"{much} bilateral pleural effusions", f"bilateral {much} pleural effusions")), True
    side = findings[0].side
    words = [f"{much} {side} pleural effusion", f"{much} {side}-sided pleural effusion"]
    if size < 0.35:
        words.append(f"blunting of the {side} costophrenic angle consistent with a {much} pleural effusion")
    else:
        words.append(f"{much} pleural effusion on the {side}")
    return pick(random, words), False


def _atelectasis(findings: Sequence[Finding], size: float, both: bool, random: np.random.Generator) -> tuple[str, bool]:
    much = pick(random, ("linear", "plate-like", "mild", "subsegmental") if size < 0.5 else ("moderate", "patchy"))
    if both:
        return pick(random, (f"{much} bibasilar atelectasis", f"{much} atelectasis at both lung bases")), False
    side = findings[0].side
    words = (
        f"{much} {side} basilar atelectasis",
        f"{much} atelectasis at the {side} lung base",
        f"{much} {side} lower lobe atelectasis",
    )
    return pick(random, words), False


def _consolidation(
    findings: Sequence[Finding], size: float, both: bool, random: np.random.Generator
) -> tuple[str, bool]:
    much = pick(random, ("patchy", "focal", "ill-defined") if size < 0.5 else ("dense", "large", "confluent"))
    places = list(dict.fromkeys((one.side, one.zone) for one in findings))
    where = " and ".join(pick(random, _LOBES[place]) for place in places)
    word = "consolidation" if random.random() < 0.85 else "airspace opacity"
    if len(places) == 1 and random.random() < 0.4 and places[0] != ("left", "mid"):
        return f"{much} {where} {word}", False
    return f"{much} {word} in the {where}", False


def _pneumothorax(
    findings: Sequence[Finding], size: float, both: bool, random: np.random.Generator
) -> tuple[str, bool]:
    much = degree(size, ("small", "moderate", "large"))
    if both:
        return f"{much} bilateral pneumothoraces", True
    side = findings[0].side
    words = (f"{much} {side} pneumothorax", f"{much} {side} apical pneumothorax", f"{much} {side}-sided pneumothorax")
    return pick(random, words), False


def _nodule(findings: Sequence[Finding], size: float, both: bool, random: np.random.Generator) -> tuple[str, bool]:
    first = findings[0]
    width = 2 * nodule_radius(first) * _CM
    large = pick(random, (f"{width:.1f} cm", f"{10 * width:.0f} mm"))
    if both:
        return "bilateral pulmonary nodules", True
    where = pick(random, _LOBES[first.side, first.zone])
    words = (f"{large} nodule in the {where}", f"{large} nodular opacity projecting over the {where}")
    return pick(random, words), False


_NOUNS = {
    "cardiomegaly": _cardiomegaly,
    "edema": _edema,
    "pleural_effusion": _effusion,
    "atelectasis": _atelectasis,
    "consolidation": _consolidation,
    "pneumothorax": _pneumothorax,
    "nodule": _nodule,
}
_UNCOUNTED = ("cardiomegaly", "edema", "atelectasis", "consolidation", "blunting", "enlargement", "congestion")


def article(phrase: str) -> str:
    """Return a noun phrase in the singular with its article, if it takes one.

    Example:
      >>> article("small left pleural effusion"), article("mild pulmonary edema")
      ('a small left pleural effusion', 'mild pulmonary edema')
    """
    if any(word in phrase.split(" in the ")[0].split(" consistent ")[0] for word in _UNCOUNTED):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou8' or phrase.startswith('11 ') else 'a'} {phrase}"


def capital(phrase: str) -> str:
    """Return a phrase with a capital first letter."""
    return phrase[0].upper() + phrase[1:]
