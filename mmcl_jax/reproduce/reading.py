"""The verdict on each claim of the paper, and the rows that are above the reference row."""

import dataclasses
from collections.abc import Mapping, Sequence

from mmcl_jax.page.wording import counted
from mmcl_jax.reproduce.grid import LEAST_SEEDS, Spread
from mmcl_jax.reproduce.outcome import TableOutcome, signed
from mmcl_jax.reproduce.spec import Claim

HOLDS, OPPOSITE, UNDECIDED = "holds", "does not hold (opposite)", "undecided"
PARTLY, ABSENT = "holds for the methods that are here", "not judged"


@dataclasses.dataclass(frozen=True)
class JudgedClaim:
    """A claim with its verdict.

    Attributes:
      claim: that was judged.
      verdict: "holds" or another of the constants above.
      differences: the label and the spread of every difference that the verdict rests on.
      left_out: the labels of the differences whose rows were not asked for.
      published: by label, what the paper reports for the difference.
      repeat: what a repeat is called.
    """

    claim: Claim
    verdict: str
    differences: tuple[tuple[str, Spread], ...]
    left_out: tuple[str, ...] = ()
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)
    repeat: str = "seed"

    @property
    def numbers(self) -> list[str]:
        """A line per difference, and a line for the differences that were left out."""
        lines = [
            f"{label}: {signed(spread)}, above 0 at {spread.above} of {repeats(spread.seeds, self.repeat)}"
            + (f"; {self.published[label]}" if label in self.published else "")
            for label, spread in self.differences
        ]
        return [*lines, f"not asked for: {', '.join(self.left_out)}"] if self.left_out else lines

    @property
    def sentence(self) -> str:
        """The claim, the verdict and the numbers in one sentence."""
        return f"{self.claim.text}: {self.verdict} ({'; '.join(self.numbers)})."


@dataclasses.dataclass(frozen=True)
class Tally:
    """The counts of verdicts; `holds` includes `partly`, the claims that hold for the methods that were asked for."""

    claims: int
    holds: int
    partly: int
    opposite: int

    @classmethod
    def of(cls, judged: Sequence[JudgedClaim]) -> "Tally":
        """Count the verdicts that the badges show."""
        verdicts = [claim.verdict for claim in judged]
        partly = verdicts.count(PARTLY)
        return cls(len(verdicts), verdicts.count(HOLDS) + partly, partly, verdicts.count(OPPOSITE))


def judge(outcome: TableOutcome) -> list[JudgedClaim]:
    """Judge every claim of the table, in order.

    A claim "holds" if the 95 % intervals of all its differences lie above 0, "does not hold (opposite)" if the interval
    of one lies below 0, and is "undecided" otherwise, always with fewer than three seeds. If `--methods` left out rows
    of a claim, it holds at most "for the methods that are here"; if no difference is left, it is "not judged".
    """
    return [_judge(outcome, claim) for claim in outcome.plan.table.claims]


def _judge(outcome: TableOutcome, claim: Claim) -> JudgedClaim:
    spreads = [(contrast.label, outcome.contrast(contrast)) for contrast in claim.contrasts]
    present = tuple((label, spread) for label, spread in spreads if spread is not None)
    absent = tuple(label for label, spread in spreads if spread is None)
    outcomes = [spread.outcome for _, spread in present]
    if not present:
        verdict = ABSENT
    elif min(outcomes) < 0:
        verdict = OPPOSITE
    elif min(outcomes) > 0:
        verdict = PARTLY if absent else HOLDS
    else:
        verdict = UNDECIDED
    published = {
        contrast.label: f"{outcome.published_as}: {contrast.published[outcome.target]:+.2f}"
        for contrast in claim.contrasts
        if outcome.target in contrast.published
    }
    return JudgedClaim(claim, verdict, present, absent, published, outcome.repeat)


def repeats(number: int, repeat: str) -> str:
    """Return a number of repeats in words.

    Example:
      >>> repeats(3, "seed"), repeats(10, "seed and fold")
      ('3 seeds', '10 seeds and folds')
    """
    return counted(number, repeat, repeat.replace(" and ", "s and ") + "s")


def above_reference(outcome: TableOutcome) -> list[str]:
    """Return a sentence for every row and column whose mean is above that of the reference row."""
    table = outcome.plan.table
    reference = table.row(table.reference).label
    sentences = []
    for column in table.columns:
        if not outcome.measure(column).ranked:
            continue
        for row in outcome.plan.rows:
            spread = outcome.to_reference(row, column)
            if spread is None or not spread.mean > 1e-9:  # equal but for rounding
                continue
            unsettled = "" if spread.outcome > 0 else ", which seeds and test rows do not settle"
            measure = outcome.measure(column)
            unit, better = measure.difference_unit, "better than" if measure.lower else "above"
            number = f"{signed(spread)} {unit} at {spread.above} of {repeats(spread.seeds, outcome.repeat)}"
            sentences.append(f"{column.heading}: {row.label} is {better} {reference}, {number}{unsettled}.")
    return sentences


_RULE = (
    "A claim holds if the 95 % interval of each paired difference lies above 0, and its opposite does if that of one "
    f"lies below 0; otherwise, and with fewer than {LEAST_SEEDS} {{}}, it is undecided. "
)
_SEEDS = (
    "An interval is for other seeds and test rows: the half-widths of the interval over seeds and of that over test "
    "rows are added in squares. "
)
_SAME_PEOPLE = "An interval is for other seeds of the same people. "
_FOLDS = (
    "An interval is Nadeau and Bengio's over folds, which allows for their shared training rows; a fold is the mean "
    "over its seeds. "
)


def verdict_rule(outcome: TableOutcome) -> str:
    """Return the sentences on how claims are judged."""
    error = outcome.main.lower
    unit = "relative improvements in percent" if error else "in points of percent"
    if outcome.mixed:
        unit = "in points of percent or, of errors, relative improvements in percent"
    seeds = _SEEDS
    if outcome.plan.table.analyses:
        seeds = _SAME_PEOPLE
        unit = "in points of percent" if outcome.main.percent else "in the units of the columns"
    rule = _RULE.format("folds" if outcome.plan.folds else "seeds")
    return (
        f"{rule}{_FOLDS if outcome.plan.folds else seeds}Differences are {unit}; nothing is corrected for there being "
        "several of them."
    )
