"""The persons of drawn radiographs: sex, age, anatomy, and the studies in which their findings come and go."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmcl_jax.synthetic.chests.anatomy import Chest, chest_of
from mmcl_jax.synthetic.chests.devices import Device, devices_of
from mmcl_jax.synthetic.chests.findings import Finding, draw_findings

YEAR = 2150  # dates of MIMIC are shifted into a distant future
STUDIES = (0.45, 0.25, 0.18, 0.12)  # share of persons with one to four studies
_LEFT = {"cardiomegaly": 0.95, "nodule": 0.9}  # share of findings that the next study still has; else .6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """A study of a person.

    Attributes:
      day: since the first day of `YEAR`.
      second: of the day.
      views: "AP" or "PA" of every frontal image.
      lateral: whether there is a lateral image too.
      findings: what its images show.
      devices: tubes, lines and pacemakers.
      prior: the study before, None for the first.
    """

    day: int
    second: int
    views: tuple[str, ...]
    lateral: bool
    findings: tuple[Finding, ...]
    devices: tuple[Device, ...]
    prior: "Study | None"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """A person: `sex` "M" or "F", `age` in `YEAR`, the anatomy and the studies in order."""

    sex: str
    age: int
    chest: Chest
    studies: tuple[Study, ...]


def counts_of_studies(studies: int, random: np.random.Generator) -> list[int]:
    """Return the number of studies of every person, which add up to `studies`."""
    counts = list[int]()
    while studies > sum(counts):
        counts.append(min(1 + int(random.choice(len(STUDIES), p=STUDIES)), studies - sum(counts)))
    return counts


def person_of(random: np.random.Generator, studies: int) -> Person:
    """Return a random person with a number of studies."""
    sex = "M" if random.random() < 0.53 else "F"
    age = int(np.clip(random.normal(62, 17), 18, 95))
    chest = chest_of(random, sex=sex, age=age)
    day, made = int(random.integers(0, 700)), list[Study]()
    for _ in range(studies):
        prior = made[-1] if made else None
        findings = draw_findings(random, age=age) if prior is None else _later(prior.findings, random, age)
        ill = len({(one.kind, one.side) for one in findings}) > 1
        devices = devices_of(random, age=age, ill=ill) if prior is None else _kept(prior.devices, random, age, ill)
        made.append(
            Study(
                day=day,
                second=int(random.integers(86400)),
                views=_views(random, in_bed=ill or bool(devices)),
                lateral=False,
                findings=findings,
                devices=devices,
                prior=prior,
            )
        )
        if made[-1].views == ("PA",):
            made[-1] = dataclasses.replace(made[-1], lateral=bool(random.random() < 0.6))
        day += int(np.ceil(random.exponential(40)))
    return Person(sex=sex, age=age, chest=chest, studies=tuple(made))


def _views(random: np.random.Generator, *, in_bed: bool) -> tuple[str, ...]:
    """Return the views of the frontal images; of every fifth study there are two images."""
    view = "AP" if random.random() < (0.75 if in_bed else 0.25) else "PA"
    if random.random() >= 0.2:
        return (view,)
    return view, ("AP" if random.random() < 0.6 else "PA") if view == "AP" else view


def _later(before: Sequence[Finding], random: np.random.Generator, age: float) -> tuple[Finding, ...]:
    """Return the findings of the next study: some are left, larger or smaller, and some are new."""
    left = list[Finding]()
    lasting = random.random()  # the sides of edema come and go together
    change = float(random.normal(0, 0.3))
    for one in before:
        luck = lasting if one.kind == "edema" else random.random()
        other = change if one.kind == "edema" else float(random.normal(0, 0.3))
        if luck >= _LEFT.get(one.kind, 0.6):
            continue
        if random.random() < 0.5 and one.kind not in ("edema", "cardiomegaly"):
            other = 0.0
        if one.kind in ("cardiomegaly", "nodule"):
            other = 0.2 * other
        left.append(dataclasses.replace(one, size=float(np.clip(one.size + other, 0, 1))))
    known = {(one.kind, one.side) for one in left}
    heart = any(one.kind == "cardiomegaly" for one in before)
    new = draw_findings(random, age=age, heart=heart)
    for one in new:
        if one.kind == "cardiomegaly" or (one.kind, one.side) in known:
            continue
        if random.random() < 0.45 if one.kind != "edema" else lasting >= _LEFT.get("edema", 0.6) + 0.2:
            left.append(one)
    order = {kind: number for number, kind in enumerate(_ORDER)}
    return tuple(sorted(left, key=lambda one: order[one.kind]))


_ORDER = ("cardiomegaly", "edema", "pleural_effusion", "atelectasis", "consolidation", "pneumothorax", "nodule")


def _kept(before: Sequence[Device], random: np.random.Generator, age: float, ill: bool) -> tuple[Device, ...]:
    """Return the devices of the next study; what is implanted stays."""
    implanted = ("pacemaker", "sternotomy wires")
    kept = [one for one in before if one.kind in implanted or random.random() < 0.6]
    known = {one.kind for one in kept}
    new = [one for one in devices_of(random, age=age, ill=ill) if one.kind not in (*known, *implanted)]
    both = {one.kind for one in (*kept, *new)} >= {"central line", "PICC"}
    return tuple(kept) + tuple(one for one in new if not (both and one.kind in ("central line", "PICC")))
