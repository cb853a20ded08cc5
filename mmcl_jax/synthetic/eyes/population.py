"""A drawn population: ancestry, relatives, and how both pass on what is inherited."""

import dataclasses

import numpy as np

FIRST_IID = 1_000_001
OTHER = 0.05  # share of people of another ancestry
RELATED = 0.04  # share of pairs of relatives among people
KINDS = ("siblings", "parent and child", "twins")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Population:
    """`N` people, who descend from `M` founders.

    Attributes:
      iids: `[N]`, their identifiers.
      european: `[M]` bool, whether a founder is of European ancestry.
      cline: `[M]`, from 0 to 1, where a founder's ancestors lived between two ends of the population.
      parents: `[N, 2]`, the founders whom a person has the two copies of a chromosome from; both are the same founder
        for a person who is a founder.
      relatives: pairs of relatives `(person, person, kind)`, as indices.
    """

    iids: tuple[str, ...]
    european: np.ndarray
    cline: np.ndarray
    parents: np.ndarray
    relatives: tuple[tuple[int, int, str], ...]

    @property
    def is_founder(self) -> np.ndarray:
        """Whether a person `[N]` is a founder, whose chromosomes are not mixed again."""
        return self.parents[:, 0] == self.parents[:, 1]

    @classmethod
    def random(cls, people: int, random: np.random.Generator, *, first_iid: int = FIRST_IID) -> "Population":
        """Return a random population, whose identifiers begin with `first_iid`."""
        parents = np.repeat(np.arange(people)[:, None], 2, axis=1)
        pairs = random.permutation(people)[: 2 * round(RELATED * people)].reshape(-1, 2)
        founders, relatives = people, []
        for number, (one, other) in enumerate(pairs.tolist()):
            kind = KINDS[number % len(KINDS)]
            relatives.append((min(one, other), max(one, other), kind))
            if kind == "siblings":
                parents[one] = parents[other] = (founders, founders + 1)
                founders += 2
            elif kind == "parent and child":
                parents[other] = (one, founders)
                founders += 1
            else:
                parents[other] = parents[one]
        european = random.random(founders) >= OTHER
        cline = random.beta(1.5, 1.5, founders)
        for one, other in pairs:  # a family lives in one place
            for founder in {*parents[one].tolist(), *parents[other].tolist()}:
                european[founder], cline[founder] = european[parents[one][0]], cline[parents[one][0]]
        iids = tuple(str(first_iid + 7 * index) for index in range(people))
        return cls(iids=iids, european=european, cline=cline, parents=parents, relatives=tuple(sorted(relatives)))

    def of_person(self, of_founder: np.ndarray) -> np.ndarray:
        """Return values `[N, ...]` of people from those `[M, ...]` of founders: the mean of both parents."""
        return of_founder[self.parents].mean(axis=1)

    def inherited(self, of_founder: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return polygenic values `[N, F]` from founders' `[M, F]` of unit variance: the parents' mean, and chance."""
        chance = np.sqrt(0.5) * random.standard_normal((len(self.iids), of_founder.shape[1]))
        passed = self.of_person(of_founder) + np.where(self.is_founder[:, None], 0, chance)
        return self.with_twins(passed)

    def with_twins(self, values: np.ndarray) -> np.ndarray:
        """Return values `[N, ...]` in which identical twins have the same."""
        values = values.copy()
        for one, other, kind in self.relatives:
            if kind == "twins":
                values[other] = values[one]
        return values
