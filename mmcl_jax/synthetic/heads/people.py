"""The subjects of drawn heads: diagnosis, age, sex, atrophy, and the visits at which they are scanned."""

import dataclasses

import numpy as np

from mmcl_jax.synthetic.heads.anatomy import Head, coarse_field
from mmcl_jax.synthetic.heads.draw import SCANNERS

SHARES = {"HC": 0.66, "AD": 0.22, "other": 0.12}  # as in the hold-out of OASIS-3
_AGE = {"HC": (68.0, 8.5), "AD": (74.0, 7.5), "other": (71.0, 8.0)}  # mean and standard deviation: it confounds
_ATROPHY = {"HC": (0.08, 0.1), "AD": (0.8, 0.16), "other": (0.4, 0.2)}
_BEND_MM = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Visit:
    """A visit: days since entry, index of the scanner, and the atrophy at that time, 0 to 1.2."""

    day: int
    scanner: int
    atrophy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A subject with an anatomy of its own.

    Attributes:
      name: such as OAS30001.
      diagnosis: a key of `SHARES`.
      sex: "M" or "F".
      age: at entry, in years.
      visits: in the order of their days.
      size: of the head, relative to the template.
      bend: see `Head`.
      trait: a coarse field that its fALFF has at every visit.
    """

    name: str
    diagnosis: str
    sex: str
    age: float
    visits: tuple[Visit, ...]
    size: float
    bend: np.ndarray
    trait: np.ndarray

    def head(self, visit: Visit) -> Head:
        """Return the head at a visit: age widens the ventricles and thins the cortex a little in everyone."""
        older = (self.age + visit.day / 365.25 - 70) / 10
        return Head(
            size=self.size,
            bend=self.bend,
            ventricles=1 + 0.06 * older,
            cortex=1 - 0.03 * older,
            atrophy=visit.atrophy,
        )


def diagnoses(subjects: int, random: np.random.Generator) -> list[str]:
    """Return a diagnosis for every subject, with the shares of `SHARES` as nearly as whole subjects allow."""
    counts = {name: round(share * subjects) for name, share in SHARES.items()}
    counts["HC"] += subjects - sum(counts.values())
    names = [name for name, count in counts.items() for _ in range(count)]
    return [names[index] for index in random.permutation(subjects)]


def subject_of(number: int, diagnosis: str, most: int, random: np.random.Generator) -> Subject:
    """Return a random subject with 1 to `most` visits, on mostly one scanner."""
    sex = "M" if random.random() < 0.44 else "F"
    age = float(np.clip(random.normal(*_AGE[diagnosis]), 50, 95))
    atrophy = float(np.clip(random.normal(*_ATROPHY[diagnosis]), 0, 1))
    usual, day, visits = int(random.integers(len(SCANNERS))), int(random.integers(0, 60)), []
    for _ in range(int(random.integers(1, most + 1))):
        scanner = usual if random.random() < 0.75 else int(random.integers(len(SCANNERS)))
        faster = {"HC": 0.008, "AD": 0.05, "other": 0.025}[diagnosis]
        visits.append(Visit(day=day, scanner=scanner, atrophy=min(1.2, atrophy + faster * day / 365.25)))
        day += int(random.integers(200, 900))
    return Subject(
        name=f"OAS3{number + 1:04d}",
        diagnosis=diagnosis,
        sex=sex,
        age=round(age, 1),
        visits=tuple(visits),
        size=float(random.normal(1.02 if sex == "M" else 0.98, 0.015)),
        bend=_BEND_MM * np.stack([coarse_field(random) for _ in range(3)]),
        trait=coarse_field(random, 8),
    )
