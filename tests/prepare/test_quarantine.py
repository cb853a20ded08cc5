"""Rows that are left out: which count, and when there are too many."""

import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.prepare.quarantine import Quarantine

pytestmark = pytest.mark.core


def test_the_first_reason_of_a_row_counts() -> None:
    quarantine = Quarantine()
    quarantine.add(4, "a.png", "broken image", "a.png is cut short.")
    quarantine.add(4, None, "no label", "There is no label.")
    quarantine.add(2, None, "no label", "There is no label.")
    assert [(entry.row, entry.cause) for entry in quarantine.entries] == [(2, "no label"), (4, "broken image")]
    assert quarantine.causes() == {"no label": 1, "broken image": 1}


def test_rows_left_out_by_choice_do_not_count_as_bad() -> None:
    quarantine = Quarantine()
    for row in range(1, 31):
        quarantine.add(row, None, "not listed", "No list names it.", chosen=True)
    quarantine.add(40, None, "no label", "There is no label.")
    quarantine.refuse_above(0.01, 100, "ads.csv")
    assert len(quarantine.entries) == 31
    assert 5 in quarantine


@pytest.mark.parametrize(
    ("bad", "rate", "refused"), [(29, 0.29, False), (30, 0.29, True), (1, 0.0, True), (0, 0.0, False)]
)
def test_the_build_stops_above_the_rate_and_not_at_it(bad: int, rate: float, refused: bool) -> None:
    quarantine = Quarantine()
    for row in range(1, bad + 1):
        quarantine.add(row, None, "no label", "There is no label.")
    if not refused:
        quarantine.refuse_above(rate, 100, "ads.csv")
        return
    with pytest.raises(UserError, match=rf"Row 1 of ads.csv: There is no label.*{bad} of 100 rows are more than"):
        quarantine.refuse_above(rate, 100, "ads.csv")
