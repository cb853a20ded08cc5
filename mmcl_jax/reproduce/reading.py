"""The table in sentences: whether each claim of the paper holds here, and whatever speaks against the reference row."""

import dataclasses
from collections.abc import Sequence

from mmcl_jax.page.wording import counted
from mmcl_jax.reproduce.grid import LEAST_SEEDS, Spread
from mmcl_jax.reproduce.outcome import TableOutcome, signed
from mmcl_jax.reproduce.tables.spec import Claim

HOLDS, OPPOSITE, UNDECIDED = "holds", "does not hold (opposite)", "undecided"
PARTLY, ABSENT = "holds for the methods that are here", "not judged"


@dataclasses.dataclass(frozen=True)
class Finding:
    """A claim, its `verdict`, the differences it rests on by what they are, and those whose rows are not here."""

    claim: Claim
    verdict: str
    differences: tuple[tuple[str, Spread], ...]
    left_out: tuple[str, ...] = ()

    @property
    def numbers(self) -> list[str]:
        """A line per difference, and one for those that are not there."""
        lines = [
            f"{label}: {signed(one)}, above 0 at {one.above} of {counted(one.seeds, 'seed')}"
            for label, one in self.differences
        ]
        return [*lines, f"not asked for: {', '.join(self.left_out)}"] if self.left_out else lines

    @property
    def sentence(self) -> str:
        """All of it."""
        return f"{self.claim.text}: {self.verdict} ({'; '.join(self.numbers)})."


@dataclasses.dataclass(frozen=True)
class Tally:
    """How many claims came out how; `holds` includes `partly`, those that hold for the methods that are here."""

    claims: int
    holds: int
    partly: int
    opposite: int

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> "Tally":
        """Count the verdicts that the badges show."""
        verdicts = [finding.verdict for finding in findings]
        partly = verdicts.count(PARTLY)
        return cls(len(verdicts), verdicts.count(HOLDS) + partly, partly, verdicts.count(OPPOSITE))


def judge(outcome: TableOutcome) -> list[Finding]:
    """Judge every claim of the table, in order.

    It "holds" if the 95 % intervals of all its differences lie above 0, "does not hold (opposite)" if that of one lies
    below, and is "undecided" otherwise, as with fewer than three seeds. Where rows are not here because others were
    asked for, it holds at most for the methods that are, and is not judged if there are none.
    """
    return [_finding(outcome, claim) for claim in outcome.plan.table.claims]


def _finding(outcome: TableOutcome, claim: Claim) -> Finding:
    spreads = [(one.label, outcome.contrast(one)) for one in claim.contrasts]
    there = tuple((label, one) for label, one in spreads if one is not None)
    absent = tuple(label for label, one in spreads if one is None)
    outcomes = [one.outcome for _, one in there]
    if not there:
        verdict = ABSENT
    elif min(outcomes) < 0:
        verdict = OPPOSITE
    elif min(outcomes) > 0:
        verdict = PARTLY if absent else HOLDS
    else:
        verdict = UNDECIDED
    return Finding(claim, verdict, there, absent)


def against(outcome: TableOutcome) -> list[str]:
    """Return a sentence per row and column whose mean is above that of the reference row: nothing is left out."""
    table = outcome.plan.table
    reference = table.row(table.reference).label
    said = []
    for column in table.columns:
        for row in outcome.plan.rows:
            one = outcome.to_reference(row, column)
            if one is None or not one.mean > 1e-9:  # a difference of 0, but for rounding, is none
                continue
            sure = "" if one.outcome > 0 else ", which seeds and test rows do not settle"
            number = f"{signed(one)} points at {one.above} of {counted(one.seeds, 'seed')}"
            said.append(f"{column.heading}: {row.label} is above {reference}, {number}{sure}.")
    return said


HOW = (
    "A claim holds if the 95 % interval of each paired difference lies above 0, and its opposite does if that of one "
    f"lies below 0; otherwise, and with fewer than {LEAST_SEEDS} seeds, it is undecided. An interval is for other "
    "seeds and test rows: the half-widths of the interval over seeds and of that over test rows are added in squares. "
    "Differences are in points of percent; nothing is corrected for there being several of them."
)
